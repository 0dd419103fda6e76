"""Two processes that prepare one dataset, and what a killed one leaves behind."""

import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from gatehouse.ingest.one_writer import one_writer
from gatehouse.ingest.prepare import prepare

CHECKOUT = Path(__file__).resolve().parents[2]
PREPARE = """
import sys
from pathlib import Path
from gatehouse.ingest import prepare as module
from gatehouse.ingest.corpora import Corpus
from gatehouse.ingest.rows import Document

def documents():
    for index in range(1_500):
        yield Document(str(index), "d", "text")
    print("written", flush=True)
    sys.stdin.read()

module.read_corpus = lambda name, **reading: Corpus(name, documents(), None)
say = lambda line: print(line, flush=True)
module.prepare("pydoc", folder=Path(sys.argv[1]), say=say)
print("prepared", flush=True)
"""


def start(folder: Path) -> subprocess.Popen:
    """Start a process that prepares `pydoc`, writes for a while and then waits for its input."""
    return subprocess.Popen(
        [sys.executable, "-c", PREPARE, str(folder)],
        cwd=CHECKOUT,
        env=os.environ | {"PYTHONPATH": str(CHECKOUT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file()}


def test_the_second_waits_ctrl_c_ends_the_wait_and_a_kill_leaves_nothing_for_long(
    tmp_path: Path, lines: Path
) -> None:
    folder = tmp_path / "out"
    first, second = start(folder), None
    try:
        assert first.stdout.readline() == "written\n"
        unfinished = names(folder)
        assert any(name.endswith(".tmp") for name in unfinished)

        second = start(folder)
        waits = rf"waiting for process {first.pid} on .*, which is preparing pydoc too\n"
        assert re.fullmatch(waits, second.stdout.readline())
        second.send_signal(signal.SIGINT)
        assert "KeyboardInterrupt" in second.communicate(timeout=60)[1]
        # another dataset waits for nobody, and touches nothing of the first
        other = prepare(str(lines), folder=folder, say=pytest.fail)
        assert names(folder) == {*unfinished, "samples.parquet"}
        os.remove(other.path)

        second = start(folder)
        assert re.fullmatch(waits, second.stdout.readline())
        first.kill()
        assert second.communicate("", timeout=60)[0] == "written\nprepared\n"
        assert names(folder) == {"samples.parquet"}
    finally:
        for process in filter(None, (first, second)):
            process.kill()
            process.communicate()


def test_only_the_datasets_own_leftovers_are_removed(tmp_path: Path) -> None:
    own = [
        ".texts.7.parquet",
        "..texts.7.parquet.7.tmp",
        "texts-0123456789/.samples.parquet.7.tmp",
        "texts-0123456789-from-20/.train.parquet.7.tmp",
        ".texts.lock",
    ]
    others = [
        ".texts-more.7.parquet",
        "..texts-more.7.parquet.7.tmp",
        "texts-more-0123456789/.samples.parquet.7.tmp",
        "texts-0123456789/samples.parquet",
        "notes.parquet",
    ]
    for name in own + others:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("7")
    with one_writer(tmp_path, "texts", pytest.fail):
        pass
    found = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*")}
    assert found - {"texts-more-0123456789", "texts-0123456789"} == set(others)


def test_many_writers_take_turns(tmp_path: Path) -> None:
    inside, most, done = 0, 0, []

    def write() -> None:
        nonlocal inside, most
        for _ in range(20):
            with one_writer(tmp_path, "texts", None):
                inside += 1
                most = max(most, inside)
                (tmp_path / ".texts.7.parquet").write_text("")
                inside -= 1
        done.append(True)

    threads = [threading.Thread(target=write) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (most, len(done)) == (1, 6)
    assert not (tmp_path / ".texts.lock").exists()
