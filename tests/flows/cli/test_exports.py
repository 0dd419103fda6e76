"""Exports are read back by their readers' own rules."""

import json
from dataclasses import dataclass

import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch

from gatehouse.ingest.traces import r3
from gatehouse.ingest.traces.sequence import Layout
from gatehouse.reports.exports.formats import EXPORTS, export, listed
from gatehouse.warehouse.connect import connect
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.lake import Lake
from gatehouse.warehouse.paths import Paths


@pytest.fixture(scope="module")
def paths(captured) -> Paths:
    return Paths(captured)


@pytest.fixture(scope="module")
def events(paths) -> pd.DataFrame:
    """The run's events, by sample, position and layer."""
    with connect(paths) as connection:
        found = connection.sql("select * from events").df()
    assert found["run_id"].nunique() == 1
    return found.sort_values(["sample_id", "position", "layer"], ignore_index=True)


def loads_of(events: pd.DataFrame) -> np.ndarray:
    """Return [layers, E] selections, counted from the events."""
    return np.stack(
        [
            np.bincount(np.concatenate(of["experts"].to_list()), minlength=4)
            for _, of in events.groupby("layer")
        ]
    )


@pytest.mark.parametrize("format", ["counts", "eplb"])
def test_counts_are_a_matrix_of_numpy(paths, events, tmp_path, format):
    found = np.load(export(None, format, paths, tmp_path / "x.npy"), allow_pickle=False)
    assert found.dtype == np.int64
    np.testing.assert_array_equal(found, loads_of(events))


def test_sglang_finds_a_step_of_all_layers(paths, events):
    """It takes `logical_count`, adds a dimension where it has two, and sums over steps."""
    (run_id,) = Lake(paths.lake).runs()
    path = export(run_id, "sglang", paths, None)
    assert path == paths.results(run_id) / "logical_count.json"
    counts = np.array(json.loads(path.read_text())["logical_count"])
    assert counts.ndim == 3
    np.testing.assert_array_equal(counts.sum(axis=0), loads_of(events))


def test_ktransformers_finds_a_step_of_all_layers(paths, events, tmp_path):
    """As in `kt_ep_wrapper.py` of its SGLang: a dictionary, three dimensions, summed over steps."""
    path = export(None, "ktransformers", paths, tmp_path / "counts.pt")
    loaded = torch.load(path, map_location="cpu", weights_only=True)
    assert isinstance(loaded, dict) and "logical_count" in loaded
    counts = loaded["logical_count"]
    assert counts.dim() == 3 and not counts.is_floating_point()
    np.testing.assert_array_equal(counts.sum(dim=0).numpy(), loads_of(events))
    # and its later versions, which want a finite tensor with routes in every MoE layer
    assert (counts.sum(dim=0).to(torch.float64).sum(dim=1) > 0).all()


def test_a_keep_list_names_the_experts_with_the_largest_gate_mass(paths, events, tmp_path):
    """A pruning tool cuts a router's rows to those of `keep`."""
    found = json.loads(export(None, "keep-list", paths, tmp_path / "k.json", keep="3").read_text())
    assert found["k"] == 3 and found["layers"] == [0, 1, 2] and found["by"] == "gate_mass"
    router = torch.arange(4.0)[:, None].repeat(1, 8)
    for (_, of), keep in zip(events.groupby("layer"), found["keep"]):
        mass = np.zeros(4)
        np.add.at(mass, np.stack(of["experts"].to_list()), np.stack(of["weights"].to_list()))
        assert set(keep) == set(np.argsort(mass)[1:].tolist())
        cut = router.index_select(0, torch.tensor(keep))
        assert cut[:, 0].tolist() == sorted(keep)


@pytest.mark.parametrize(
    ("keep", "kept"), [("2", 2), ("4", 4), ("0.5", 2), ("0.51", 3), ("3/4", 3), ("1.0", 4)]
)
def test_experts_are_kept_by_number_or_share(paths, tmp_path, keep, kept):
    found = json.loads(export(None, "keep-list", paths, tmp_path / "k.json", keep=keep).read_text())
    assert found["k"] == kept and {len(layer) for layer in found["keep"]} == {kept}


