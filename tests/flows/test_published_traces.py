"""What was published of real traces, by plain SQL over them once they are imported."""

import json
from pathlib import Path

import numpy as np
import pytest

from gatehouse.flows.sql.examples import library
from gatehouse.flows.steps.build import build
from gatehouse.flows.steps.importing.import_trace import import_trace
from gatehouse.flows.steps.importing.imported_run import ImportRequest
from gatehouse.warehouse.connect import connect
from gatehouse.warehouse.paths import Paths

TRACES = Path(__file__).resolve().parents[3] / "shared" / "traces"

pytestmark = [
    pytest.mark.skipif(not TRACES.is_dir(), reason="the real traces are not here"),
    pytest.mark.xdist_group("published"),
]

REUSE = """
with neighbours as (
    select
        experts,
        lag(experts) over (partition by layer, sample_id order by position) as previous
    from events
    where run_id = $run and (phase = $phase or $phase is null)
)

select 100 * avg(len(list_intersect(experts, previous)) / len(experts))
from neighbours
where previous is not null
"""
"""How many of a token's experts were the previous token's, in percent."""

STATIC = """
with choices as (
    select layer, unnest(experts) as expert, len(experts) as top_k
    from events
    -- the first token has no previous one to be compared with
    where run_id = $run and phase = 'generated' and position > 1
),

counted as (
    select layer, expert, any_value(top_k) as top_k, count(*) as selections
    from choices
    group by layer, expert
),

ranked as (
    select *, row_number() over (partition by layer order by selections desc) as rank
    from counted
),

layers as (
    select layer, sum(selections) filter (where rank <= top_k) / sum(selections) as share
    from ranked
    group by layer
)

select 100 * avg(share) from layers
"""
"""How many choices go to the k experts of each layer that are chosen most, in percent."""

DISTINCT = """
with layers as (
    select layer, count(distinct expert) as experts
    from (
        select layer, unnest(experts) as expert
        from events
        where run_id = $run and phase = 'generated'
    )
    group by layer
)

select avg(experts) from layers
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A built home with the four traces, and their run ids."""
    from transformers import DeepseekV2Config, GptOssConfig, OlmoeConfig, Qwen3MoeConfig

    folder = tmp_path_factory.mktemp("published")
    configs = {
        "qwen": Qwen3MoeConfig(num_hidden_layers=48, num_experts=128, num_experts_per_tok=8),
        "gptoss": GptOssConfig(num_hidden_layers=36, num_local_experts=128),
        "esft": DeepseekV2Config(
            num_hidden_layers=27,
            first_k_dense_replace=1,
            n_routed_experts=64,
            num_experts_per_tok=6,
            norm_topk_prob=False,
        ),
        "warp": OlmoeConfig(num_hidden_layers=16, num_experts=64, num_experts_per_tok=8),
    }
    files = {
        "qwen": ("bigmoe", "bigmoeonedge/qwen.route.csv"),
        "gptoss": ("bigmoe", "bigmoeonedge/gptoss.route.csv"),
        "esft": ("esft", "esft-intent"),
        "warp": ("warp", "warp/trace_olmoe_299.jsonl"),
    }
    paths, found = Paths(folder / "home"), {}
    for name, config in configs.items():
        config.save_pretrained(folder / name)
        format_name, path = files[name]
        request = ImportRequest(format_name, (TRACES / path,), str(folder / name), name=name)
        found[name] = import_trace(request, paths).run_id
    build(paths)
    with connect(paths) as connection:
        yield connection, found


def number(connection, query: str, **parameters) -> float:
    used = {name: value for name, value in parameters.items() if f"${name}" in query}
    return connection.execute(query, used).fetchone()[0]


@pytest.mark.parametrize(
    ("name", "published"), [("qwen", (38.0, 37.6, 64)), ("gptoss", (17.9, 26.7, 36))]
)
def test_big_moe_on_edge(runs, name, published):
    connection, found = runs
    run = found[name]
    reuse = number(connection, REUSE, run=run, phase="generated")
    numbers = round(reuse, 1), round(number(connection, STATIC, run=run), 1)
    assert (*numbers, round(number(connection, DISTINCT, run=run))) == published


