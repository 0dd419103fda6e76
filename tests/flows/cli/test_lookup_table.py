"""A lookup table that is exported is the one that a replay runs, and another program can use it."""

import json
import re
import runpy
import sys
from contextlib import closing
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import load_file
from transformers import AutoModelForCausalLM

from gatehouse.flows.replay.policies import Policies
from gatehouse.flows.request import RunRequest
from gatehouse.flows.steps import capture
from gatehouse.models.replay.measuring import measure
from gatehouse.models.zoo import resolve
from gatehouse.reports.exports.formats import export
from gatehouse.reports.exports.table_rule import OPTIONS, rule_of
from gatehouse.reports.marts import held_out
from gatehouse.warehouse.connect import connect
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.lake import Lake
from gatehouse.warehouse.paths import Paths
from gatehouse.warehouse.records import TokenWindow
from tests.conftest import CHECKOUT, DEMO
from tests.flows.conftest import build_of

PAGE = (CHECKOUT / "docs" / "lookup-table.md").read_text(encoding="utf-8")
(EXAMPLE,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.S)

RULES = {
    "share": {"min_share": 0.6, "min_frequency": 4},
    "every known one": {"min_share": 0.0, "min_frequency": 1},
    "entropy": {"entropy_threshold": 1.6, "frequency_threshold": 3},
    "most frequent": {"most_frequent": 20},
}


def table_of(path) -> SimpleNamespace:
    """Return ids, weights, mask and the metadata of a file."""
    with safe_open(path, "np") as file:
        metadata = file.metadata()
    return SimpleNamespace(**load_file(path), metadata=metadata)


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> Paths:
    """A warehouse of the bundled model on some of the bundled text."""
    paths = Paths(tmp_path_factory.mktemp("demo"))
    capture.capture(RunRequest(model="demo", num_samples=80, max_length=96), paths)
    dimensions = ("dim_run", "dim_layer")
    build_of(paths, "stg_events", "stg_samples", *dimensions, "int_fast_path_table", "fct_replay")
    return paths


@pytest.fixture(scope="module")
def events(captured) -> pd.DataFrame:
    """All events of the small run, with their samples' splits."""
    with closing(connect(Paths(captured))) as connection:
        query = "select * from events inner join samples using (run_id, sample_id)"
        return connection.sql(query).df()


def recomputed(events: pd.DataFrame, keep) -> dict[tuple[int, int], dict[int, float]]:
    """Return (token, layer) -> expert -> weight, for those whose train events `keep` accepts."""
    found = {}
    train = events[events["split"] == "train"]
    for key, of in train.groupby(["token_id", "layer"]):
        if keep(of):
            mean = np.zeros(4)
            for experts, weights in zip(of["experts"], of["weights"]):
                mean[experts] += weights.astype(float) / len(of)
            top = np.argsort(-mean, kind="stable")[:2]
            found[key] = dict(zip(top.tolist(), mean[top] * mean.sum() / mean[top].sum()))
    return found


def modal_share(of: pd.DataFrame) -> float:
    return of["experts"].map(lambda ids: tuple(sorted(ids))).value_counts(normalize=True).iloc[0]


