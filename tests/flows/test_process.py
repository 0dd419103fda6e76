"""A process of Gatehouse's own ends at once, and just as Python would have ended it."""

import os
import subprocess
import sys

import pytest

from gatehouse.warehouse.paths import PACKAGE

PROGRAM = """
import atexit, sys
from gatehouse.flows import process

class Slow:
    def __del__(self):
        print("taken down", file=sys.stderr)

kept = Slow()

def main():
    atexit.register(print, "at exit")
    print("x" * 100_000)
    {last}

process.run(main)
"""


@pytest.mark.parametrize(
    ("last", "code", "said"),
    [
        ("pass", 0, ""),
        ("sys.exit()", 0, ""),
        ("sys.exit(0)", 0, ""),
        ("sys.exit(3)", 3, ""),
        ("sys.exit('no')", 1, "no"),
        ("raise ValueError('a bug')", 1, "ValueError: a bug"),
    ],
)
def test_exit_codes_and_output_are_those_of_python(last, code, said):
    program = PROGRAM.format(last=last)
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=PACKAGE
    )
    assert ended.returncode == code
    assert ended.stdout == "x" * 100_000 + "\nat exit\n"
    assert ended.stderr.strip().splitlines()[-1:] == ([said] if said else [])


def test_a_reader_that_has_gone_is_no_traceback():
    program = "from gatehouse.flows import process; process.run(lambda: print(input()))"
    running = subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"},
        cwd=PACKAGE,
    )
    running.stdout.close()
    running.stdout = None
    assert running.communicate("a line\n")[1] == ""
    assert running.returncode == 0


def test_what_is_printed_to_a_closed_stream_lands_in_no_file(tmp_path):
    program = (
        "from gatehouse.flows import process\n"
        "def main():\n"
        "    with open('file', 'w') as file:\n"
        "        print('said', flush=True)\n"
        "        assert file.fileno() > 2\n"
        "process.run(main)"
    )
    words = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", sys.executable, "-c", program]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    assert subprocess.run(words, env=environment, cwd=tmp_path).returncode == 0
    assert (tmp_path / "file").read_text() == ""