@pytest.mark.parametrize(
    ("kind", "column"), [("token_scores", "load_share"), ("gate_scores", "gate_mass / 8222")]
)
def test_esft(runs, kind, column):
    """Each of the 64 scores of 26 layers; the weights are float16 in the lake."""
    connection, found = runs
    query = f"select layer, expert, {column} from fct_expert_load where run_id = $run"  # noqa: S608 - a column
    shares = connection.execute(query, {"run": found["esft"]}).fetchall()
    scores = json.loads((TRACES / "esft-intent" / "summary.json").read_text())[kind]
    published = [scores[str(layer)][str(expert)] for layer, expert, _ in shares]
    assert len(shares) == 26 * 64
    np.testing.assert_allclose([share for *_, share in shares], published, atol=0.51e-4)


def test_esft_chooses_the_published_experts(runs):
    """The 26 layers' experts for the task `intent`, in their order."""
    connection, found = runs
    example = library()["which_experts_to_tune_for_a_domain"]
    latest = "order by finished_at desc"
    assert latest in example.sql
    query = example.sql.replace(latest, f"order by run_id = '{found['esft']}' desc, finished_at")
    table = connection.sql(query).filter("relevance = 'selection'").project("layer, expert_ids")
    chosen = {str(layer): experts for layer, experts in table.fetchall()}
    config = json.loads((TRACES / "esft-intent" / "expert_config.json").read_text())
    assert len(chosen) == 26
    assert chosen == config["experts"]


CACHE = """
select policy, 100 * sum(hits) / sum(accesses)
from {mart}
where run_id = $run and slots = {slots}
group by policy
"""


def test_warps_caches(runs):
    """One cache of 12.5 % of all layers' experts; the figures are warp's."""
    connection, found = runs
    query = CACHE.format(mart="fct_shared_expert_cache", slots=16 * 64 // 8)
    shared = dict(connection.execute(query, {"run": found["warp"]}).fetchall())
    assert (round(shared["lru"], 2), round(shared["belady"], 2)) == (31.93, 60.20)
    query = CACHE.format(mart="fct_expert_cache", slots=64 // 8)
    of_layers = dict(connection.execute(query, {"run": found["warp"]}).fetchall())
    # a cache of a layer's own has the same last uses, and less to choose from
    assert round(of_layers["lru"], 2) == 31.93 and of_layers["belady"] < shared["belady"]


def test_big_moe_on_edge_tells_how_large_an_expert_is(runs):
    connection, found = runs
    for name, expected in (("qwen", 3_059_712), ("gptoss", 13_219_200)):
        query = "select expert_bytes from dim_layer where run_id = $run and layer = 0"
        assert number(connection, query, run=found[name]) == expected


@pytest.mark.parametrize(("name", "published", "top_k"), [("qwen", 38.0, 6), ("gptoss", 17.9, 2)])
def test_the_token_before_foretells_what_big_moe_on_edge_found(runs, name, published, top_k):
    """The first generated token's previous one is of the prompt, and is not in their figure."""
    connection, found = runs
    query = """
        select 100 * sum(hits) / sum(accesses)
        from fct_prefetch_recall
        where
            run_id = $run and phase = 'generated' and predictor = 'previous_token'
            and horizon = 1 and budget = $top_k
    """
    recall = number(connection, query, run=found[name], top_k=top_k)
    assert recall == pytest.approx(published, abs=0.4)


def test_warp(runs):
    connection, found = runs
    assert round(number(connection, REUSE, run=found["warp"], phase=None), 1) == 43.5


def test_what_the_traces_do_not_tell_is_null(runs):
    connection, found = runs
    layers = connection.execute(
        "select run_id, mean_entropy, token_types, routing_consistency, dropped_share, events "
        "from fct_layer_routing where run_id = any($runs)",
        {"runs": list(found.values())},
    ).fetchall()
    assert len(layers) == 48 + 36 + 26 + 16
    assert {row[1:4] for row in layers} == {(None, None, None)}
    assert {row[4] for row in layers if row[0] == found["warp"]} == {None}
    assert all(row[5] > 0 for row in layers)
    for mart in ("fct_token_routing", "fct_frequency_rank", "fct_fast_path_coverage"):
        assert number(connection, f"select count(*) from {mart}") == 0  # noqa: S608 - a mart
