"""The passages that a run's pages show, read from its landed events."""

from collections.abc import Sequence
from contextlib import closing
from typing import Any

import duckdb
import pandas as pd

from gatehouse.reports.marts import check_layer, layers, resolve_run, run_summary, untold_by_run
from gatehouse.reports.marts.facts import run_title
from gatehouse.reports.marts.frames import pairs_of_experts, token_routing
from gatehouse.reports.marts.texts import Texts, drawn_texts, named_samples, named_texts
from gatehouse.reports.marts.traced_text import TracedText
from gatehouse.reports.marts.untold import EVENTS, TOKEN_IDS, has_none
from gatehouse.reports.page.passages import budget
from gatehouse.warehouse.connect import connect, one_line
from gatehouse.warehouse.errors import GatehouseError, require
from gatehouse.warehouse.lake import Lake
from gatehouse.warehouse.paths import Paths

A_TEXT = (EVENTS, TOKEN_IDS)
"""What a run's source must tell for its text to be shown."""


def parse_samples(text: str | None) -> list[int]:
    """Return the numbers in `3,17`, in that order; none of None.

    Raises:
        GatehouseError: it is no list of sample numbers.
    """
    numbers = [] if text is None else [each.strip() for each in text.split(",")]
    require(
        all(each.isdecimal() and int(each) < 2**63 for each in numbers),
        "samples",
        "numbers of samples with commas between them, such as 3,17",
    )
    return [int(each) for each in numbers]


def check_samples(run_id: str | None, sample_ids: Sequence[int], paths: Paths) -> None:
    """Refuse samples that a run, by default the latest, does not have.

    Raises:
        GatehouseError: there is no such run or sample.
    """
    if sample_ids:
        with closing(connect(paths)) as connection:
            named_samples(connection, resolve_run(connection, run_id), list(sample_ids))


def texts_of(
    run: dict[str, Any],
    of_layers: pd.DataFrame,
    untold: Sequence[str],
    paths: Paths,
    sample_ids: Sequence[int] = (),
) -> Texts | None:
    """Return the passages that a page shows of a run: of the samples that are named, or drawn.

    None where nothing is named and there is nothing to show: the source tells no events or no
    token ids, or the run's events are not in the lake, or cannot be read.

    Args:
        run: the row of `dim_run`.
        of_layers: one row per MoE layer, with top_k.
        untold: what the run's source did not tell.
        paths: the warehouse.
        sample_ids: samples to show.

    Raises:
        GatehouseError: samples are named, and they are not there or cannot be read.
    """
    run_id = str(run["run_id"])
    if sample_ids:
        _check_text(run, untold)
    elif set(A_TEXT) & set(untold) or run_id not in Lake(paths.lake).run_ids():
        return None
    with closing(connect(paths)) as connection:
        try:
            if sample_ids:
                return named_texts(connection, run_id, sample_ids, budget(of_layers))
            return drawn_texts(connection, run_id, budget(of_layers))
        except duckdb.Error as error:
            if sample_ids:
                raise unreadable(run_id, error) from error
            return None


def landed_text(
    connection: duckdb.DuckDBPyConnection, run_id: str, sample_id: int, layer: int | None
) -> TracedText:
    """Return one sample of a run, as much of it as a page can hold, with the routing that landed.

    Args:
        connection: a session over the marts and the lake.
        run_id: a finished run.
        sample_id: of its samples.
        layer: a MoE layer that it must have.

    Raises:
        GatehouseError: there is no such sample or layer, or the run's source tells no text.
    """
    check_layer(connection, run_id, layer)
    run, untold = run_summary(connection, run_id), untold_by_run(connection)[run_id]
    _check_text(run, untold)
    of_run = layers(connection, run_id)
    try:
        texts = named_texts(connection, run_id, [sample_id], budget(of_run))
        token_ids = texts.tokens["token_id"].unique().tolist()
        ranks, tokens = token_routing(connection, run_id, token_ids)
        together = pairs_of_experts(connection, run_id)
    except duckdb.Error as error:
        raise unreadable(run_id, error) from error
    if texts.tokens.empty:
        raise GatehouseError(
            f"sample {sample_id} of {run_id} has no tokens: name another with --sample"
        )
    name = texts.passages["name"].iloc[0]
    return TracedText(
        source=f"Run {run_title(run | {'name': None})}: {run['model']} on {run['dataset']}",
        name=f"Sample {sample_id}" if pd.isna(name) else f"Sample {sample_id}, {name}",
        texts=texts,
        layers=of_run,
        untold=untold,
        together=together,
        ranks=ranks,
        tokens=tokens,
    )


def _check_text(run: dict[str, Any], untold: Sequence[str]) -> None:
    if missing := [thing for thing in untold if thing in A_TEXT]:
        raise GatehouseError(f"{has_none(run, missing)}: name another run, whose text landed")


def unreadable(run_id: str, error: duckdb.Error) -> GatehouseError:
    """Return the line on a run whose events cannot be read."""
    return GatehouseError(
        f"the events of {run_id} cannot be read ({one_line(error)}): `gatehouse verify --repair` "
        "mends the lake"
    )
