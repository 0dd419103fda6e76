"""What the marts hold on each expert by itself: its load, tokens, contexts, domains, neighbours."""

from dataclasses import dataclass

import duckdb
import pandas as pd

from gatehouse.reports.marts.session import frame_of


@dataclass(frozen=True)
class ExpertCards:
    """`fct_expert_card` of one run, a frame for each of its lists, in the order of the lists.

    All but `words` have moe_index and expert, and are empty for a run of counts.

    experts: one row per expert: load_share, load_ratio, selection_rate, half_tokens,
        half_correlation; the busiest of a layer first.
    tokens: token_id, frequency, selections, lift.
    neighbours: other_expert, tokens, probability, lift.
    domains: domain, tokens, log2_lift (null where none of them selects the expert), z (null where
        there are too few documents).
    contexts: sample_id, position, token_ids, tokens_before.
    words: token_id, token_str: of all tokens and contexts.
    """

    experts: pd.DataFrame
    tokens: pd.DataFrame
    neighbours: pd.DataFrame
    domains: pd.DataFrame
    contexts: pd.DataFrame
    words: pd.DataFrame


EXPERTS = """
    select
        moe_index, expert, load_share, load_ratio, selection_rate, half_tokens, half_correlation
    from fct_expert_card
    where run_id = $1
    order by moe_index, selections desc, expert
"""

LISTED = """
    with cards as (
        select moe_index, expert, {listed} as listed
        from fct_expert_card
        where run_id = $1
    ),

    entries as (
        select
            moe_index,
            expert,
            unnest(listed) as entry,
            unnest(range(len(listed))) as place
        from cards
    )

    select moe_index, expert, {columns}
    from entries
    order by moe_index, expert, place
"""

WORDS = """
    with shown as (
        select unnest([each.token_id for each in top_tokens]) as token_id
        from fct_expert_card
        where run_id = $1
        union
        select unnest(flatten([each.token_ids for each in contexts]))
        from fct_expert_card
        where run_id = $1
    )

    select dim_token.token_id, dim_token.token_str
    from dim_token
    semi join shown on dim_token.token_id = shown.token_id
    where dim_token.run_id = $1
    order by dim_token.token_id
"""


def expert_cards(connection: duckdb.DuckDBPyConnection, run_id: str) -> ExpertCards:
    """Return the cards of a run's experts."""

    def entries(listed: str, columns: str) -> pd.DataFrame:
        return frame_of(connection, LISTED.format(listed=listed, columns=columns), [run_id])

    return ExpertCards(
        experts=frame_of(connection, EXPERTS, [run_id]),
        tokens=entries(
            "top_tokens", "entry.token_id, entry.frequency, entry.selections, entry.lift"
        ),
        neighbours=entries(
            "neighbours",
            "entry.expert as other_expert, entry.tokens, entry.probability, entry.lift",
        ),
        domains=entries("domains", "entry.domain, entry.tokens, entry.log2_lift, entry.z"),
        contexts=entries(
            "contexts",
            "entry.sample_id, entry.position, entry.token_ids, entry.tokens_before",
        ),
        words=frame_of(connection, WORDS, [run_id]),
    )
