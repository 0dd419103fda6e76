"""What a dataset's card, its README.md, says of its files: configurations, and their splits."""

import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Any

from gatehouse.ingest.hub import LISTED_CONFIGURATIONS, SPLIT
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.plain_text import first_few

CARD = "README.md"
CARD_BYTES = 1 << 20
DESCRIPTION = "description of a dataset"
NO_DATA = {CARD, "config.json", "dataset_info.json", "dataset_infos.json", "dataset_dict.json"}
"""Files that no pattern means."""

WILDCARDS = set("*?[")
FRONT_MATTER = re.compile(r"\ufeff?---[^\S\n]*\n(.*?)^---\s*$", re.DOTALL | re.MULTILINE)
ELSE = "or name a folder or file of what you mean"


@dataclass(frozen=True)
class Chosen:
    """The files that a card chooses: `train` in order, `others` with the reasons, as paths.

    A file that is in neither is left to its name.
    """

    train: list[str]
    others: dict[str, str]


def chosen_by_card(
    folder: Path, configurations: Mapping[str, Mapping[str, Any]], names: list[str]
) -> Chosen:
    """Return which of a folder's files are of the split train of its default configuration.

    That is what the hub name of a dataset would read, in the same order.

    Args:
        folder: a folder with a README.md.
        configurations: those that it names, as `configurations_of` returns them.
        names: its files, as paths from it, in order.

    Raises:
        GatehouseError: several configurations and no default, no split train, or files that are
            not there.
    """
    default = _default(folder, configurations)
    splits = _splits(configurations[default])
    files = [name for name in names if PurePosixPath(name).name not in NO_DATA]
    train: list[str] = []
    if splits:
        if SPLIT not in splits:
            raise GatehouseError(
                f"{folder} has no split {SPLIT}, only {', '.join(splits)}: name a folder or file "
                "of a split"
            )
        train = _all_matching(folder, splits.pop(SPLIT), files)
    others = dict.fromkeys(names, "of no split")
    others |= {name: DESCRIPTION for name in names if name not in files}
    for name, configuration in configurations.items():
        if name != default:
            within = _within(_splits(configuration), configuration, files)
            others |= dict.fromkeys(within, f"of the configuration {name}")
    for split, patterns in splits.items():
        others |= dict.fromkeys(_matching(patterns, files), f"of the split {split}")
    undecided = [] if splits or train else _within({}, configurations[default], files)
    for name in [*train, *undecided]:
        others.pop(name, None)
    return Chosen(train, others)


def configurations_of(card: Path) -> dict[str, dict[str, Any]]:
    """Return name -> what a README.md says of each configuration.

    Raises:
        GatehouseError: it does not say it as the hub asks for.
    """
    import yaml

    try:
        with card.open("rb") as file:
            text = file.read(CARD_BYTES).decode("utf-8", "replace").replace("\r\n", "\n")
    except OSError:
        return {}
    matter = FRONT_MATTER.match(text)
    if not matter or "configs" not in matter[1]:
        return {}
    try:
        said = yaml.safe_load(matter[1])
        configs = said.get("configs") if isinstance(said, dict) else None
        return {str(each["config_name"]): _checked(each) for each in configs or ()}
    except (yaml.YAMLError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise GatehouseError(
            f"{card} does not list its `configs` as the hub asks for: mend it, {ELSE}"
        ) from error


def _checked(configuration: Any) -> dict[str, Any]:
    """Raise what `configurations_of` expects unless the files are named as the hub asks for."""
    _splits(configuration)
    return dict(configuration)


def _default(folder: Path, configurations: Mapping[str, Mapping[str, Any]]) -> str:
    default = [
        name
        for name, configuration in configurations.items()
        if len(configurations) == 1 or name == "default" or configuration.get("default")
    ]
    if len(default) != 1:
        named = list(default or configurations)
        which = f"the configurations {first_few(named, LISTED_CONFIGURATIONS)}"
        raise GatehouseError(
            f"{folder} has {which}, {'all of them' if default else 'none of them the'} default: "
            f"give one of them `default: true` in its {CARD}, {ELSE}"
        )
    return default[0]


def _splits(configuration: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return split -> patterns from the card's folder; nothing where no files are named."""
    named = configuration.get("data_files")
    if named is None:
        return {}
    entries = named.items() if isinstance(named, dict) else _entries(named)
    splits: dict[str, list[str]] = {}
    for split, paths in entries:
        for path in _listed(paths):
            pattern = posixpath.normpath(
                posixpath.join(str(configuration.get("data_dir") or ""), path)
            )
            splits.setdefault(str(split), []).append(pattern)
    return splits


def _entries(named: Any) -> list[tuple[Any, Any]]:
    return [
        (each["split"], each["path"]) if isinstance(each, dict) else (SPLIT, each)
        for each in _listed(named)
    ]


def _listed(value: Any) -> list[Any]:
    listed = value if isinstance(value, list) else [value]
    if not all(isinstance(each, str | dict) for each in listed):
        raise TypeError("neither a path nor a split")
    return listed


def _within(
    splits: Mapping[str, Iterable[str]], configuration: Mapping[str, Any], files: Sequence[str]
) -> list[str]:
    """Return the files of a configuration, whatever their split."""
    anything = posixpath.join(str(configuration.get("data_dir") or ""), "**")
    patterns = [pattern for each in splits.values() for pattern in each]
    return _matching(patterns or [posixpath.normpath(anything)], files)


def _all_matching(folder: Path, patterns: Sequence[str], files: Sequence[str]) -> list[str]:
    """Return the files in the order of the patterns, each of which leads to some."""
    found: dict[str, None] = {}
    for pattern, matching in zip(patterns, _matches(patterns, files), strict=True):
        if not matching:
            raise GatehouseError(
                f"{folder} lacks {pattern!r}, which its {CARD} names for the split {SPLIT}: "
                f"download it, {ELSE}"
            )
        found |= dict.fromkeys(matching)
    return list(found)


def _matching(patterns: Iterable[str], files: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(chain.from_iterable(_matches(patterns, files))))


def _matches(patterns: Iterable[str], files: Sequence[str]) -> Iterator[list[str]]:
    """Yield the files that each pattern leads to."""
    from fsspec.utils import glob_translate

    # a card may name thousands of files one by one
    names = set(files)
    for pattern in patterns:
        if not set(pattern) & WILDCARDS:
            yield [pattern] if pattern in names else []
            continue
        try:
            matches = re.compile(glob_translate(pattern)).match
        except ValueError:  # `**` beside other characters, which the hub refuses too
            yield []
            continue
        wanted = special_folders(pattern)
        yield [name for name in files if matches(name) and special_folders(name) == wanted]


def special_folders(path: str) -> int:
    """Return how many folders are such that only a pattern that names them means their files."""
    return sum(part.startswith("__") for part in PurePosixPath(path).parent.parts)
