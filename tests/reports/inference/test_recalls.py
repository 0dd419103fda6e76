"""The recall of predictions by budget, in order, and the sentence that follows from it."""

import numpy as np
import pandas as pd

from gatehouse.reports.inference.recalls import recalls, untold

BUDGETS = (1, 2, 4)
RECALL = {
    ("previous_token", 2): (0.1, 0.2, 0.2),
    ("previous_token", 1): (0.2, 0.3, 0.3),
    ("token", 0): (0.5, 0.7, 1.0),
    ("static_train", 0): (0.3, 0.6, 1.0),
}


def frame(phase="prompt", found=None) -> pd.DataFrame:
    rows = [
        (phase, predictor, horizon, budget, recall, budget / 4)
        for (predictor, horizon), values in (found or RECALL).items()
        for budget, recall in zip(BUDGETS, values)
    ]
    names = ["phase", "predictor", "horizon", "budget", "recall", "chance_recall"]
    # the order of rows does not matter
    return pd.DataFrame(rows, columns=names).sample(frac=1, random_state=0)


def test_each_predictor_is_at_its_shortest_horizon():
    (found,) = recalls(frame())
    assert list(found.budgets) == list(BUDGETS)
    assert list(found.chance) == [0.25, 0.5, 1.0]
    assert list(found.by_predictor) == ["previous_token", "static_train", "token"]
    assert list(found.by_predictor["previous_token"]) == [0.2, 0.3, 0.3]
    assert {horizon: list(values) for horizon, values in found.by_horizon.items()} == {
        1: [0.2, 0.3, 0.3],
        2: [0.1, 0.2, 0.2],
    }


def test_phases_are_apart():
    both = pd.concat([frame(), frame("generated", {("token", 0): (0.1, 0.2, 0.3)})])
    phases = {each.phase: each for each in recalls(both)}
    assert list(phases["generated"].by_predictor) == ["token"]
    assert phases["generated"].by_horizon == {}
    assert len(phases["prompt"].by_predictor) == 3


def test_a_budget_that_a_predictor_lacks_has_no_recall():
    lacking = frame()
    lacking = lacking[(lacking["predictor"] != "token") | (lacking["budget"] != 4)]
    (found,) = recalls(lacking)
    assert np.isnan(found.by_predictor["token"]).tolist() == [False, False, True]


def test_the_sentence_tells_the_recall_at_the_budget_of_a_token():
    (found,) = recalls(frame())
    assert found.sentence(2) == (
        "With 2 experts of each layer loaded ahead, as many as a token selects, so many of its "
        "experts are foretold: 70.0% by the token's id, 60.0% by the experts used most in train, "
        "30.0% by the experts of the token before, and 50.0% by chance."
    )
    assert found.sentence(1).startswith("With 1 expert of each layer loaded ahead")


def test_what_cannot_be_learned_is_said():
    (found,) = recalls(frame())
    assert untold(found.by_predictor) == ""
    without_ids = {name: found.by_predictor[name] for name in ("previous_token", "static_train")}
    assert "no token ids" in untold(without_ids)
    assert "No prediction learns from a train split" in untold({"previous_token": found.chance})
    assert recalls(frame().head(0)) == []
