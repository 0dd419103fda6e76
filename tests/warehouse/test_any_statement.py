"""Whatever text is given as SQL: it is a statement that reads, or it is refused in one line."""

from contextlib import closing

import duckdb
from hypothesis import given, settings
from hypothesis import strategies as st

from gatehouse.warehouse.connect import connect, query
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.paths import Paths

FRAGMENTS = (
    "select from where with as update extensions disconnect connect attach detach copy to into use "
    "checkpoint load install pragma call set reset prepare execute explain vacuum export begin "
    "merge insert delete drop alter create comment on show describe values pivot runs run_id * "
    "( ) , ; 1 'a' \"b\" $1 $$ -- /* \0 \u202e \udcff é"
).split()
WORD = st.sampled_from(FRAGMENTS)


def test_any_text_is_answered_or_refused_in_one_line(tmp_path):
    paths = Paths(tmp_path)
    with duckdb.connect(str(paths.database)) as writer:
        writer.execute("create table runs as select 'a' as run_id")
    with closing(connect(paths)) as connection:

        @settings(max_examples=300)
        @given(WORD | st.lists(WORD | st.text(max_size=5), max_size=4).map(" ".join))
        def refused_or_answered(text):
            try:
                query(connection, text)
            except GatehouseError as refused:
                assert len(str(refused).splitlines()) == 1

        refused_or_answered()
