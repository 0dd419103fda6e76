"""A replay of a real run: what lands, once, whatever happens meanwhile."""

import math
import re
import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from transformers import AutoModelForCausalLM

from gatehouse.flows.replay import planned
from gatehouse.flows.replay.answer import replay, replay_parts
from gatehouse.flows.replay.policies import Policies
from gatehouse.flows.replay.request import ReplayRequest
from gatehouse.flows.replay.session import ReplaySession
from gatehouse.flows.steps.workers.part import Part
from gatehouse.reports.marts.held_out import expert_loads, held_out_samples, tokens_of
from gatehouse.reports.marts.lookup_table import bigram_entries, token_choices, token_entries
from gatehouse.warehouse import replays
from gatehouse.warehouse.connect import connect
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.lake import Lake
from gatehouse.warehouse.paths import Paths

KILL_AT = Path(__file__).parents[1] / "kill_at.py"
SEVERAL = ReplayRequest(
    table=("tokens", "bigrams"),
    min_share=(0.0,),
    min_frequency=1,
    drop_below=(0.4,),
    mask=("load:2",),
)


def copied(root: Path, folder: Path) -> Paths:
    return Paths(Path(shutil.copytree(root, folder / "home")))


def run_of(paths: Paths) -> str:
    (run_id,) = Lake(paths.lake).run_ids()
    return run_id


def measured(paths: Paths, request: ReplayRequest) -> None:
    with ReplaySession(run_of(paths), request, paths) as session:
        replay_parts(session)


def landed(paths: Paths) -> pd.DataFrame:
    """Return what replays have landed, without the times."""
    files = replays.parts(Lake(paths.lake), run_of(paths))
    frame = pa.concat_tables(replays.read_part(each) for each in files).to_pandas()
    return frame.drop(columns="landed_at").sort_values(
        ["policy_id", "sample_id"], ignore_index=True
    )


@pytest.fixture(scope="module")
def replayed(captured, tmp_path_factory) -> Paths:
    paths = copied(captured, tmp_path_factory.mktemp("replayed"))
    measured(paths, SEVERAL)
    return paths


@pytest.fixture
def connection(replayed):
    with closing(connect(replayed)) as opened:
        yield opened


def test_every_held_out_sample_lands_once_under_every_policy(replayed, connection):
    run_id, rows = run_of(replayed), landed(replayed)
    held_out = set(held_out_samples(connection, run_id)["sample_id"])
    splits = connection.sql("select sample_id, split from samples").df().set_index("sample_id")
    assert held_out and set(splits.loc[list(held_out), "split"]) <= {"validation", "test"}
    with ReplaySession(run_id, SEVERAL, replayed) as session:
        assert session.pending == []
        wanted = {each.policy_id for each in session.policies}
    assert set(rows["policy_id"]) == wanted
    assert not rows.duplicated(["policy_id", "sample_id"]).any()
    for _, of_policy in rows.groupby("policy_id"):
        assert set(of_policy["sample_id"]) == held_out


def test_the_untouched_loss_is_that_of_transformers(replayed, connection):
    run_id, rows = run_of(replayed), landed(replayed)
    record = Lake(replayed.lake).run_record(run_id)
    model = AutoModelForCausalLM.from_pretrained(record["model"]).eval()
    own = rows[rows["kind"] == replays.OWN].set_index("sample_id")
    for sample_id in own.index[:5]:
        token_ids = torch.from_numpy(
            tokens_of(connection, run_id, [int(sample_id)])["token_id"].to_numpy().copy()
        ).long()
        with torch.inference_mode():
            logits = model(token_ids.unsqueeze(0)).logits[0, :-1].double()
        expected = torch.nn.functional.cross_entropy(logits, token_ids[1:], reduction="sum")
        assert own.loc[sample_id, "tokens"] == len(token_ids) - 1
        assert own.loc[sample_id, "untouched_nll"] == pytest.approx(float(expected), abs=1e-3)


def test_its_own_routing_changes_nothing_and_other_routing_something(replayed):
    rows = landed(replayed)
    own = rows[rows["kind"] == replays.OWN]
    assert (own["nll"] == own["untouched_nll"]).all() and (own["kl"] == 0).all()
    for kind in (replays.RANDOM, replays.ANOTHER_TOKEN, replays.MASK, replays.DROP_BELOW):
        changed = rows[rows["kind"] == kind]
        assert (changed["nll"] != changed["untouched_nll"]).any(), kind


def test_entries_are_the_experts_of_the_greatest_mean_weight_in_train(replayed, connection):
    run_id = run_of(replayed)
    events = train_events(connection)
    found = token_entries(connection, run_id).to_pandas()
    expected = entries_of(events, ["token_id", "moe_index"])
    assert set(expected) == {
        (token, index) for token, index in found[["token_id", "moe_index"]].itertuples(index=False)
    }
    for key, of_key in found.groupby(["token_id", "moe_index"]):
        of_key = of_key.sort_values("place")
        experts, weights = expected[key]
        assert list(of_key["expert"]) == experts
        assert of_key["weight"].to_numpy() == pytest.approx(weights, abs=1e-6)
        # this model's weights sum to one
        assert of_key["weight"].sum() == pytest.approx(1, abs=2e-3)


