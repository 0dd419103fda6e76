"""Made-up passages of a made-up run: routes drawn at random, all that a page must show."""

import numpy as np
import pandas as pd

from gatehouse.reports.marts.texts import Texts, arranged
from gatehouse.reports.marts.untold import ENTROPY, EVENTS, ORDER, TOKEN_IDS, WEIGHTS
from gatehouse.reports.verdict.findings import AssessedRun

ARABIC = ("السلام", " عليكم", "!")
LENGTH = 60
GENERATED = 20
UNTOLD = {WEIGHTS: ["weights"], ENTROPY: ["entropy", "confidence"], ORDER: ["first_agrees"]}


def made_up_texts(run: AssessedRun, passages: int = 4, length: int = LENGTH) -> Texts | None:
    """Passages of two domains of the run's most frequent tokens; a part of the last one is written.

    The last third of the tokens of each is not in the train split; every second passage is in
    Arabic. What the run's source did not tell is null; None if it has no text.
    """
    if {EVENTS, TOKEN_IDS} & set(run.untold):
        return None
    random = np.random.default_rng(1)
    words = run.marts.frequency_rank[["token_id", "token_str", "is_special"]].copy()
    ids = np.concatenate(
        [words["token_id"].to_numpy()[: length // 2], words["token_id"].to_numpy()]
    )
    words.loc[words.index[30:33], "token_str"] = ARABIC
    arabic = words["token_id"].iloc[30:33].to_list()
    shown = pd.DataFrame(
        {
            "sample_id": [7 + 3 * each for each in range(passages)],
            "name": [f"name {each}" for each in range(passages)],
            "domain": [
                "<i>code</i>" if each < passages // 2 else "prose" for each in range(passages)
            ],
            "split": "test",
            "tokens": length + 40,
            "prompt_tokens": length + 40,
            "first": 0,
            "past": length,
        }
    )
    last = shown.index[-1]
    shown.loc[last, ["tokens", "prompt_tokens"]] = [length, length - GENERATED]
    tokens = pd.DataFrame(
        {
            "sample_id": np.repeat(shown["sample_id"].to_numpy(), length),
            "position": np.tile(np.arange(length), passages),
        }
    )
    of_passage = [
        ids[:length] if each % 2 == 0 else (arabic * length)[:length] for each in shown.index
    ]
    tokens["token_id"] = np.concatenate(of_passage)
    routes = [
        _routes(tokens, int(row["moe_index"]), int(row["num_experts"]), int(row["top_k"]), random)
        for row in run.marts.layers.to_dict("records")
    ]
    every = pd.concat(routes, ignore_index=True)
    nulls = [name for thing, names in UNTOLD.items() if thing in run.untold for name in names]
    every = every.assign(**dict.fromkeys(nulls))
    return arranged(shown, every, words, "Drawn by nobody.")


def _routes(tokens: pd.DataFrame, layer: int, experts: int, k: int, random) -> pd.DataFrame:
    scores = random.random((len(tokens), experts))
    shares = np.exp(3 * scores) / np.exp(3 * scores).sum(axis=1, keepdims=True)
    chosen = np.argsort(-shares, axis=1)[:, :k]
    weights = np.take_along_axis(shares, chosen, axis=1)
    unknown = tokens["position"].to_numpy() >= 2 * LENGTH // 3
    return tokens.assign(
        moe_index=layer,
        experts=list(chosen.astype(np.uint16)),
        weights=list(weights / weights.sum(axis=1, keepdims=True)),
        entropy=-(shares * np.log(shares)).sum(axis=1),
        confidence=shares.max(axis=1),
        shared=np.where(unknown, np.nan, random.integers(0, k + 1, len(tokens))),
        first_agrees=np.where(unknown, np.nan, random.integers(0, 2, len(tokens))),
    )
