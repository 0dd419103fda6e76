"""Passages of runs against the lake's own events, read without SQL."""

from contextlib import closing

import numpy as np
import pandas as pd
import pytest

from gatehouse.reports.marts.texts import LONGEST_PASSAGE, drawn_texts, named_texts
from gatehouse.warehouse.connect import connect
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.paths import Paths
from tests.dbt_project.test_fast_path_marts import lookup_tables

BUDGET = 200


@pytest.fixture(scope="module")
def session(built):
    with closing(connect(Paths(built.home))) as opened:
        yield opened


def with_tokens(raw) -> list[str]:
    runs = raw["runs"]
    return runs.loc[runs["has_token_ids"].astype(bool), "run_id"].to_list()


def test_every_route_is_the_lakes_own(session, raw, token_layers):
    vocabulary = raw["vocabulary"].set_index(["run_id", "token_id"])["token_str"]
    for run_id in with_tokens(raw):
        texts = drawn_texts(session, run_id, BUDGET)
        assert len(texts.tokens) <= BUDGET
        shown = texts.tokens.set_index(["sample_id", "position"])
        of_run = [layer for layer in token_layers if layer.run_id == run_id]
        assert set(texts.routes["moe_index"]) == {layer.moe_index for layer in of_run}
        for layer in of_run:
            table = lookup_tables(layer)[65536]
            places = zip(layer.sample_id.tolist(), layer.position.tolist())
            row_at = {place: row for row, place in enumerate(places)}
            routes = texts.routes[texts.routes["moe_index"] == layer.moe_index]
            assert set(zip(routes["sample_id"], routes["position"])) == set(row_at) & {*shown.index}
            for route in routes.to_dict("records"):
                row = row_at[route["sample_id"], route["position"]]
                chosen, token = layer.experts[row].tolist(), int(layer.token_id[row])
                assert list(route["experts"]) == chosen
                at = (route["sample_id"], route["position"])
                assert shown.loc[at, "token_id"] == token
                assert shown.loc[at, "token_str"] == vocabulary[run_id, token]
                np.testing.assert_array_equal(
                    np.nan if route["weights"] is None else route["weights"],
                    layer.weights[row] if layer.has_weights else np.nan,
                )
                if token not in table:
                    assert pd.isna(route["shared"]) and pd.isna(route["first_agrees"])
                    continue
                first, usual = table[token]
                assert route["shared"] == len({*usual} & {*chosen})
                assert pd.isna(route["first_agrees"]) == (not layer.ranked)
                if layer.ranked:
                    assert route["first_agrees"] == (first == chosen[0])


def test_the_draw_is_by_domain_held_out_first_and_the_same_every_time(session, raw):
    for run_id in with_tokens(raw):
        texts = drawn_texts(session, run_id, 3000)
        passages = texts.passages
        pd.testing.assert_frame_equal(passages, drawn_texts(session, run_id, 3000).passages)
        samples = raw["samples"][raw["samples"]["run_id"] == run_id]
        for domain, own in samples[samples["tokens"] > 0].groupby("domain"):
            longest = own.sort_values(["tokens", "sample_id"], ascending=[False, True])
            longest = longest.drop_duplicates("document_sha256")
            trained = longest.assign(trained=longest["split"] == "train")
            order = trained.sort_values(["trained", "document_sha256", "sample_id"])
            found = passages.loc[passages["domain"] == domain, "sample_id"].to_list()
            assert found == order["sample_id"].to_list()[:3]
        assert f"up to {LONGEST_PASSAGE} tokens" in texts.rule


def test_named_samples_come_in_their_order_and_generated_text_is_in_sight(session, raw):
    samples = raw["samples"]
    generated = samples[samples["prompt_tokens"] < samples["tokens"]]
    run_id = generated["run_id"].iloc[0]
    longest = generated[generated["run_id"] == run_id].sort_values("tokens").tail(2)
    wanted = longest["sample_id"].to_list()
    texts = named_texts(session, run_id, wanted, 2 * 8)
    assert texts.passages["sample_id"].to_list() == wanted
    for row in texts.passages.to_dict("records"):
        assert row["first"] <= row["prompt_tokens"] < row["past"] <= row["tokens"]
        assert row["past"] - row["first"] <= 8
    assert texts.tokens["sample_id"].drop_duplicates().to_list() == wanted
    with pytest.raises(GatehouseError, match="has no sample 987654"):
        named_texts(session, run_id, [wanted[0], 987654], 100)
