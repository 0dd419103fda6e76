"""Every command of docs/original-scripts.md does what it says, on the bundled model and text."""

import re
import shlex
import sys
from pathlib import Path

import pandas as pd
import pytest

CHECKOUT = Path(__file__).resolve().parent.parent
TABLE = (CHECKOUT / "docs" / "original-scripts.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"\| `(gatehouse [^`]+)` \|\n", TABLE)
COLUMNS = [
    "token_id",
    "token_str",
    "frequency",
    "mean_entropy",
    "std_entropy",
    "mean_confidence",
    "std_confidence",
    "routing_consistency",
    "top_expert",
    "min_entropy",
    "max_entropy",
]
MODELS = ("mixtral", "mistralai/Mixtral-8x7B-v0.1")
DATASETS = ("c4", "wikitext")


def bundled(command: str, texts: Path) -> list[str]:
    """Return the command's words, with local stand-ins for what cannot be downloaded here.

    The model is the bundled one; the text is the bundled one where the command names none, and
    `texts` elsewhere; only a few samples of it are used.
    """
    here = dict.fromkeys(MODELS, "demo") | dict.fromkeys(DATASETS, str(texts))
    words = [here.get(word, word) for word in shlex.split(command)]
    if "--num_samples" in words:
        words[words.index("--num_samples") + 1] = "40"
    elif words[1] in ("run", "prepare"):
        words += ["--num_samples", "40"]
    return words


def test_the_table_holds_every_script():
    assert len(COMMANDS) == 13
    assert {command.split()[1] for command in COMMANDS} == {
        "prepare",
        "fetch",
        "run",
        "validate",
        "plot",
    }


def test_every_command_of_the_table_runs(
    prefect_server, home, texts, quick_figures, tmp_path, monkeypatch, capfd
):
    """In the table's order, so that the later ones read what the earlier ones wrote."""
    from gatehouse.flows.cli import app

    monkeypatch.chdir(tmp_path)
    for command in COMMANDS:
        monkeypatch.setattr(sys, "argv", bundled(command, texts))
        with pytest.raises(SystemExit) as ended:
            app.main()
        out, err = capfd.readouterr()
        assert not ended.value.code, f"{command}\n{err}"
        assert out, command
    statistics = pd.read_parquet("results/routing_stats.parquet")
    assert list(statistics.columns) == COLUMNS
    pd.testing.assert_frame_equal(
        pd.read_csv("results/routing_stats.csv", keep_default_na=False)[["token_id", "frequency"]],
        statistics[["token_id", "frequency"]],
        check_dtype=False,
    )
    folder = tmp_path / "results"
    assert "NOT SUPPORTED" in (folder / "validation_report.txt").read_text(encoding="utf-8")
    assert (folder / "analysis_summary.txt").exists() and (folder / "report.html").exists()
    drawn = {path.name for path in (tmp_path / "figures" / "routing_analysis").iterdir()}
    four = ("frequency_vs_entropy", "entropy_distribution", "routing_consistency")
    stems = (*four, "fastpath_coverage")
    assert drawn == {f"{stem}.{kind}" for stem in stems for kind in ("png", "pdf")}
    assert list((folder / "checkpoints" / "lake" / "events").rglob("shard-00000.parquet"))
    assert list((tmp_path / "data" / "processed").rglob("validation.parquet"))
