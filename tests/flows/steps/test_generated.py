"""What a model writes, and who speaks in a chat, lands with its events; a run stays one run."""

import json
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from transformers import AutoTokenizer

from gatehouse.flows.request import RunRequest
from gatehouse.flows.sql.examples import library
from gatehouse.flows.steps import capture
from gatehouse.flows.upkeep.verify import verify_runs
from gatehouse.warehouse.connect import connect
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.lake import Lake
from gatehouse.warehouse.paths import Paths
from tests.conftest import save_tiny_mixtral
from tests.flows.conftest import build_of

TEMPLATE = (
    "{% for message in messages %}[{{ message.role }}]\n{{ message.content }}</s>\n{% endfor %}"
    "{% if add_generation_prompt %}[assistant]\n{% endif %}"
)
ADDED = 6


@pytest.fixture(scope="module")
def chatty(tmp_path_factory) -> Path:
    """The tiny Mixtral, with a tokenizer that has a chat template."""
    folder = save_tiny_mixtral(tmp_path_factory.mktemp("models") / "chatty")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def chats(tmp_path_factory) -> Path:
    """Six chats with an answer, a question and a plain text."""
    path = tmp_path_factory.mktemp("corpus") / "chats.jsonl"
    turns = [{"role": "user", "content": "Which expert?"}, {"role": "assistant", "content": "Two."}]
    rows = [{"messages": [turns[0] | {"content": f"Which of {n}?"}, turns[1]]} for n in range(6)]
    rows += [{"messages": turns[:1]}, {"text": "a router of experts"}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def generating(tiny_mixtral, texts) -> RunRequest:
    """Twelve texts of different lengths, some of them cut, and up to six tokens more for each."""
    return RunRequest(
        model=str(tiny_mixtral),
        dataset=str(texts),
        num_samples=12,
        max_length=40,
        generate=ADDED,
    )


def tables(paths: Paths, run_id: str) -> dict[str, list]:
    """Return a run's samples and events as rows, by the table's name."""
    return {
        name: [
            row
            for path in sorted(Lake(paths.lake).folder(name, run_id).glob("*.parquet"))
            for row in pq.read_table(path, partitioning=None).to_pylist()
        ]
        for name in ("samples", "events", "runs")
    }


def token_ids(events: list[dict]) -> dict[tuple[int, int], int]:
    return {(row["sample_id"], row["position"]): row["token_id"] for row in events}


def test_prompt_and_addition_land_together(generating, tmp_path):
    paths = Paths(tmp_path)
    found = tables(paths, capture.capture(generating, paths).run_id)
    assert {row["prompt_tokens"] for row in found["samples"]} > {40 - ADDED}
    for row in found["samples"]:
        assert row["prompt_tokens"] <= 40 - ADDED and row["turns"] is None
        assert row["prompt_tokens"] < row["tokens"] <= row["prompt_tokens"] + ADDED
    (run,) = found["runs"]
    assert (run["generate"], run["temperature"], run["seed"]) == (ADDED, None, None)
    plain = replace(generating, generate=0, max_length=40 - ADDED)
    prompts = token_ids(tables(paths, capture.capture(plain, paths).run_id)["events"])
    assert prompts.items() <= token_ids(found["events"]).items()


@pytest.mark.parametrize("temperature", [0.0, 0.9])
def test_another_batch_size_and_another_capture_write_the_same(generating, tmp_path, temperature):
    """So a damaged shard that is captured again is the shard that it was."""
    request = replace(generating, temperature=temperature)
    one, many = Paths(tmp_path / "one"), Paths(tmp_path / "many")
    run_id = capture.capture(replace(request, batch_size=1), one).run_id
    assert capture.capture(replace(request, batch_size=16), many).run_id == run_id
    first, second = tables(one, run_id), tables(many, run_id)
    assert first["samples"] == second["samples"]
    assert token_ids(first["events"]) == token_ids(second["events"])
    events = Lake(one.lake).shard_file("events", run_id, 0)
    landed = events.read_bytes()
    events.unlink()
    assert verify_runs(run_id, one, repair=True)[1] and events.read_bytes() == landed


def test_what_decides_the_addition_decides_the_id(generating, tmp_path):
    paths = Paths(tmp_path)
    changes = [
        {"generate": 0},
        {},
        {"generate": ADDED - 1},
        {"temperature": 0.5},
        {"temperature": 0.5, "seed": 1},
    ]
    some = replace(generating, num_samples=2)
    run_ids = {capture.capture(replace(some, **each), paths).run_id for each in changes}
    assert len(run_ids) == len(changes)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"generate": 4, "windows": True}, "--windows cuts a sample into several"),
        ({"generate": 512}, "--max-length 512 counts the prompt and what is added"),
        ({"generate": -1}, "--generate must be 0 or more"),
        ({"temperature": 0.5}, "--temperature applies only to generated text: add --generate N"),
        ({"seed": 5}, "--seed applies only to generated text: add --generate N"),
        ({"generate": 4, "seed": 5}, "add --temperature T"),
        ({"generate": 4, "temperature": float("nan")}, "--temperature must be 0 or more"),
        ({"generate": 4, "temperature": 1.0, "seed": 2**63}, "--seed must be below"),
    ],
)
def test_options_that_exclude_each_other_are_one_line(options, line):
    with pytest.raises(GatehouseError) as refused:
        RunRequest(**options)
    assert line in str(refused.value)


