"""Families of every shape through the whole warehouse: captured, built, all of dbt's tests run."""

from pathlib import Path

import duckdb
import pytest

from gatehouse.flows.request import RunRequest
from gatehouse.flows.steps import build, capture
from gatehouse.warehouse.paths import Paths

DEMO = Path(__file__).resolve().parents[3] / "models" / "demo"
VOCABULARY = 4096
MODELS = {
    "an encoder-decoder with capacity": "switch_transformers",
    "two MoE layers a block": "jetmoe",
    "a skip class": "zaya",
    "hash and top-k layers": "deepseek_v4",
    "text within a model of several modalities": "qwen3_vl_moe",
}


def save(family: str, folder: Path) -> None:
    """Save a tiny random model of the family with the bundled tokenizer."""
    from transformers import AutoTokenizer

    from tests.models.families.builders import FAMILIES, MODEL_TYPES
    from tests.models.families.tiny import tiny_model

    overrides = dict(FAMILIES[family])
    if family == "qwen3_vl_moe":
        overrides["text_config"] = overrides.get("text_config", {}) | {"vocab_size": VOCABULARY}
    else:
        overrides["vocab_size"] = VOCABULARY
    model = tiny_model(MODEL_TYPES.get(family, family), overrides)
    if family == "zaya":
        make_it_skip(model)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(DEMO).save_pretrained(folder)


def make_it_skip(model) -> None:
    """Sharpen the routers and lower the other classes: loading resets the skip class to -1."""
    import torch

    with torch.no_grad():
        for layer in model.layers:
            layer.mlp.gate.router_mlp.out_proj.weight *= 8
            layer.mlp.gate.balancing_biases[:-1] = -0.3


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> tuple[dict[str, str], Path]:
    """Return run ids by family, and the database of all those runs."""
    import json
    import random

    folder = tmp_path_factory.mktemp("families")
    generator = random.Random(4)
    words = "router expert token layer gate load entropy the of and a to in is".split()
    rows = [{"text": " ".join(generator.choices(words, k=n % 50 + 1))} for n in range(0, 600, 17)]
    corpus = folder / "texts.jsonl"
    corpus.write_text("".join(json.dumps(row) + "\n" for row in rows))
    paths = Paths(folder / "home")
    runs = {}
    for family in MODELS.values():
        save(family, folder / family)
        request = RunRequest(model=str(folder / family), dataset=str(corpus), max_length=64)
        runs[family] = capture.capture(request, paths).run_id
    build.build(paths)
    return runs, paths.database


@pytest.fixture
def ask(built):
    with duckdb.connect(str(built[1]), read_only=True) as connection:
        yield lambda sql, family: connection.execute(sql, [built[0][family]]).fetchall()


def test_events_are_tokens_times_layers_in_every_run(built):
    with duckdb.connect(str(built[1]), read_only=True) as connection:
        rows = connection.execute(
            "select dim_run.run_id, tokens, count(*) as layers from dim_run inner join dim_layer"
            " on dim_run.run_id = dim_layer.run_id group by all"
        ).fetchall()
        assert {run for run, _, _ in rows} == set(built[0].values())
        for run, tokens, layers in rows:
            events = connection.execute(
                "select count(*) from events where run_id = $1", [run]
            ).fetchone()
            assert events == (tokens * layers,) and tokens > 300


def test_layers_of_two_stacks_are_numbered_through(ask):
    layers = ask(
        "select layer, stack, block, scoring, top_k, weights_sum_to_one from dim_layer"
        " where run_id = $1 order by layer",
        "switch_transformers",
    )
    assert layers == [
        (0, "encoder", 0, "softmax", 1, False),
        (1, "encoder", 1, "softmax", 1, False),
        (2, "decoder", 0, "softmax", 1, False),
        (3, "decoder", 1, "softmax", 1, False),
    ]


def test_both_layers_of_a_block_are_kept_apart(ask):
    layers = ask(
        "select layer, block, router_path from dim_layer where run_id = $1 order by layer", "jetmoe"
    )
    assert [(layer, block) for layer, block, _ in layers] == [(n, n // 2) for n in range(6)]
    assert layers[0][2] == "layers.0.self_attention.experts.router"
    assert layers[1][2] == "layers.0.mlp.router"


def test_hash_layers_are_flagged(ask):
    kinds = ask("select scoring from dim_layer where run_id = $1 order by layer", "deepseek_v4")
    assert kinds == [("hash",), ("sqrt_softplus",), ("sqrt_softplus",)]


def test_dropped_and_skipped_tokens_have_weight_0(ask):
    count = "select count(*) from events where run_id = $1 and weights[1] = 0"
    assert ask(count, "switch_transformers")[0][0] > 0
    skipped = ask(
        "select distinct events.top_expert, dim_layer.num_experts"
        " from events as events inner join dim_layer"
        " on events.run_id = dim_layer.run_id and events.layer = dim_layer.layer"
        " where events.run_id = $1 and events.weights[1] = 0",
        "zaya",
    )
    assert skipped == [(4, 5)]


@pytest.mark.parametrize("family", MODELS.values(), ids=MODELS)
def test_every_family_is_assessed_drawn_and_shown(built, family):
    """Hash layers have no spread of entropy, top-1 models no pairs, stacks none between them."""
    from gatehouse.flows.console import bar
    from gatehouse.reports.figures.gallery import RUN_FIGURES
    from gatehouse.reports.page.payload import Links
    from gatehouse.reports.page.report import render
    from gatehouse.reports.results.document import document
    from gatehouse.reports.results.report_text import report_text
    from gatehouse.reports.results.results import assess
    from gatehouse.reports.verdict.thresholds import Thresholds
    from gatehouse.warehouse.connect import connect

    paths = Paths(built[1].parent)
    with connect(paths) as connection:
        of_run = assess(connection, built[0][family], paths, Thresholds(3, 1.0), bar)
    for each in (*of_run.layers, *([of_run.average] if of_run.average else [])):
        text = report_text(each)
        assert "nan" not in text.lower() and "None" not in text
        assert each.evidence.bootstrap is not None
    assert "NaN" not in document(of_run.layers, of_run, of_run.run)
    for draw in RUN_FIGURES.values():
        assert draw(of_run).axes
    assert built[0][family] in render(of_run, Links())
