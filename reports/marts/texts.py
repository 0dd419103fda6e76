"""Passages of a run's texts: their tokens, and where each layer's router sent them."""

from collections.abc import Sequence
from dataclasses import dataclass

import duckdb
import pandas as pd

from gatehouse.reports.marts.session import frame_of
from gatehouse.warehouse.errors import GatehouseError

MOST_DOMAINS = 6
MOST_OF_A_DOMAIN = 3
LONGEST_PASSAGE = 192
"""Tokens: what fits on a screen."""

UNLANDED = -1
"""The sample_id of a text that no run has."""

SHORTEST_PASSAGE = 48
BEFORE_GENERATED = 64
"""Tokens of the prompt that a passage with generated text begins with, if there are as many."""


@dataclass(frozen=True)
class Texts:
    """Passages, and the routing of each of their tokens.

    passages: sample_id, name, domain, split (null where that is not known), tokens and
        prompt_tokens of the whole sample, first and past: the positions that are shown.
    tokens: sample_id, position, token_id, token_str, is_special; by passage and position.
    routes: moe_index, sample_id, position, experts (in descending weight), weights (null where the
        source tells none), entropy in nats and confidence (null where it tells none), and, of what
        the token's usual set of experts in the train split holds: shared (how many of these
        experts) and first_agrees (whether the first one is that split's usual first one); both null
        where the token is not in that split.
    rule: a sentence on how the passages were chosen.
    """

    passages: pd.DataFrame
    tokens: pd.DataFrame
    routes: pd.DataFrame
    rule: str


# of a document the longest sample: other samples are its parts, or the same text again
DRAWN = """
    with kept as (
        select sample_id, name, domain, split, tokens, prompt_tokens, document_sha256
        from dim_sample
        where run_id = $1 and tokens > 0
    ),

    largest_domains as (
        select domain
        from kept
        group by domain
        order by sum(tokens) desc, domain
        limit $2
    ),

    of_documents as (
        select *
        from kept
        semi join largest_domains using (domain)
        qualify
            row_number() over (
                partition by domain, document_sha256 order by tokens desc, sample_id
            ) = 1
    ),

    drawn as (
        select *
        from of_documents
        qualify
            row_number() over (
                partition by domain order by split = 'train', document_sha256, sample_id
            ) <= $3
    )

    select sample_id, name, domain, split, tokens, prompt_tokens
    from drawn
    order by domain, split = 'train', document_sha256, sample_id
"""

NAMED = """
    select sample_id, name, domain, split, tokens, prompt_tokens
    from dim_sample
    where run_id = $1 and sample_id in (select unnest($2))
    order by list_position($2, sample_id)
"""

ROUTES = """
    with passages as (
        select
            unnest($2) as sample_id,
            unnest($3) as first,
            unnest($4) as past
    ),

    layers as (
        select layer, moe_index from dim_layer where run_id = $1
    ),

    shown as (
        select events.*, layers.moe_index
        from events
        inner join layers on events.layer = layers.layer
        inner join passages
            on
                events.sample_id = passages.sample_id
                and events.position >= passages.first
                and events.position < passages.past
        where events.run_id = $1 and events.sample_id in (select unnest($2))
    ),

    usual as (
        select
            lookup_table.layer,
            lookup_table.token_id,
            lookup_table.expert_set,
            lookup_table.top_expert
        from int_fast_path_table as lookup_table
        inner join stg_runs on lookup_table.run_key = stg_runs.run_key
        where stg_runs.run_id = $1
    )

    select
        shown.moe_index,
        shown.sample_id,
        shown.position,
        shown.token_id,
        shown.experts,
        shown.weights,
        shown.entropy,
        shown.confidence,
        case
            when usual.expert_set is not null
                then len(list_intersect(shown.experts, usual.expert_set))
        end as shared,
        shown.top_expert = usual.top_expert as first_agrees
    from shown
    left join usual on shown.layer = usual.layer and shown.token_id = usual.token_id
"""

VOCABULARY = """
    select token_id, token_str, is_special
    from dim_token
    where run_id = $1 and token_id in (select unnest($2))
"""


