"""How a process that is all Gatehouse's own treats garbage and its end.

With torch, dbt and Prefect in memory there are a million objects that live to the end. To look for
garbage among them as often as Python does costs a small run seconds, and so does taking them down
one by one at its end.
"""

import atexit
import gc
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress

SECONDS_TO_END = 4
SECONDS_AFTER_A_SIGNAL = 5
"""How long a command has to end after a signal; the shard being captured is discarded."""

SECONDS_AFTER_A_FAILURE = 5
"""How long what happens at exit may take after a command that failed."""

SHOW_CURSOR = b"\x1b[?25h"
NOT_FOR_USERS = (
    DeprecationWarning,
    PendingDeprecationWarning,
    ImportWarning,
    ResourceWarning,
)
"""Warnings that Python itself does not show."""


def collect_rarely() -> None:
    """Look for garbage after 50,000 new objects instead of some 700, and for old one rarely."""
    gc.set_threshold(50_000, 20, 50)


def open_what_is_closed() -> None:
    """Let standard streams that the caller has closed (`>&-`) lead nowhere.

    Otherwise the next file that is opened takes the number of one, and what is printed lands in it.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # the lowest number that is free
            os.open(os.devnull, os.O_RDWR)
    sys.stdin = sys.stdin or open(os.devnull, encoding="utf-8")  # noqa: SIM115
    sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115


def warn_as_usual() -> None:
    """Let no warning of a library end a command: PYTHONWARNINGS=error is for the user's own."""
    if os.environ.get("PYTHONWARNINGS"):
        warnings.resetwarnings()
        for category in NOT_FOR_USERS:
            warnings.simplefilter("ignore", category)


def run(main: Callable[[], object]) -> None:
    """Call `main` and end this process with the exit code that it asks for.

    Whatever was to happen at exit happens; only the interpreter and its objects are not taken down.
    """
    collect_rarely()
    open_what_is_closed()
    warn_as_usual()
    # a bug's traceback is followed by Python's own code for it
    code = 1
    # what registers first is called last
    atexit.register(lambda: _end(code))
    try:
        main()
        code = 0
    except SystemExit as asked:
        code = asked.code if isinstance(asked.code, int) else bool(asked.code)
        raise
    finally:
        if code:
            # a library may wait for what does not answer any more
            last = threading.Timer(SECONDS_AFTER_A_FAILURE, lambda: _end(code))
            last.daemon = True
            last.start()


class EndInTime:
    """Ends this process some seconds after a signal, even if the main thread is not let go by then.

    Python calls its handlers only once native code has returned, which may take minutes. So another
    thread hears the signals. The lake and the database are whole at every instant, and what is
    under way is removed as after a kill.
    """

    def __init__(self, lines: Mapping[int, str]) -> None:
        """Begin to listen, in the main thread.

        Args:
            lines: signal -> the last line on standard error; the exit code is 128 + the signal.
        """
        self._lines = lines
        self._over = threading.Event()
        self._heard, self._wakeup = os.pipe()
        os.set_blocking(self._wakeup, False)
        self._before = signal.set_wakeup_fd(self._wakeup, warn_on_full_buffer=False)
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def hear(self, number: int) -> None:
        """Take notice of a signal in a handler, too: a library may have begun to listen instead."""
        if not self._over.is_set():
            with suppress(OSError):
                os.write(self._wakeup, bytes([number]))

    def stop(self) -> None:
        """Let the process live, and whoever listened before listen again."""
        self._over.set()
        signal.set_wakeup_fd(self._before)
        os.close(self._wakeup)
        self._thread.join()
        os.close(self._heard)

    def _listen(self) -> None:
        while heard := os.read(self._heard, 1):
            line = self._lines.get(heard[0])
            if line and not self._over.wait(SECONDS_AFTER_A_SIGNAL):
                with suppress(OSError):
                    cursor = SHOW_CURSOR if os.isatty(2) else b""
                    # not through sys.stderr, whose lock the main thread may hold
                    os.write(2, cursor + f"gatehouse: {line}\n".encode())
                os._exit(128 + heard[0])


def end_with_parent() -> None:
    """End this process when its standard input closes, in a few seconds even if it hangs.

    Its parent holds the other end of the pipe, and lets go of it however it ends.
    """

    def wait() -> None:
        # not through sys.stdin, whose lock Python needs in order to end
        while os.read(0, 1):
            pass
        threading.Timer(SECONDS_TO_END, os._exit, [1]).start()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()


def _end(code: int) -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)
