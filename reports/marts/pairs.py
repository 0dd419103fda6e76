"""What two runs have in common: their loads, and the routing of the text that both read."""

from dataclasses import dataclass

import duckdb
import pandas as pd

from gatehouse.reports.marts.session import frame_of
from gatehouse.warehouse.plain_text import counted


@dataclass(frozen=True)
class Flips:
    """Where two runs send a token to other experts: another set, or another first choice.

    tokens: number of tokens compared, in each of `layers` MoE layers.
    flipped_token_share: share of them with another set in at least one layer.
    mean_flipped_layers: mean over the tokens of the number of layers with another set.
    by_layer: moe_index, tokens, set_flip_share, top_flip_share (null where a run does not know the
        order of the experts).
    by_margin: smallest_margin of each bucket and the same columns, over all layers; no rows where
        neither run has weights, or one expert is chosen.
    by_position: first_position of each bucket and the same columns, over all layers.
    """

    tokens: int
    layers: int
    flipped_token_share: float
    mean_flipped_layers: float
    by_layer: pd.DataFrame
    by_margin: pd.DataFrame
    by_position: pd.DataFrame

    @property
    def sentence(self) -> str:
        """The share of tokens that flip somewhere, for people."""
        layers = "the only layer" if self.layers == 1 else f"at least one of {self.layers} layers"
        return (
            f"of {counted(self.tokens, 'token')} that both runs read, "
            f"{self.flipped_token_share:.1%} go to another set of experts in {layers} "
            f"({self.mean_flipped_layers:.2f} layers per token on average)"
        )


@dataclass(frozen=True)
class Loads:
    """Whether two runs keep the same experts busy.

    by_layer: moe_index, shared_load (1 = equal loads), load_correlation (null where all experts of
        a run have the same load), dead_in_both, dead_in_one (numbers of experts); at least one row.
    """

    by_layer: pd.DataFrame

    @property
    def sentence(self) -> str:
        """How much of the load is shared, for people."""
        layers = len(self.by_layer)
        where = "in the only layer" if layers == 1 else f"on average over {layers} layers"
        shared = self.by_layer["shared_load"].mean()
        return f"{where}, {shared:.1%} of the load is on the same experts in both runs"


@dataclass(frozen=True)
class Pair:
    """What two runs have in common; nothing where neither their tokens nor their loads compare.

    overlap: rows of `run_overlap`; None or no rows where the runs share no text or no experts.
    flips: where they do not agree; None where there is no overlap.
    loads: whether they keep the same experts busy; None where that is not compared.
    """

    overlap: pd.DataFrame | None = None
    flips: Flips | None = None
    loads: Loads | None = None

    @property
    def has_tokens(self) -> bool:
        """Whether the routing of tokens is compared."""
        return self.overlap is not None and len(self.overlap) > 0

    @property
    def is_compared(self) -> bool:
        """Whether anything is."""
        return self.has_tokens or self.loads is not None

    @property
    def equal_sets(self) -> float | None:
        """The share of the tokens' expert sets, over all layers, that are equal; None if unknown.

        Every layer has the same tokens, so it is the mean over the layers.
        """
        if self.overlap is None or not self.has_tokens:
            return None
        return float(self.overlap["set_agreement"].mean())

    @property
    def sentence(self) -> str | None:
        """How many tokens go to other experts, else how much load is shared, for people."""
        most_told = self.flips or self.loads
        return most_told.sentence if most_told else None


def run_pair(connection: duckdb.DuckDBPyConnection, run_id: str, other_run_id: str) -> Pair:
    """Return what two runs have in common; changes are those from `run_id` to `other_run_id`."""
    ids = (run_id, other_run_id)
    return Pair(
        run_overlap(connection, *ids), run_flips(connection, *ids), run_loads(connection, *ids)
    )


def run_overlap(
    connection: duckdb.DuckDBPyConnection, run_id: str, other_run_id: str
) -> pd.DataFrame:
    """Return how far two runs agree on the text that they share, a row per MoE layer, if any.

    The change of entropy (nats) is that from `run_id` to `other_run_id`.
    """
    query = """
        select
            moe_index,
            tokens,
            expert_overlap,
            set_agreement,
            top_agreement,
            case when run_id = $1 then mean_entropy_change else -mean_entropy_change end
                as mean_entropy_change,
            mean_absolute_entropy_change
        from fct_run_comparison
        where (run_id = $1 and other_run_id = $2) or (run_id = $2 and other_run_id = $1)
        order by moe_index
    """
    return frame_of(connection, query, [run_id, other_run_id])


def run_loads(
    connection: duckdb.DuckDBPyConnection, run_id: str, other_run_id: str
) -> Loads | None:
    """Return whether two runs keep the same experts busy; None if that is not compared.

    It is of runs that share text, and of a run of counts with the others of its model.
    """
    query = """
        select moe_index, shared_load, load_correlation, dead_in_both, dead_in_one
        from fct_load_comparison
        where (run_id = $1 and other_run_id = $2) or (run_id = $2 and other_run_id = $1)
        order by moe_index
    """
    by_layer = frame_of(connection, query, [run_id, other_run_id])
    return None if by_layer.empty else Loads(by_layer)


def run_flips(
    connection: duckdb.DuckDBPyConnection, run_id: str, other_run_id: str
) -> Flips | None:
    """Return where two runs route the text that they share differently; None if they share none."""
    query = """
        select tokens, layers, flipped_token_share, mean_flipped_layers
        from fct_run_mismatch
        where (run_id = $1 and other_run_id = $2) or (run_id = $2 and other_run_id = $1)
    """
    totals = frame_of(connection, query, [run_id, other_run_id])
    if totals.empty:
        return None
    (row,) = totals.to_dict("records")
    by_layer, by_margin, by_position = (
        _flips_by(connection, column, run_id, other_run_id)
        for column in ("moe_index", "smallest_margin", "first_position")
    )
    return Flips(
        int(row["tokens"]),
        int(row["layers"]),
        float(row["flipped_token_share"]),
        float(row["mean_flipped_layers"]),
        by_layer,
        by_margin,
        by_position,
    )


def _flips_by(
    connection: duckdb.DuckDBPyConnection, column: str, run_id: str, other_run_id: str
) -> pd.DataFrame:
    query = f"""
        select
            {column},
            cast(sum(tokens) as bigint) as tokens,
            sum(set_flips) / sum(tokens) as set_flip_share,
            sum(top_flips) / sum(tokens) as top_flip_share
        from fct_run_flip
        where
            ((run_id = $1 and other_run_id = $2) or (run_id = $2 and other_run_id = $1))
            and {column} is not null
        group by {column}
        order by {column}
    """  # noqa: S608 - a column of the mart
    return frame_of(connection, query, [run_id, other_run_id])
