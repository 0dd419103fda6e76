"""A run that a format cannot hold is refused in one line with the way out."""

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