def spoken(row: dict) -> list[str]:
    return [turn["role"] for turn in row["turns"]]


def test_chats_keep_their_turns_and_their_answers(chatty, chats, tmp_path):
    paths = Paths(tmp_path)
    request = RunRequest(model=str(chatty), dataset=str(chats), max_length=64)
    *answered, question, text = tables(paths, capture.capture(request, paths).run_id)["samples"]
    for row in answered:
        assert spoken(row) == ["user", "assistant"]
        assert row["turns"][0]["first_position"] == 0
        assert row["turns"][1]["first_position"] < row["prompt_tokens"] < row["tokens"]
    assert spoken(question) == ["user"] and question["prompt_tokens"] == question["tokens"]
    assert text["turns"] is None and text["prompt_tokens"] == text["tokens"]


def test_a_chat_is_answered_anew_unless_it_was_cut(chatty, chats, tmp_path, capsys):
    paths = Paths(tmp_path)
    request = RunRequest(model=str(chatty), dataset=str(chats), max_length=64, generate=ADDED)
    rows = tables(paths, capture.capture(request, paths).run_id)["samples"]
    assert [spoken(row) for row in rows[:-1]] == [["user", "assistant"]] * 7
    assert all(row["prompt_tokens"] < row["tokens"] for row in rows)
    capsys.readouterr()
    short = replace(request, max_length=ADDED + 4)
    rows = tables(paths, capture.capture(short, paths).run_id)["samples"]
    assert "7 chats longer than 4 tokens: cut, and not answered" in capsys.readouterr().err
    assert [row["tokens"] for row in rows[:-1]] == [row["prompt_tokens"] for row in rows[:-1]]


def test_the_template_is_part_of_a_run_of_chats_alone(chatty, chats, texts, tmp_path):
    paths = Paths(tmp_path / "home")
    folder = tmp_path / "other"
    save_tiny_mixtral(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = TEMPLATE + " "
    tokenizer.save_pretrained(folder)
    found = {}
    for corpus in (chats, texts):
        for model in (chatty, folder):
            request = RunRequest(model=str(model), dataset=str(corpus), num_samples=2)
            (run,) = tables(paths, capture.capture(request, paths).run_id)["runs"]
            found[corpus, model] = run["tokenizer_fingerprint"]
    assert found[chats, chatty] != found[chats, folder]
    assert found[texts, chatty] == found[texts, folder]


def test_chats_without_a_template_are_refused_or_taken_as_text(tiny_mixtral, chats, tmp_path):
    paths = Paths(tmp_path)
    request = RunRequest(model=str(tiny_mixtral), dataset=str(chats))
    with pytest.raises(GatehouseError, match=r"no chat template.*--chat-as-text"):
        capture.capture(request, paths)
    assert not paths.lake.exists()
    run_id = capture.capture(replace(request, chat_as_text=True), paths).run_id
    assert {row["turns"] for row in tables(paths, run_id)["samples"]} == {None}
    Lake(paths.lake).shard_file("events", run_id, 0).unlink()
    assert verify_runs(run_id, paths, repair=True)[1]


def test_events_can_be_grouped_by_phase_and_by_role(chatty, chats, texts, tmp_path):
    """Beside two runs that continue the same prompts in different ways, which a build compares."""
    paths = Paths(tmp_path)
    request = RunRequest(model=str(chatty), dataset=str(chats), max_length=64)
    drawn = replace(request, dataset=str(texts), generate=ADDED, temperature=5.0)
    first, second = (
        capture.capture(replace(drawn, num_samples=3, seed=seed), paths).run_id for seed in (1, 2)
    )
    rows = tables(paths, capture.capture(request, paths).run_id)["samples"]
    of_phases = ("fct_phase_routing", "fct_phase_expert")
    build_of(paths, *of_phases, "fct_run_comparison", "dim_run", "stg_events", "stg_samples")
    with connect(paths) as connection:
        examples = library()
        phases = examples["does_generated_text_route_differently"].run(connection).fetchall()
        roles = examples["which_experts_serve_which_role"].run(connection).fetchall()
        pairs = connection.execute(
            "select count(*) from fct_run_comparison where run_id = $1 and other_run_id = $2",
            [first, second],
        ).fetchall()
    assert pairs == [(0,)]  # no sample was continued in the same way
    prompt = sum(row["prompt_tokens"] for row in rows)
    whole = sum(row["tokens"] for row in rows)
    assert [row[:3] for row in phases if row[0] == 0] == [
        (0, "prompt", prompt),
        (0, "generated", whole - prompt),
    ]
    assistant = sum(
        row["tokens"] - row["turns"][1]["first_position"]
        for row in rows
        if row["turns"] and len(row["turns"]) == 2
    )
    spoken_by = {row[1]: row[2] for row in roles if row[0] == 0}
    assert spoken_by == {
        "assistant": assistant,
        "user": whole - assistant - rows[-1]["tokens"],
    }