@pytest.mark.parametrize(
    ("keep", "said"),
    [
        *((each, "give a number of each layer's 4 experts") for each in ("0", "-1", "x", "5")),
        *((each, "give a number of each layer's 4 experts") for each in ("1.5", "nan", "1/0")),
        *(
            (each, "the router chooses 2 experts for a token; keep 2 or more")
            for each in ("1", ".2")
        ),
    ],
)
def test_what_cannot_be_kept_is_refused(paths, tmp_path, keep, said):
    with pytest.raises(GatehouseError, match=said):
        export(None, "keep-list", paths, tmp_path / "k.json", keep=keep)
    assert not list(tmp_path.iterdir())


def test_keep_goes_with_a_keep_list(run, paths, tmp_path):
    words = ["export", "--to", "keep-list", "--home", paths.root, "--output", tmp_path / "k.json"]
    code, _, err = run(*words)
    assert code == 2 and "--to keep-list needs --keep: a number of experts" in err
    assert run(*words, "--keep", "0.5")[0] == 0
    code, _, err = run("export", "--to", "counts", "--keep", "2", "--home", paths.root)
    assert code == 2 and "--keep is not for --to counts: leave it out" in err


def test_rollouts_come_back_through_the_import(paths, events, tmp_path):
    """What slime and miles read: token ids, and a row of experts for every token but the last."""
    path = export(None, "r3", paths, tmp_path / "rollout_0.pt")
    dump = torch.load(path, map_location="cpu", weights_only=True)
    assert all(Sample(**sample).status == "completed" for sample in dump["samples"])
    layout = Layout((0, 1, 2), 3, (4, 4, 4), (2, 2, 2))
    found = list(r3.read([path], layout))
    groups = [of for _, of in events.groupby("sample_id")]
    assert len(found) == len(groups) > 0
    for sequence, of in zip(found, groups):
        tokens = of["token_id"].to_numpy()[::3]
        experts = np.stack(of["experts"].to_list()).reshape(len(tokens), 3, 2)
        np.testing.assert_array_equal(sequence.token_ids, tokens)
        np.testing.assert_array_equal(sequence.experts, experts[:-1])
        assert sequence.prompt_tokens == len(tokens)
    assert len({sequence.document for sequence in found}) > 1


@dataclass
class Sample:
    """The fields of slime's `Sample` (`slime/utils/types.py`) that stand in an export."""

    index: int
    group_index: int
    tokens: list[int]
    response_length: int
    status: str
    rollout_routed_experts: torch.Tensor


def test_esft_trains_the_experts_of_the_largest_share(paths, events, tmp_path):
    found = json.loads(export(None, "esft", paths, tmp_path / "e.json").read_text())
    assert found.keys() == {"experts", "shared_experts", "non_expert_modules"}
    for block, loads in enumerate(loads_of(events)):
        shares = np.round(loads / loads.sum(), 4)
        chosen: list[int] = []
        for expert in np.argsort(-shares, kind="stable"):
            if shares[chosen].sum() >= 0.2:
                break
            chosen.append(int(expert))
        assert found["experts"][str(block)] == chosen


def test_events_are_one_table(paths, events, tmp_path):
    check_table(pd.read_parquet(export(None, "events", paths, tmp_path / "events.parquet")), events)


def test_events_are_an_arrow_file_or_stream_by_the_suffix(paths, events, tmp_path):
    """A stream is read without seeking, as from a pipe."""
    path = export(None, "events", paths, tmp_path / "events.ARROW")
    check_table(pd.read_feather(path), events)
    with open(export(None, "events", paths, tmp_path / "events.arrows"), "rb") as file:
        check_table(pa.ipc.open_stream(pa.PythonFile(file, "r")).read_pandas(), events)
    with pytest.raises(pa.ArrowInvalid):
        pa.ipc.open_file(tmp_path / "events.arrows")