def drawn_texts(connection: duckdb.DuckDBPyConnection, run_id: str, budget: int) -> Texts | None:
    """Return some passages of every large domain, the same ones each time; None if there are none.

    They begin at the beginning of a sample, those with generated text shortly before that.

    Args:
        connection: a session over the marts and the lake.
        run_id: a finished run with events and token ids.
        budget: the most tokens that all of them may have together.
    """
    domains, each, length = _shares(connection, run_id, budget)
    found = frame_of(connection, DRAWN, [run_id, domains, each])
    if found.empty:
        return None
    of_domains = "each domain" if domains < MOST_DOMAINS else f"the {domains} largest domains"
    rule = (
        f"Drawn by the hashes of the documents, held-out ones first: up to {each} of {of_domains}; "
        f"of a document its longest sample, up to {length} tokens."
    )
    return _texts(connection, run_id, found, length, rule)


def _shares(
    connection: duckdb.DuckDBPyConnection, run_id: str, budget: int
) -> tuple[int, int, int]:
    """Return how many domains are shown, how many passages of each, and of how many tokens."""
    query = "select count(distinct domain) as domains from dim_sample where run_id = $1"
    there = int(frame_of(connection, query, [run_id])["domains"].iloc[0])
    domains = max(min(there, MOST_DOMAINS, budget // SHORTEST_PASSAGE), 1)
    each = max(min(MOST_OF_A_DOMAIN, budget // (domains * LONGEST_PASSAGE)), 1)
    return domains, each, max(min(LONGEST_PASSAGE, budget // (domains * each)), 1)


def named_texts(
    connection: duckdb.DuckDBPyConnection, run_id: str, sample_ids: Sequence[int], budget: int
) -> Texts:
    """Return passages of the samples that are asked for, in that order.

    Args:
        connection: a session over the marts and the lake.
        run_id: a finished run with events and token ids.
        sample_ids: of its samples.
        budget: the most tokens that all of them may have together.

    Raises:
        GatehouseError: the run has no such sample.
    """
    wanted = list(dict.fromkeys(sample_ids))
    length = max(budget // len(wanted), 1)
    rule = "Chosen by the number of the sample."
    return _texts(connection, run_id, named_samples(connection, run_id, wanted), length, rule)


def named_samples(
    connection: duckdb.DuckDBPyConnection, run_id: str, wanted: list[int]
) -> pd.DataFrame:
    """Return sample_id, name, domain, split, tokens and prompt_tokens of samples, in that order.

    Raises:
        GatehouseError: the run has no such sample.
    """
    found = frame_of(connection, NAMED, [run_id, wanted])
    if missing := sorted(set(wanted) - set(found["sample_id"])):
        raise GatehouseError(
            f"{run_id} has no sample {missing[0]}: name one of those that `gatehouse sql "
            '"from dim_sample"` lists'
        )
    return found


def _texts(
    connection: duckdb.DuckDBPyConnection,
    run_id: str,
    samples: pd.DataFrame,
    length: int,
    rule: str,
) -> Texts:
    passages = samples.assign(**_spans(samples, length))
    bounds = [passages[name].to_list() for name in ("sample_id", "first", "past")]
    routes = frame_of(connection, ROUTES, [run_id, *bounds])
    words = frame_of(connection, VOCABULARY, [run_id, routes["token_id"].unique().tolist()])
    return arranged(passages, routes, words, rule)


def _spans(samples: pd.DataFrame, length: int) -> dict[str, "pd.Series[int]"]:
    """Return the first position that is shown of each sample, and the one past the last."""
    tokens, prompt = samples["tokens"].astype(int), samples["prompt_tokens"].astype(int)
    before = (prompt - min(BEFORE_GENERATED, length // 2)).clip(lower=0)
    first = before.where(prompt < tokens, 0).where(tokens > length, 0)
    return {"first": first, "past": (first + length).clip(upper=tokens)}


def arranged(passages: pd.DataFrame, routes: pd.DataFrame, words: pd.DataFrame, rule: str) -> Texts:
    """Return `Texts` of rows in any order.

    Args:
        passages: as `Texts.passages`.
        routes: as `Texts.routes`, and token_id.
        words: token_id, token_str, is_special.
        rule: as `Texts.rule`.
    """
    order = pd.Series(range(len(passages)), index=passages["sample_id"])
    keys = ["sample_id", "position"]
    sorted_routes = (
        routes.assign(place=routes["sample_id"].map(order), position=routes["position"].astype(int))
        .sort_values(["moe_index", "place", "position"])
        .reset_index(drop=True)
    )
    # the two stacks of a model read the same tokens, the second one all but the last
    tokens = sorted_routes.drop_duplicates(keys).sort_values(["place", "position"])
    named = tokens[[*keys, "token_id"]].merge(words, on="token_id", how="left")
    return Texts(
        passages.reset_index(drop=True),
        named.reset_index(drop=True),
        sorted_routes.drop(columns=["place", "token_id"]),
        rule,
    )
