"""The commands: what they do on good input, and one line with exit code 2 on bad input."""

import re
from pathlib import Path

import pytest

from gatehouse.flows.cli import options
from gatehouse.warehouse.lake import Lake


@pytest.mark.parametrize(
    "command",
    "run prepare fetch capture build validate plot report sql placement docs status".split(),
)
def test_every_command_has_help_with_an_example(run, command):
    code, out, _ = run(command, "--help")
    assert code == 0 and f"Example: gatehouse {command}" in " ".join(out.split())


def test_options_may_be_spelled_with_underscores(run, texts, tmp_path):
    folder = tmp_path / "out"
    code, out, _ = run(
        "prepare", "--dataset", texts, "--num_samples", 7, "--output_dir", folder, "--create_splits"
    )
    assert code == 0 and "7 samples" in out
    assert {path.name for path in folder.rglob("*.parquet")} >= {"samples.parquet", "train.parquet"}


BAD_INPUT = {
    "unknown model": (["capture", "--model", "no-such"], "unknown model 'no-such'"),
    "unknown dataset": (["capture", "--dataset", "no-such"], "no-such"),
    "missing file": (["prepare", "--dataset", "/no/such.txt"], "/no/such.txt"),
    "no samples asked for": (["prepare", "--num-samples", "0"], "--num-samples must be 1"),
    "negative samples": (["capture", "--num-samples", "-5"], "--num-samples must be 1"),
    "negative batch": (["run", "--batch-size", "-1"], "--batch-size must be 1"),
    "negative length": (["capture", "--max-length", "-1"], "--max-length must be 1"),
    "negative start": (["prepare", "--first-sample", "-1"], "--first-sample must be 0"),
    "layer in words": (["run", "--layer", "first"], "--layer must be an index"),
    "negative layer": (["validate", "--layer", "-1"], "--layer must be an index"),
    "negative threshold": (["validate", "--frequency-threshold", "-1"], "must be 0 or more"),
    "nan threshold": (["plot", "--entropy-threshold", "nan"], "--entropy-threshold must be"),
    "too long": (["capture", "--max-length", "100000"], "takes at most"),
    "other experts": (["capture", "--num-experts", "16"], "has 8: leave it out"),
    "layer beyond": (["run", "--layer", "9", "--num-samples", "5"], "4 MoE layers, 0 to 3"),
    "no warehouse": (["validate"], "run `gatehouse run`"),
    "no warehouse to query": (["sql", "select 1"], "run `gatehouse run`"),
    "nothing to build": (["build"], "has finished"),
    "no threads": (["build", "--threads", "0"], "--threads 0: give a number of threads"),
    "threads in words": (["run", "--threads", "all"], "--threads all: give a number of threads"),
    "memory without a unit": (["build", "--memory-limit", "8"], "--memory-limit 8: give a size"),
    "too little memory": (["run", "--memory-limit", "1MB"], "--memory-limit 1MB: give a size"),
    "nothing to export": (["export", "--to", "counts"], "yet: run `gatehouse run`, or"),
    "export to nothing": (["export"], "`gatehouse export --list` lists them"),
    "nothing to document": (["docs"], "run `gatehouse build` first"),
    "input and run": (["validate", "--input", "x.parquet", "--run", "y"], "exclude each other"),
    "missing input": (["validate", "--input", "/no/such.parquet"], "/no/such.parquet"),
    "unknown dtype": (["fetch", "--dtype", "fp8"], "unknown dtype"),
    "unknown quantization": (["fetch", "--quantize=3bit"], "unknown quantization '3bit'"),
    "unknown quantization after a space": (
        ["fetch", "--quantize", "int8", "demo"],
        "unknown quantization 'int8'",
    ),
    "no such device": (["capture", "--device-map", "cuda:77"], "no such device here"),
    "unknown attention": (["fetch", "--attn-implementation", "x"], "unknown attention impl"),
    "not a number": (["run", "--num-samples", "many"], "'--num-samples': Input should be"),
    "unknown option": (["run", "--no-such"], "No such option: --no-such"),
    "a name of several lines": (["capture", "--name", "a\nb"], "--name must be one line"),
    "an empty name": (["run", "--name", ""], "--name must be one line"),
    "unknown command": (["rum"], "No such command 'rum'"),
    "no warehouse to open a shell on": (["sql"], "run `gatehouse run`"),
    "query in several words": (["sql", "select", "1"], "quote the query"),
    "unknown format": (["sql", "select 1", "--format", "xml"], "'--format'"),
    "Parquet on the terminal": (["sql", "select 1", "--format", "parquet"], "--output FILE"),
    "unknown suffix": (["sql", "select 1", "--output", "x.xls"], "no format for x.xls"),
    "unknown example": (["sql", "--examples", "nothing"], "no example 'nothing'"),
}


