"""What a source does not tell is null in the marts, and changes no other number.

The runs of PARTLY_TOLD are one random run, of which some columns are unknown.
"""

import re

import duckdb
import numpy as np
import pandas as pd
import pytest
import yaml

from gatehouse.warehouse.paths import DBT_PROJECT
from tests.dbt_project.random_runs import PARTLY_TOLD, TOLD
from tests.same_tables import plain

OTHER = "new"
"""The run that all of them are compared with."""
OF_ITS_PLACE = ("started_at", "_run_id", "_with_previous", "_with_first")
NULLABLE = re.compile(r"coalesce\((\w+), -1\)")
"""How a primary key names a column that may be null."""


def keys_of_the_facts() -> dict[str, list[str]]:
    """Mart -> the columns of its primary key without the run's name, from its description."""
    found = {}
    for path in (DBT_PROJECT / "models" / "marts").rglob("fct_*.yml"):
        (model,) = yaml.safe_load(path.read_text(encoding="utf-8"))["models"]
        (key,) = (test["primary_key"] for test in model["data_tests"] if "primary_key" in test)
        columns = [NULLABLE.sub(r"\1", column) for column in key["arguments"]["columns"]]
        found[model["name"]] = [name for name in columns if name != "run_id"]
    return found


def rows_of(connection: duckdb.DuckDBPyConnection, mart: str, run_id: str) -> pd.DataFrame:
    frame = connection.table(mart).to_arrow_table().to_pandas()
    frame = frame[frame["run_id"] == run_id].drop(columns="run_id")
    if mart == "fct_run_trend":
        # each run has its own place in the series
        frame = frame[[name for name in frame if not name.endswith(OF_ITS_PLACE)]]
    return frame[frame["other_run_id"] == OTHER] if "other_run_id" in frame else frame


def same(told: pd.Series, found: pd.Series) -> bool:
    if told.dtype == object:
        return all(plain(one) == plain(other) for one, other in zip(told, found))
    numbers = told.dtype.kind == "f"
    return np.allclose(told, found, rtol=1e-12, atol=1e-15) if numbers else (told == found).all()


def unknown_columns(told: pd.DataFrame, found: pd.DataFrame, keys: list[str]) -> set[str]:
    """Return the columns that are null wherever the full run has a value; all others are equal."""
    both = told.merge(found, on=keys, validate="one_to_one", suffixes=("", " found"))
    assert len(both) == len(told) == len(found)
    unknown = set()
    for column in told.columns.difference(keys):
        here, there = both[column], both[f"{column} found"]
        assert there[here.isna()].isna().all(), f"{column} has values that the full run has not"
        if here.notna().any() and there.isna().all():
            unknown.add(column)
        else:
            known = here.notna()
            assert same(here[known], there[known].astype(here.dtype)), column
    return unknown


def by_rule(mart: str, *frames: pd.DataFrame) -> dict[str, list[pd.DataFrame]]:
    """Return the frames by the mart's name, or by name and rule, where each needs other things."""
    columns = [column for column in ("rule", "measure", "predictor") if column in frames[0]]
    if not columns:
        return {mart: list(frames)}
    (column,) = columns
    return {
        f"{mart} by {rule}": [frame[frame[column] == rule] for frame in frames]
        for rule in frames[0][column].unique()
    }


def lost(connection: duckdb.DuckDBPyConnection, run_id: str) -> dict[str, set[str]]:
    """Mart -> its columns that are null for a partly told run; of "rows" if it has none."""
    found = {}
    for mart, keys in keys_of_the_facts().items():
        of_run = [rows_of(connection, mart, name) for name in (TOLD.run_id, run_id)]
        for part, (told, partly) in by_rule(mart, *of_run).items():
            assert len(told) > 0, part
            missing = unknown_columns(told, partly, keys) if len(partly) else {"rows"}
            if missing:
                found[part] = missing
    return found