def check_table(found: pd.DataFrame, events: pd.DataFrame) -> None:
    """Check that a table has all events."""
    expected = events.drop(columns="run_id")
    assert list(found.columns) == list(expected.columns) and len(found) == len(expected) > 0
    for column in found.columns:
        here, there = (frame[column].to_list() for frame in (found, expected))
        if column in ("experts", "weights"):
            np.testing.assert_array_equal(np.stack(here), np.stack(there))
        else:
            assert here == there, column


def test_a_data_set_is_read_by_datasets(paths, events, tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    folder = export(None, "huggingface", paths, tmp_path / "a folder")
    assert set(datasets.get_dataset_config_names(str(folder))) == {
        *("events", "samples", "layers", "vocabulary")
    }
    with connect(paths) as connection:
        samples = connection.sql("select * from samples").df()
        vocabulary = len(connection.sql("select * from vocabulary").df())
    found = datasets.load_dataset(str(folder))
    split_of = samples.set_index("sample_id")["split"]
    assert set(found) == set(split_of) and len(found) > 1
    for split, rows in found.items():
        check_table(
            rows.to_pandas(),
            events[events["sample_id"].map(split_of) == split].reset_index(drop=True),
        )
    found = datasets.load_dataset(str(folder), "samples")
    for split, rows in found.items():
        assert rows["sample_id"] == sorted(split_of.index[split_of == split])
    layers = datasets.load_dataset(str(folder), "layers", split="train")
    assert layers["num_experts"] == [4, 4, 4]
    assert len(datasets.load_dataset(str(folder), "vocabulary", split="train")) == vocabulary
    card = (folder / "README.md").read_text()
    assert f"{len(events):,}" in " ".join(card.split())


def test_a_folder_with_other_files_is_not_replaced(paths, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(GatehouseError, match="holds other files: name a new or an empty folder"):
        export(None, "huggingface", paths, tmp_path)
    with pytest.raises(GatehouseError, match="is no folder: name a new or an empty folder"):
        export(None, "huggingface", paths, tmp_path / "mine.txt")
    assert [each.read_text() for each in tmp_path.iterdir()] == ["mine"]
    (tmp_path / "empty").mkdir()
    assert (export(None, "huggingface", paths, tmp_path / "empty") / "README.md").exists()
    # the run's own is written anew, its other results stay
    own = export(None, "huggingface", paths, None)
    with pytest.raises(GatehouseError, match="holds other files"):
        export(None, "huggingface", paths, own.parent)
    (own / "left").write_text("by an earlier export")
    assert not (export(None, "huggingface", paths, None) / "left").exists()


@pytest.mark.parametrize(("format", "name"), [("events", "e.csv"), ("sglang", "x.NPY")])
def test_a_name_of_another_format_is_refused(paths, tmp_path, format, name):
    with pytest.raises(
        GatehouseError, match=f"--to {format} does not write .* --output with "
    ) as no:
        export(None, format, paths, tmp_path / name)
    assert not list(tmp_path.iterdir())
    fitting = str(no.value).split(" with ")[1].split(" or ")[0]
    assert export(None, format, paths, tmp_path / f"fits{fitting}").is_file()


def test_a_folder_is_no_file(paths, tmp_path):
    with pytest.raises(GatehouseError, match="is a folder: name a file for --output"):
        export(None, "counts", paths, tmp_path)
    assert export(None, "counts", paths, tmp_path / "file.npy").is_file()


def test_every_format_is_listed_and_another_is_refused(paths, tmp_path):
    assert [line.split("  ")[0].strip() for line in listed().splitlines()] == list(EXPORTS)
    with pytest.raises(GatehouseError, match="no export is called 'csv': name one of counts, "):
        export(None, "csv", paths, tmp_path / "x")
    assert not list(tmp_path.iterdir())
