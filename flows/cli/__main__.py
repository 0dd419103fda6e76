"""The command `gatehouse` as a process: `python -m gatehouse.flows.cli` is the same."""

from gatehouse.flows import process
from gatehouse.flows.cli import app


def main() -> None:
    """Run the command line in this process, and end it."""
    process.run(app.main)


if __name__ == "__main__":
    main()