WITHOUT = {
    "weights": {
        "fct_expert_load": {
            *("dropped", "gate_mass", "gate_mass_share", "gate_mass_share_before"),
        },
        "fct_phase_expert": {"dropped", "gate_mass", "gate_mass_share"},
        "fct_layer_routing": {"dropped_share"},
        "fct_phase_routing": {"dropped_share"},
        "fct_domain_expert": {"gate_mass", "gate_relevance", "gate_mass_share_before"},
        "fct_fast_path_agreement": {"retained_gate_mass"},
        "fct_fast_path_thresholds": {"retained_gate_mass"},
        "fct_fast_path_shares": {"retained_gate_mass"},
        "fct_expert_saliency": {"gate_mass", "mean_weight", "gate_mass_rank"},
        "fct_keep_set_stability by gate_mass": {"rows"},
        "fct_adaptive_k by weight": {"rows"},
        "fct_adaptive_k by entropy": {"retained_gate_mass"},
    },
    "distribution": {
        "fct_token_routing": {
            *("mean_entropy", "std_entropy", "min_entropy", "max_entropy"),
            *("mean_confidence", "std_confidence"),
        },
        "fct_layer_routing": {
            *("mean_entropy", "std_entropy", "min_entropy", "max_entropy"),
            *("mean_confidence", "std_confidence", "normalised_entropy"),
        },
        "fct_run_trend": {"mean_entropy", "normalised_entropy"},
        "fct_phase_routing": {
            *("mean_entropy", "std_entropy", "min_entropy", "max_entropy"),
            *("mean_confidence", "std_confidence", "normalised_entropy"),
        },
        "fct_position_routing": {"bucket_mean_entropy", "bucket_std_entropy"},
        "fct_block_routing": {"entropy_sum"},
        "fct_run_comparison": {"mean_entropy_change", "mean_absolute_entropy_change"},
        "fct_fast_path_coverage": {"rows"},
        "fct_fast_path_thresholds": {"rows"},
        "fct_adaptive_k by entropy": {"rows"},
        "fct_expert_card": {"contexts"},
    },
    "order": {
        "fct_token_routing": {"routing_consistency", "top_expert"},
        "fct_token_expert": {"first_choices", "first_choice_share"},
        "fct_token_consistency": {
            *("routing_consistency", "held_out_consistency", "held_out_top_agreements"),
        },
        "fct_layer_routing": {"routing_consistency"},
        "fct_expert_load": {"first_choices", "first_choice_share", "selections_by_rank"},
        "fct_phase_expert": {"first_choices", "first_choice_share"},
        "fct_phase_routing": {"first_choice_repetition"},
        "fct_domain_expert": {"first_choices", "first_choice_specialisation"},
        "fct_position_routing": {"first_choices", "first_choice_share"},
        "fct_expert_coactivation": {"adjacent_tokens", "adjacent_probability"},
        "fct_expert_repetition": {
            *("first_choice_repetition", "first_choice_chance_by_load"),
            "first_or_second_repetition",
        },
        "fct_run_trend": {"held_out_consistency"},
        "fct_run_comparison": {"top_agreement"},
        "fct_run_flip": {"top_flips", "top_flip_share"},
        "fct_fast_path_agreement": {"top_agreement"},
        "fct_fast_path_thresholds": {"top_agreement"},
        "fct_fast_path_shares": {"top_agreement"},
        "fct_expert_transition": {"rows"},
        "fct_context_information": {"rows"},
        "fct_adaptive_k by entropy": {"rows"},
        "fct_expert_card": {"contexts"},
    },
    "tokens": {
        "fct_expert_card": {"top_tokens", "contexts", "half_tokens", "half_correlation"},
        "fct_prefetch_recall by token": {"rows"},
        "fct_prefetch_recall by bigram": {"rows"},
        "fct_layer_routing": {"token_types", "routing_consistency"},
        "fct_run_trend": {"held_out_consistency"},
        "fct_replay": {"predicted_coverage", "predicted_agreement"},
        "fct_replay_layer": {
            *("predicted_occurrences", "predicted_coverage", "predicted_agreement"),
        },
        **{
            mart: {"rows"}
            for mart in (
                *("fct_token_routing", "fct_token_expert", "fct_token_consistency"),
                *("fct_block_routing", "fct_frequency_rank", "fct_context_information"),
                *("fct_fast_path_coverage", "fct_fast_path_agreement", "fct_fast_path_thresholds"),
                "fct_fast_path_shares",
                *("fct_run_comparison", "fct_run_flip", "fct_run_mismatch"),
                # without their tokens the texts of two runs are not known to be the same
                "fct_load_comparison",
            )
        },
    },
    "norms": {
        "fct_expert_saliency": {
            *("max_weight", "mean_output_norm", "max_output_norm", "ean", "reap"),
            *("mean_output_norm_rank", "ean_rank", "reap_rank"),
        },
        "fct_keep_set_stability by ean": {"rows"},
        "fct_keep_set_stability by reap": {"rows"},
    },
}
"""What of each mart follows from what is unknown, and is null then; "rows": it has none."""


def expected_loss(unknown: tuple[str, ...]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for each in unknown:
        for mart, columns in WITHOUT[each].items():
            found[mart] = found.get(mart, set()) | columns
    return {mart: {"rows"} if "rows" in columns else columns for mart, columns in found.items()}


@pytest.mark.parametrize("run_id", PARTLY_TOLD)
def test_what_is_unknown_is_null_and_nothing_else_changes(connection, run_id):
    assert lost(connection, run_id) == expected_loss(PARTLY_TOLD[run_id])