@pytest.mark.parametrize(
    ("options", "keep"),
    [
        (RULES["share"], lambda of: len(of) >= 4 and modal_share(of) >= 0.6),
        (RULES["entropy"], lambda of: len(of) > 3 and of["entropy"].mean() < 1.6),
        ({}, lambda of: len(of) >= 50 and modal_share(of) >= 0.9),
        ({"entropy_threshold": 1.6}, lambda of: len(of) > 50 and of["entropy"].mean() < 1.6),
        ({"min_share": 0}, lambda of: len(of) >= 50),
    ],
)
def test_entries_are_mean_weights_of_the_train_split(captured, events, tmp_path, options, keep):
    expected = recomputed(events, keep)
    if not expected:
        with pytest.raises(GatehouseError, match=r"no token of .* is in such a table: ask for a"):
            export(None, "lookup-table", Paths(captured), tmp_path / "t.safetensors", **options)
        assert not list(tmp_path.iterdir())
        return
    found = table_of(
        export(None, "lookup-table", Paths(captured), tmp_path / "t.safetensors", **options)
    )
    assert (found.ids.dtype, found.weights.dtype, found.mask.dtype) == (np.int16, np.float32, bool)
    rows = events.loc[events["split"] == "train", "token_id"].max() + 1
    assert found.ids.shape == found.weights.shape == (rows, 3, 2)
    assert set(zip(*(each.tolist() for each in found.mask.nonzero()))) == set(expected)
    assert (found.ids[~found.mask] == -1).all() and not found.weights[~found.mask].any()
    for key, experts in expected.items():
        assert found.ids[key].tolist() == list(experts)
        np.testing.assert_allclose(found.weights[key], list(experts.values()), rtol=1e-5)
    check_held_out(events, expected, found.metadata)


def check_held_out(events, expected, metadata) -> None:
    """Check what the metadata say about text that the table was not made of."""
    others = events[events["split"] != "train"]
    keys = list(zip(others["token_id"], others["layer"]))
    covered = [key in expected for key in keys]
    agreed = [
        key in expected and set(ids) == set(expected[key])
        for key, ids in zip(keys, others["experts"])
    ]
    counts = [len(keys), sum(covered), sum(agreed)]
    names = [f"{name}_occurrences" for name in ("held_out", "covered", "agreed")]
    assert [json.loads(metadata[name]) for name in names] == counts
    assert json.loads(metadata["coverage"]) == counts[1] / counts[0]
    assert json.loads(metadata["set_agreement"]) == counts[2] / counts[1]


def test_the_file_says_where_it_is_from(captured, tmp_path):
    lake = Lake(Paths(captured).lake)
    (run_id,) = lake.runs()
    options = RULES["share"]
    path = export(run_id, "lookup-table", Paths(captured), None, **options)
    assert path == Paths(captured).results(run_id) / "table.safetensors"
    metadata = table_of(path).metadata
    record, layers = lake.run_record(run_id), lake.layers(run_id).to_pylist()
    assert metadata["run_id"] == run_id
    assert metadata["model"] == record["model"]
    assert metadata["model_fingerprint"] == record["model_fingerprint"]
    assert json.loads(metadata["router_paths"]) == [each["router_path"] for each in layers]
    assert json.loads(metadata["blocks"]) == [each["block"] for each in layers]
    assert {name: json.loads(metadata[name]) for name in options} == options
    assert metadata["policy_id"] == rule_of(**options).policy_id


@pytest.mark.xdist_group("demo")
@pytest.mark.parametrize("name", RULES)
def test_it_is_the_table_that_a_replay_runs(demo, tmp_path, name):
    (run_id,) = Lake(demo.lake).runs()
    options = RULES[name]
    path = export(run_id, "lookup-table", demo, tmp_path / "t.safetensors", **options)
    found = table_of(path)
    with closing(connect(demo)) as connection:
        policies = Policies(connection, Lake(demo.lake), run_id)
        entries = policies.of(rule_of(**options), []).entries
    known = entries.is_known.numpy()
    assert known.any()
    np.testing.assert_array_equal(found.mask, known)
    np.testing.assert_array_equal(found.ids[known], entries.ids.numpy()[known])
    np.testing.assert_allclose(found.weights[known], entries.weights.numpy()[known], rtol=1e-6)


