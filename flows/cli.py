"""The command line `gatehouse`; it imports nothing heavy until a command runs."""

import signal
import sys

import typer

# in the order in which the help lists their commands
from flows import options, run_commands  # isort: skip
from flows import question_commands  # isort: skip
from flows.terminal import app
from warehouse.errors import GatehouseError

__all__ = ["app", "main", "question_commands", "run_commands"]


def main() -> None:
    """Run the command line; bad input ends in one line on standard error and exit code 2."""
    pressed = []

    def interrupt(number: int, frame: object) -> None:
        pressed.append(number)
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupt)
    try:
        words = options.spelled_out(sys.argv[1:]) or ["--help"]
        code, line = app(words, prog_name="gatehouse", standalone_mode=False), ""
    except GatehouseError as error:
        code, line = 2, str(error)
    except typer.TyperException as error:
        code, line = 2, usage(error)
    except Exception:
        # on Ctrl-C the flow's server ends too, and Prefect fails to tell it that the flow crashed
        if not pressed:
            raise
    if pressed:
        code, line = 130, "interrupted; what has landed stays, the same command goes on from there"
    if line:
        print(f"gatehouse: {line}", file=sys.stderr)
    sys.exit(code)


def usage(error: typer.TyperException) -> str:
    """Return what is wrong with the command line, and where its help is."""
    message = error.format_message() if hasattr(error, "format_message") else str(error)
    commands = typer.main.get_group(app).commands
    named = [f" {word}" for word in sys.argv[1:2] if word in commands]
    return f"{' '.join(message.split())} (see `gatehouse{''.join(named)} --help`)"
