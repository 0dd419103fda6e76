"""Small traces of each format, as they are and broken."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from gatehouse.ingest.traces import bigmoe
from gatehouse.ingest.traces.formats import FORMATS
from gatehouse.ingest.traces.sequence import Layout, RoutedSequence

LAYOUT = Layout((1, 2), 3, (8, 8), (2, 2))
EXPERTS = np.array([[[3, 1], [0, 7]], [[2, 5], [4, 6]], [[7, 0], [1, 2]]])
WEIGHTS = np.array([0.75, 0.25])


def read(name: str, *paths: Path, layout: Layout = LAYOUT) -> list[RoutedSequence]:
    return list(FORMATS[name].read(list(paths), layout))


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_every_format_says_what_it_is(name):
    found = FORMATS[name]
    assert found.name == name and found.description and found.suffixes


HEADER = "# route_trace v1\n# model=m.gguf arch=a n_layer=3 n_expert=8 n_expert_used=2\n"
COLUMNS = "turn,phase,step,layer,slot,expert,weight,residency,expert_bytes\n"


def bigmoe_rows(turn: int = 0, prompt: int = 2, left_out: int = 0) -> list[str]:
    """Return the rows of a turn of three tokens, layer by layer in the prompt, as it is written."""
    places = [
        (int(step >= prompt), step, layer, slot)
        for step in range(3)
        for layer in range(2)
        for slot in range(2)
        if layer == 0 or step >= left_out
    ]
    by_layer = sorted(places, key=lambda place: (place[0], place[2], place[1]))
    return [
        f"{turn},{phase},{40 + step},{LAYOUT.blocks[layer]},{slot},{EXPERTS[step, layer, slot]},"
        f"{WEIGHTS[slot]},0,17\n"
        for phase, step, layer, slot in by_layer
    ]


def write_bigmoe(folder: Path, rows: list[str], header: str = HEADER) -> Path:
    path = folder / "run.route.csv"
    path.write_text(header + COLUMNS + "".join(rows))
    return path


def test_bigmoe_yields_each_turn(tmp_path):
    path = write_bigmoe(tmp_path, [*bigmoe_rows(0), *bigmoe_rows(1, prompt=1)])
    first, second = read("bigmoe", path)
    for found in (first, second):
        np.testing.assert_array_equal(found.experts, EXPERTS)
        np.testing.assert_array_equal(found.weights, np.broadcast_to(WEIGHTS, EXPERTS.shape))
        assert found.token_ids is None and found.note == "" and found.is_ordered
    assert (first.name, second.name) == ("run.route.csv turn 0", "run.route.csv turn 1")
    assert (first.prompt_tokens, second.prompt_tokens) == (2, 1)


def test_a_turn_of_bigmoe_may_go_over_blocks_of_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(bigmoe, "BLOCK_BYTES", 300)
    turns = range(20)
    path = write_bigmoe(tmp_path, [row for turn in turns for row in bigmoe_rows(turn)])
    found = read("bigmoe", path)
    assert [sequence.name for sequence in found] == [f"run.route.csv turn {n}" for n in turns]
    assert all((sequence.experts == EXPERTS).all() for sequence in found)


def test_tokens_that_llama_cpp_did_not_route_in_the_last_layer_are_left_out_and_said(tmp_path):
    (found,) = read("bigmoe", write_bigmoe(tmp_path, bigmoe_rows(left_out=1)))
    np.testing.assert_array_equal(found.experts, EXPERTS[1:])
    assert found.prompt_tokens == 1
    assert found.note == (
        "llama.cpp did not route its first 1 token in the last layer, so they are left out of all"
    )


def test_bigmoe_refuses_what_is_broken(tmp_path, refuses):
    rows = bigmoe_rows()
    for header, words in (
        ("# route_trace v2\n", "does not begin with # route_trace v1"),
        ("", "does not begin with # route_trace v1"),
        (HEADER.replace("n_layer=3", "n_layer=48"), "n_layer=48 where the model has 3"),
        (HEADER.replace("n_expert=8", "n_expert=64"), "n_expert=64 where the model has 8"),
    ):
        with refuses("run.route.csv", words):
            read("bigmoe", write_bigmoe(tmp_path, rows, header))
    for broken, words in (
        (rows[:-1], "too few experts at step 42 in layer 2"),
        (rows[:-2], "too few experts at step 42 in layer 2"),
        ([*rows[:-1], "0,1,42"], "cut off or no route trace"),
        ([*rows[:-1], "0,1,42,2,1,x,0.25,0,17\n"], "cut off or no route trace"),
        ([*rows[:-1], "0,1,42,2,1,,0.25,0,17\n"], "empty cell"),
        ([*rows, rows[-1]], "two experts of a token in one slot"),
        ([row.replace(",2,", ",0,", 1) for row in rows], "in layer [0]"),
        ([*rows, "0,1,900000000,2,1,2,0.25,0,17\n"], "for steps 40 to 900000000"),
        ([*rows, "0,1,42,2,900000000,2,0.25,0,17\n"], "slots 0 to 900000000"),
    ):
        with refuses("run.route.csv", words):
            read("bigmoe", write_bigmoe(tmp_path, broken))
    path = write_bigmoe(tmp_path, [])
    path.write_text(HEADER + COLUMNS.replace("slot", "rank") + "".join(rows))
    with refuses("cut off or no route trace", "slot"):
        read("bigmoe", path)


def write_esft(folder: Path, lines: int = 2) -> Path:
    """Write a folder of two layers; line n holds the first n tokens."""
    folder.mkdir(exist_ok=True)
    for index, block in enumerate(LAYOUT.blocks):
        text = ""
        for number in range(1, lines + 1):
            ids = map(str, EXPERTS[:number, index].ravel())
            text += "\t".join(ids) + "\t\t" + "\t".join(["0.75", "0.25"] * number) + "\n"
        (folder / f"expert_weights_{block}.txt").write_text(text)
    return folder


def test_esft_yields_each_line_of_all_layers(tmp_path):
    folder = write_esft(tmp_path / "intent")
    (folder / "summary.json").write_text("{}")
    first, second = read("esft", folder)
    np.testing.assert_array_equal(first.experts, EXPERTS[:1])
    np.testing.assert_array_equal(second.experts, EXPERTS[:2])
    np.testing.assert_allclose(second.weights, np.broadcast_to(WEIGHTS, (2, 2, 2)))
    assert (second.name, second.domain, second.token_ids) == ("intent:2", "intent", None)
    assert len(read("esft", *sorted(folder.glob("*.txt")))) == 2


def test_esft_refuses_what_is_broken(tmp_path, refuses):
    folder = write_esft(tmp_path / "intent")
    with refuses("no file expert_weights_N.txt for layer 3", "--model"):
        read("esft", folder, layout=Layout((1, 2, 3), 4, (8,) * 3, (2,) * 3))
    with refuses("a file for layer 2, which has no experts"):
        read("esft", folder, layout=Layout((1,), 3, (8,), (2,)))
    # top-3 of a single token of two
    with refuses("expert_weights_1.txt line 1", "3 experts a token"):
        read("esft", folder, layout=Layout((1, 2), 3, (8, 8), (3, 3)))
    path = folder / "expert_weights_2.txt"
    right = path.read_text()
    for broken, words in (
        (right.splitlines()[0] + "\n", "has no line 2"),
        (right.replace("4\t6", "4\tx"), "line 2 does not hold ids"),
        (right.replace("4\t6", "4\t6.5"), "line 2 does not hold ids"),
        (right.replace("\t\t", "\t"), "line 1 does not hold ids"),
        (right[:-6], "line 2 does not hold ids"),
        ("\n".join([right.splitlines()[0]] * 2), "1 to 2 tokens in line 2"),
    ):
        path.write_text(broken)
        with refuses("intent", words):
            read("esft", folder)


def warp_line(number: int, experts: object) -> str:
    return json.dumps({"tok": number, "layers": experts}) + "\n"


def test_warp_yields_a_sequence_where_numbers_begin_again(tmp_path):
    path = tmp_path / "trace.jsonl"
    tokens = [(5, 0), (6, 1), (7, 2), (1, 0), (2, 1), (0, 2), (1, 2)]
    path.write_text("".join(warp_line(number, EXPERTS[row].tolist()) for number, row in tokens))
    found = read("warp", path)
    assert [(sequence.name, len(sequence.experts)) for sequence in found] == [
        ("trace.jsonl:1", 3),
        ("trace.jsonl:4", 2),
        ("trace.jsonl:6", 2),
    ]
    np.testing.assert_array_equal(found[0].experts, EXPERTS)
    assert found[0].token_ids is None and found[0].weights is None and not found[0].is_ordered


def test_warp_may_be_packed(tmp_path):
    path = tmp_path / "trace.jsonl.gz"
    path.write_bytes(gzip.compress(warp_line(1, EXPERTS[0].tolist()).encode()))
    (found,) = read("warp", path)
    np.testing.assert_array_equal(found.experts, EXPERTS[:1])


def test_warp_refuses_what_is_broken(tmp_path, refuses):
    path = tmp_path / "trace.jsonl"
    first = warp_line(1, EXPERTS[0].tolist())
    for broken, words in (
        (warp_line(3, EXPERTS[1].tolist()), "token 3 after token 1, which begins no sequence"),
        ('{"tok": 2, "layers": [[1, 2], [3', "line 2 is no token"),
        (warp_line(2, [[1, 2], [3]]), "line 2 is no token"),
        (warp_line(2, [[1, 2.5], [3, 4]]), "line 2 is no token"),
        (warp_line(2, [1, 2]), "line 2 is no token"),
        ('{"layers": [[1, 2], [3, 4]]}', "line 2 is no token"),
        ('{"tok": "2", "layers": [[1, 2], [3, 4]]}', "line 2 is no token"),
        ("[" * 100_000, "line 2 is no token"),
        (
            '{"tok": 2, "layers": [[1, 1000000000000000000000000000000], [3, 4]]}',
            "line 2 is no token",
        ),
        ("[1, 2]", "line 2 is no token"),
        (warp_line(2, [[1, 2]]), "line 2 has experts of the shape [1, 2], and line 1 of [2, 2]"),
    ):
        path.write_text(first + broken)
        with refuses(f"{path} ", words):
            read("warp", path)
