"""What `gatehouse replay` prints, and what the validation report says of replays."""

import dataclasses
import json
from contextlib import nullcontext
from dataclasses import replace

import pytest

from gatehouse.reports.inference.replay_costs import replay_costs
from gatehouse.reports.results import files, replay_text
from gatehouse.reports.results.results import Results
from gatehouse.reports.verdict.thresholds import Thresholds
from tests.reports.made_up import made_up_marts
from tests.reports.made_up_page import made_up_page
from tests.reports.made_up_replay import COSTS, ENTROPY, SHARE, replay_frames

RUN = {"run_id": "made-up", "source": "capture", "dtype": "float32", "quantization": "none"}
IDS = [policy.policy_id for policy, *_ in COSTS.values()]


@pytest.fixture
def printed(monkeypatch):
    """What is printed of made-up frames."""

    def of(ids=IDS, costs=COSTS, documents=20, frames=None):
        made = frames or replay_frames(3, 2, costs, documents)

        monkeypatch.setattr(replay_text, "connect", lambda paths: nullcontext())
        monkeypatch.setattr(replay_text, "closing", lambda opened: opened)
        monkeypatch.setattr(replay_text, "run_summary", lambda connection, run_id: RUN)
        monkeypatch.setattr(replay_text, "replays", lambda *_: made["replays"])
        monkeypatch.setattr(replay_text, "replay_documents", lambda *_: made["replay_documents"])
        return replay_text.replay_text("made-up", ids, None)

    return of


def rows_of(text: str) -> list[str]:
    return text.split("\n\n")[1].splitlines()


def test_the_text_and_the_untouched_loss_come_first(printed):
    costs = replay_costs(*list(replay_frames(3, 2).values())[:2])
    title, replayed = printed().split("\n\n")[0].splitlines()
    assert title == "made-up (float32)"
    assert replayed == (
        f"Replayed: 20 held-out documents, {costs[0].tokens:,} predicted tokens; the untouched "
        f"model's loss is {costs[0].untouched_nll:.4f} nats a token"
    )


def test_policies_keep_their_order_and_controls_come_last(printed):
    backwards = printed(IDS[::-1])
    words = [row.split("  ")[0] for row in rows_of(backwards)[1:]]
    controls = [word for word in words if word.startswith("control: ")]
    assert words[-len(controls) :] == controls and len(controls) == 5
    chosen = [name for name in COSTS if f"control: {name}" not in controls]
    assert words[: len(chosen)] == chosen[::-1]


def test_only_the_policies_asked_for_are_shown_and_judged(printed):
    text = printed([SHARE.policy_id])
    assert len(rows_of(text)) == 2
    assert "goes furthest" not in text and "dropped" not in text
    # all run as many experts, so no column says it
    assert "experts" not in rows_of(text)[0]
    assert "experts" in rows_of(printed())[0]


def test_numbers_are_the_measured_ones(printed):
    costs = {cost.words: cost for cost in replay_costs(*list(replay_frames(3, 2).values())[:2])}
    for row in rows_of(printed())[1:]:
        cost = costs[row.split("  ")[0].removeprefix("control: ")]
        delta, ratio = cost.delta_nll, cost.perplexity_ratio
        for cell in (
            f"{cost.coverage.value:.1%}",
            f"{delta.value:+.4f} (95% {delta.low:+.4f} to {delta.high:+.4f})",
            f"{replay_text.TIMES}{ratio.value:.4f}",
            f"{cost.same_top.value:.1%}",
            f"{cost.kl.value:.4f}",
            f"{cost.set_agreement.value:.1%}",
        ):
            assert f"  {cell}" in row
        foretold = cost.predicted_agreement
        assert row.endswith("-" if foretold is None else f"{foretold:.1%}")


def test_what_is_not_known_has_no_column_or_a_dash(printed):
    frames = replay_frames(3, 2, {"a": (SHARE, 0.0, 0.0)})
    frames["replays"] = frames["replays"].assign(predicted_agreement=None)
    text = printed([SHARE.policy_id], frames=frames)
    assert "foretold" not in rows_of(text)[0]
    assert rows_of(text)[1].endswith("  -")


def test_few_documents_and_other_documents_are_said(printed):
    few = printed(documents=1)
    assert "1 held-out document," in few
    assert "Fewer than 8 documents have no intervals." in few
    assert "95%" not in few
    frames = replay_frames(3, 2)
    documents = frames["replay_documents"]
    frames["replay_documents"] = documents.drop(documents.index[:3])
    other = printed(frames=frames)
    assert "not the same ones under every policy" in other
    assert rows_of(other)[0].endswith("tokens")


def test_nothing_predicted_is_said(printed):
    frames = replay_frames(3, 2)
    frames["replay_documents"] = frames["replay_documents"].assign(tokens=0)
    assert printed(frames=frames).endswith("no token of the text could be predicted.")


def test_the_validation_report_says_what_was_measured():
    marts = made_up_marts()
    of_rule, best = replay_text.measured_lines(marts, Thresholds(50, 0.5))
    assert of_rule.startswith("Measured in the model, these thresholds in all MoE layers at once")
    assert "cover 19.0% of" in of_rule and f"perplexity {replay_text.TIMES} 1.02" in of_rule
    assert best.startswith("Measured in the model: “tokens, share ≥ 0.7")
    # of thresholds that were not replayed nothing is known
    assert replay_text.measured_lines(marts, Thresholds(20, 0.5)) == [best]
    nothing = replay_frames(3, 2, {"rule": (ENTROPY, 0.0, 0.0)})
    of_rule, _ = replay_text.measured_lines(
        dataclasses.replace(marts, **nothing), Thresholds(50, 0.5)
    )
    assert "cover 0.0% of" in of_rule and "perplexity" not in of_rule
    without = {name: frame.head(0) for name, frame in replay_frames(3, 2).items()}
    none = dataclasses.replace(marts, **without)
    assert replay_text.measured_lines(none, Thresholds(50, 0.5)) == []


def test_report_and_document_hold_it(tmp_path):
    run = made_up_page(2, 60)
    sections = run.layers
    results = Results(tmp_path, tmp_path / "x.parquet", sections, "run", run)
    lines = replay_text.measured_lines(run.marts, sections[0].validation.thresholds)
    assert len(lines) == 2
    text = results.report_text
    for line in lines:
        # in each layer's fast path, and under the model's verdict
        assert text.count(line) == len(sections) + 1
        assert line in results.shown("there")
    _, document = files.write_validation(results)
    rows = json.loads(document.read_text(encoding="utf-8"))["replays"]
    costs = replay_costs(run.marts.replays, run.marts.replay_documents)
    for row, cost in zip(rows, costs, strict=True):
        assert row["policy_id"] == cost.policy.policy_id
        assert row["delta_nll"] == pytest.approx(vars(cost.delta_nll))
        assert row["perplexity_ratio"]["value"] == pytest.approx(cost.perplexity_ratio.value)
        assert row["is_control"] == cost.policy.is_control


def test_words_are_by_policy_not_by_order():
    costs = {"a": (replace(SHARE, min_share=0.7), 0.4, 0.003), "b": (SHARE, 0.2, 0.001)}
    frames = replay_frames(3, 2, costs)
    found = replay_costs(frames["replays"].iloc[::-1], frames["replay_documents"])
    assert [cost.words for cost in found] == ["b", "a"]
