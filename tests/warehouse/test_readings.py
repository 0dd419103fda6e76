"""How a run's text was read is kept beside the run, and goes with it."""

import pytest

from gatehouse.warehouse.lake import Lake
from gatehouse.warehouse.notes.readings import Reading, keep_reading, reading_of
from gatehouse.warehouse.upkeep.removal import removing

READING = Reading("raw.content", None, "2 files: 2 .jsonl", "1 file: 1 .pdf (a.pdf)")


def test_it_is_kept_and_goes_with_the_run(tmp_path):
    keep_reading(tmp_path, "a-run", READING)
    assert reading_of(tmp_path, "a-run") == READING
    with removing(Lake(tmp_path), "a-run"):
        pass
    assert reading_of(tmp_path, "a-run") == Reading()


@pytest.mark.parametrize("content", ["", "{", "[]", '"x"', '{"other": 1}'])
def test_what_is_damaged_says_nothing(tmp_path, content):
    keep_reading(tmp_path, "a-run", READING)
    (tmp_path / "readings" / "a-run.json").write_text(content)
    assert reading_of(tmp_path, "a-run") == Reading()
