"""Each data test fails for the run that breaks its law, and for no other run.

Some runs of one lake are damaged behind the landing checks' back, each in one way; the marts of
others are then altered in the database, each in one way.
"""

from collections.abc import Callable
from contextlib import closing
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from tests.dbt_project.random_lake import land
from tests.dbt_project.random_replays import POLICIES, land_replays
from tests.dbt_project.random_runs import RandomRun

Damage = Callable[[pa.Table], pa.Table]

EVENTS_LAW = "events_are_complete_and_in_range"
SUMS_LAW = "occurrences_add_up"
TOKEN_LAW = "token_routing_is_in_range"
CHOICES_LAW = "expert_choices_add_up"
TRANSITIONS_LAW = "transitions_follow_every_token"
NEIGHBOURS_LAW = "neighbours_are_all_paired"
LAYER_LAW = "fct_layer_routing_is_in_range"


def write(column: str, value: Any) -> Damage:
    """Return damage that overwrites the first row's value."""

    def damage(table: pa.Table) -> pa.Table:
        field = table.schema.field(column)
        values = [value, *table[column].to_pylist()[1:]]
        index = table.schema.get_field_index(column)
        return table.set_column(index, field, pa.array(values, type=field.type))

    return damage


def drop_last(table: pa.Table) -> pa.Table:
    return table.slice(0, table.num_rows - 1)


def repeat_last(table: pa.Table) -> pa.Table:
    return pa.concat_tables([table, table.slice(table.num_rows - 1)])


def swap_position(table: pa.Table) -> pa.Table:
    """Overwrite one position with another: every count stays as it was."""
    moved = pc.if_else(pc.equal(table["position"], 1), 0, table["position"])
    index = table.schema.get_field_index("position")
    return table.set_column(index, table.schema.field("position"), moved.cast(pa.uint32()))


def swap_last(table: pa.Table) -> pa.Table:
    """Swap the last two rows: only the order is wrong."""
    count = table.num_rows
    return table.take([*range(count - 2), count - 1, count - 2])


# run: (table, damage, data tests that must name the run)
DAMAGES: dict[str, tuple[str, Damage, set[str]]] = {
    "repeated": ("events", repeat_last, {EVENTS_LAW, SUMS_LAW, CHOICES_LAW, TRANSITIONS_LAW}),
    "lost": ("events", drop_last, {EVENTS_LAW, SUMS_LAW, CHOICES_LAW, TRANSITIONS_LAW}),
    "disordered": ("events", swap_last, {NEIGHBOURS_LAW, TRANSITIONS_LAW}),
    "moved": ("events", swap_position, {EVENTS_LAW, NEIGHBOURS_LAW}),
    "stranger": ("events", write("sample_id", 999), {EVENTS_LAW}),
    "hot": ("events", write("entropy", 1.5), {EVENTS_LAW, TOKEN_LAW, LAYER_LAW}),
    "negative": ("events", write("entropy", -0.01), {EVENTS_LAW, TOKEN_LAW, LAYER_LAW}),
    "nan": ("events", write("entropy", np.nan), {EVENTS_LAW, TOKEN_LAW, LAYER_LAW}),
    "missing": ("events", write("confidence", None), {EVENTS_LAW}),
    "unsure": ("events", write("confidence", 0.01), {EVENTS_LAW}),
    "expert": ("events", write("top_expert", 4), {EVENTS_LAW, CHOICES_LAW}),
    "idle": ("events", write("experts", []), {CHOICES_LAW}),
    "double": ("events", write("experts", [1, 2]), {CHOICES_LAW, "coactivation_is_symmetric"}),
    "unknown": (
        "events",
        write("token_id", 70),
        {"fct_token_routing_has_known_tokens", "fct_frequency_rank_has_known_tokens"},
    ),
    "sampleless": ("samples", drop_last, {EVENTS_LAW, "dim_run_holds_every_sample"}),
    "layerless": ("layers", drop_last, {EVENTS_LAW, "fct_token_routing_has_known_layers"}),
    "twice": ("vocabulary", repeat_last, {"dim_token_has_a_primary_key"}),
}

