"""What a folder holds is listed: what is read, what is left out, and why."""

from itertools import chain
from pathlib import Path

import datasets
import pytest

from gatehouse.ingest.files import read_path
from gatehouse.ingest.folders import list_folder
from gatehouse.ingest.rows import Broken, Document
from gatehouse.warehouse.errors import GatehouseError
from tests.ingest.every_format import LINES, PACKINGS, ROWS, TEXTS


def write(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(LINES)
    return root


def texts(folder: Path) -> list[str]:
    return [each.text for each in read_path(folder)[0] if isinstance(each, Document)]


def test_everything_is_read_or_left_out_with_a_reason(tmp_path: Path) -> None:
    names = ("a.jsonl", "b.jsonl.gz", "c.PDF", "d/e.csv.zst", "d/f.tar.gz", "LICENSE", ".g/h.txt")
    listing = list_folder(write(tmp_path, *names))
    assert listing.read == ["a.jsonl", "b.jsonl.gz", "d/e.csv.zst"]
    assert listing.left_out == {
        ".pdf": ["c.PDF"],
        ".tar.gz": ["d/f.tar.gz"],
        "hidden": [".g"],
        "without a suffix": ["LICENSE"],
    }
    assert listing.opened_text == "the first 0 of 3 files: 1 .csv.zst, 1 .jsonl, 1 .jsonl.gz"
    assert listing.left_out_text.startswith("4 files: 1 .pdf (c.PDF), 1 .tar.gz (d/f.tar.gz), ")


SPLITS = {
    "by file": (["data/train-0.jsonl"], ["data/test-0.jsonl", "data/validation-0.jsonl"]),
    "by folder": (["train/0.jsonl"], ["test/0.jsonl", "dev/0.jsonl"]),
    "of configurations": (
        ["de/c4-train.0.json.gz", "en/c4-train.0.json.gz"],
        ["de/c4-validation.0.json.gz"],
    ),
    "with other files": (["train.csv"], ["eval.csv", "labels.csv"]),
    "train alone": (["more.jsonl", "train.jsonl"], []),
    "without train": (["dev.jsonl", "test.jsonl"], []),
    "words within words": (["contest.txt", "trainer.txt", "trains.txt"], []),
}


@pytest.mark.parametrize("name", SPLITS)
def test_of_splits_train_is_read(tmp_path: Path, name: str) -> None:
    read, left_out = SPLITS[name]
    listing = list_folder(write(tmp_path, *read, *left_out))
    assert listing.read == read
    assert sorted(chain.from_iterable(listing.left_out.values())) == sorted(left_out)
    assert all(reason.startswith("of ") for reason in listing.left_out)


def test_shards_that_are_not_there_are_counted(tmp_path: Path) -> None:
    names = (
        "a-00000-of-00003.jsonl",
        "a-00002-of-00003.jsonl.gz",
        "b-00001-of-00002-0f1e.csv",
        "b-00000-of-00002-2d3c.csv",
        "c.00001-of-00002.csv",
        "c.00002-of-00002.csv",
        "test-d-00000-of-00009.csv",
    )
    listing = list_folder(write(tmp_path, *names))
    assert listing.left_out["missing"] == [
        "a-00001-of-00003.jsonl",
        *(f"test-d-{number:05}-of-00009.csv" for number in range(1, 9)),
    ]
    write(tmp_path, "train.jsonl")
    assert "missing" not in list_folder(tmp_path).left_out


def test_what_datasets_passes_over_is_left_out(tmp_path: Path) -> None:
    names = ("__MACOSX/a.jsonl", "b/__pycache__/c.txt", "config.json")
    listing = list_folder(write(tmp_path, *names, "part.jsonl"))
    assert listing.read == ["part.jsonl"]
    assert listing.left_out == {
        "in a special folder": ["__MACOSX/a.jsonl", "b/__pycache__/c.txt"],
        "description of a dataset": ["config.json"],
    }


def test_what_tells_of_rows_is_no_text_beside_them(tmp_path: Path) -> None:
    names = ("README.md", "dataset_infos.json", "LICENSE.txt")
    listing = list_folder(write(tmp_path, *names, "part.jsonl"))
    assert listing.read == ["part.jsonl"]
    assert sorted(listing.left_out["description of a dataset"]) == sorted(names)
    (tmp_path / "part.jsonl").rename(tmp_path / "part.txt")
    assert list_folder(tmp_path).read == ["LICENSE.txt", "README.md", "part.txt"]


def test_links_are_followed_and_loops_end(tmp_path: Path) -> None:
    root = write(tmp_path / "root", "zebra/a.jsonl")
    write(tmp_path / "elsewhere", "b.jsonl")
    (root / "again").symlink_to("zebra")
    (root / "loop").symlink_to(".")
    (root / "zebra" / "up").symlink_to("..")
    (root / "linked").symlink_to(tmp_path / "elsewhere")
    (root / "gone.jsonl").symlink_to("nowhere")
    listing = list_folder(root)
    assert listing.read == ["linked/b.jsonl", "zebra/a.jsonl"]
    assert listing.left_out == {
        "link to a folder that is read already": ["again", "loop", "zebra/up"],
        "link to nothing": ["gone.jsonl"],
    }
    assert texts(root) == TEXTS * 2


def test_the_cache_and_saved_datasets_are_read_at_any_depth(tmp_path: Path) -> None:
    cache = tmp_path / "me___small" / "en" / "0.0.0" / "0123abcd"
    cache.mkdir(parents=True)
    for name in ("small-train.arrow", "small-test.arrow", "cache-5f0a.arrow"):
        (cache / name).write_bytes(ROWS["arrow"])
    (cache / "dataset_info.json").write_text("{}")
    for folder in (cache, tmp_path):
        listing = list_folder(folder)
        assert [Path(name).name for name in listing.read] == ["small-train.arrow"]
        assert texts(folder) == TEXTS
    several = tmp_path / "root" / "deep" / "several"
    rows = datasets.Dataset.from_dict({"text": TEXTS})
    other = datasets.Dataset.from_dict({"text": ["not this"]})
    datasets.DatasetDict(train=rows, test=other).save_to_disk(several)
    assert texts(tmp_path / "root") == TEXTS


def test_the_hubs_folder_of_a_dataset_is_read_at_its_main_branch(tmp_path: Path) -> None:
    from gatehouse.ingest.corpora import read_corpus

    root = tmp_path / "datasets--me--small"
    for commit in ("old", "new"):
        write(root / "snapshots" / commit, f"{commit}.jsonl")
    write(root / "blobs", "5f0a.jsonl")
    (root / "refs").mkdir()
    (root / "refs" / "main").write_text("new")
    corpus = read_corpus(str(root))
    assert corpus.name == str(root)
    assert [each.name for each in corpus.documents] == ["new.jsonl:1", "new.jsonl:2"]


def test_of_versions_without_a_main_branch_only_a_single_one_is_read(
    tmp_path: Path, refuses
) -> None:
    from gatehouse.ingest.corpora import read_corpus

    root = tmp_path / "datasets--me--small"
    write(root / "snapshots" / "old", "old.jsonl")
    assert [each.text for each in read_corpus(str(root)).documents] == TEXTS
    write(root / "snapshots" / "new", "new.jsonl")
    with refuses("small holds 2 versions", "name one of the folders", "snapshots/old"):
        read_corpus(str(root))


def test_what_is_not_finished_yet_is_left_out(tmp_path: Path) -> None:
    names = ("0123abcd/small-train.arrow", "5f0a.incomplete/small-train.arrow")
    listing = list_folder(write(tmp_path, *names, "_temporary/0/part-0.jsonl"))
    assert listing.read == ["0123abcd/small-train.arrow"]
    assert listing.left_out == {"unfinished download or output": ["5f0a.incomplete", "_temporary"]}


def test_a_delta_table_is_refused_because_it_keeps_deleted_rows(tmp_path: Path, refuses) -> None:
    root = write(tmp_path, "tables/small/_delta_log/0.json", "tables/small/part-0.jsonl")
    with refuses("tables/small is a Delta table", "deleted", "as Parquet"):
        list_folder(root)


def test_a_folder_that_cannot_be_listed_is_refused(tmp_path: Path, monkeypatch) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    write(tmp_path, "closed/a.jsonl")
    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(GatehouseError, match=r"cannot list .*Permission denied; make it readable"):
        list_folder(tmp_path)


def test_a_packed_file_is_counted_by_both_suffixes(tmp_path: Path) -> None:
    for packing, pack in PACKINGS.items():
        (tmp_path / f"part.jsonl{packing}").write_bytes(pack(LINES))
    listing = read_path(tmp_path)[1]
    assert listing is not None
    assert texts(tmp_path) == TEXTS * 5
    assert ".jsonl.zst" in listing.opened_text


def test_a_table_of_something_else_is_broken_as_a_whole(tmp_path: Path) -> None:
    write(tmp_path, "text.jsonl")
    (tmp_path / "labels.csv").write_text("name,label\na,1\nb,2\n")
    broken, *found = read_path(tmp_path)[0]
    assert isinstance(broken, Broken)
    assert "labels.csv has no field text, only 'name', 'label'" in broken.what
    assert [each.text for each in found] == TEXTS
