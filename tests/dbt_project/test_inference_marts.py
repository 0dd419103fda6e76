"""Caches and predictions, simulated again one access at a time.

Texts of the random lake are short enough to be simulated whole.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest

STREAMS, ACCESSES_PER_EXPERT, SIZES = 16, 16, 32
HORIZONS = (1, 2, 4, 8)


@dataclass(frozen=True)
class Token:
    """A token of one layer, or of all layers one after another."""

    run_id: str
    layer: int
    sample_id: int
    domain: str
    position: int
    token_id: int
    phase: str
    experts: tuple[int, ...]


@dataclass(frozen=True)
class Texts:
    """A layer's tokens: those that are asked for, sample by sample as they are served, and those
    that are learned from."""

    layer: object
    asked: list[list[Token]]
    learned: list[list[Token]]

    @property
    def sizes(self) -> list[int]:
        return sizes(self.layer.num_experts, self.layer.top_k)


def sizes(num_experts: int, of_a_token: int) -> list[int]:
    steps = range(1, SIZES + 1)
    return sorted({of_a_token, *(-(-num_experts * step // SIZES) for step in steps)})


@pytest.fixture(scope="module")
def texts(layer_events, raw) -> list[Texts]:
    hashes = raw["samples"].set_index(["run_id", "sample_id"])["text_sha256"]
    found = []
    for layer in layer_events:
        samples = defaultdict(list)
        columns = (layer.sample_id, layer.domain, layer.position, layer.token_id, layer.phase)
        for *facts, experts in zip(
            *(column.tolist() for column in columns), layer.experts.tolist()
        ):
            token = Token(layer.run_id, layer.layer, *facts, tuple(sorted(experts)))
            samples[token.sample_id].append(token)
        order = sorted(samples, key=lambda sample: (hashes[layer.run_id, sample], sample))
        splits = dict(zip(layer.sample_id.tolist(), layer.split.tolist()))
        has_held_out = any(split != "train" for split in splits.values())
        is_learned = {sample: has_held_out and splits[sample] == "train" for sample in order}
        for tokens in samples.values():
            tokens.sort(key=lambda token: token.position)
        found.append(
            Texts(
                layer,
                [samples[sample] for sample in order if not is_learned[sample]],
                [samples[sample] for sample in order if is_learned[sample]],
            )
        )
    assert {bool(each.learned) for each in found} == {True, False}
    return found


def dealt(samples: list[list[Token]], num_experts: int) -> list[list[Token]]:
    """Return the tokens of each cache: samples in turn, each cache about as many accesses."""
    accesses = [sum(len(token.experts) for token in sample) for sample in samples]
    streams = min(STREAMS, max(1, sum(accesses) // (ACCESSES_PER_EXPERT * num_experts)))
    found = defaultdict(list)
    before = 0
    for sample, count in zip(samples, accesses):
        found[before * streams // sum(accesses)] += sample
        before += count
    return list(found.values())


def by_recency(stream: list[int]) -> Iterator[int]:
    yield from range(len(stream))


def by_frequency(stream: list[int]) -> Iterator[tuple[int, int]]:
    uses: Counter = Counter()
    for now, expert in enumerate(stream):
        uses[expert] += 1
        yield uses[expert], now


def by_foresight(stream: list[int]) -> list[int]:
    found, later = [], {}
    for now, expert in reversed([*enumerate(stream)]):
        found.append(-later.get(expert, len(stream)))
        later[expert] = now
    return found[::-1]


POLICIES = {"lru": by_recency, "lfu": by_frequency, "belady": by_foresight}
"""What each access makes its expert worth, until the next one."""


def served(tokens: list[Token], slots: int, worth: Callable) -> Iterator[tuple[Token, bool]]:
    """Yield each access and whether it is a hit; the least worthy expert makes room."""
    stream = [expert for token in tokens for expert in token.experts]
    owners = [token for token in tokens for _ in token.experts]
    cache: dict = {}
    for owner, expert, value in zip(owners, stream, worth(stream)):
        yield owner, expert in cache
        if expert not in cache and len(cache) == slots:
            del cache[min(cache, key=cache.__getitem__)]
        cache[expert] = value


def most_used(tokens: list[Token], num_experts: int) -> list[int]:
    """Return the experts in descending use, of as many the lower one first."""
    uses = Counter(expert for token in tokens for expert in token.experts)
    return sorted(range(num_experts), key=lambda expert: (-uses[expert], expert))


def flat(samples: list[list[Token]]) -> list[Token]:
    return [token for sample in samples for token in sample]


def filled(text: Texts) -> Iterator[tuple[str, list[Token], list[int]]]:
    """Yield each policy that is filled once: the tokens it serves, and its experts in order."""
    num_experts = text.layer.num_experts
    yield "static_hindsight", flat(text.asked), most_used(flat(text.asked), num_experts)
    if text.learned:
        yield "static_train", flat(text.asked), most_used(flat(text.learned), num_experts)
    for sample in text.asked:
        prompt = [token for token in sample if token.phase == "prompt"]
        generated = [token for token in sample if token.phase == "generated"]
        if prompt and generated:
            yield "static_prompt", generated, most_used(prompt, num_experts)


def few(texts: list[Texts]) -> list[Texts]:
    """Return the layers of the first runs of each shape: this simulation takes its time."""
    chosen, seen = [], set()
    for text in texts:
        shape = (
            text.layer.num_experts,
            text.layer.top_k,
            bool(text.learned),
            any(token.phase == "generated" for token in flat(text.asked)),
        )
        if shape not in seen or any(text.layer.run_id == each.layer.run_id for each in chosen):
            seen.add(shape)
            chosen.append(text)
    return chosen


@pytest.fixture(scope="module")
def hits(texts) -> pd.DataFrame:
    """One row per (run, layer, sample, phase, policy, of the domain alone, slots)."""
    return pd.DataFrame(
        {
            **text.layer.keys,
            **dict(zip(("sample_id", "phase", "policy", "of_domain"), key)),
            "slots": slots,
            "accesses": accesses,
            "hits": found,
            "top_k": text.layer.top_k,
            "num_experts": text.layer.num_experts,
        }
        for text in few(texts)
        for slots in text.sizes
        for key, (accesses, found) in counted(text, slots).items()
    )


def counted(text: Texts, slots: int) -> dict[tuple, tuple[int, int]]:
    """Return (sample, phase, policy, of the domain alone) -> (accesses, hits)."""
    accesses: Counter = Counter()
    found: Counter = Counter()
    groups = [(False, text.asked)]
    domains = sorted({sample[0].domain for sample in text.asked})
    for domain in domains if len(domains) > 1 else []:
        groups.append((True, [each for each in text.asked if each[0].domain == domain]))
    for of_domain, samples in groups:
        for stream in dealt(samples, text.layer.num_experts):
            for policy, worth in POLICIES.items():
                for token, is_hit in served(stream, slots, worth):
                    key = (token.sample_id, token.phase, policy, of_domain)
                    accesses[key] += 1
                    found[key] += is_hit
    for policy, tokens, order in filled(text):
        for token in tokens:
            key = (token.sample_id, token.phase, policy, False)
            accesses[key] += len(token.experts)
            found[key] += len({*token.experts} & {*order[:slots]})
    return {key: (accesses[key], found[key]) for key in accesses}


def in_mart(connection, mart: str, expected: pd.DataFrame, keys: list[str]) -> None:
    """Assert that the mart has these rows for these runs, and no others."""
    found = connection.table(mart).to_arrow_table().to_pandas()
    found = found[found["run_id"].isin(expected["run_id"].unique())]
    assert set(found.columns) == set(expected.columns)
    found = found.sort_values(keys, ignore_index=True)
    expected = expected.sort_values(keys, ignore_index=True)[list(found.columns)]
    pd.testing.assert_frame_equal(found, expected, check_dtype=False, rtol=1e-9)


def test_expert_cache(connection, hits):
    keys = ["run_id", "layer", "phase", "policy", "slots"]
    expected = (
        hits[~hits["of_domain"]]
        .groupby([*keys, "moe_index", "top_k", "num_experts"], as_index=False)[["accesses", "hits"]]
        .sum()
    )
    expected["hit_rate"] = expected["hits"] / expected["accesses"]
    expected["misses_per_token"] = (1 - expected["hit_rate"]) * expected["top_k"]
    expected["bytes_per_token"] = np.nan
    expected["chance_hit_rate"] = expected["slots"] / expected["num_experts"]
    assert set(expected["policy"]) == {
        *("lru", "lfu", "belady", "static_train", "static_prompt", "static_hindsight")
    }
    in_mart(connection, "fct_expert_cache", expected.drop(columns=["top_k", "num_experts"]), keys)


def test_expert_cache_of_samples(connection, hits):
    keys = ["run_id", "sample_id", "phase", "policy", "slots"]
    alike = hits.groupby("run_id")["num_experts"].nunique() == 1
    own = hits[hits["run_id"].isin(alike[alike].index)]
    mixed = own[~own["of_domain"]].groupby(keys, as_index=False)[["accesses", "hits"]].sum()
    apart = own[own["of_domain"]].groupby(keys)["hits"].sum().rename("hits_in_domain")
    assert len(apart) > 0
    in_mart(connection, "fct_expert_cache_sample", mixed.join(apart, on=keys), keys)


def test_shared_expert_cache(connection, texts):
    rows = []
    by_run = defaultdict(list)
    for text in texts:
        by_run[text.layer.run_id].append(text)
    chosen = {text.layer.run_id for text in few(texts)}
    for run_id in sorted(chosen):
        layers = by_run[run_id]
        width = max(text.layer.num_experts for text in layers)
        together: dict = defaultdict(list)
        for text in layers:
            for sample in text.asked:
                for token in sample:
                    shifted = tuple(text.layer.moe_index * width + each for each in token.experts)
                    together[sample[0].sample_id].append(
                        Token(run_id, text.layer.moe_index, *_facts(token), shifted)
                    )
        samples = [
            sorted(together[sample[0].sample_id], key=lambda token: (token.position, token.layer))
            for sample in layers[0].asked
        ]
        num_experts = len(layers) * width
        # a few sizes: there are as many as experts of all layers
        every = sizes(num_experts, sum(text.layer.top_k for text in layers))
        for slots in every[:: max(1, len(every) // 4)]:
            for policy, worth in POLICIES.items():
                found: Counter = Counter()
                counts: Counter = Counter()
                for stream in dealt(samples, num_experts):
                    for token, is_hit in served(stream, slots, worth):
                        counts[token.phase] += 1
                        found[token.phase] += is_hit
                rows += [
                    {
                        "run_id": run_id,
                        "phase": phase,
                        "policy": policy,
                        "slots": slots,
                        "accesses": counts[phase],
                        "hits": found[phase],
                    }
                    for phase in counts
                ]
    expected = pd.DataFrame(rows)
    keys = ["run_id", "phase", "policy", "slots"]
    mart = connection.table("fct_shared_expert_cache").to_arrow_table().to_pandas()
    both = expected.merge(mart, on=keys, how="left", suffixes=("", "_found"))
    assert (both["accesses"] == both["accesses_found"]).all()
    assert (both["hits"] == both["hits_found"]).all()


def _facts(token: Token) -> tuple:
    return token.sample_id, token.domain, token.position, token.token_id, token.phase


def test_caches_that_another_domain_fills(connection, texts):
    rows: dict = defaultdict(lambda: [0, 0])
    for text in texts:
        asked, learned = flat(text.asked), flat(text.learned)
        domains = {token.domain for token in asked} & {token.domain for token in learned}
        for profile in domains:
            own = [token for token in learned if token.domain == profile]
            order = most_used(own, text.layer.num_experts)
            for token in asked:
                if token.domain in domains:
                    for slots in text.sizes:
                        row = rows[text.layer.run_id, profile, token.domain, slots]
                        row[0] += len(token.experts)
                        row[1] += len({*token.experts} & {*order[:slots]})
    keys = ["run_id", "profile_domain", "domain", "slots"]
    expected = pd.DataFrame(
        [{**dict(zip(keys, key)), "accesses": a, "hits": h} for key, (a, h) in rows.items()]
    )
    expected["hit_rate"] = expected["hits"] / expected["accesses"]
    assert (expected["profile_domain"] != expected["domain"]).any()
    in_mart(connection, "fct_expert_cache_transfer", expected, keys)


def predictions(text: Texts, before: Texts | None) -> Iterator[tuple[str, int, Token, list[int]]]:
    """Yield (predictor, horizon, token, experts in the order of the prediction)."""
    num_experts = text.layer.num_experts
    learned = flat(text.learned)
    everywhere = Counter(expert for token in learned for expert in token.experts)
    pairs: dict = defaultdict(Counter)
    by_id: dict = defaultdict(Counter)
    for sample in text.learned:
        for place, token in enumerate(sample):
            by_id[token.token_id].update(token.experts)
            previous = sample[place - 1].token_id if place else None
            pairs[previous, token.token_id].update(token.experts)
    earlier, shares = _by_layer_before(text, before)
    for sample in text.asked:
        for place, token in enumerate(sample):
            for horizon in HORIZONS:
                known = place >= horizon
                earlier_set = [*sample[place - horizon].experts] if known else []
                yield "previous_token", horizon, token, earlier_set
            if not learned:
                continue
            pair = sample[place - 1].token_id if place else None, token.token_id
            if text.layer.has_token_ids:
                for name, counters in (
                    ("token", [by_id[token.token_id], everywhere]),
                    ("bigram", [pairs[pair], by_id[token.token_id], everywhere]),
                ):
                    yield name, 0, token, _ordered(counters, num_experts)
            if before:
                there = earlier[token.sample_id, token.position]
                score = {
                    expert: sum(shares[other][expert] for other in there)
                    for expert in range(num_experts)
                }
                yield "layer_before", 1, token, _ordered([score], num_experts)


def _ordered(counters: list, num_experts: int) -> list[int]:
    return sorted(
        range(num_experts),
        key=lambda expert: (*(-round(counter[expert], 9) for counter in counters), expert),
    )


def _by_layer_before(text: Texts, before: Texts | None) -> tuple[dict, dict]:
    """Return (experts of each token in the layer before, there -> here -> share of its tokens)."""
    if before is None:
        return {}, {}
    places = {
        (token.sample_id, token.position): token.experts
        for token in flat(before.asked) + flat(before.learned)
    }
    counts: dict = defaultdict(Counter)
    uses: Counter = Counter()
    for token in flat(text.learned):
        for other in places[token.sample_id, token.position]:
            uses[other] += 1
            counts[other].update(token.experts)
    shares: dict = defaultdict(Counter)
    for other, found in counts.items():
        shares[other].update({expert: count / uses[other] for expert, count in found.items()})
    return places, shares


def test_prefetch_recall(connection, texts):
    by_place = {(text.layer.run_id, text.layer.stack, text.layer.moe_index): text for text in texts}
    rows: dict = defaultdict(lambda: [0, 0])
    for text in few(texts):
        layer = text.layer
        before = by_place.get((layer.run_id, layer.stack, layer.moe_index - 1))
        of_cache = [
            (policy, 0, token, order)
            for policy, tokens, order in filled(text)
            if policy != "static_hindsight"
            for token in tokens
        ]
        for predictor, horizon, token, order in [*predictions(text, before), *of_cache]:
            for budget in text.sizes:
                key = (layer.run_id, layer.layer, token.phase, predictor, horizon, budget)
                rows[(*key, layer.moe_index, layer.num_experts)][0] += len(token.experts)
                rows[(*key, layer.moe_index, layer.num_experts)][1] += len(
                    {*token.experts} & {*order[:budget]}
                )
    keys = ["run_id", "layer", "phase", "predictor", "horizon", "budget"]
    names = [*keys, "moe_index", "num_experts"]
    expected = pd.DataFrame(
        [{**dict(zip(names, key)), "accesses": a, "hits": h} for key, (a, h) in rows.items()]
    )
    expected["recall"] = expected["hits"] / expected["accesses"]
    expected["chance_recall"] = expected["budget"] / expected.pop("num_experts")
    assert set(expected["predictor"]) == {
        *("previous_token", "layer_before", "token", "bigram", "static_train", "static_prompt")
    }
    in_mart(connection, "fct_prefetch_recall", expected, keys)
