"""Commands in processes of their own, the homes they start from, and what they leave."""

import re
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from gatehouse.flows.cli import app
from gatehouse.flows.steps.prepare import prepare_samples
from gatehouse.warehouse.lake import Lake
from gatehouse.warehouse.paths import Paths
from tests.chaos.contents import Contents, compare, contents
from tests.chaos.ground import EARLIER, Ground
from tests.chaos.processes import Ended, Point, Started, forked, start, wait

End = tuple[str, tuple[str, ...]]
"""What a home holds at last: that of a scene, after some commands."""


class Kind(Protocol):
    """Commands that are killed together."""

    @property
    def commands(self) -> tuple[str, ...]:
        """Keys of WORDS."""

    @property
    def scene(self) -> str:
        """The home they start from."""

    @property
    def end(self) -> End:
        """What the home holds at last."""


ID = "the id of the earlier run"
TRACE, MODEL = "the folder of a trace", "the model that it is of"
IMPORT = ("import", "jsonl", TRACE, "--model", MODEL)
REPLAY = ("replay", "--drop-below", "0.4")
OF_THE_TEXT = ("prepare", "capture", "capture-part", "capture-on-workers", "rank-0", "rank-1")
WORDS = {
    "prepare": ("prepare", "--create-splits"),
    "capture": ("capture",),
    "capture-on-workers": ("capture", "--workers", "2"),
    "rank-0": ("capture", "--rank", "0", "--of", "2"),
    "rank-1": ("capture", "--rank", "1", "--of", "2"),
    "capture-part": ("capture", "--num-samples", "700"),
    "build": ("build",),
    "replay": REPLAY,
    "replay-on-workers": (*REPLAY, "--workers", "2"),
    "replay-rank-0": (*REPLAY, "--rank", "0", "--of", "2"),
    "replay-rank-1": (*REPLAY, "--rank", "1", "--of", "2"),
    "import": IMPORT,
    "import-on-workers": (*IMPORT, "--workers", "2"),
    "import-rank-0": (*IMPORT, "--rank", "0", "--of", "2"),
    "import-rank-1": (*IMPORT, "--rank", "1", "--of", "2"),
    "docs": ("docs",),
    "report": ("report", "--run", EARLIER),
    "runs-rm": ("runs", "rm", EARLIER, "--yes"),
    # by its name nobody finds it again once that is gone, were there a report after that
    "runs-rm-by-id": ("runs", "rm", ID, "--yes"),
    "verify": ("verify",),
    "verify-repair": ("verify", "--repair"),
    "sql": ("sql", "select run_id, count(*) from fct_token_routing group by run_id"),
}
"""Commands by the names of their phases."""

SCENES: dict[str, End] = {
    "captured": ("start", ("capture",)),
    "built": ("captured", ("build",)),
    "whole": ("built", ("report",)),
    "damaged": ("whole", ()),
}
"""Homes, each made from another by commands, besides `start`, of one run that is built."""

ERROR = re.compile(r"(?m)^gatehouse: .*$")
FOUND = re.compile(r"(?m)^(?!.* as recorded and lawful$).+$")
"""What a command says that fails, and what `verify` finds wrong."""


def command(
    ground: Ground, name: str, *, point: Point | None = None, late: float = 0.0, log: str = "log"
) -> Started:
    """Start `gatehouse` on the ground's home with the words of a command.

    Args:
        ground: where the home is.
        name: a key of WORDS, the phase of the whole command.
        point: where or when it is killed.
        late: seconds before it begins.
        log: the name of the file that gets what it says, which is emptied.
    """
    request = ground.request
    meant = {TRACE: str(ground.trace), MODEL: request.model}
    if ID in WORDS[name]:
        meant[ID] = ground.earlier_run
    words = [meant.get(word, word) for word in WORDS[name]]
    if name in OF_THE_TEXT:
        words += ["--dataset", request.dataset]
    if words[0] == "capture":
        words += ["--model", request.model]
        words += ["--batch-size", str(request.batch_size), "--max-length", str(request.max_length)]

    def inside(mark: Callable[[str], None]) -> None:
        import torch

        torch.set_num_threads(1)
        sys.argv = ["gatehouse", *words, "--home", str(ground.home)]
        time.sleep(late)
        mark(name)
        app.main()

    path = ground.folder / log
    path.write_text("")
    return start(inside, path, point)


