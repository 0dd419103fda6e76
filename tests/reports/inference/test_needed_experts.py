"""Sentences on how many experts text needs follow from the numbers, and claim no more."""

import itertools

import numpy as np
import pandas as pd
import pytest

from gatehouse.reports.inference.adaptive_k import adaptive_rules, fewest_that_keep
from gatehouse.reports.inference.batch_experts import batches
from gatehouse.reports.inference.keep_sets import (
    chance_jaccard,
    halves_agree,
    keep_sets,
    rankings_agree,
)
from gatehouse.reports.inference.tuning import even_shares, experts_to_train, tuned_texts


def adaptive(*rows) -> pd.DataFrame:
    names = ["rule", "threshold", "layers", "mean_experts", "all_experts", "retained_gate_mass"]
    return pd.DataFrame(rows, columns=names)


def test_the_fewest_experts_are_those_that_keep_enough():
    rules = adaptive_rules(
        adaptive(
            ("weight", 0.1, 3, 3.5, 4.0, 0.99),
            ("weight", 0.2, 3, 2.5, 4.0, 0.95),
            ("weight", 0.5, 3, 1.5, 4.0, 0.949),
            ("entropy", 0.5, 3, 3.0, 4.0, 0.8),
        )
    )
    assert [rule.fewest for rule in rules] == [1, None]
    said = fewest_that_keep(rules)
    assert "In place of 4.00 experts of a layer a token would run 2.50 if those" in said
    assert "a weight below 0.2 were dropped (95.0% kept)" in said
    assert "entropy" not in said
    assert "quality is not seen here" in said


def test_thresholds_that_drop_nothing_save_nothing():
    rules = adaptive_rules(adaptive(("weight", 0.1, 1, 2.0, 2.0, 1.0)))
    assert fewest_that_keep(rules) == (
        "No threshold that was tried drops experts and keeps 95% of the gate mass."
    )


def test_a_rule_that_some_layers_do_not_tell_is_not_compared():
    rules = adaptive_rules(
        adaptive(("weight", 0.1, 3, 1.9, 2.0, 0.99), ("entropy", 0.1, 2, 1.9, 2.0, 0.99))
    )
    assert [rule.name for rule in rules] == ["weight"]


def batch(*rows) -> pd.DataFrame:
    names = ["phase", "batch_of", "size", "mean_experts", "uniform_experts"]
    return pd.DataFrame(rows, columns=names)


def test_the_sentence_is_of_the_size_at_which_chance_meets_half_of_the_experts():
    (found,) = batches(
        batch(
            ("prompt", "tokens", 1, 2.0, 2.0),
            ("prompt", "tokens", 4, 6.0, 7.5),
            ("prompt", "tokens", 8, 9.0, 11.0),
            ("prompt", "sequences", 1, 2.0, 2.0),
            ("prompt", "sequences", 4, 7.0, 7.5),
        )
    )
    assert found.sentence(16) == (
        "4 consecutive tokens select 6.00 of a layer's 16 experts, 4 tokens at the same place of "
        "as many samples select 7.00; as many tokens that choose at random, 7.50."
    )


def test_a_batch_of_one_token_is_none():
    one = ("prompt", "tokens", 1, 2.0, 2.0)
    assert batches(batch(one)) == []
    (found,) = batches(
        batch(one, ("prompt", "tokens", 2, 3.0, 3.5), ("prompt", "sequences", 1, 2, 2))
    )
    assert list(found.sizes) == ["tokens"]
    assert found.sentence(8) == (
        "2 consecutive tokens select 3.00 of a layer's 8 experts; as many tokens that choose at "
        "random, 3.50."
    )


def kept(jaccards: dict[str, float], layers: int = 4) -> pd.DataFrame:
    rows = []
    for measure, jaccard in jaccards.items():
        same = layers if jaccard == 1 else 1
        for keep_share in (0.25, 0.5):
            rows += [
                (measure, keep_share, "second 1/2", "first 1/2", 0.4, layers, same, jaccard),
                (measure, keep_share, "first 1/2", "all", 0.6, layers, layers, 1.0),
                (measure, keep_share, "all", "all", 1.0, layers, layers, 1.0),
            ]
    names = ["measure", "keep_share", "part", "reference", "text_share", "layers"]
    return pd.DataFrame(rows, columns=[*names, "same_layers", "jaccard"])


@pytest.mark.parametrize(
    ("jaccards", "verdict"),
    [
        ({"selections": 1.0, "reap": 1.0}, "no choice depends on which half it is learned from."),
        (
            {"selections": 1.0, "gate_mass": 0.5, "reap": 0.7},
            "half of the text does not settle the choice by gate mass and REAP.",
        ),
    ],
)
def test_a_choice_that_differs_between_the_halves_is_not_settled(jaccards, verdict):
    said = halves_agree(keep_sets(kept(jaccards)), [8, 8, 8, 8])
    assert said.endswith(verdict)
    for jaccard in jaccards.values():
        assert f"in {4 if jaccard == 1 else 1} of 4 layers (Jaccard {jaccard:.2f})" in said
    assert "stable" not in said


def test_text_without_two_halves_settles_nothing():
    frame = kept({"selections": 1.0})
    found = keep_sets(frame[frame["part"] != "second 1/2"])
    assert halves_agree(found, [8]) is None


@pytest.mark.parametrize(("experts", "share"), [(4, 0.5), (6, 0.25), (5, 0.75), (1, 0.5)])
def test_the_jaccard_index_of_random_choices_is_the_mean_of_all_pairs(experts, share):
    number = int(np.ceil(share * experts))
    sets = [set(each) for each in itertools.combinations(range(experts), number)]
    pairs = [len(one & other) / len(one | other) for one in sets for other in sets]
    assert chance_jaccard([experts], share) == pytest.approx(np.mean(pairs))


def test_rankings_are_compared_where_there_are_several():
    names = ["measure", "other_measure", "layers", "same_layers", "jaccard"]
    frame = pd.DataFrame([("selections", "gate_mass", 1, 0, 0.5)], columns=names)
    assert rankings_agree(frame) == (
        "On all text the same half is kept by selections and gate mass in 0 of 1 layer "
        "(Jaccard 0.50)."
    )
    assert rankings_agree(frame.head(0)) is None


def tuned(*means) -> pd.DataFrame:
    rows = [
        (domain, relevance, 0.2, 2, mean, 1, 4)
        for domain, mean in means
        for relevance in ("gate", "selection")
    ]
    names = ["domain", "relevance", "share", "layers", "mean_experts", "min_experts"]
    return pd.DataFrame(rows, columns=[*names, "max_experts"])


def test_the_domains_that_need_fewest_and_most_are_named():
    texts = tuned_texts(tuned((None, 2.0), ("code", 1.5), ("web", 2.5), ("maths", 2.0)))
    assert experts_to_train(texts, [16, 16]) == (
        "By token share up to 0.2 ESFT would train 2.00 experts of a layer on all text, and from "
        "1.50 (code) to 2.50 (web) on a domain; if all experts were selected alike, 4.00."
    )
    alike = tuned_texts(tuned((None, 2.0), ("code", 2.5), ("web", 2.5)))
    assert "on all text, 2.50 on each domain; if" in experts_to_train(alike, [16, 16])


def test_even_shares_reach_p_with_as_many_experts_as_it_takes():
    assert even_shares([10, 8], 0.1) == 1
    assert even_shares([10, 64], 0.2) == (2 + 13) / 2