@pytest.mark.parametrize("case", BAD_INPUT)
def test_bad_input_is_one_line_and_exit_code_2(run, home, case):
    arguments, message = BAD_INPUT[case]
    code, out, err = run(*arguments)
    assert code == 2 and out == ""
    assert message in err and err.startswith("gatehouse: ")
    assert len(err.strip().splitlines()) == 1, err
    assert not list(home.rglob("*.parquet"))


def test_an_empty_dataset_is_refused(run, tmp_path):
    (tmp_path / "empty.jsonl").write_text("")
    code, _, err = run("prepare", "--dataset", tmp_path / "empty.jsonl")
    assert code == 2 and "empty.jsonl" in err


def test_a_home_that_cannot_be_written_is_one_line(run, texts, tiny_mixtral, tmp_path):
    (tmp_path / "file").write_text("in the way")
    code, _, err = run(
        "capture", "--model", tiny_mixtral, "--dataset", texts, "--home", tmp_path / "file" / "home"
    )
    assert code == 2 and len(err.strip().splitlines()) == 1


def test_a_lake_of_another_version_is_one_line(run, home, texts, tiny_mixtral):
    (home / "lake").mkdir(parents=True)
    (home / "lake" / "VERSION").write_text("999\n")
    code, _, err = run("capture", "--model", tiny_mixtral, "--dataset", texts)
    assert code == 2 and "is a lake of version 999" in err


def test_truncated_tokens_are_counted_and_windows_drop_none(run, home, texts, tiny_mixtral):
    shared = ["capture", "--model", tiny_mixtral, "--dataset", texts, "--max-length", 16]
    code, cut, _ = run(*shared)
    _, whole, _ = run(*shared, "--windows")
    assert code == 0
    dropped = int(cut.split("events; ")[1].split()[0].replace(",", ""))
    tokens = int(cut.split("samples, ")[1].split()[0].replace(",", ""))
    assert dropped > 0 and " 0 tokens beyond --max-length dropped" in whole
    assert int(whole.split("samples, ")[1].split()[0].replace(",", "")) == tokens + dropped


def test_status_lists_runs_and_what_is_unfinished(run, home, captured):
    assert "`gatehouse run` makes the first" in run("status")[1]
    code, out, _ = run("status", "--home", captured)
    assert code == 0 and "texts-jsonl" in out and "1/1" in out and "finished" in out


def test_sql_reads_marts_and_events_and_nothing_else(run, captured):
    _, out, _ = run("sql", "select count(*) as n from events", "--home", captured)
    tokens = run("sql", "select sum(tokens) as t from dim_sample", "--home", captured)[1]
    numbers = [int(re.findall(r"│\s+(\d+)\s+│", text)[-1]) for text in (out, tokens)]
    assert numbers[0] == 3 * numbers[1] > 0
    copy = f"copy (select 1) to '{captured}/lake/x.parquet'"
    for refused in (
        "select * from read_csv('/etc/passwd')",
        "create table t as select 1",
        copy,
        f"with x as ({copy}) from x",
        "select 1; drop table dim_run",
        "attach '/tmp/x.db'",
        "select * from no_such_table",
        "selec 1",
    ):
        code, out, err = run("sql", refused, "--home", captured)
        assert (code, out) == (2, ""), refused
        assert len(err.strip().splitlines()) == 1, err
    assert not (captured / "lake" / "x.parquet").exists()


