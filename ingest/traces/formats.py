"""The formats of traces that can be imported."""

from gatehouse.ingest.traces import (
    bigmoe,
    counts,
    esft,
    flame,
    plain,
    r3,
    router_logits,
    sglang,
    vllm,
    warp,
)
from gatehouse.ingest.traces.sequence import Format, SequenceFormat

FORMATS: dict[str, SequenceFormat] = {
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
"""Those that tell how each token was routed, by the name that `gatehouse import` takes."""

COUNTS = counts.FORMAT
"""The one that tells only how often each expert was selected."""

EVERY_FORMAT: dict[str, Format] = {**FORMATS, COUNTS.name: COUNTS}
