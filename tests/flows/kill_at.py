"""Run `gatehouse` and kill it with SIGKILL at the n-th call of a function.

    python tests/flows/kill_at.py os.replace 7 capture --dataset texts.jsonl
    python tests/flows/kill_at.py gatehouse.warehouse.lake.write_events:after 2 capture …

`:after` kills when the call returns, else before it starts.
"""

import itertools
import os
import pkgutil
import signal
import sys


def arm(point: str, count: int) -> None:
    """Replace the function that `point` names with one that kills this process."""
    path, _, moment = point.partition(":")
    owner_path, name = path.rsplit(".", 1)
    owner = pkgutil.resolve_name(owner_path)
    original = getattr(owner, name)
    # each call knows its own number: dbt's threads call at the same time
    numbers = itertools.count(1)

    def counted(*arguments, **named):
        is_it = next(numbers) == count
        if is_it and moment != "after":
            os.kill(os.getpid(), signal.SIGKILL)
        result = original(*arguments, **named)
        if is_it:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, name, counted)


if __name__ == "__main__":
    _, point, count, *arguments = sys.argv
    sys.argv = ["gatehouse", *arguments]
    arm(point, int(count))
    from gatehouse.flows.cli.app import main

    main()