# run: (statement on the marts, data test that must name the run)
ALTERATIONS: dict[str, tuple[str, str]] = {
    "uneven": (
        "update fct_frequency_rank set cumulative_share = 0.1 "
        "where run_id = 'uneven' and frequency_rank = 5",
        "frequency_ranks_accumulate",
    ),
    "gap": (
        "delete from fct_frequency_rank where run_id = 'gap' and frequency_rank = 5",
        "frequency_ranks_accumulate",
    ),
    "dip": (
        "update fct_fast_path_coverage set covered_occurrences = 0, coverage = 0 "
        "where run_id = 'dip' and layer = 1 and frequency_threshold = 0 "
        "and entropy_threshold = 2.0",
        "coverage_grows_as_thresholds_relax",
    ),
    "inconsistent": (
        "update fct_token_routing set routing_consistency = 0.1 where run_id = 'inconsistent'",
        TOKEN_LAW,
    ),
    "short": (
        "update fct_expert_load set load_share = load_share / 2 where run_id = 'short'",
        CHOICES_LAW,
    ),
    "lopsided": (
        "update fct_expert_coactivation set adjacent_tokens = 0 "
        "where run_id = 'lopsided' and expert = 2 and other_expert = 3",
        "coactivation_is_symmetric",
    ),
    "lonely": (
        "delete from fct_expert_coactivation where run_id = 'lonely' "
        "and least(expert, other_expert) = 2 and greatest(expert, other_expert) = 3",
        "coactivation_is_symmetric",
    ),
    "detour": (
        "update fct_expert_transition set next_expert = (next_expert + 1) % 8 "
        "where run_id = 'detour' and expert = 5",
        TRANSITIONS_LAW,
    ),
    "uncovered": (
        "update fct_context_information set covered_occurrences = 1 where run_id = 'uncovered'",
        NEIGHBOURS_LAW,
    ),
    "gainful": (
        "update fct_context_information set information_gain = 0.5 where run_id = 'gainful'",
        "fct_context_information_is_in_range",
    ),
    "convex": (
        "update fct_expert_coverage set covered_activations = 0 "
        "where run_id = 'convex' and top_experts = 1",
        "expert_coverage_is_concave",
    ),
    "forgetful": (
        "update fct_fast_path_agreement set covered_occurrences = 0 "
        "where run_id = 'forgetful' and table_size = 256",
        "larger_tables_cover_more",
    ),
    "grudging": (
        "update fct_fast_path_thresholds set table_tokens = 0 where run_id = 'grudging' "
        "and layer = 1 and frequency_threshold = 0 and entropy_threshold = 2.0",
        "looser_thresholds_cover_more",
    ),
    "displaced": (
        "update fct_frequency_rank set mean_position = mean_position + 1 "
        "where run_id = 'displaced' and frequency_rank = 5",
        SUMS_LAW,
    ),
    "crowded": (
        "update dim_sample set block = 0 where run_id = 'crowded' and block = 1",
        "blocks_are_of_a_size",
    ),
    "blockless": (
        "update dim_sample set block = null where run_id = 'blockless' and sample_id = 5",
        "blocks_are_of_a_size",
    ),
    "miscounted": (
        "update fct_block_routing set occurrences = occurrences + 1 "
        "where run_id = 'miscounted' and block = 3",
        "blocks_add_up",
    ),
    "heated": (
        "update fct_block_routing set entropy_sum = entropy_sum + 1e-6 "
        "where run_id = 'heated' and block = 3",
        "blocks_add_up",
    ),
    "overrated": (
        "update fct_token_consistency set held_out_consistency = 1 where run_id = 'overrated'",
        "fct_token_consistency_is_in_range",
    ),
    "compared": (
        "update fct_run_comparison set tokens = tokens - 1 where run_id = 'compared'",
        "compared_runs_share_their_text",
    ),
    "written": (
        "update fct_phase_expert set selections = selections + 1, load = load + 1 "
        "where run_id = 'written' and expert = 3",
        "phases_add_up",
    ),
    "paired": (
        "update fct_phase_routing set pairs = pairs - 1 where run_id = 'paired'",
        "phases_add_up",
    ),
    "prompted": (
        "update fct_phase_routing set phase = 'generated' where run_id = 'prompted'",
        "phases_add_up",
    ),
    "flipped": (
        "update fct_run_flip set set_flips = set_flips + 1 where run_id = 'flipped' "
        "and layer = 1 and set_flips < tokens",
        "flips_add_up",
    ),
    "trending": (
        "update fct_run_trend set max_load_ratio = max_load_ratio + 1 where run_id = 'trending'",
        "trends_are_as_measured",
    ),
    "early": (
        "update fct_calibration_coverage set first_sample_id = first_sample_id + 1 "
        "where run_id = 'early' and expert = 3",
        "calibration_follows_the_samples",
    ),
    "drifting": (
        "update fct_expert_load_window set selections = selections + 1 "
        "where run_id = 'drifting' and layer = 1 and load_window = 0 and expert = 3",
        "windows_add_up",
    ),
    "windowless": (
        "update fct_expert_load_window set load_window = 0 where run_id = 'windowless'",
        "windows_add_up",
    ),
    "salient": (
        "update fct_expert_saliency set gate_mass_rank = 1 where run_id = 'salient' and layer = 1",
        "saliency_adds_up",
    ),
    "carded": (
        "update fct_expert_card set selections = selections + 1 "
        "where run_id = 'carded' and layer = 1 and expert = 2",
        "cards_add_up",
    ),
    "halved": (
        "update fct_keep_set_stability set selections = selections + 1 "
        "where run_id = 'halved' and part = 'second 1/2'",
        "keep_sets_are_whole",
    ),
    "shrinking": (
        "update fct_batch_experts set min_experts = 2, mean_experts = 2, max_experts = 2 "
        "where run_id = 'shrinking' and size = 16",
        "larger_batches_touch_more",
    ),
    "generous": (
        "update fct_adaptive_k set mean_experts = 1.5, experts_share = 0.75 "
        "where run_id = 'generous' and rule = 'entropy' and threshold = 0.9",
        "stricter_thresholds_keep_fewer",
    ),
    "absent-minded": (
        "update fct_expert_cache set hits = hits - 1 where run_id = 'absent-minded' "
        "and policy = 'lfu' and slots = 5 and layer = 0",
        "larger_caches_hit_more",
    ),
    "lenient": (
        "update fct_fast_path_shares set covered_occurrences = 0 where run_id = 'lenient' "
        "and layer = 1 and min_share = 0 and min_frequency = 2",
        "stricter_shares_cover_less",
    ),
    "partial": (
        "update fct_fast_path_shares set table_tokens = table_tokens + 1 where run_id = 'partial' "
        "and layer = 1 and min_share = 0 and min_frequency = 1",
        "stricter_shares_cover_less",
    ),
    "unsampled": (
        "delete from fct_replay_sample where run_id = 'unsampled' and sample_id = 9",
        "replays_add_up",
    ),
    "layered": (
        "update fct_replay_layer set covered = covered - 1 where run_id = 'layered' "
        "and layer = 1 and covered > agreed",
        "replays_add_up",
    ),
    "costly": (
        "update dim_run set dtype = 'float32' where run_id = 'costly';"
        "update fct_replay set delta_nll = 0.001 where run_id = 'costly' and kind = 'own routing'",
        "replays_add_up",
    ),
    "disagreeing": (
        "update fct_replay set agreed = agreed - 1 where run_id = 'disagreeing' "
        "and kind = 'own routing'",
        "replays_add_up",
    ),
    "greedy": (
        "update fct_replay_layer set covered = rows where run_id = 'greedy' and policy_id in "
        "(select policy_id from fct_replay where kind = 'tokens' and min_share = 0.95)",
        "stricter_tables_replace_less",
    ),
    "mispredicted": (
        "update fct_replay_layer set predicted_occurrences = predicted_occurrences + 1 "
        "where run_id = 'mispredicted' and policy_id in "
        "(select policy_id from fct_replay where kind = 'tokens' and min_share = 0.5)",
        "predictions_are_those_of_the_fast_path",
    ),
}

