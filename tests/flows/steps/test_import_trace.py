"""What an engine recorded lands as a run, exactly once, and is what the engine recorded."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from gatehouse.flows.steps.importing import imported_run as importing
from gatehouse.flows.steps.importing.import_trace import import_trace
from gatehouse.flows.steps.importing.imported_run import ImportRequest
from gatehouse.flows.upkeep.verify import verify_runs
from gatehouse.ingest.traces import landing
from gatehouse.ingest.traces.formats import FORMATS
from gatehouse.models.checkpoint.described import describe
from gatehouse.reports.exports.formats import export
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.lake import Lake
from gatehouse.warehouse.paths import Paths
from gatehouse.warehouse.upkeep.verification import verify
from tests.ingest.traces.engine_files import WRITERS, Routed, plain_lists

SAMPLES = 8
PARTS = ("weights", "entropy", "confidence", "top_expert", "token_id")


@pytest.fixture(scope="module")
def routed(captured) -> list[Routed]:
    """The first samples of the captured run, as an engine would have routed them: not the last."""
    lake = Lake(Paths(captured).lake)
    (run_id,) = lake.runs()
    events = pq.read_table(lake.shard_file("events", run_id, 0), partitioning=None).to_pandas()
    found = []
    for _, sample in events.groupby("sample_id"):
        by_token = sample.sort_values(["position", "layer"])
        layers = by_token["layer"].nunique()
        experts, weights = (
            np.stack(by_token[name].to_list()).reshape(-1, layers, 2)[:-1]
            for name in ("experts", "weights")
        )
        tokens = by_token["token_id"].to_numpy()[::layers]
        found.append(Routed(tokens, experts.astype(np.int64), weights.astype(np.float32), 5))
    return found[:SAMPLES]


@pytest.fixture(scope="module")
def described(tiny_mixtral):
    return describe(str(tiny_mixtral), None, False)


@pytest.fixture(autouse=True)
def known(monkeypatch, described):
    """The model is looked at once for all tests."""
    monkeypatch.setattr(importing, "describe", lambda *_: described)


@pytest.fixture
def trace(routed, tmp_path) -> Path:
    """The samples in a file of the plain format."""
    lines = [plain_lists(each, tmp_path).read_text() for each in routed]
    path = tmp_path / "trace.jsonl"
    path.write_text("".join(lines))
    return path


def request(path: Path, name: str = "jsonl") -> ImportRequest:
    return ImportRequest(name, (path,), "the tiny model")


def events_of(lake: Lake, run_id: str):
    shards = sorted(lake.shards.recorded(run_id))
    tables = [
        pq.read_table(lake.shard_file("events", run_id, shard), partitioning=None).to_pandas()
        for shard in shards
    ]
    import pandas as pd

    return pd.concat(tables).sort_values(["sample_id", "position", "layer"])


@pytest.mark.parametrize("way", WRITERS)
def test_a_captured_run_comes_back_from_every_format(way, routed, tmp_path):
    """Equal in everything that the format carries, and null in the rest."""
    format_name, write, carried = WRITERS[way]
    files = []
    for number, sample in enumerate(routed if format_name != "flame" else routed[:1]):
        folder = tmp_path / str(number)
        folder.mkdir()
        files.append(write(sample, folder))
    paths = Paths(tmp_path / "home")
    summary = import_trace(ImportRequest(format_name, tuple(files), "the tiny model"), paths)
    lake = Lake(paths.lake)
    found = events_of(lake, summary.run_id)
    of = routed[: len(files)]
    experts = np.concatenate([each.experts.reshape(-1, 2) for each in of])
    ids = np.stack(found["experts"].to_list())
    has_weights, has_tokens = "weights" in carried, "tokens" in carried
    assert (ids == (experts if has_weights else np.sort(experts))).all()
    if has_weights:
        weights = np.concatenate([each.weights.reshape(-1, 2) for each in of])
        assert (np.stack(found["weights"].to_list()) == weights.astype(np.float16)).all()
    if has_tokens:
        tokens = np.concatenate([np.repeat(each.tokens[:-1], 3) for each in of])
        assert (found["token_id"] == tokens).all()
    told = {"weights": has_weights, "top_expert": has_weights, "token_id": has_tokens}
    for name in PARTS:
        assert found[name].notna().all() if told.get(name) else found[name].isna().all(), name
    assert verify(lake, summary.run_id) == []
    record = lake.run_record(summary.run_id)
    assert record["source"] == format_name and record["has_token_ids"] == has_tokens
    assert [each["bytes"] > 0 for each in json.loads(record["source_files"])]
    assert sum(each.experts.shape[0] for each in of) == summary.tokens


def test_an_exported_run_is_imported_again(captured, tmp_path):
    """The events of all tokens but each sample's last one, in the same documents."""
    path = export(None, "r3", Paths(captured), tmp_path / "rollout_0.pt")
    paths = Paths(tmp_path / "home")
    summary = import_trace(request(path, "r3"), paths)
    lake = Lake(Paths(captured).lake)
    expected = events_of(lake, *lake.runs())
    last = expected.groupby("sample_id")["position"].transform("max")
    expected = expected[expected["position"] < last]
    found = events_of(Lake(paths.lake), summary.run_id)
    for name in ("sample_id", "position", "layer", "token_id"):
        np.testing.assert_array_equal(found[name], expected[name])
    ids, told = (np.stack(frame["experts"].to_list()) for frame in (found, expected))
    np.testing.assert_array_equal(ids, np.sort(told))
    assert verify(Lake(paths.lake), summary.run_id) == []