def complaint(ended: Ended, log: Path, refusal: str = "") -> str:
    """Return what is wrong with how a command ended, nothing if it did its work or was killed.

    Args:
        ended: how it ended.
        log: what it said.
        refusal: a pattern of the one line with which it may refuse, with exit code 2, or of what it
            may find wrong, with exit code 1.
    """
    said = log.read_text()
    if "Traceback" not in said:
        if ended.killed or ended.code == 0:
            return ""
        lines = ERROR.findall(said) if ended.code == 2 else FOUND.findall(said)
        allowed = refusal and all(re.search(refusal, line) for line in lines)
        if allowed and (len(lines) == 1 or (lines and ended.code == 1)):
            return ""
    return f"exit code {ended.code}: {said.strip()[-600:] or 'not a word'}"


def carried_out(ground: Ground, name: str) -> float:
    """Carry out a command where nothing disturbs it, and return its seconds.

    Raises:
        RuntimeError: it failed; the message is what it said.
    """
    (ended,) = wait(command(ground, name))
    if wrong := complaint(ended, ground.log):
        raise RuntimeError(f"{name}: {wrong}")
    return ended.seconds


def lay_scenes(ground: Ground) -> dict[str, float]:
    """Make every scene of a ground that has none yet; return the seconds of their commands."""
    seconds = {}
    for scene, (before, names) in SCENES.items():
        ground.restore(before)
        for name in names:
            seconds[name] = carried_out(ground, name)
        if scene == "damaged":
            forked(partial(damage, ground.home))
        ground.home.rename(ground.folder / scene)
    return seconds


def damage(home: Path) -> None:
    """Cut a shard, and put a file between those of the lake and one that nobody finished."""
    lake = Lake(Paths(home).lake)
    *_, run_id = lake.runs()
    shard = lake.shard_file("events", run_id, 1)
    shard.write_bytes(shard.read_bytes()[:-100])
    shard.with_name("a-copy.parquet").write_bytes(b"PAR1")
    lake.file("layers", run_id).with_name(".layers.parquet.1.tmp").write_bytes(b"PAR1")


@dataclass(frozen=True)
class Undisturbed:
    """What homes hold where no command is killed, and how many seconds each command takes."""

    left: dict[End, Contents]
    seconds: dict[str, float]

    @classmethod
    def on(cls, ground: Ground, kinds: Sequence[Kind]) -> "Undisturbed":
        """Lay the scenes of a ground, and carry out on it what leads to the end of each kind.

        Raises:
            RuntimeError: a command failed, or a removal left something of the run.
        """
        left, seconds = {}, lay_scenes(ground)
        for end in dict.fromkeys(kind.end for kind in kinds):
            scene, names = end
            ground.restore(scene)
            for name in names:
                # a build that finds nothing new is no measure
                seconds[name] = max(carried_out(ground, name), seconds.get(name, 0.0))
            left[end] = forked(partial(contents, ground.home))
        if "runs-rm" in seconds:
            seconds["runs-rm-by-id"] = seconds["runs-rm"]
        for kind in kinds:
            for name in kind.commands:
                if name not in seconds:
                    ground.restore(kind.scene)
                    seconds[name] = carried_out(ground, name)
        if removed := left.get(("captured", ("runs-rm", "build"))):
            never = without_the_earlier_run(ground)
            if difference := compare(never, removed):
                raise RuntimeError(f"a removal leaves something of its run: {difference}")
        return cls(left, seconds)


def without_the_earlier_run(ground: Ground) -> Contents:
    """Return what a home holds that never had the earlier run; its text stays, as after a removal.

    Raises:
        RuntimeError: a command failed.
    """
    ground.restore("nothing")
    forked(partial(prepare_samples, ground.earlier, Paths(ground.home).prepared))
    for name in ("capture", "build"):
        carried_out(ground, name)
    # whichever run was the first to bear a name
    (Paths(ground.home).lake / "names").mkdir()
    return forked(partial(contents, ground.home))
