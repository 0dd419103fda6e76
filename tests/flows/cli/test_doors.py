"""Every door of the command line: alone, with help, and with words that it does not know."""

import io
import sys

import pandas as pd
import pytest
import typer

from gatehouse.flows.cli import app


def doors() -> list[tuple[str, ...]]:
    """The words of the program, of each command and of each group."""
    found: list[tuple[str, ...]] = [()]
    for word, command in typer.main.get_group(app.app).commands.items():
        found.append((word,))
        found += [(word, each) for each in getattr(command, "commands", {})]
    return found


DOORS = doors()


def test_every_command_of_the_table_is_a_door():
    assert {name for name, _, _ in app.COMMANDS} <= {" ".join(words) for words in DOORS}
    assert ("runs",) in DOORS


@pytest.mark.parametrize("option", ["--help", "-h"])
@pytest.mark.parametrize("words", DOORS, ids=" ".join)
def test_help_has_a_long_and_a_short_name(run, words, option):
    code, out, err = run(*words, option)
    assert (code, err) == (0, "")
    assert "Usage: gatehouse" in out and "Example: gatehouse" in out


@pytest.mark.parametrize("words", DOORS, ids=" ".join)
def test_what_it_does_not_know_is_one_line_that_names_its_help(run, words):
    for unknown in ("--no-such", *(["no-such"] if words in ((), ("runs",)) else [])):
        code, out, err = run(*words, unknown)
        assert (code, out, err.count("\n")) == (2, "", 1), err
        assert unknown in err and f"`{' '.join(('gatehouse', *words))} --help`" in err


@pytest.mark.parametrize("words", DOORS, ids=" ".join)
def test_alone_it_ends_in_help_or_one_line(run, monkeypatch, tmp_path, words):
    """In a home that cannot be made, so that a command that would work for long does not begin."""
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("GATEHOUSE_HOME", str(tmp_path / "file" / "home"))
    code, out, err = run(*words)
    assert code in (0, 2)
    if code:
        assert err.startswith("gatehouse: ") and len(err.splitlines()) == 1, err
    else:
        assert out


def test_alone_the_program_prints_its_help(run):
    code, out, err = run()
    assert (code, err) == (0, "") and "Example: gatehouse run" in out


def test_a_group_alone_does_what_its_name_says(run, home):
    assert (
        run("runs")
        == run("status")
        == (0, f"no runs in {home}/lake: `gatehouse run` makes the first\n", "")
    )
    assert run("runs", "--format", "json", "--home", home) == run("status", "--format", "json")


def test_a_shell_can_complete_its_commands(run, monkeypatch):
    assert "--install-completion" in run("--help")[1]
    monkeypatch.setenv("_GATEHOUSE_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "gatehouse sta")
    monkeypatch.setenv("COMP_CWORD", "1")
    code, out, err = run("sta")
    assert (code, out.split(), err) == (0, ["status"], "")


def test_it_says_which_version_it_is(run):
    from importlib.metadata import version

    assert run("--version") == (0, f"gatehouse {version('gatehouse')}\n", "")


def test_a_terminal_that_lacks_a_letter_shows_its_escape(run, monkeypatch, tmp_path):
    """The report has a rho, which a terminal in ASCII or Latin-1 does not."""
    rows = pd.DataFrame({"token_id": [1, 2, 3], "frequency": [9, 5, 2]})
    shares = {"mean_confidence": 0.9, "routing_consistency": 0.9}
    table = tmp_path / "table.parquet"
    rows.assign(token_str="a", mean_entropy=[0.1, 0.2, 0.3], **shares).to_parquet(table)
    printed = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(printed, encoding="ascii"))
    code, _, err = run("validate", "--input", table)
    sys.stdout.flush()
    assert (code, err) == (0, "")
    assert b"Spearman \\u03c1: -1.0000" in printed.getvalue()
