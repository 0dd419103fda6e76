"""Hub datasets through the real client: a hub on this machine, and none at all."""

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gatehouse.ingest.corpora import read_corpus
from gatehouse.ingest.hub import HubDataset, hub_dataset
from tests.ingest.fake_hub import REFUSALS, TOKEN, write_refusals

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parent.parent
PRIVACY = {"DO_NOT_TRACK", "DISABLE_TELEMETRY", "HF_HUB_DISABLE_TELEMETRY"}
"""Settings that would hide whether Gatehouse itself prevents usage reports."""


def write_card(repository: Path, configurations: dict[str, str], split: str = "train") -> None:
    entries = "".join(
        f"- config_name: {name}\n  data_files:\n  - split: {split}\n    path: {path}\n"
        for name, path in configurations.items()
    )
    repository.mkdir(parents=True, exist_ok=True)
    (repository / "README.md").write_text(f"---\nconfigs:\n{entries}---\n")


def write_parquet(path: Path, columns: dict[str, list[Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)


def write_c4(repository: Path) -> None:
    """Two gzipped JSON Lines files of 1,000 documents, as the real one has 1,024."""
    write_card(repository, {"en": "en/c4-train.*.json.gz"})
    (repository / "en").mkdir()
    for file in range(2):
        path = repository / "en" / f"c4-train.{file:05d}-of-00002.json.gz"
        with gzip.open(path, "wt") as lines:
            for index in range(1_000):
                row = {"text": f"document {file} {index} é 😀", "url": "http://localhost"}
                lines.write(json.dumps(row) + "\n")


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The outcome of preparing each dataset; see fake_hub.py."""
    root = tmp_path_factory.mktemp("hub")
    write_c4(root / "allenai" / "c4")
    wikitext = root / "Salesforce" / "wikitext"
    write_card(wikitext, {"wikitext-103-raw-v1": "wikitext-103-raw-v1/train-*"})
    rows = {"text": ["", " = Title = \n", "", " = = Section = = \n", " A paragraph . \n", ""] * 3}
    write_parquet(wikitext / "wikitext-103-raw-v1" / "train-00000-of-00001.parquet", rows)
    own = root / "own"
    write_card(own / "two", {"a": "a/train-*", "b": "b/train-*"})
    for name in "ab":
        columns = {"text": [f"in {name}"], "domain": ["law"], "id": [7]}
        write_parquet(own / "two" / name / "train-0.parquet", columns)
    write_card(own / "body", {"default": "train-*"})
    write_parquet(own / "body" / "train-0.parquet", {"body": ["a"], "n": [1]})
    write_card(own / "tests", {"default": "test-*"}, split="test")
    write_parquet(own / "tests" / "test-0.parquet", {"text": ["a"]})
    write_card(own / "gated", {"default": "train-*"})
    (own / "gated" / "GATED").touch()
    write_refusals(own)
    output = tmp_path_factory.mktemp("output")
    ended = subprocess.run(
        [sys.executable, str(HERE / "fake_hub.py"), str(root), str(output)],
        capture_output=True,
        text=True,
        cwd=CHECKOUT,
        env={name: value for name, value in os.environ.items() if name not in PRIVACY}
        | {"PYTHONPATH": str(CHECKOUT), "HF_TOKEN": TOKEN},
    )
    assert ended.returncode == 0, ended.stderr
    assert TOKEN not in ended.stderr + ended.stdout
    return json.loads(ended.stdout)


def test_c4_is_streamed_in_order_under_its_commit(steps: dict[str, Any]) -> None:
    found = steps["c4"]
    expected = [f"document {file} {index} é 😀" for file in range(2) for index in range(1_000)]
    assert found["texts"] == expected[:1_500]
    assert found["names"][1_200] == "c4:1200"
    assert found["domains"] == ["c4"]
    assert len(found["memory"]["revision"]) == 40
    assert found["memory"]["exhausted"] is False


def test_wikitext_is_read_an_article_at_a_time(steps: dict[str, Any]) -> None:
    found = steps["wikitext"]
    article = " = Title = \n\n = = Section = = \n A paragraph . \n\n"
    assert found["texts"] == [f"{article}\n", f"{article}\n", article]
    assert found["names"] == ["wikitext:1", "wikitext:7", "wikitext:13"]
    assert (found["skipped_empty"], found["memory"]["duplicates"]) == (1, 1)
    assert found["memory"]["exhausted"] is True


def test_a_configuration_is_named_after_a_colon(steps: dict[str, Any]) -> None:
    assert steps["own/two:b"]["texts"] == ["in b"]
    assert steps["own/two:b"]["domains"] == ["law"]
    assert steps["own/two:b"]["names"] == ["7"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("own/two", ["owner/name:configuration", "a, b"]),
        ("own/two:z", ["owner/name:configuration", "a, b"]),
        ("own/body", ["no field text", "'body', 'n'"]),
        ("own/tests", ["train", "test", "download"]),
        ("own/gated", ["terms", "HF_TOKEN"]),
        ("no/such", ["neither", "HF_TOKEN"]),
        *((f"own/answers-{status}", [str(status)]) for status in REFUSALS),
        (
            "own/two again",
            ["HF_ENDPOINT names does not answer", "not a file or folder here", "pydoc"],
        ),
    ],
)
def test_what_the_hub_refuses_is_one_line_with_a_way_out(
    steps: dict[str, Any], name: str, words: list[str]
) -> None:
    message = steps[name]["error"]
    assert len(message.splitlines()) == 1
    assert name.removesuffix(" again") in message
    for word in words:
        assert word in message


def test_what_was_prepared_needs_no_hub_any_more(steps: dict[str, Any]) -> None:
    assert steps["c4 again"] == steps["c4"]


def test_no_usage_is_reported(steps: dict[str, Any]) -> None:
    assert steps["telemetry off"] is True


@pytest.mark.parametrize("name", ["c4", "wikitext", "owner/name", "owner/name:configuration"])
def test_offline_the_hub_is_refused_and_pydoc_named(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refuses: Callable
) -> None:
    # HF_HUB_OFFLINE is set for the whole suite
    monkeypatch.chdir(tmp_path)
    with refuses("HF_HUB_OFFLINE is set", name, "pydoc", "local file or folder"):
        read_corpus(name)


def test_names_of_the_hub() -> None:
    assert hub_dataset("c4") == HubDataset("allenai/c4", "en")
    assert hub_dataset("wikitext") == HubDataset("Salesforce/wikitext", "wikitext-103-raw-v1")
    assert hub_dataset("owner/name") == HubDataset("owner/name")
    assert hub_dataset("owner/name:x-1.0") == HubDataset("owner/name", "x-1.0")
    for name in ("name", "a/b/c", "owner/", "/name", "owner/na me", "owner/name:", "a\\b", ""):
        assert hub_dataset(name) is None