def save_router_logits(model: Path, texts: list[np.ndarray], path: Path) -> None:
    """Save what `gatehouse import --example router-logits` says, of a batch padded on the left."""
    import torch
    from safetensors.torch import save_file
    from transformers import AutoModelForCausalLM

    loaded = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()
    longest = max(map(len, texts))
    rows = [[0] * (longest - len(ids)) + ids.tolist() for ids in texts]
    is_real = [[0] * (longest - len(ids)) + [1] * len(ids) for ids in texts]
    batch = {"input_ids": torch.tensor(rows), "attention_mask": torch.tensor(is_real)}
    with torch.no_grad():
        found = loaded(**batch, output_router_logits=True).router_logits
    named = {f"router_logits.{number}": layer for number, layer in enumerate(found)}
    if path.suffix == ".safetensors":
        save_file(batch | named, path)
    elif path.suffix == ".npz":
        np.savez(path, **{key: value.numpy() for key, value in (batch | named).items()})
    else:
        torch.save(batch | {"router_logits": found}, path)


@pytest.mark.parametrize("suffix", [".safetensors", ".npz", ".pt"])
def test_saved_router_logits_come_back_as_the_capture(captured, tiny_mixtral, tmp_path, suffix):
    """The model routes the captured texts again, with transformers alone: all columns are equal."""
    lake = Lake(Paths(captured).lake)
    (run_id,) = lake.runs()
    expected = events_of(lake, run_id)
    expected = expected[expected["sample_id"] < SAMPLES]
    texts = [of.loc[of["layer"] == 0, "token_id"] for _, of in expected.groupby("sample_id")]
    path = tmp_path / f"batch{suffix}"
    save_router_logits(tiny_mixtral, [ids.to_numpy() for ids in texts], path)
    paths = Paths(tmp_path / "home")
    summary = import_trace(request(path, "router-logits"), paths)
    found = events_of(Lake(paths.lake), summary.run_id)
    assert verify(Lake(paths.lake), summary.run_id) == []
    for column in ("sample_id", "position", "layer", "token_id", "top_expert"):
        np.testing.assert_array_equal(found[column], expected[column], column)
    for column, tolerance in {"experts": 0, "weights": 2**-10}.items():
        here, there = (np.stack(each[column].to_list()) for each in (found, expected))
        np.testing.assert_allclose(here, there, atol=tolerance, err_msg=column)
    for column in ("entropy", "confidence"):
        np.testing.assert_allclose(found[column], expected[column], atol=1e-5, err_msg=column)


