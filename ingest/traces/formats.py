"""All formats of traces, by name."""

from gatehouse.ingest.traces import flame, plain, r3, router_logits, sglang, vllm
from gatehouse.ingest.traces.sequence import Format

FORMATS: dict[str, Format] = {
    "vllm": vllm.FORMAT,
    "sglang": sglang.FORMAT,
    "r3": r3.FORMAT,
    "flame": flame.FORMAT,
    "router-logits": router_logits.FORMAT,
    "jsonl": plain.FORMAT,
}
