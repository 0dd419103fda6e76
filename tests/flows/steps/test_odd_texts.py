"""Odd, empty, broken and long texts, from a file to the lake: each lands or is counted."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from tokenizers import Tokenizer

from gatehouse.flows.request import RunRequest
from gatehouse.ingest.samples_file import read_shard
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.lake import Lake
from gatehouse.warehouse.paths import Paths

MAX_LENGTH = 32
MOE_LAYERS = 3

ODD = {
    "NUL": "a NUL \0 inside, and at the end\0",
    "a NUL alone": "\0",
    "right to left": "שלום עולם \u202eoverridden\u202c مرحبا",
    "emoji": "👩‍👩‍👧‍👦 🏳️‍🌈 👍🏽 and a joiner \u200d alone",
    "combining marks": "e\u0301 n\u0303 z" + "\u0300\u0323" * 100,
    "lone surrogates": "lone \ud800 and \udc80\udc81, then a pair \ud83d\ude00",
    "only special tokens": "<s></s>",
    "special tokens inside": "before <s> between <pad> after",
    "one token": "a",
    "no width": "\u200b",
    "odd line ends": "\r one \u2028 two \u0085 three \x1c\r\n",
    "a byte order mark": "\ufeffmarked",
    "noncharacters": "\uffff \U0010ffff \ue000",
    "a long word": "x" * 5_000,
    "a long text": "the router sends every token to two experts " * 4_500,
}
"""The last is 200 kB, some thousand times the window."""

EMPTY = ["", " \n\t\r", "\u00a0\u2003\u3000", None]

BROKEN = {
    "cut off": (b'{"text": "cut off', "is not JSON ("),
    "not UTF-8": (b'{"text": "not \xff UTF-8"}', "is not UTF-8: "),
    "two objects": (b'{"text": "a"} {"text": "b"}', "is not JSON (Extra data)"),
    "a list": (b'["text"]', "is not a JSON object"),
    "a number": (b'{"text": 3}', "has a field text of type int"),
    "another field": (b'{"words": "elsewhere"}', "has no field text, only 'words'"),
    "very deep": (b"[" * 100_000, "is not JSON ("),
}


@pytest.fixture
def corpus(tmp_path) -> Path:
    """All of them in one file: an odd text, an empty one, a broken line, and so on."""
    odd = [json.dumps({"text": text, "id": name}).encode() for name, text in ODD.items()]
    empty = [json.dumps({"text": text}).encode() for text in EMPTY]
    lines = [*odd]
    for place, line in enumerate([*(line for line, _ in BROKEN.values()), *empty]):
        lines.insert(2 * place + 1, line)
    path = tmp_path / "odd.jsonl"
    path.write_bytes(b"\n".join(lines) + b"\n")
    return path


@pytest.fixture
def capture(run, corpus, tiny_mixtral):
    """`capture(*options)`: the odd texts through the command."""
    shared = ["capture", "--model", tiny_mixtral, "--dataset", corpus, "--max-length", MAX_LENGTH]
    return lambda *options: run(*shared, *options)


@pytest.fixture
def encode(tiny_mixtral):
    """The token ids of a text by the tokenizer's own library, without transformers."""
    tokenizer = Tokenizer.from_file(str(tiny_mixtral / "tokenizer.json"))
    return lambda text: tokenizer.encode(text).ids


def landed(home: Path) -> tuple[list, pa.Table, list[dict]]:
    """The one run of a home: its prepared samples, events, and rows of `samples`."""
    (prepared,) = (home / "prepared").glob("*/samples.parquet")
    lake = Lake(Paths(home).lake)
    (run_id,) = lake.run_ids()
    assert lake.shards.finished(run_id) == {0} and lake.layers(run_id).num_rows == MOE_LAYERS
    events, rows = (
        pq.read_table(lake.shard_file(table, run_id, 0), partitioning=None)
        for table in ("events", "samples")
    )
    return read_shard(prepared, 0), events, rows.to_pylist()


def check_tokens(events: pa.Table, expected: dict[int, list[int]]) -> None:
    """Every MoE layer holds exactly these token ids of each sample, in order."""
    wanted = [
        (sample_id, position, token_id)
        for sample_id, token_ids in expected.items()
        for position, token_id in enumerate(token_ids)
    ]
    assert events.num_rows == MOE_LAYERS * len(wanted)
    for layer in range(MOE_LAYERS):
        rows = events.filter(pc.field("layer") == layer)
        keys = (rows[name].to_pylist() for name in ("sample_id", "position", "token_id"))
        assert list(zip(*keys)) == wanted


