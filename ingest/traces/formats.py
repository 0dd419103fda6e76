"""The formats of traces that can be imported."""

from gatehouse.ingest.traces import bigmoe, esft, warp

FORMATS = {
    "bigmoe": bigmoe.FORMAT,
    "esft": esft.FORMAT,
    "warp": warp.FORMAT,
}
"""By the name that `gatehouse import` takes."""