def test_sql_writes_results_and_runs_examples(run, captured, tmp_path):
    query = "select layer, events from fct_layer_routing order by layer"
    _, out, _ = run("sql", query, "--format", "csv", "--home", captured)
    assert out.splitlines()[0] == '"layer","events"' and len(out.splitlines()) == 4
    code, out, _ = run("sql", query, "--output", tmp_path / "layers.csv", "--home", captured)
    assert (code, out) == (0, "") and len((tmp_path / "layers.csv").read_text().splitlines()) == 4
    names = ["layers_at_a_glance", "what_text_was_read"]
    code, out, _ = run("sql", "--examples", *names, "--format", "markdown", "--home", captured)
    assert code == 0 and re.findall("^## .*", out, flags=re.M) == [
        "## Layers at a glance",
        "## What text was read",
    ]


def test_validate_plot_and_report_on_a_run(run, quick_figures, captured):
    code, out, _ = run("validate", "--home", captured, "--layer", 1)
    assert code == 0 and "VAR Hypothesis Validation" in out and "MoE layer 1" in out
    (results,) = (path for path in (captured / "results").iterdir() if path.is_dir())
    assert (results / "validation_report.txt").read_text() == out
    code, out, _ = run("plot", "--home", captured, "--layer", 2)
    assert code == 0 and len(out.splitlines()) == 4 + 14
    assert all(Path(line).read_bytes().startswith(b"\x89PNG") for line in out.splitlines())
    code, out, _ = run("report", "--home", captured)
    page = Path(out.strip())
    assert code == 0 and page == results / "report.html" and "<html" in page.read_text()


def test_unknown_runs_and_layers_are_refused(run, captured):
    code, _, err = run("validate", "--home", captured, "--run", "no-such-run")
    assert code == 2 and "gatehouse status" in err
    code, _, err = run("validate", "--home", captured, "--layer", 7)
    assert code == 2 and "7" in err


def test_fetch_tells_the_structure_and_routes_a_sentence(run, tiny_mixtral):
    code, out, _ = run("fetch", tiny_mixtral, "--analyze_structure")
    assert code == 0 and "4 experts a layer, top-2, softmax" in out
    code, out, _ = run("fetch", "--model", "demo", "--test")
    assert code == 0 and "'<s>'" in out and len(out.splitlines()) > 10
    assert "weights: 15.5 MB on cpu: experts 12.6 MB" in out


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["run", "--quantize"], ["run", "--quantize", "4bit"]),
        (["run", "--quantize", "--no-such"], ["run", "--quantize", "4bit", "--no-such"]),
        (["fetch", "--quantize", "olmoe"], ["fetch", "--quantize", "4bit", "olmoe"]),
        (["fetch", "--quantize", "8bit"], ["fetch", "--quantize", "8bit"]),
        (["fetch", "--quantize", "3bit"], ["fetch", "--quantize", "3bit"]),
        (["fetch", "--quantize", "int8"], ["fetch", "--quantize", "int8"]),
        (["fetch", "--quantize=8bit"], ["fetch", "--quantize=8bit"]),
        (["run", "--no_quantize"], ["run", "--quantize", "none"]),
        (["run", "--no-quantize", "--layer", "1"], ["run", "--quantize", "none", "--layer", "1"]),
        (
            ["report", "--compare", "a", "b", "c", "--output", "d"],
            ["report", *("--compare", "a", "--compare", "b", "--compare", "c"), "--output", "d"],
        ),
        (["report", "--compare=a", "b"], ["report", "--compare", "a", "--compare", "b"]),
        (
            ["report", "--compare", "a", "--compare", "b"],
            ["report", *["--compare", "a"], *["--compare", "b"]],
        ),
    ],
)
def test_options_may_be_written_shortly(words, meant):
    assert options.spelled_out(words) == meant


