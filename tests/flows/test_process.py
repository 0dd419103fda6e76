"""A process of Gatehouse's own ends at once, and just as Python would have ended it."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from gatehouse.flows import process
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


def test_a_command_that_failed_waits_for_no_thread():
    program = (
        "import sys, threading\n"
        "from gatehouse.flows import process\n"
        "process.SECONDS_AFTER_A_FAILURE = 0.1\n"
        "threading.Thread(target=threading.Event().wait).start()\n"
        "process.run(lambda: sys.exit(2))"
    )
    assert subprocess.run([sys.executable, "-c", program], cwd=PACKAGE).returncode == 2


IN_NATIVE_CODE = """
import ctypes, signal
from gatehouse.flows import process

process.SECONDS_AFTER_A_SIGNAL = 0.1
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda number, frame: None)
process.EndInTime({signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"})
print("ready", flush=True)
library, mutex = ctypes.CDLL(None), ctypes.create_string_buffer(128)
while True:
    # the second time it never returns, and no signal wakes it
    library.pthread_mutex_lock(mutex)
"""


@pytest.mark.parametrize(
    ("number", "line"), [(signal.SIGINT, "interrupted"), (signal.SIGTERM, "terminated")]
)
def test_a_signal_ends_a_process_whose_main_thread_is_in_native_code(number, line):
    running = subprocess.Popen(
        [sys.executable, "-c", IN_NATIVE_CODE],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=PACKAGE,
    )
    assert running.stdout.readline() == "ready\n"
    running.send_signal(number)
    assert running.communicate()[1] == f"gatehouse: {line}\n"
    assert running.returncode == 128 + number


def test_what_ends_in_time_is_left_alone_and_leaves_nothing_behind():
    threads, before = threading.active_count(), signal.set_wakeup_fd(-1)
    clock = process.EndInTime({signal.SIGINT: "interrupted"})
    clock.hear(signal.SIGINT)
    clock.stop()
    clock.hear(signal.SIGINT)
    assert threading.active_count() == threads
    assert signal.set_wakeup_fd(before) == -1
