"""The user's cache keeps a few whole entries of each kind, and is never in the way."""

import os

import pytest

from gatehouse.warehouse import cache


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("GATEHOUSE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_what_is_kept_is_read_by_kind_and_name():
    cache.write("dbt", "one", b"parse")
    cache.write("prefect", "one", b"database")
    assert cache.read("dbt", "one") == b"parse" and cache.read("prefect", "one") == b"database"
    assert cache.read("dbt", "two") is None


def test_the_oldest_of_a_kind_give_way(folder):
    cache.write("prefect", "old", b"database")
    for number in range(cache.KEPT + 2):
        cache.write("dbt", str(number), b"parse")
        os.utime(folder / "dbt" / str(number), (number, number))
    assert len(list((folder / "dbt").iterdir())) == cache.KEPT
    assert cache.read("dbt", str(cache.KEPT + 1)) == b"parse" and cache.read("dbt", "0") is None
    assert cache.read("prefect", "old") == b"database"


@pytest.mark.parametrize("damage", [b"", b"x" * 99, None])
def test_what_is_damaged_is_as_good_as_missing(folder, damage):
    cache.write("dbt", "one", b"parse")
    whole = (folder / "dbt" / "one").read_bytes()
    (folder / "dbt" / "one").write_bytes(whole[:-1] if damage is None else damage)
    assert cache.read("dbt", "one") is None


def test_a_folder_that_cannot_be_made_keeps_nothing(folder):
    folder.write_text("a file")
    cache.write("dbt", "one", b"parse")
    assert cache.read("dbt", "one") is None and folder.read_text() == "a file"
