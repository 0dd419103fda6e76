"""What exports hold at their limits; a run that a format cannot hold is refused in one line."""

import json
from contextlib import closing

import duckdb
import pytest

from gatehouse.reports.exports.events import write_events
from gatehouse.reports.exports.fine_tuning import write_esft
from gatehouse.reports.exports.loads import write_counts, write_logical_counts
from gatehouse.warehouse.errors import GatehouseError

TABLES = """
    create table dim_layer as select * from (values
        ('two stacks', 0, 0), ('two stacks', 1, 0), ('uneven', 0, 0), ('uneven', 1, 1)
    ) as layers (run_id, layer, block);
    create table fct_expert_load as select * from (values
        ('two stacks', 0, 0, 0, 1), ('two stacks', 1, 1, 0, 1),
        ('uneven', 0, 0, 0, 1), ('uneven', 1, 1, 0, 1), ('uneven', 1, 1, 1, 1)
    ) as loads (run_id, layer, moe_index, expert, selections);
    create table events (
        run_id varchar, sample_id bigint, position bigint, layer bigint, experts bigint[]
    );
"""


def test_shares_that_reach_the_limit_exactly_are_enough(tmp_path):
    """0.1256 + 0.0411 + 0.0333 are 0.2, and less than that as binary floats."""
    loads = [1256, 411, 333, *[320] * 25]
    with closing(duckdb.connect()) as connection:
        connection.execute("create table dim_layer as select 'r' run_id, 0 layer, 3 block")
        connection.execute(
            "create table fct_expert_load as select 'r' run_id, 0 layer, "
            "unnest(range(len($1))) expert, unnest($1) selections",
            [loads],
        )
        write_esft(connection, "r", tmp_path / "x")
    assert json.loads((tmp_path / "x").read_text())["experts"] == {"3": [0, 1, 2]}


@pytest.mark.parametrize(
    ("write", "run_id", "said"),
    [
        (write_counts, "uneven", "1 to 2 experts, and this format is one matrix: query"),
        (write_logical_counts, "two stacks", "one layer a block: use --to counts"),
        (write_esft, "two stacks", "ESFT has one layer a block: query"),
        (write_events, "uneven", "no events, only counts of experts: use --to counts"),
    ],
)
def test_what_a_format_cannot_hold(write, run_id, said, tmp_path):
    with closing(duckdb.connect()) as connection:
        connection.execute(TABLES)
        with pytest.raises(GatehouseError, match=said):
            write(connection, run_id, tmp_path / "x")
