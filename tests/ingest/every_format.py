"""Two texts in every format, packed in every way; `python -m tests.ingest.every_format` shows all.

The table says what `prepare` reads of a file, a folder, a clone, the hub's cache and a pipe.
"""

import bz2
import csv
import gzip
import io
import json
import lzma
import os
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

TEXTS = ["a river and\na green door", "caf\u00e9 \u6f22"]


def as_stream(table: pa.Table, form: Callable[..., object]) -> bytes:
    sink = io.BytesIO()
    with form(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def as_parquet(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


def as_delimited(delimiter: str) -> bytes:
    sink = io.StringIO()
    csv.writer(sink, delimiter=delimiter).writerows([["n", "text"], *enumerate(TEXTS)])
    return sink.getvalue().encode()


TABLE = pa.table({"text": TEXTS})
LINES = "".join(json.dumps({"text": text}) + "\n" for text in TEXTS).encode()
ROWS = {
    "jsonl": LINES,
    "ndjson": LINES,
    "json": json.dumps([{"text": text} for text in TEXTS], indent=1).encode(),
    "csv": as_delimited(","),
    "tsv": as_delimited("\t"),
    "parquet": as_parquet(TABLE),
    "arrow": as_stream(TABLE, pa.ipc.new_stream),
}
PROSE = dict.fromkeys(("txt", "md", "rst", "html"), TEXTS[0].encode())
FORMATS = ROWS | PROSE
PACKINGS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".zst": lambda content: pa.Codec("zstd").compress(content).to_pybytes(),
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
}


def expected(form: str) -> list[str]:
    return TEXTS if form in ROWS else TEXTS[:1]


def as_file(root: Path, name: str, content: bytes) -> Path:
    path = root / name
    path.write_bytes(content)
    return path


def as_folder(root: Path, name: str, content: bytes) -> Path:
    as_file(root, name, content)
    (root / "picture.png").write_bytes(b"\x89PNG")
    return root


def as_clone(root: Path, name: str, content: bytes) -> Path:
    (root / "data").mkdir()
    for split in ("test", "train", "validation"):
        as_file(root / "data", f"{split}-00000-of-00001.{name.partition('.')[2]}", content)
    (root / "README.md").write_text("---\nlicense: mit\n---\n")
    return root


def as_cache(root: Path, name: str, content: bytes) -> Path:
    snapshot = root / "datasets--me--small" / "snapshots" / "0123abcd"
    snapshot.mkdir(parents=True)
    (snapshot.parent.parent / "blobs").mkdir()
    as_file(snapshot.parent.parent / "blobs", "5f0a", content)
    (snapshot / name).symlink_to("../../blobs/5f0a")
    return snapshot / name


def as_pipe(root: Path, name: str, content: bytes) -> Path:
    path = root / name
    os.mkfifo(path)
    threading.Thread(target=path.write_bytes, args=(content,), daemon=True).start()
    return path


WAYS_IN = (as_file, as_folder, as_clone, as_cache, as_pipe)


def main() -> None:
    from gatehouse.ingest.prepare import prepare
    from gatehouse.warehouse.errors import GatehouseError

    print("| file |", " | ".join(way.__name__.removeprefix("as_") for way in WAYS_IN), "|")
    print("|---" * (len(WAYS_IN) + 1) + "|")
    for form, content in FORMATS.items():
        for packing, pack in PACKINGS.items():
            cells = []
            for way in WAYS_IN:
                with tempfile.TemporaryDirectory() as folder:
                    root = Path(folder) / "corpus"
                    root.mkdir()
                    path = way(root, f"part.{form}{packing}", pack(content))
                    try:
                        done = prepare(str(path), folder=Path(folder) / "out")
                        cells.append("; ".join([done.samples_text, *done.notes]))
                    except GatehouseError as error:
                        cells.append(str(error).replace(folder, "\u2026"))
            print(f"| .{form}{packing} |", " | ".join(cells), "|")


if __name__ == "__main__":
    sys.exit(main())