def test_bigrams_are_those_that_choose_one_set_often_enough(replayed, connection):
    events = train_events(connection)
    firsts = events.groupby(["sample_id", "moe_index"])["token_id"].shift()
    paired = events.assign(previous_id=firsts)[firsts.notna()]
    paired["chosen"] = paired["experts"].map(lambda ids: tuple(sorted(ids)))
    keys = ["previous_id", "token_id", "moe_index"]
    counts = paired.groupby([*keys, "chosen"]).size().groupby(keys).agg(["max", "sum"])
    kept = counts[(counts["sum"] >= 3) & (counts["max"] >= 0.6 * counts["sum"])]
    found = bigram_entries(connection, run_of(replayed), 3, 0.6).to_pandas()
    assert len(kept) and set(found[keys].itertuples(index=False, name=None)) == set(kept.index)
    expected = entries_of(paired, keys)
    for key, of_key in found.groupby(keys):
        assert list(of_key.sort_values("place")["expert"]) == expected[key][0]


def train_events(connection) -> pd.DataFrame:
    return connection.sql(
        """
        select events.*, layers.moe_index
        from events
        inner join layers using (run_id, layer)
        inner join samples using (run_id, sample_id)
        where samples.split = 'train'
        order by layers.moe_index, events.sample_id, events.position
        """
    ).df()


def entries_of(events: pd.DataFrame, keys: list[str]) -> dict:
    """Return key -> (experts, weights), added up one event at a time."""
    found = {}
    for key, of_key in events.groupby(keys):
        sums: dict[int, float] = {}
        for experts, weights in zip(of_key["experts"], of_key["weights"], strict=True):
            for expert, weight in zip(experts, weights, strict=True):
                sums[int(expert)] = sums.get(int(expert), 0.0) + float(weight)
        best = sorted(sums, key=lambda expert: (-sums[expert], expert))[: len(experts)]
        total = sum(sums.values()) / len(of_key)
        chosen = sum(sums[expert] for expert in best)
        found[key] = best, [sums[expert] * total / chosen for expert in best]
    return found


def test_masked_experts_are_those_that_train_uses_least(replayed, connection):
    run_id = run_of(replayed)
    events = train_events(connection)
    lake = Lake(replayed.lake)
    (policy,) = (each for each in SEVERAL.policies(8, {}) if each.kind == replays.MASK)
    mask = Policies(connection, lake, run_id).of(policy, []).is_masked
    for moe_index, of_layer in events.groupby("moe_index"):
        loads = np.bincount(np.concatenate(of_layer["experts"].to_list()), minlength=4)
        masked = set(mask[moe_index].nonzero().squeeze(1).tolist())
        assert masked == set(np.argsort(loads, kind="stable")[:2].tolist())
    assert expert_loads(connection, run_id)["load"].sum() == sum(map(len, events["experts"]))


def test_the_rule_of_a_table_is_that_of_its_thresholds(replayed, connection):
    choices = token_choices(connection, run_of(replayed)).set_index(["token_id", "moe_index"])
    events = train_events(connection)
    for key, of_key in events.groupby(["token_id", "moe_index"]):
        sets = of_key["experts"].map(lambda ids: tuple(sorted(ids))).value_counts()
        row = choices.loc[key]
        assert row["train_frequency"] == len(of_key)
        assert row["set_share"] == pytest.approx(sets.iloc[0] / len(of_key))
        assert row["train_mean_entropy"] == pytest.approx(of_key["entropy"].mean(), abs=1e-5)


def test_a_replay_that_breaks_off_goes_on_where_it_was(captured, tmp_path, monkeypatch):
    monkeypatch.setattr(planned, "SAMPLES_AT_ONCE", 4)
    whole, broken = (copied(captured, tmp_path / name) for name in ("whole", "broken"))
    measured(whole, SEVERAL)
    asked = []

    def stopped(session, part):
        asked.append(part)
        if len(asked) == 2:
            raise KeyboardInterrupt
        return ReplaySession.measure(session, part)

    with (
        pytest.raises(KeyboardInterrupt),
        ReplaySession(run_of(broken), SEVERAL, broken) as session,
    ):
        replay_parts(session, stopped)
    assert len(replays.parts(Lake(broken.lake), run_of(broken))) == 1
    measured(broken, SEVERAL)
    pd.testing.assert_frame_equal(landed(broken), landed(whole))


