"""Load a model from a hub on this machine, then without it; print the result of each step as JSON.

    python tests/models/hub_program.py REPOSITORIES CACHE

This is a separate program because the hub's client reads its environment once, when it is imported.
"""

import json
import os
import sys
import threading
from http.server import ThreadingHTTPServer
from pathlib import Path


def attempt(name: str) -> dict:
    """Resolve, download and load a model; return what it is, or the error's line."""
    from gatehouse.models.structure import download
    from gatehouse.models.zoo import resolve
    from gatehouse.warehouse.errors import GatehouseError

    try:
        plan = resolve(name)
        files = sorted(path.name for path in download(plan).iterdir())
        parameters = sum(each.numel() for each in plan.load().model.parameters())
    except GatehouseError as error:
        return {"error": str(error)}
    return {"fingerprint": plan.fingerprint, "files": files, "parameters": parameters}


if __name__ == "__main__":
    repositories, cache = sys.argv[1:]
    from tests.ingest.fake_hub import REFUSALS, FakeHub

    FakeHub.root = Path(repositories)
    server = ThreadingHTTPServer(("127.0.0.1", 0), FakeHub)
    os.environ["HF_ENDPOINT"] = f"http://127.0.0.1:{server.server_port}"
    os.environ["HF_HOME"] = cache
    threading.Thread(target=server.serve_forever, daemon=True).start()
    cached = ["tiny", "adapted", "damaged", "unread", "bare"]
    names = [*cached, "unknown", "gated", "pickled"]
    names += [f"answers-{code}" for code in REFUSALS]
    found = {name: attempt(f"owner/{name}") for name in names}
    server.shutdown()
    server.server_close()
    found |= {f"{name} without the hub": attempt(f"owner/{name}") for name in (*cached, "other")}

    from transformers.integrations import hub_kernels

    print(json.dumps(found | {"kernels of the hub": hub_kernels._kernels_enabled}))
