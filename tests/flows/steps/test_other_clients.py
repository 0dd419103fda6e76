"""The database of a build opens in DuckDB's own clients of earlier versions.

`make old-clients` installs two of them under build/; without them only the file's header is read.
"""

import json
import os
import subprocess
import sys

import pytest

from gatehouse.warehouse.connect import connect
from gatehouse.warehouse.paths import PACKAGE, Paths

EARLIEST = "1.2.2"
STORAGE_VERSION_OF_1_2 = 65
"""The number that DuckDB 1.2 writes into a file's header; it opens no file with a higher one."""

BUILDS_OWN = "int_traced_sample"
"""A view that nobody but a build asks, of a type that the earliest client gives another name."""

COUNT = """
import json, sys
import duckdb
with duckdb.connect(sys.argv[1], read_only=True) as connection:
    count = lambda name: connection.execute(f"select count(*) from (from {name})").fetchone()[0]
    print(json.dumps({name: count(name) for name in sys.argv[2:]}))
"""


def test_the_file_is_of_a_version_that_duckdb_1_2_opens(captured):
    header = Paths(captured).database.read_bytes()[:20]
    assert header[8:12] == b"DUCK"
    assert int.from_bytes(header[12:20], "little") <= STORAGE_VERSION_OF_1_2


@pytest.mark.parametrize("version", [EARLIEST, "1.5.6"])
def test_an_earlier_client_reads_what_this_one_reads(captured, version):
    client = PACKAGE / "build" / f"duckdb-{version}"
    if not client.exists():
        pytest.skip("`make old-clients` installs it")
    with connect(Paths(captured)) as connection:
        named = connection.execute(
            "select table_name from information_schema.tables where $1 or table_name <> $2",
            [version != EARLIEST, BUILDS_OWN],
        )
        expected = {name: len(connection.table(name)) for (name,) in named.fetchall()}
    command = [sys.executable, "-c", COUNT, str(Paths(captured).database), *expected]
    ended = subprocess.run(
        command, env=os.environ | {"PYTHONPATH": str(client)}, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout) == expected
    assert {"fct_token_routing", "dim_run", "events", "samples"} <= expected.keys()