def test_more_text_or_another_policy_measures_only_what_is_missing(captured, tmp_path):
    paths = copied(captured, tmp_path)
    few = ReplayRequest(num_samples=3, drop_below=(0.4,))
    measured(paths, few)
    first = landed(paths)
    assert set(first.groupby("policy_id").size()) == {3}
    with ReplaySession(run_of(paths), ReplayRequest(drop_below=(0.4, 0.2)), paths) as session:
        before, after = session.pending[0], session.pending[-1]
        assert len(before.sample_ids) == 3 and len(before.policies) == 2
        assert len(after.policies) == len(session.policies)
        assert not set(before.sample_ids) & set(after.sample_ids)
        replay_parts(session)
    rows = landed(paths)
    assert not rows.duplicated(["policy_id", "sample_id"]).any()
    assert rows.groupby("policy_id").size().nunique() == 1


def test_killed_while_a_part_lands_there_is_all_of_it_or_nothing(unmoved):
    paths = unmoved
    for moment, count in (("", 0), (":after", 1)):
        point = f"gatehouse.warehouse.replays.write_table{moment}"
        command = [sys.executable, KILL_AT, point, "1", "replay", "--drop-below", "0.4"]
        ended = subprocess.run([*command, "--home", paths.root], capture_output=True, check=False)
        assert ended.returncode == -9, ended.stderr
        assert len(replays.parts(Lake(paths.lake), run_of(paths))) == count
    with ReplaySession(run_of(paths), ReplayRequest(drop_below=(0.4,)), paths) as session:
        assert session.pending == []


def test_what_was_replayed_of_other_events_is_measured_again(captured, tmp_path):
    paths = copied(captured, tmp_path)
    request = ReplayRequest(num_samples=2, drop_below=(0.4,))
    measured(paths, request)
    lake, run_id = Lake(paths.lake), run_of(paths)
    (shard,) = lake.shards.recorded(run_id)
    lake.shards.add(run_id, lake.shards.recorded(run_id)[shard] | {"events_sha256": "0" * 64})
    assert replays.LandedSamples(lake, run_id).by_policy() == {}
    with ReplaySession(run_id, request, paths) as session:
        assert [len(part.sample_ids) for part in session.pending] == [2]


def test_a_model_that_is_another_by_now_is_refused(captured, tmp_path):
    paths = copied(captured, tmp_path)
    lake, run_id = Lake(paths.lake), run_of(paths)
    lake.update_run(run_id, lake.run_record(run_id) | {"model_fingerprint": "other"})
    with (
        pytest.raises(GatehouseError, match="model fingerprint was other"),
        ReplaySession(run_id, ReplayRequest(drop_below=(0.4,)), paths),
    ):
        pass
    assert not replays.parts(lake, run_id)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--layer", "7"], "has the MoE layers 0 to 2"),
        (["--mask", "reap:1"], "capture it with --output-norms"),
        (["--mask", "load:3"], "mask at most 2"),
        (["--routing-of", "nobody"], "there is no run 'nobody'"),
        (["nobody"], "nobody"),
        (["--table", "words"], "--table must be tokens or bigrams"),
        (["--device-map", "moon"], "moon"),
    ],
)
def test_bad_input_ends_in_one_line(run, captured, options, said):
    paths = Paths(captured)
    code, out, err = run("replay", *options, "--home", paths.root)
    assert (code, out) == (2, "")
    assert said in err.splitlines()[-1] and "Traceback" not in err
    assert not replays.parts(Lake(paths.lake), run_of(paths))


def test_what_it_cost_is_in_the_marts_and_printed(unmoved, monkeypatch):
    """By the rank that replays the last of it; the one before says what is left."""
    monkeypatch.setattr(planned, "SAMPLES_AT_ONCE", 4)
    paths = unmoved
    request = ReplayRequest(table=("tokens",), min_share=(0.0,), min_frequency=1)
    said = replay(None, request, paths, Part(0, 2))
    assert re.search(r"rank 0 of 2 has replayed its samples; \d+ samples are left to the", said)
    text = replay(None, request, paths, Part(1, 2))
    with closing(connect(paths)) as connection:
        marts = connection.sql("select * from fct_replay order by policy").df()
    assert set(marts["kind"]) == {
        replays.TOKENS,
        replays.OWN,
        replays.RANDOM,
        replays.ANOTHER_TOKEN,
    }
    rows = landed(paths)
    for policy_id, of_policy in rows.groupby("policy_id"):
        (mart,) = marts[marts["policy_id"] == policy_id].itertuples()
        tokens = of_policy["tokens"].sum()
        delta = (of_policy["nll"] - of_policy["untouched_nll"]).sum() / tokens
        assert mart.delta_nll == pytest.approx(delta, abs=1e-12)
        assert mart.perplexity_ratio == pytest.approx(math.exp(delta))
        assert mart.policy in text


def test_a_part_lies_sealed_in_its_run(replayed):
    (path,) = replays.parts(Lake(replayed.lake), run_of(replayed))
    assert pq.read_schema(path).names == replays.REPLAYS.names
