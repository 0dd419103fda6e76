"""A person's name for a run: it stands for the run's id while it names one run only."""

import pytest

from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.lake import Lake
from gatehouse.warehouse.notes.run_names import find_run, is_name, name_of, name_run
from gatehouse.warehouse.upkeep.removal import forget_removed, removing


@pytest.fixture
def lake(tmp_path):
    for run_id in ("one-1", "two-2"):
        (tmp_path / "runs" / f"run_id={run_id}").mkdir(parents=True)
    return tmp_path


def test_a_word_means_an_id_then_a_name_then_itself(lake):
    name_run(lake, "one-1", "Mein Lauf")
    assert find_run(lake, "Mein Lauf") == "one-1" == find_run(lake, "one-1")
    name_run(lake, "one-1", "two-2")
    assert find_run(lake, "two-2") == "two-2" and find_run(lake, "Mein Lauf") == "Mein Lauf"
    assert find_run(lake, "../no such") == "../no such"


def test_a_name_of_two_runs_means_neither(lake):
    for run_id in ("one-1", "two-2"):
        name_run(lake, run_id, "same")
    with pytest.raises(GatehouseError, match="'same' names one-1, two-2"):
        find_run(lake, "same")


def test_a_name_goes_with_its_run(lake):
    name_run(lake, "one-1", "x")
    with removing(Lake(lake), "one-1"):
        forget_removed(Lake(lake), "one-1")
        assert name_of(lake, "one-1") == "x"
    forget_removed(Lake(lake), "one-1")
    assert name_of(lake, "one-1") is None and find_run(lake, "x") == "x"


@pytest.mark.parametrize("text", ["", " ", " x", "a\nb", "\x1b[31m", "\u202ex", "x" * 101])
def test_what_no_line_can_show_is_no_name(text):
    assert not is_name(text) and is_name("Mixtral, 4 bits: é")
