"""What a dataset's card says of its files: a clone is read as `datasets` reads it."""

from itertools import chain
from pathlib import Path

import datasets
import pytest

from gatehouse.ingest.cards import CARD
from gatehouse.ingest.folders import Listing, list_folder
from tests.ingest.every_format import LINES

FILES = (
    "data/a.jsonl",
    "data/test-b.jsonl",
    "data/deep/c.jsonl",
    "data/x[1].jsonl",
    "de/dev.jsonl",
    "de/train.jsonl",
    "en/1.jsonl",
    "en/2.jsonl",
    "__macosx/a.jsonl",
    "z.jsonl",
)


def clone(root: Path, configs: str) -> Path:
    for name in FILES:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(LINES)
    (root / CARD).write_text(f"---\nlicense: mit\nconfigs:\n{configs}---\n\n# A dataset\n")
    return root


def left_out(listing: Listing) -> list[str]:
    return sorted(chain.from_iterable(listing.left_out.values()))


CONFIGS = {
    "one file": "- {config_name: a, data_files: z.jsonl}",
    "a list, in its order": "- {config_name: a, data_files: [z.jsonl, data/*.jsonl, en/2.jsonl]}",
    "splits": (
        "- config_name: default\n"
        "  data_files:\n"
        "  - {split: train, path: data/test-*}\n"
        "  - {split: test, path: ['data/a.jsonl', 'de/*']}"
    ),
    "any depth": "- {config_name: a, data_files: [{split: train, path: 'data/**/*.jsonl'}]}",
    "everything": "- {config_name: a, data_files: '**'}",
    "what is special": "- {config_name: a, data_files: ['__*/*', ./z.jsonl]}",
    "several, one of them default": (
        "- {config_name: de, data_files: de/train.jsonl}\n"
        "- {config_name: en, data_files: 'en/*', default: true}"
    ),
    "characters": "- {config_name: a, data_files: ['en/[12].jsonl', 'data/?.jsonl']}",
    "a folder": "- {config_name: a, data_dir: de}",
}


@pytest.mark.parametrize("name", CONFIGS)
def test_a_clone_is_read_as_the_hub_name_would_be(tmp_path: Path, name: str) -> None:
    root = clone(tmp_path / "clone", CONFIGS[name] + "\n")
    listing = list_folder(root)
    builder = datasets.load_dataset_builder(str(root), cache_dir=str(tmp_path / "cache"))
    wanted = [
        Path(path).relative_to(root).as_posix() for path in builder.config.data_files["train"]
    ]
    assert listing.read == wanted
    assert sorted([*listing.read, *left_out(listing)]) == sorted([*FILES, CARD])


def test_what_a_card_leaves_out_is_left_out_for_its_reason(tmp_path: Path) -> None:
    configs = (
        "- config_name: en\n  default: true\n  data_files:\n"
        "  - {split: train, path: en/1.jsonl}\n  - {split: test, path: en/2.jsonl}\n"
        "- {config_name: de, data_files: [{split: validation, path: 'de/*'}]}\n"
    )
    listing = list_folder(clone(tmp_path / "corpora" / "clone", configs))
    assert listing.read == ["en/1.jsonl"]
    assert listing.left_out == {
        "description of a dataset": [CARD],
        "of the configuration de": ["de/dev.jsonl", "de/train.jsonl"],
        "of the split test": ["en/2.jsonl"],
        "of no split": sorted(each for each in FILES if each[:3] not in ("de/", "en/")),
    }
    (tmp_path / "corpora" / "more.jsonl").write_bytes(LINES)
    assert list_folder(tmp_path / "corpora").read == ["clone/en/1.jsonl", "more.jsonl"]


REFUSED = {
    "several, none default": (
        "- {config_name: de, data_files: 'de/*'}\n- {config_name: en, data_files: 'en/*'}",
        ["has the configurations de, en, none of them the default", "default: true"],
    ),
    "several default": (
        "- {config_name: de, data_files: 'de/*', default: true}\n"
        "- {config_name: en, data_files: 'en/*', default: true}",
        ["has the configurations de, en, all of them default"],
    ),
    "no train": (
        "- {config_name: a, data_files: [{split: test, path: z.jsonl}]}",
        ["has no split train, only test", "name a folder or file of a split"],
    ),
    "not there": ("- {config_name: a, data_files: [z.jsonl, y.jsonl]}", ["lacks 'y.jsonl'"]),
    "elsewhere": ("- {config_name: a, data_files: ../../etc/passwd}", ["lacks '../../etc/passwd'"]),
    "not YAML": ("- {config_name: a", ["README.md does not list its `configs` as the hub asks"]),
    "not a list": ("  a: 1", ["README.md does not list its `configs`"]),
    "no path": (
        "- {config_name: a, data_files: [{split: train}]}",
        ["does not list its `configs`"],
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_card_that_does_not_say_what_to_read_is_refused(
    tmp_path: Path, name: str, refuses
) -> None:
    configs, words = REFUSED[name]
    root = clone(tmp_path, configs + "\n")
    with refuses(str(root), *words):
        list_folder(root)


@pytest.mark.parametrize("card", ["# Notes\n\n---\nconfigs: no\n---\n", "---\ntitle: a\n---\n"])
def test_a_readme_without_configurations_chooses_nothing(tmp_path: Path, card: str) -> None:
    root = clone(tmp_path, "")
    (root / CARD).write_text(card)
    assert list_folder(root).read == ["de/train.jsonl"]
