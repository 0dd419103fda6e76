"""Marts from which decisions on inference follow, recomputed."""

import numpy as np
import pandas as pd

CALIBRATION = {1: "1_token", 10: "10_tokens", 100: "100_tokens", 1000: "1000_tokens"}


def test_calibration_coverage(assert_mart, layer_events, raw):
    rows = []
    documents = raw["samples"].set_index(["run_id", "sample_id"])["document_sha256"]
    for layer in layer_events:
        samples = documents[layer.run_id].sort_index()
        selected, order = layer.selected(), samples.index.get_indexer(layer.sample_id)
        by_sample = np.zeros((len(samples), layer.num_experts), dtype=np.int64)
        np.add.at(by_sample, order, selected)
        seen = by_sample.cumsum(axis=0)
        for expert in range(layer.num_experts):
            found = samples[by_sample[:, expert] > 0]
            rows.append(
                layer.keys
                | {
                    "expert": expert,
                    "selections": seen[-1, expert],
                    "samples": len(found),
                    "documents": found.nunique(),
                    "first_sample_id": found.index[0] if len(found) else None,
                }
                | {
                    f"samples_until_{name}": (
                        np.argmax(seen[:, expert] >= tokens) + 1
                        if seen[-1, expert] >= tokens
                        else None
                    )
                    for tokens, name in CALIBRATION.items()
                }
            )
    expected = pd.DataFrame(rows)
    assert (expected["documents"] < expected["samples"]).any()
    assert expected.isna().any().sum() == 1 + len(CALIBRATION)
    assert_mart("fct_calibration_coverage", ["run_id", "layer", "expert"], expected)
