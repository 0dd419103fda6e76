"""Marts of the experts' load, of what they were selected for and together with, recomputed."""

import numpy as np
import pandas as pd

from tests.dbt_project.conftest import where_known


def test_the_lake_has_the_hard_cases(layer_events):
    """Top-1, top-2 and top-8, dropped tokens, a skip class, dead experts, unequal first choices."""
    assert {layer.top_k for layer in layer_events} == {1, 2, 3, 4, 8}
    assert {layer.stack for layer in layer_events} == {"encoder", "decoder"}
    dropped = {layer.run_id for layer in layer_events if (layer.weights == 0).any()}
    assert dropped == {"switch", "wide", "whole", "slim", "traced", "skipping"}
    skipping = next(layer for layer in layer_events if layer.run_id == "skipping")
    assert skipping.load()[-1] == 0 < (skipping.experts == skipping.num_experts - 1).sum()
    assert any((layer.selected().sum(axis=0) == 0).any() for layer in layer_events)
    assert any((np.diff(layer.experts[:, :2], axis=1) < 0).any() for layer in layer_events)


def shares_before(measure: np.ndarray) -> np.ndarray:
    """Return what the experts of larger shares, in units of 1 / 10,000, have together."""
    shares = np.floor(measure / measure.sum() * 10_000 + 0.5)
    larger = np.argsort(-shares, kind="stable")
    before = np.empty(len(shares))
    before[larger] = np.cumsum(shares[larger]) - shares[larger]
    return before / 10_000


def test_expert_load(assert_mart, layer_events):
    rows = []
    for layer in layer_events:
        load, first = layer.load(), np.bincount(layer.experts[:, 0], minlength=layer.num_experts)
        mass = np.bincount(layer.experts.ravel(), layer.weights.ravel(), layer.num_experts)
        selections = np.bincount(layer.experts.ravel(), minlength=layer.num_experts)
        for expert in range(layer.num_experts):
            named = layer.experts == expert
            rows.append(
                layer.keys
                | {
                    "expert": expert,
                    "selections": named.sum(),
                    "load": load[expert],
                    "load_share": load[expert] / load.sum(),
                    "load_ratio": load[expert] / load.mean(),
                    "selection_share_before": shares_before(selections)[expert],
                    "is_dead": load[expert] == 0,
                }
                | where_known(
                    layer.ranked,
                    {
                        "first_choices": first[expert],
                        "first_choice_share": first[expert] / len(layer.experts),
                        "selections_by_rank": named.sum(axis=0),
                    },
                )
                | where_known(
                    layer.has_weights,
                    {
                        "dropped": (named & (layer.weights == 0)).sum(),
                        "gate_mass": mass[expert],
                        "gate_mass_share": mass[expert] / layer.weights.sum(),
                        "gate_mass_share_before": shares_before(mass)[expert],
                    },
                )
            )
    assert_mart("fct_expert_load", ["run_id", "layer", "expert"], pd.DataFrame(rows))


def test_expert_coverage(assert_mart, layer_events):
    """Share of the activations that the N busiest experts got, for every N."""
    rows, ties = [], 0
    for layer in layer_events:
        load = layer.load()
        ties += len(set(load)) < layer.num_experts
        busiest_first = np.argsort(-load, kind="stable")
        for top in range(1, layer.num_experts + 1):
            rows.append(
                layer.keys
                | {
                    "top_experts": top,
                    "last_expert": busiest_first[top - 1],
                    "expert_share": top / layer.num_experts,
                    "covered_activations": load[busiest_first[:top]].sum(),
                    "activations": load.sum(),
                    "activation_share": load[busiest_first[:top]].sum() / load.sum(),
                }
            )
    assert ties > 2
    assert_mart("fct_expert_coverage", ["run_id", "layer", "top_experts"], pd.DataFrame(rows))


