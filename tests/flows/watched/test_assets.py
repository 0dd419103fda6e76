"""What Prefect knows a run's parts by, wherever the lake lies."""

from pathlib import Path

from gatehouse.flows.watched import assets
from gatehouse.warehouse.paths import Paths
from gatehouse.warehouse.storage.addresses import checked_address
from tests.object_store import use


def test_events_in_a_bucket_are_known_by_their_address(object_server, monkeypatch):
    """An asset refuses a key that Prefect does not take."""
    use(object_server, monkeypatch)
    paths = Paths(Path("/home/me/gatehouse"), checked_address("s3://bucket/pre.fix+a/lake"))
    found = assets.lake_of("a-run", paths)
    where = "s3://bucket/pre.fix+a/lake/events/run_id=a-run"
    assert (found.key, found.properties.url) == (where, where)
    assert assets.marts_of(paths).key == "file:///home/me/gatehouse/gatehouse.duckdb"
