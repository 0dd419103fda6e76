"""The formats of traces that can be imported."""

from gatehouse.ingest.traces import (
    bigmoe,
    esft,
    flame,
    plain,
    r3,
    router_logits,
    sglang,
    vllm,
    warp,
)
from gatehouse.ingest.traces.sequence import Format

FORMATS: dict[str, Format] = {
    "vllm": vllm.FORMAT,
    "sglang": sglang.FORMAT,
    "r3": r3.FORMAT,
    "flame": flame.FORMAT,
    "router-logits": router_logits.FORMAT,
    "bigmoe": bigmoe.FORMAT,
    "esft": esft.FORMAT,
    "warp": warp.FORMAT,
    "jsonl": plain.FORMAT,
}
"""By the name that `gatehouse import` takes."""