def test_odd_texts_land_as_they_are_and_the_rest_is_counted(capture, corpus, encode, home):
    code, out, err = capture("--skip-broken")
    assert code == 0, err
    samples, events, rows = landed(home)
    stored = {sample.name: sample.text for sample in samples}
    lone = "lone \ufffd and \ufffd\ufffd, then a pair 😀"
    assert stored == ODD | {"lone surrogates": lone}
    lines = len(corpus.read_bytes().splitlines())
    assert len(samples) + len(EMPTY) + len(BROKEN) == lines

    encoded = {sample.sample_id: encode(sample.text) for sample in samples}
    assert list(encoded) == list(range(len(ODD)))
    check_tokens(events, {each: ids[:MAX_LENGTH] for each, ids in encoded.items()})
    counted = {row["sample_id"]: (row["tokens"], row["dropped_tokens"]) for row in rows}
    assert counted == {
        each: (min(len(ids), MAX_LENGTH), max(len(ids) - MAX_LENGTH, 0))
        for each, ids in encoded.items()
    }
    assert counted[len(ODD) - 1][1] > 1_000 * MAX_LENGTH

    tokens, dropped = (sum(counts) for counts in zip(*counted.values()))
    assert out.partition(": ")[2] == (
        f"{len(ODD)} samples, {tokens:,} tokens x 3 MoE layers = {3 * tokens:,} events; "
        f"{dropped:,} tokens beyond --max-length dropped\n"
    )
    broken, empty, weights = err.splitlines()
    assert broken.startswith(
        f"left out {len(BROKEN)} broken texts, the first: {corpus} line 2 is not JSON ("
    )
    assert empty == f"left out {len(EMPTY)} empty samples"
    assert weights.startswith("weights: ")


def test_windows_lose_no_token_of_odd_texts(capture, encode, home):
    code, out, _ = capture("--skip-broken", "--windows", "--batch-size", 64)
    samples, events, rows = landed(home)
    encoded = {sample.sample_id: encode(sample.text) for sample in samples}
    check_tokens(events, encoded)
    assert {row["sample_id"]: row["tokens"] for row in rows} == {
        each: len(ids) for each, ids in encoded.items()
    }
    assert code == 0 and out.endswith("; 0 tokens beyond --max-length dropped\n")


@pytest.mark.parametrize("case", BROKEN)
def test_without_skip_broken_one_line_names_it_and_nothing_lands(
    run, tiny_mixtral, home, tmp_path, case
):
    broken, what = BROKEN[case]
    corpus = tmp_path / "broken.jsonl"
    corpus.write_bytes(b'{"text": "fine"}\n' + broken + b"\n")
    code, out, err = run("capture", "--model", tiny_mixtral, "--dataset", corpus)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"gatehouse: {corpus} line 2 {what}")
    assert err.endswith(", or leave broken texts out with --skip-broken\n")
    assert [path for path in home.rglob("*") if path.is_file() and path.suffix != ".lock"] == []


def test_prepare_leaves_broken_lines_out_too(run, corpus):
    code, out, err = run("prepare", "--dataset", corpus, "--skip-broken")
    assert code == 0 and f"left out {len(BROKEN)} broken texts" in err
    assert out.startswith(
        f"{len(ODD)} samples of {corpus}, {len(BROKEN)} broken and {len(EMPTY)} empty ones skipped"
    )


@pytest.mark.parametrize("skip_broken", [True, False])
def test_run_hands_the_option_on(run, corpus, monkeypatch, skip_broken):
    from gatehouse.flows import pipeline

    def plan_model(request: RunRequest) -> None:
        raise GatehouseError(f"asked with {request.skip_broken}")

    # the flow's and the step's own functions, which need no server
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:1/api")
    for name in ("pipeline", "prepare_task"):
        monkeypatch.setattr(pipeline, name, getattr(pipeline, name).fn)
    monkeypatch.setattr(pipeline, "plan_model", plan_model)
    options = ["--skip-broken"] if skip_broken else []
    code, _, err = run("run", "--dataset", corpus, *options)
    assert (code, err) == (2, f"gatehouse: asked with {skip_broken}\n")