def test_how_a_model_is_loaded_is_part_of_the_run(run, home, texts, tiny_mixtral):
    shared = ["capture", "--model", tiny_mixtral, "--dataset", texts]
    for chosen in (["--quantize"], ["--attn_implementation", "eager"], ["--device-map", "cpu"], []):
        code, _, err = run(*shared, *chosen)
        assert code == 0, err
    runs = Lake(home / "lake").runs().values()
    found = {(record["quantization"], record["attention_implementation"]) for record in runs}
    assert found == {("4bit", "sdpa"), ("none", "eager"), ("none", "sdpa")} and len(runs) == 3


@pytest.mark.parametrize("command", ["fetch", "capture"])
def test_a_router_that_cannot_be_read_is_refused_before_its_weights(run, command, tmp_path):
    from transformers import NllbMoeConfig

    sizes = {"encoder_layers": 2, "decoder_layers": 2, "d_model": 16, "vocab_size": 64}
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2}
    sparse = {"encoder_sparse_step": 1, "decoder_sparse_step": 1, "num_experts": 4}
    drawn = {"second_expert_policy": "sampling"}
    NllbMoeConfig(**sizes, **heads, **sparse, **drawn).save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"not read")
    code, out, err = run(command, "--model", tmp_path)
    assert (code, out) == (2, "") and "draws its second expert by chance (sampling): " in err
    assert len(err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    "words",
    [
        ["prepare", "--dataset", "x" * 300],
        ["fetch", "x" * 300],
        ["status", "--home", "x" * 300],
        ["prepare", "--dataset", "TEXTS", "--output-dir", "\udcff"],
        ["prepare", "--dataset", "a\nb"],
        ["validate", "--run", "a\n\x1b[31m"],
        ["validate", "--run", "../../x"],
        ["fetch", "'; drop\0"],
    ],
)
def test_a_name_that_no_file_has_is_one_line(run, home, texts, tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    before = [texts]
    code, out, err = run(*(str(texts) if word == "TEXTS" else word for word in words))
    assert (code, out, len(err.splitlines())) == (2, "", 1), err
    assert "\x1b" not in err
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == before


def test_a_published_table_keeps_the_occurrences_of_tokens_without_an_entropy(run, tmp_path):
    rows = ["token_id,token_str,frequency,mean_entropy,mean_confidence,routing_consistency"]
    rows += ["1,a,600,nan,0.5,0.5", "2,b,300,0.1,0.9,1", "3,c,60,1.0,0.9,1", "4,d,40,1.1,0.9,1"]
    (tmp_path / "table.csv").write_text("\n".join(rows) + "\n")
    code, out, _ = run("validate", "--input", tmp_path / "table.csv")
    assert code == 0 and "they hold 600 occurrences, 60.0% of all" in out
    assert "(30.0% of token occurrences)" in out and "75.0%" not in out


def test_lines_of_a_text_file_are_documents_where_asked_for(run, tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("one\ntwo\nthree\n")
    words = ["prepare", "--dataset", text, "--output-dir", tmp_path / "prepared"]
    assert "1 sample of" in run(*words)[2] + run(*words)[1]
    code, out, err = run(*words, "--lines")
    assert code == 0 and "3 samples of" in out + err


def test_csv_for_a_spreadsheet_is_asked_for(run, captured):
    words = ["sql", "select '=1' as a", "--format", "csv", "--home", captured]
    assert run(*words)[1] == '"a"\n"=1"\n'
    assert run(*words, "--spreadsheet-safe")[1] == '"a"\n"\'=1"\n'