def test_a_run_names_every_file_that_was_read(routed, tmp_path):
    """Also those beside the folder or the file that was given: other tokens are another run."""
    for way, given, read in (
        ("flame", "actives/iter_0540", ["layer_01", "layer_02", "layer_03", "000", "001"]),
        ("esft", "stories/expert_weights_1.txt", [f"expert_weights_{at}" for at in range(3)]),
    ):
        format_name, write, _ = WRITERS[way]
        folder = tmp_path / way
        folder.mkdir()
        write(routed[0], folder)
        paths = Paths(folder / "home")
        summary = import_trace(request(folder / given, format_name), paths)
        record = Lake(paths.lake).run_record(summary.run_id)
        assert [Path(each["name"]).stem for each in json.loads(record["source_files"])] == read


def test_it_lands_once_and_the_same_command_goes_on(trace, tmp_path, monkeypatch, capfd):
    """A run of several shards, cut off after the first, then begun again twice."""
    monkeypatch.setattr(landing, "SHARD_SAMPLES", 3)
    paths = Paths(tmp_path / "home")
    lake = Lake(paths.lake)
    land_shard = Lake.land_shard

    def dies(self, run_id, shard, *arguments, **options):
        if shard == 1:
            raise KeyboardInterrupt
        land_shard(self, run_id, shard, *arguments, **options)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Lake, "land_shard", dies)
        import_trace(request(trace), paths)
    (run_id,) = lake.runs()
    assert lake.shards.finished(run_id) == {0} and lake.run_record(run_id)["finished_at"] is None
    first = lake.shard_file("events", run_id, 0).stat().st_mtime_ns
    summary = import_trace(request(trace), paths)
    assert summary.run_id == run_id and lake.shards.finished(run_id) == {0, 1, 2}
    assert lake.shard_file("events", run_id, 0).stat().st_mtime_ns == first
    assert verify(lake, run_id) == []
    capfd.readouterr()
    again = import_trace(request(trace), paths)
    assert again == summary and "is finished: nothing to import" in capfd.readouterr().err


def test_nothing_lands_of_a_trace_with_a_broken_sequence(trace, tmp_path):
    """Its last line is found before its first one lands."""
    text = trace.read_text().splitlines()
    broken = json.loads(text[-1])
    broken["experts"][0][0] = [1, 1]
    trace.write_text("\n".join([*text[:-1], json.dumps(broken)]))
    paths = Paths(tmp_path / "home")
    with pytest.raises(GatehouseError, match=r"trace\.jsonl:8 has an expert twice"):
        import_trace(request(trace), paths)
    assert not paths.root.exists()


def test_tokens_that_the_tokenizer_does_not_have_are_refused(trace, tmp_path, described):
    """They would stop every later build, which tests that tokens are known."""
    text = trace.read_text().splitlines()
    broken = json.loads(text[-1])
    broken["token_ids"][1] = len(described.vocabulary)
    trace.write_text("\n".join([*text[:-1], json.dumps(broken)]))
    paths = Paths(tmp_path / "home")
    with pytest.raises(GatehouseError, match=r"trace\.jsonl:8 has token id \d+, which is none of"):
        import_trace(request(trace), paths)
    assert not paths.root.exists()


def test_sequences_that_tell_different_things_are_two_runs(trace, routed, tmp_path):
    text = trace.read_text().splitlines()
    last = json.loads(text[-1])
    del last["weights"]
    trace.write_text("\n".join([*text[:-1], json.dumps(last)]))
    said = r"has no weights, and .* has: import them as two runs"
    with pytest.raises(GatehouseError, match=said):
        import_trace(request(trace), Paths(tmp_path / "home"))


