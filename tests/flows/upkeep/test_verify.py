"""`gatehouse verify`: every damage is named, and mended where it can be."""

import json
import random
import re
import shutil
from contextlib import closing
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow.parquet as pq
import pytest
from pandas.testing import assert_frame_equal

from gatehouse.flows.request import RunRequest
from gatehouse.flows.steps import build, capture
from gatehouse.flows.upkeep import verify
from gatehouse.warehouse.connect import connect
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.events import Events, write_events
from gatehouse.warehouse.lake import Lake
from gatehouse.warehouse.paths import DBT_PROJECT, Paths
from gatehouse.warehouse.storage import folder
from gatehouse.warehouse.tables import read_table, write_table
from gatehouse.warehouse.upkeep import verification
from gatehouse.warehouse.upkeep.verification import RUN_TABLES
from tests.flows.steps.test_resume import contents


@pytest.fixture(scope="module")
def landed(tmp_path_factory, tiny_mixtral) -> Path:
    """A home with a captured run of three shards: 1,100 texts of a few tokens, three a page."""
    folder = tmp_path_factory.mktemp("landed")
    generator = random.Random(13)
    words = ["router", "expert", "the", "token", "of"]
    texts = [" ".join(generator.choices(words, k=generator.randint(1, 4))) for _ in range(1_100)]
    corpus = folder / "texts.jsonl"
    rows = ({"text": text, "page": number // 3} for number, text in enumerate(texts))
    corpus.write_text("".join(json.dumps(row) + "\n" for row in rows))
    request = RunRequest(
        model=str(tiny_mixtral),
        dataset=str(corpus),
        document_field="page",
        batch_size=8,
        max_length=64,
    )
    capture.capture(request, Paths(folder / "home"))
    return folder / "home"


@pytest.fixture
def copy(landed, tmp_path) -> Paths:
    return Paths(shutil.copytree(landed, tmp_path / "copy"))


def only_run(paths: Paths) -> str:
    (run_id,) = Lake(paths.lake).runs()
    return run_id


def flip(path: Path, place: float = 0.5) -> None:
    content = bytearray(path.read_bytes())
    content[int(len(content) * place)] ^= 1
    path.write_bytes(content)


def shard(paths: Paths, number: int, table: str = "events") -> Path:
    return Lake(paths.lake).shard_file(table, only_run(paths), number)


def file(paths: Paths, table: str) -> Path:
    return Lake(paths.lake).file(table, only_run(paths))


def duplicate(paths: Paths, name: str) -> None:
    for table in ("samples", "events"):
        path = shard(paths, 1, table)
        shutil.copy(path, path.with_name(name))


def recorded_anew(paths: Paths, damage) -> None:
    """Change a shard's events and record it, as a program that writes nonsense would."""
    lake, run_id = Lake(paths.lake), only_run(paths)
    samples, events = (pq.read_table(shard(paths, 1, t), partitioning=None) for t in SHARD_TABLES)
    events = damage(events)
    write_events(shard(paths, 1), Events.of(events))
    lake.shards.record(run_id, 1, samples, events.num_rows)


def swapped(paths: Paths) -> None:
    """Two shards under each other's names and in each other's rows."""
    lake, run_id = Lake(paths.lake), only_run(paths)
    tables = {}
    for number in (0, 1):
        tables[number] = [
            pq.read_table(shard(paths, number, t), partitioning=None) for t in SHARD_TABLES
        ]
    for number in (0, 1):
        samples, events = tables[1 - number]
        lake.land_shard(run_id, number, samples, Events.of(events))


SHARD_TABLES = ("samples", "events")
DAMAGES = {
    "a shard deleted": (lambda p: shard(p, 2).unlink(), "shard 2 is missing or has another size"),
    "its samples deleted": (lambda p: shard(p, 2, "samples").unlink(), "shard 2 is missing or"),
    "a shard truncated": (
        lambda p: shard(p, 0).write_bytes(shard(p, 0).read_bytes()[:-9]),
        "shard 0 is missing or has another size",
    ),
    "a byte flipped": (lambda p: flip(shard(p, 1)), "shard 1 has other bytes in `events` than"),
    "a byte of samples flipped": (
        lambda p: flip(shard(p, 1, "samples")),
        "shard 1 has other bytes in `samples` than",
    ),
    "an event lost": (
        lambda p: recorded_anew(p, lambda events: events.slice(1)),
        "shard 1 breaks a law: ",
    ),
    "a sample doubled": (
        lambda p: recorded_anew(p, lambda events: events.take([*range(events.num_rows), 0])),
        "shard 1 breaks a law: ",
    ),
    "a shard's copy beyond the last": (
        lambda p: duplicate(p, "shard-00007.parquet"),
        "shard-00007.parquet may be a copy of a shard",
    ),
    "a shard's copy by hand": (
        lambda p: duplicate(p, "shard-00001 (copy).parquet"),
        "shard-00001 (copy).parquet may be a copy of a shard",
    ),
    "a foreign file": (
        lambda p: shard(p, 0).with_name("notes.txt").write_text("mine"),
        "notes.txt does not belong to this run",
    ),
    "a leftover": (
        lambda p: shard(p, 0).with_name(".shard-00009.parquet.1.tmp").write_text("half"),
        ".tmp was never finished",
    ),
    "the records lost": (
        lambda p: [shard(p, n, "shards").unlink() for n in range(3)],
        "its table of shards is missing",
    ),
    "a record lost": (lambda p: shard(p, 1, "shards").unlink(), "shard 1 has no row in `shards`"),
    "a record and its shard lost": (
        lambda p: [shard(p, 1, table).unlink() for table in ("shards", "events")],
        "shard 1 has no row in `shards`",
    ),
    "a record damaged": (
        lambda p: flip(shard(p, 1, "shards"), 0.3),
        "shards/run_id={run}/shard-00001.parquet is damaged",
    ),
    "a record is another shard's": (
        lambda p: shutil.copy(shard(p, 0, "shards"), shard(p, 1, "shards")),
        "is that of run_id={run}/shard-00000.parquet",
    ),
    "a record's copy by hand": (
        lambda p: shutil.copy(
            shard(p, 1, "shards"), shard(p, 1, "shards").with_name("shard-00001 (copy).parquet")
        ),
        "shard-00001 (copy).parquet does not belong to this run",
    ),
    "the layers damaged": (lambda p: flip(file(p, "layers"), 0.3), "layers.parquet is damaged"),
    "the vocabulary lost": (lambda p: file(p, "vocabulary").unlink(), "vocabulary.parquet is dam"),
    "the records and the layers damaged": (
        lambda p: [flip(each, 0.3) for each in (shard(p, 0, "shards"), file(p, "layers"))],
        "shard-00000.parquet is damaged",
    ),
    "the records and every shard lost": (
        lambda p: [
            each for n in range(3) for each in (shard(p, n).unlink(), flip(shard(p, n, "shards")))
        ],
        "shard-00000.parquet is damaged",
    ),
    "two shards swapped": (swapped, "shard 0 begins at sample 512, not 0"),
}


def test_a_run_that_is_whole_is_told_so(run, copy):
    code, out, _ = run("verify", "--home", copy.root)
    assert code == 0
    assert out.startswith(f"{only_run(copy)}: 3 shards, ") and "as recorded and lawful" in out


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damage_is_named_and_mended(name, run, copy, landed):
    damage, named = DAMAGES[name]
    damage(copy)
    before = {path: path.stat().st_mtime_ns for path in copy.lake.rglob("*") if path.is_file()}
    code, out, err = run("verify", only_run(copy), "--home", copy.root)
    assert code == 1 and named.format(run=only_run(copy)) in out, (out, err)
    assert "Traceback" not in err
    after = {path: path.stat().st_mtime_ns for path in copy.lake.rglob("*") if path.is_file()}
    assert after == before, "verify changes nothing by itself"
    code, out, err = run("verify", "--home", copy.root, "--repair")
    assert code == 0 and "as recorded and lawful" in out, (out, err)
    assert contents(copy) == contents(Paths(landed))


def test_what_is_set_aside_is_kept(run, copy):
    duplicate(copy, "shard-00007.parquet")
    kept = shard(copy, 7).read_bytes()
    run("verify", "--home", copy.root, "--repair")
    aside = copy.root / "set-aside" / shard(copy, 7).relative_to(copy.lake)
    assert aside.read_bytes() == kept


@pytest.mark.parametrize("tables", [("runs",), ("runs", "shards")])
def test_a_lost_row_of_the_run_is_told_again_by_its_own_command(
    run, copy, landed, tiny_mixtral, tables
):
    """And nobody is sent to `--repair`, which cannot tell it."""
    run_id = only_run(copy)
    for path in [shard(copy, 0, each) if each == "shards" else file(copy, each) for each in tables]:
        flip(path, 0.3)
    # JSON, because a table breaks its cells' lines
    for words in (["verify"], ["verify", "--repair"], ["status", "--format", "json"], ["build"]):
        code, out, err = run(*words, "--home", copy.root)
        said = " ".join((out + err).split())
        assert code == {"status": 0, "build": 2}.get(words[0], 1)
        assert run_id in said and "runs.parquet is damaged" in said
        assert "run the same `gatehouse capture` again" in said and "--repair" not in said
    corpus = landed.parent / "texts.jsonl"
    words = ["--document-field", "page", "--batch-size", 8, "--max-length", 64, "--home", copy.root]
    assert run("capture", "--model", tiny_mixtral, "--dataset", corpus, *words)[0] == 0
    assert contents(copy) == contents(Paths(landed))


def test_text_that_has_changed_is_not_captured_into_the_run(run, copy, landed, tmp_path):
    lake, run_id = Lake(copy.lake), only_run(copy)
    changed = tmp_path / "changed.jsonl"
    changed.write_text('{"text": "other words"}\n')
    # the dataset under the run's name is a different one by now
    original = landed.parent / "texts.jsonl"
    content = original.read_bytes()
    shard(copy, 1).unlink()
    try:
        original.write_bytes(content + changed.read_bytes() * 2)
        original.write_bytes(content.replace(b"router", b"gate"))
        code, _, err = run("verify", run_id, "--home", copy.root, "--repair")
    finally:
        original.write_bytes(content)
    assert code == 2 and "cannot be captured again, the text changed since" in err
    assert len(err.strip().splitlines()) <= 2 and lake.shards.finished(run_id) == {0, 2}


@pytest.mark.parametrize("piped", [True, False])
def test_a_shard_is_captured_again_from_a_pipe_and_from_named_fields(
    run, tmp_path, tiny_mixtral, monkeypatch, piped
):
    corpus = tmp_path / "texts.jsonl"
    corpus.write_text(json.dumps({"raw": {"content": "the router", "kind": "law"}}) + "\n")
    paths = Paths(tmp_path / "home")
    with corpus.open() as stream:
        monkeypatch.setattr("sys.stdin", stream)
        request = RunRequest(
            model=str(tiny_mixtral),
            dataset="-" if piped else str(corpus),
            text_field="raw.content",
            domain_field="raw.kind",
        )
        capture.capture(request, paths)
    before = shard(paths, 0).read_bytes()
    shard(paths, 0).unlink()
    code, _, _ = run("verify", "--repair", "--home", paths.root)
    assert code == 0
    assert shard(paths, 0).read_bytes() == before


def test_marts_that_disagree_are_named_and_built_afresh(run, captured, tmp_path):
    """In a home of any name, which can move.

    Views find the lake where it was built, in any client, and in Gatehouse wherever it is.
    """
    home = shutil.copytree(captured, tmp_path / "${name} {{ it's }} %s [b] *")
    assert run("verify", "--home", home)[0] == 0
    with closing(duckdb.connect(str(home / "gatehouse.duckdb"))) as connection:
        connection.execute("update fct_token_routing set frequency = frequency + 1 where layer = 1")
        connection.execute("update fct_expert_load set selections = 1 where layer = 0")
        connection.execute("update dim_run set events = events - 1")
    code, out, _ = run("verify", "--home", home)
    assert code == 1
    one_row = "1 row differs in samples, tokens or events in dim_run"
    for what in ("fct_token_routing", "fct_expert_load", one_row):
        assert what in out
    code, out, err = run("verify", "--home", home, "--repair")
    assert code == 0, (out, err)
    tables = [name for (name,) in rows(home, "show tables") if name.startswith(("fct_", "dim_"))]
    marts = (DBT_PROJECT / "models" / "marts").rglob("*.sql")
    assert set(tables) == {path.stem for path in marts}
    for table in tables:
        # sums of floats depend on the order in which threads finish
        assert_frame_equal(frame(home, table), frame(captured, table), rtol=1e-9, atol=1e-12)
    counted = "select count(*) from events"
    with closing(duckdb.connect(str(home / "gatehouse.duckdb"), read_only=True)) as connection:
        assert connection.execute(counted).fetchall() == rows(captured, counted)
    moved = home.rename(tmp_path / "moved é")
    assert rows(moved, counted) == rows(captured, counted)


def rows(home: Path, query: str) -> list[tuple]:
    with closing(connect(Paths(home))) as connection:
        return connection.execute(query).fetchall()


def frame(home: Path, table: str) -> pd.DataFrame:
    """Return a mart's rows in the order of its keys, which are its first columns."""
    with closing(connect(Paths(home))) as connection:
        return connection.table(table).order("all").to_arrow_table().to_pandas()


def test_an_unknown_run_is_one_line(run, copy):
    for name in ("no-such-run", "../../x", "it's", "a" * 300):
        code, out, err = run("verify", name, "--home", copy.root)
        assert (code, out) == (2, "") and "there is no run" in err
        assert len(err.strip().splitlines()) == 1


def test_a_run_is_removed_once_agreed(run, captured, tmp_path):
    home = shutil.copytree(captured, tmp_path / "home")
    (run_id,) = Lake(home / "lake").runs()
    (home / "results" / run_id).mkdir(parents=True, exist_ok=True)
    code, _, err = run("runs", "rm", run_id, "--home", home)
    assert code == 2 and f"remove {run_id} with its 1 shard (" in err and "--yes" in err
    assert list(Lake(home / "lake").runs()) == [run_id]
    code, out, _ = run("runs", "rm", run_id, "--yes", "--format", "json", "--home", home)
    removed = json.loads(out)
    assert code == 0 and (removed["run_id"], removed["removed"]) == (run_id, True)
    assert removed["marts"].startswith("no finished run is left: ")
    assert not [path for path in home.rglob(f"*{run_id}*") if "dbt" not in path.parts]
    assert not (home / "gatehouse.duckdb").exists()
    assert run("runs", "rm", run_id, "--yes", "--home", home)[0] == 2


def test_what_a_killed_removal_left_can_be_removed(run, copy):
    lake, run_id = Lake(copy.lake), only_run(copy)
    shutil.rmtree(lake.folder("runs", run_id))
    code, out, _ = run("verify", "--home", copy.root)
    assert code == 1 and f"leftovers of a run: `gatehouse runs rm {run_id}` removes them" in out
    assert run("runs", "rm", run_id, "--yes", "--home", copy.root)[0] == 0
    assert lake.run_ids() == []


def test_a_build_refuses_a_run_that_is_not_whole(run, copy):
    duplicate(copy, "shard-00007.parquet")
    code, _, err = run("build", "--home", copy.root)
    assert code == 2 and "may be a copy of a shard" in err and "verify" in err
    assert not copy.database.exists()


def test_a_folder_copied_by_hand_stops_nothing_and_is_set_aside(run, copy):
    run_id, folder = only_run(copy), shard(copy, 0).parent
    copied = folder.with_name(f"{folder.name} (copy)")
    shutil.copytree(folder, copied)
    code, out, _ = run("status", "--home", copy.root)
    assert code == 0 and run_id in out and "(copy)" not in out
    code, _, err = run("build", "--home", copy.root)
    assert code == 2 and f"{copied} is not the folder of a run: " in err
    code, out, _ = run("verify", "--format", "json", "--home", copy.root)
    *_, last = json.loads(out)["runs"]
    assert code == 1 and last["run_id"] == f"events/{copied.name}"
    assert last["problems"][0]["cure"] == "set aside"
    for name in (copied.name, f"{copied.name}.2"):
        code, out, err = run("verify", "--repair", "--home", copy.root)
        assert code == 0 and "(copy)" not in out, (out, err)
        assert len(list((copy.root / "set-aside" / "events" / name).iterdir())) == 3
        shutil.copytree(folder, copied)


@pytest.mark.parametrize("table", ["layers", "vocabulary"])
def test_a_build_names_a_description_of_another_run(copy, table):
    lake, run_id = Lake(copy.lake), only_run(copy)
    shutil.copytree(lake.folder(table, run_id), lake.folder(table, "other"))
    write_table(lake.file(table, "other"), read_table(lake.file(table, run_id), RUN_TABLES[table]))
    shutil.copy(lake.file(table, "other"), lake.file(table, run_id))
    shutil.rmtree(lake.folder(table, "other"))
    with pytest.raises(GatehouseError, match=f"{run_id}: .* is that of run_id=other/{table}"):
        build.build(copy)
    assert not copy.database.exists()


def test_what_was_found_right_is_not_asked_again_without_all(run, captured, tmp_path, monkeypatch):
    """Neither the lake's files, nor the database, nor the comparison of both."""
    monkeypatch.setattr(folder, "SETTLED", -(10**18))
    compared, disagreements = [], verify.disagreements

    def noting(connection, totals, of_counts):
        compared.extend(totals)
        return disagreements(connection, totals, of_counts)

    monkeypatch.setattr(verify, "disagreements", noting)
    # without what other tests have had verified there
    forgetful = shutil.ignore_patterns("remembered")
    home = shutil.copytree(captured, tmp_path / "home", ignore=forgetful)
    run_id = only_run(Paths(home))

    def said(*words: str) -> tuple[str, list[str]]:
        compared.clear()
        code, out, _ = run("verify", *words, "--home", home)
        assert code == 0 and "as recorded and lawful" in out
        return out, compared

    whole = "every byte of 6 files was read"
    assert said()[0].endswith(f"{whole}\n") and compared == [run_id]
    out, _ = said()
    assert "(4 of 6 files not read again)" in out and compared == []
    assert re.search(
        r"^4 of 6 files, and the database, unchanged since they were verified on \d{4}-\d\d-\d\d "
        r"\d\d:\d\d UTC or later: `gatehouse verify --all` reads them too$",
        out.splitlines()[-1],
    )
    assert said("--all")[0].endswith(f"{whole}\n") and compared == [run_id]
    assert said("--repair")[0].endswith(f"{whole}\n") and compared == [run_id]
    # the same marts in another file, as after a build of another run
    database = home / "gatehouse.duckdb"
    database.write_bytes(database.read_bytes())
    out, _ = said()
    assert out.splitlines()[-1].startswith("4 of 6 files unchanged ") and compared == []
    with closing(duckdb.connect(str(database))) as connection:
        connection.execute("update fct_expert_load set selections = 1 where layer = 0")
    code, out, _ = run("verify", "--format", "json", "--home", home)
    (entry,) = json.loads(out)["runs"]
    assert code == 1 and "fct_expert_load" in entry["problems"][0]["what"]
    assert (entry["files"], entry["files_unchanged"]) == (6, 4)
    assert entry["unchanged_since"] == json.loads(out)["unchanged_since"]
    assert entry["unchanged_since"]


def test_what_was_found_right_before_ctrl_c_is_not_read_again(copy, monkeypatch):
    monkeypatch.setattr(folder, "SETTLED", -(10**18))
    sha256_of = verification.sha256_of

    def interrupted(path):
        if path.name == "shard-00001.parquet":
            raise KeyboardInterrupt
        return sha256_of(path)

    with monkeypatch.context() as patch:
        patch.setattr(verification, "sha256_of", interrupted)
        with pytest.raises(KeyboardInterrupt):
            verify.verify_runs(None, copy)
    text, well = verify.verify_runs(None, copy)
    # the vocabulary and the first shard's events; the others need the layers and all samples
    assert well and "(2 of 12 files not read again)" in text
