"""The summary says what was run, and its tables are those of the frames."""

from gatehouse.reports.results.summary import run_facts, summary_text


def test_the_facts_of_the_run(analysis):
    facts = run_facts(analysis.run, analysis.layers)
    tokens = analysis.run["tokens"]
    assert facts["Tokens"] == f"{tokens:,}"
    share = f"{7 / (tokens + 7):.1%}"
    assert facts["Dropped tokens"] == f"7 ({share}) past the maximum length of 512"
    assert (facts["Experts"], facts["Top-k"], facts["dtype"]) == ("8", "2", "float32")
    assert facts["Finished"] == "2025-11-02 09:30 UTC, captured in 31 s"
    assert facts["Versions"] == "gatehouse 0.1.0, torch 2.13.0"


def test_a_run_without_tokens_divides_by_nothing(analysis):
    empty = analysis.run | {"tokens": 0, "dropped_tokens": 0}
    assert run_facts(empty, analysis.layers)["Dropped tokens"].startswith("0 (0.0%)")


def test_the_layer_table_has_every_layer(analysis):
    text = summary_text(analysis.run, analysis.layers, analysis.frame, 0)
    for row in analysis.layers.to_dict("records"):
        found = next(
            line.split()
            for line in text.splitlines()
            if line.split()[:2] == [str(row["moe_index"]), str(row["layer"])]
        )
        assert found[2:] == [
            f"{row['mean_entropy']:.4f}",
            f"{row['normalised_entropy']:.4f}",
            f"{row['mean_confidence']:.4f}",
            f"{row['routing_consistency']:.4f}",
            f"{row['token_types']:,}",
        ]


def test_the_ten_most_frequent_tokens_keep_the_layout_whatever_they_are(analysis):
    table = summary_text(analysis.run, analysis.layers, analysis.frame, 0).split(
        "Top 10 tokens, MoE layer 0"
    )[1]
    rows = [line for line in table.splitlines() if line.strip() and "=" not in line][1:]
    assert len(rows) == 10
    for row, token in zip(rows, analysis.frame.to_dict("records"), strict=False):
        assert row.strip().startswith(repr(token["token_str"]))
        assert row.split()[-4:] == [
            f"{token['frequency']:,}",
            f"{token['mean_entropy']:.4f}",
            f"{token['routing_consistency']:.4f}",
            str(token["top_expert"]),
        ]


def test_what_was_read_of_a_folder_is_a_fact_of_the_run(analysis):
    run = analysis.run | {"files_opened": "2 files: 2 .jsonl", "files_left_out": None}
    facts = run_facts(run, analysis.layers)
    assert facts["Files opened"] == "2 files: 2 .jsonl"
    assert "Files left out" not in facts