def test_token_expert(assert_mart, token_layers):
    rows = []
    for layer in token_layers:
        selected = layer.selected()
        for token in np.unique(layer.token_id):
            of_token = layer.token_id == token
            selections = selected[of_token].sum(axis=0)
            first = np.bincount(layer.experts[of_token, 0], minlength=layer.num_experts)
            for expert in np.flatnonzero(selections):
                rows.append(
                    {
                        "run_id": layer.run_id,
                        "layer": layer.layer,
                        "token_id": token,
                        "expert": expert,
                        "frequency": of_token.sum(),
                        "selections": selections[expert],
                        "selection_share": selections[expert] / of_token.sum(),
                    }
                    | where_known(
                        layer.ranked,
                        {
                            "first_choices": first[expert],
                            "first_choice_share": first[expert] / of_token.sum(),
                        },
                    )
                )
    expected = pd.DataFrame(rows)
    assert (expected["first_choices"] == 0).any()
    assert_mart("fct_token_expert", ["run_id", "layer", "token_id", "expert"], expected)


def test_domain_expert(assert_mart, layer_events):
    """Specialisation as in OLMoE, N(E, D) / N(D); relevance as in ESFT."""
    rows = []
    for layer in layer_events:
        for domain in np.unique(layer.domain):
            inside = layer.domain == domain
            experts, weights = layer.experts[inside], layer.weights[inside]
            selections, mass = np.bincount(experts.ravel()), np.zeros(experts.max() + 1)
            np.add.at(mass, experts, weights)
            for expert in np.unique(experts):
                named = experts == expert
                rows.append(
                    layer.keys
                    | {
                        "domain": domain,
                        "expert": expert,
                        "domain_tokens": inside.sum(),
                        "selections": named.sum(),
                        "gate_mass": weights[named].sum(),
                        "specialisation": named.any(axis=1).mean(),
                        "uniform_specialisation": layer.top_k / layer.num_experts,
                        "gate_relevance": (weights * named).sum(axis=1).mean(),
                        "selection_relevance": (named.sum(axis=1) / layer.top_k).mean(),
                        "selection_share_before": shares_before(selections)[expert],
                        "gate_mass_share_before": shares_before(mass)[expert],
                    }
                    | where_known(
                        layer.ranked,
                        {
                            "first_choices": named[:, 0].sum(),
                            "first_choice_specialisation": named[:, 0].mean(),
                        },
                    )
                )
    expected = pd.DataFrame(rows)
    assert expected["domain"].nunique() == 3
    assert_mart("fct_domain_expert", ["run_id", "layer", "domain", "expert"], expected)


def test_expert_coactivation(assert_mart, layer_events):
    """P(j | i) = N_ij / N_i over all pairs, and over experts of adjacent ranks alone."""
    rows, differs = [], False
    for layer in layer_events:
        selected = layer.selected()
        together, selections = selected.T @ selected, selected.sum(axis=0)
        adjacent = np.zeros_like(together)
        for rank in range(layer.top_k - 1):
            np.add.at(adjacent, (layer.experts[:, rank], layer.experts[:, rank + 1]), 1)
        adjacent += adjacent.T
        differs |= (adjacent < together).any()
        for expert, other in np.argwhere(np.triu(together, 1) + np.tril(together, -1)):
            rows.append(
                layer.keys
                | {
                    "expert": expert,
                    "other_expert": other,
                    "tokens": together[expert, other],
                    "expert_selections": selections[expert],
                    "probability": together[expert, other] / selections[expert],
                    "uniform_probability": (layer.top_k - 1) / (layer.num_experts - 1),
                }
                | where_known(
                    layer.ranked,
                    {
                        "adjacent_tokens": adjacent[expert, other],
                        "adjacent_probability": adjacent[expert, other] / selections[expert],
                    },
                )
            )
    assert differs
    keys = ["run_id", "layer", "expert", "other_expert"]
    assert_mart("fct_expert_coactivation", keys, pd.DataFrame(rows))