def test_the_same_files_are_the_same_run_and_other_files_another(trace, routed, tmp_path):
    paths = Paths(tmp_path / "home")
    first = import_trace(request(trace), paths)
    again = json.loads(trace.read_text().splitlines()[0])
    with trace.open("a") as file:
        file.write(json.dumps(again) + "\n")
    second = import_trace(request(trace), paths)
    assert first.run_id != second.run_id
    assert second.sequences == first.sequences + 1
    record = Lake(paths.lake).run_record(second.run_id)
    assert record["num_samples"] == second.sequences
    samples = pq.read_table(
        Lake(paths.lake).shard_file("samples", second.run_id, 0), partitioning=None
    ).to_pylist()
    assert samples[0]["text_sha256"] == samples[-1]["text_sha256"]
    assert samples[0]["split"] == samples[-1]["split"] and samples[0]["prompt_tokens"] == 5


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": "nonsense"}, "unknown format 'nonsense': name one of vllm, "),
        ({"files": ()}, "--files must be one or more"),
        ({"files": (Path("/nowhere"),)}, "there is no /nowhere"),
        ({"name": "two\nlines"}, "--name must be one line"),
    ],
)
def test_what_cannot_be_imported_is_said(trace, change, said):
    with pytest.raises(GatehouseError, match=said):
        dataclasses.replace(request(trace), **change)


def test_an_empty_file_among_others_is_named(trace, tmp_path):
    empty = tmp_path / "empty.jsonl"
    empty.touch()
    several = ImportRequest("jsonl", (trace, empty), "the tiny model")
    with pytest.raises(GatehouseError, match=r"empty\.jsonl is empty: leave it out"):
        import_trace(several, Paths(tmp_path / "home"))


def test_a_run_of_several_files_says_so(trace, routed, tmp_path):
    other = plain_lists(routed[0], tmp_path).rename(tmp_path / "other.jsonl")
    paths = Paths(tmp_path / "home")
    summary = import_trace(ImportRequest("jsonl", (trace, other), "the tiny model"), paths)
    record = Lake(paths.lake).run_record(summary.run_id)
    assert record["dataset"] == f"{trace} and 1 more"
    assert len(json.loads(record["source_files"])) == 2


def test_a_folder_without_files_of_the_format_is_named(tmp_path):
    (tmp_path / "notes.txt").write_text("a")
    with pytest.raises(GatehouseError, match=r"holds no \.jsonl"):
        import_trace(request(tmp_path), Paths(tmp_path / "home"))


def test_logits_alone_are_refused(trace, monkeypatch, described):
    other = dataclasses.replace(described)
    other.__dict__["layers"] = [row | {"scoring": "sigmoid"} for row in described.layers]
    monkeypatch.setattr(importing, "describe", lambda *_: other)
    with pytest.raises(GatehouseError, match="routers score by sigmoid; record the experts"):
        import_trace(request(trace, "router-logits"), Paths(trace.parent / "home"))


def test_a_damaged_shard_lands_again_with_the_command_that_landed_it(trace, tmp_path):
    paths = Paths(tmp_path / "home")
    summary = import_trace(request(trace), paths)
    lake = Lake(paths.lake)
    shard = lake.shard_file("events", summary.run_id, 0)
    content = shard.read_bytes()
    shard.write_bytes(content[:100] + bytes([content[100] ^ 1]) + content[101:])
    with pytest.raises(GatehouseError, match="its shard 0 land again with the `gatehouse import"):
        verify_runs(None, paths, repair=True)
    import_trace(request(trace), paths)
    assert shard.read_bytes() == content
    assert verify_runs(None, paths)[1]


def test_the_command_says_what_to_name(run, tmp_path):
    for words in ((), ("vllm",), ("vllm", "a", "--home", str(tmp_path))):
        code, out, err = run("import", *words)
        assert (
            (code, out) == (2, "") and err.startswith("gatehouse: name ") and "\n" not in err[:-1]
        )
    code, out, _ = run("import", "--example", "all")
    assert code == 0 and all(name in out for name in FORMATS)
    code, out, _ = run("import", "--example", "jsonl")
    assert code == 0 and json.loads(out)["experts"]