@pytest.mark.xdist_group("demo")
def test_the_example_finds_what_a_replay_finds(demo, tmp_path, monkeypatch, capsys):
    """It knows nothing of Gatehouse, and its 40 lines are those that the page shows."""
    assert len(EXAMPLE.splitlines()) <= 40 and "gatehouse" not in EXAMPLE
    (run_id,) = Lake(demo.lake).runs()
    options = RULES["share"]
    path = export(run_id, "lookup-table", demo, tmp_path / "table.safetensors", **options)
    (tmp_path / "look_up.py").write_text(EXAMPLE)
    text = "Return the number of items in a list, or None if there is no such key."
    (tmp_path / "text.txt").write_text(text)
    words = [tmp_path / "look_up.py", DEMO, path, tmp_path / "text.txt"]
    monkeypatch.setattr(sys, "argv", list(map(str, words)))
    example = runpy.run_path(sys.argv[0], run_name="__main__")
    untouched, looked_up = (
        float(line.split()[-1]) for line in capsys.readouterr().out.splitlines()
    )
    plain = AutoModelForCausalLM.from_pretrained(DEMO, dtype=torch.float32)
    token_ids = example["text"]["input_ids"]
    assert untouched == pytest.approx(example["nll"](plain, token_ids))
    assert looked_up == pytest.approx(example["nll"](example["model"], token_ids))
    with closing(connect(demo)) as connection:
        policy = Policies(connection, Lake(demo.lake), run_id).of(rule_of(**options), [])
        windows = windows_of(connection, run_id)
    (measured,) = measure(
        resolve("demo", dtype="float32").load(head=AutoModelForCausalLM),
        {"table": policy},
        [windows],
    )
    found = measured["table"]
    assert found.covered.sum() > 100
    for row, window in enumerate(windows):
        tokens = torch.tensor([window.token_ids])
        for model, nll in ((example["model"], found.nll), (plain, found.untouched_nll)):
            loss = example["nll"](model, tokens)
            assert loss == pytest.approx(nll[row] / found.tokens[row], abs=1e-6)
    assert (abs(found.nll - found.untouched_nll) > 1e-3 * found.tokens).mean() > 0.5


def windows_of(connection, run_id: str) -> list[TokenWindow]:
    """Return the held-out samples, in ascending order, as the model read them."""
    samples = sorted(map(int, held_out.held_out_samples(connection, run_id)["sample_id"]))
    tokens = held_out.tokens_of(connection, run_id, samples).to_pandas()
    return [
        TokenWindow(sample, 0, of["token_id"].to_list())
        for sample, of in tokens.groupby("sample_id")
    ]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--min-share", "1.1"], "--min-share must be a share from 0 to 1"),
        (["--min-share", "nan"], "--min-share must be a share from 0 to 1"),
        (["--min-frequency", "0"], "--min-frequency must be 1 or more"),
        (["--frequency-threshold", "-1"], "--frequency-threshold must be 0 or more"),
        (["--entropy-threshold", "inf"], "--entropy-threshold must be more than 0 nats"),
        (["--most-frequent", "0"], "--most-frequent must be 1 or more"),
        (["--most-frequent", "5", "--min-share", "0.5"], "a table has one rule: give --min-share"),
        (["--entropy-threshold", "1", "--min-frequency", "5"], "a table has one rule: give"),
        (["--frequency-threshold", "9"], "is half of a rule: add --entropy-threshold NATS"),
        (["--min-frequency", "1000000"], "is in such a table: ask for a smaller --min-share or"),
        (["--keep", "2"], "--keep is not for --to lookup-table: leave it out"),
        (["--output", "table.npy"], "--to lookup-table does not write .npy files"),
    ],
)
def test_what_is_no_rule_is_one_line(run, captured, tmp_path, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    code, out, err = run("export", "--to", "lookup-table", "--home", captured, *words)
    assert (code, out) == (2, "") and said in err and err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir() if path.name != "home"] == []


def test_other_formats_have_no_rule(run, captured):
    for option in OPTIONS:
        spelled = f"--{option.replace('_', '-')}"
        code, _, err = run("export", "--to", "counts", spelled, "1", "--home", captured)
        assert code == 2 and f"{spelled} is not for --to counts: leave it out" in err
