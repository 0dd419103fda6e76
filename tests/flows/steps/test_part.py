"""Ranks: every shard is one rank's, and what a launcher says is heeded only where asked."""

import re
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatehouse.flows.steps.workers.part import Part, asked_part
from gatehouse.warehouse.errors import GatehouseError


@given(st.integers(1, 12), st.integers(0, 50))
def test_every_shard_is_of_one_rank(of, shards):
    parts = [Part(rank, of).of_shards(shards) for rank in range(of)]
    assert sorted(chain(*parts)) == list(range(shards))


ARRAY = {"SLURM_ARRAY_TASK_ID": "7", "SLURM_ARRAY_TASK_MIN": "5", "SLURM_ARRAY_TASK_COUNT": "4"}


@pytest.mark.parametrize(
    ("rank", "of", "environment", "part"),
    [
        (None, None, {"RANK": "1", "WORLD_SIZE": "2"} | ARRAY, None),
        ("1", 3, {"RANK": "0", "WORLD_SIZE": "2"}, Part(1, 3)),
        ("auto", None, {"RANK": "1", "WORLD_SIZE": "2"}, Part(1, 2)),
        ("auto", None, ARRAY, Part(2, 4)),
        ("auto", None, ARRAY | {"SLURM_ARRAY_TASK_STEP": "2"}, Part(1, 4)),
        # one task of an array, started again alone, does what is left
        (
            "auto",
            None,
            {key: "3" for key in ARRAY} | {"SLURM_ARRAY_TASK_COUNT": "1"},
            Part(0, 1),
        ),
    ],
)
def test_the_environment_is_heeded_only_with_auto(rank, of, environment, part):
    assert asked_part(rank, of, environment) == part


@pytest.mark.parametrize(
    ("rank", "of", "environment", "said"),
    [
        ("1", None, {}, "--rank R --of N go together"),
        (None, 2, {}, "--rank R --of N go together"),
        ("2", 2, {}, "rank 2 of 2: ranks are numbered 0 to N - 1 of N"),
        ("-1", 2, {}, "--rank -1: give a number from 0 on, or auto"),
        ("0", 0, {}, "rank 0 of 0"),
        ("auto", 2, {}, "leave --of out"),
        ("auto", None, {}, "SLURM_ARRAY_TASK_ID is not set; start this with torchrun"),
        ("auto", None, {"RANK": "0"}, "WORLD_SIZE is not set"),
        ("auto", None, {"RANK": "x", "WORLD_SIZE": "2"}, "RANK is x"),
        ("auto", None, ARRAY | {"SLURM_ARRAY_TASK_STEP": "3"}, "number the tasks of the array"),
        ("auto", None, ARRAY | {"SLURM_ARRAY_TASK_COUNT": "2"}, "rank 2 of 2"),
    ],
)
def test_what_is_no_part_is_refused(rank, of, environment, said):
    with pytest.raises(GatehouseError, match=re.escape(said)):
        asked_part(rank, of, environment)