REPLAYED = ("unsampled", "layered", "costly", "disagreeing", "greedy", "mispredicted")
"""Those of them that have replays."""


@pytest.fixture(scope="module")
def findings(damaged) -> dict[str, set[str]]:
    """data test -> runs that its failing rows name."""
    outcome = damaged.dbt("test", "--exclude-resource-type", "unit_test")
    with closing(duckdb.connect(str(damaged.database), read_only=True)) as connection:
        return {
            node.node.name: {
                row["run_id"]
                for row in connection.sql(node.node.compiled_code).to_arrow_table().to_pylist()
            }
            for node in outcome.result
            if node.status == "fail"
        }


@pytest.fixture(scope="module")
def damaged(tmp_path_factory, make_project, random_run):
    project = make_project(tmp_path_factory.mktemp("damaged"))
    for name in [*DAMAGES, "sound"]:
        random_run(project.lake, name)
    for name in ALTERATIONS:
        land(project.lake, RandomRun(name, num_experts=8, top_k=2, blocks=(0, 1)))
    for name in (*REPLAYED, "expert", "sound"):
        land_replays(project.lake, name, POLICIES)
    for name, text in {"twin": "compared", "steady": "flipped"}.items():
        land(project.lake, RandomRun(name, 8, 2, blocks=(0, 1), text=text))
    for name, (table, damage, _) in DAMAGES.items():
        (path,) = (project.lake.root / table / f"run_id={name}").iterdir()
        pq.write_table(damage(pq.read_table(path, partitioning=None)), path)
    outcome = project.dbt("run")
    failed = [node.message for node in outcome.result or [] if node.status == "error"]
    assert outcome.success, (outcome.exception, failed)
    with closing(duckdb.connect(str(project.database))) as connection:
        for statement, _ in ALTERATIONS.values():
            connection.execute(statement)
    return project


@pytest.mark.parametrize("run", DAMAGES)
def test_a_damaged_run_is_found(findings, run):
    assert {law for law, runs in findings.items() if run in runs} >= DAMAGES[run][2]


@pytest.mark.parametrize("run", ALTERATIONS)
def test_an_altered_mart_is_found(findings, run):
    assert ALTERATIONS[run][1] in {law for law, runs in findings.items() if run in runs}


def test_a_sound_run_is_not_blamed(findings):
    assert findings
    assert not {"sound", "twin", "steady"} & set().union(*findings.values())
