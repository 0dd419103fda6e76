"""A hub on this machine: the few routes of the Hugging Face hub that streaming uses.

    python tests/ingest/fake_hub.py REPOSITORIES OUTPUT

serves the folders REPOSITORIES/owner/name, prepares datasets from them with the real client, stops
the server, prepares again, and prints the outcome of each step as JSON. It is a separate program
because the client reads HF_ENDPOINT once, when it is imported.
"""

import hashlib
import json
import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

COMMIT = "c0ffee" * 6 + "abcd"
REFUSALS = (401, 403, 500)
TOKEN = "hf_" + "Marker0" * 5


def write_refusals(owner: Path) -> None:
    """Write a repository for each status of REFUSALS."""
    for status in REFUSALS:
        (owner / f"answers-{status}").mkdir(parents=True)
        (owner / f"answers-{status}" / "STATUS").write_text(str(status))


class FakeHub(BaseHTTPRequestHandler):
    """Answers from `root`; a repository with a file GATED is behind terms of use.

    One with a file STATUS is refused with the number in it, and with the request's own token.
    """

    # a connection kept alive would outlive the server
    protocol_version = "HTTP/1.0"
    root: Path

    def do_GET(self) -> None:
        """Answer `/api/KIND/OWNER/NAME/…` and `[/datasets]/OWNER/NAME/resolve/COMMIT/…`."""
        parts = unquote(urlsplit(self.path).path).strip("/").split("/")
        is_api = parts[0] == "api"
        before = 2 if is_api else int(parts[0] == "datasets")
        owner, name, *rest = parts[before:]
        repository = self.root / owner / name
        if not repository.is_dir():
            self._answer(404, b"{}", {"X-Error-Code": "RepoNotFound"})
        elif (repository / "STATUS").exists():
            said = f"you sent {self.headers.get('Authorization')}"
            body = json.dumps({"error": said}).encode()
            status = int((repository / "STATUS").read_text())
            self._answer(status, body, {"X-Error-Message": said})
        elif (repository / "GATED").exists():
            self._answer(403, b"{}", {"X-Error-Code": "GatedRepo"})
        elif is_api and rest[:1] == ["tree"] and not (repository / "/".join(rest[2:])).is_dir():
            self._answer(404, b"{}", {"X-Error-Code": "EntryNotFound"})
        elif is_api and rest[:1] == ["tree"]:
            self._answer_tree(repository, "/".join(rest[2:]))
        elif is_api:
            files = [{"rfilename": path.name} for path in sorted(repository.iterdir())]
            description = {"id": f"{owner}/{name}", "sha": COMMIT, "siblings": files}
            self._answer(200, json.dumps(description).encode())
        else:
            self._answer_file(repository / "/".join(rest[2:]))

    do_HEAD = do_GET

    def _answer_tree(self, repository: Path, folder: str) -> None:
        entries = [
            {
                "type": "file" if path.is_file() else "directory",
                "path": path.relative_to(repository).as_posix(),
                "size": path.stat().st_size,
                "oid": hashlib.sha1(str(path).encode()).hexdigest(),
            }
            for path in sorted((repository / folder).iterdir())
        ]
        self._answer(200, json.dumps(entries).encode())

    def _answer_file(self, path: Path) -> None:
        if not path.is_file():
            self._answer(404, b"", {"X-Error-Code": "EntryNotFound"})
            return
        content = path.read_bytes()
        headers = {"X-Repo-Commit": COMMIT, "ETag": f'"{hashlib.sha1(content).hexdigest()}"'}
        if "Range" not in self.headers:
            self._answer(200, content, headers)
            return
        first, last = map(int, self.headers["Range"].removeprefix("bytes=").split("-"))
        headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
        self._answer(206, content[first : last + 1], headers)

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing: the output is JSON."""


def main(repositories: Path, output: Path) -> None:
    """Prepare from a hub that is there, then from one that is gone."""
    FakeHub.root = repositories
    server = ThreadingHTTPServer(("127.0.0.1", 0), FakeHub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    os.environ |= {
        "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
        "HF_HOME": str(output / "hugging_face"),
        "HF_HUB_OFFLINE": "0",
    }
    names = ["c4", "wikitext", "own/two", "own/two:b", "own/two:z", "own/body"]
    names += ["own/gated", "own/tests", "no/such", *(f"own/answers-{code}" for code in REFUSALS)]
    steps = {name: step(name, output) for name in names}
    server.shutdown()
    server.server_close()
    steps |= {f"{name} again": step(name, output) for name in ("c4", "own/two")}

    from huggingface_hub import constants

    print(json.dumps(steps | {"telemetry off": bool(constants.HF_HUB_DISABLE_TELEMETRY)}))


def step(name: str, output: Path) -> dict[str, object]:
    """Prepare 1,500 samples and return the outcome."""
    from gatehouse.ingest.prepare import prepare, read_shard, shard_count
    from gatehouse.warehouse.errors import GatehouseError

    try:
        prepared = prepare(name, num_samples=1_500, folder=output / "prepared")
    except GatehouseError as error:
        return {"error": str(error)}
    shards = range(shard_count(prepared.path))
    samples = [sample for shard in shards for sample in read_shard(prepared.path, shard)]
    return {
        "texts": [sample.text for sample in samples],
        "names": [sample.name for sample in samples],
        "domains": sorted({sample.domain for sample in samples}),
        "skipped_empty": prepared.skipped_empty,
        "memory": json.loads(prepared.path.with_name("prepared.json").read_text()),
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
