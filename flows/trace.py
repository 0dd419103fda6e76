"""One text routed at once: what a capture would land of it, without a warehouse."""

import hashlib

import pandas as pd
import pyarrow as pa

from gatehouse.flows.console import say, working
from gatehouse.flows.request import RunRequest
from gatehouse.flows.steps.identity import plan_model
from gatehouse.flows.steps.tokens import ShardTokens
from gatehouse.ingest.windows import batches
from gatehouse.models.capture import RoutingTap, capture
from gatehouse.models.structure import weights_line
from gatehouse.models.text.generation import generating_class
from gatehouse.models.tokenizer import vocabulary
from gatehouse.models.zoo import ModelPlan
from gatehouse.reports.marts.texts import UNLANDED, Texts, arranged
from gatehouse.reports.marts.traced_text import TracedText
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.plain_text import counted
from gatehouse.warehouse.records import Sample, precision

LONGEST_NAME = 60


def trace(request: RunRequest, text: str) -> TracedText:
    """Return a text, and its continuation if that is asked for, with the routing of each token.

    Args:
        request: the model, how it is loaded, the maximum length, and what it adds.
        text: what it reads.

    Raises:
        GatehouseError: no such model, a text without tokens, or routing that cannot be trusted.
    """
    plan = plan_model(request)
    with working(f"loading {plan.name}"):
        head = generating_class(plan) if request.generate else None
        loaded = plan.load(head=head)
    say(weights_line(loaded))
    with RoutingTap(loaded.model) as tap, working("routing"):
        tokens = ShardTokens(request, plan, loaded, tap.batching)
        windows, samples = tokens.of([_sample(text)])
        if not any(window.token_ids for window in windows):
            raise GatehouseError("the text has no tokens: give one that is longer")
        budget = request.batch_size * request.max_length
        events = capture(tap, batches(windows, token_budget=budget))
        layers = tap.layers().to_pandas()
    (sample,) = samples.to_pylist()
    if sample["dropped_tokens"]:
        dropped = counted(sample["dropped_tokens"], "token")
        say(f"{dropped} beyond --max-length {request.max_length:,} left out")
    computes = precision({"dtype": plan.dtype, "quantization": plan.quantization})
    return TracedText(
        source=f"{plan.name} ({computes})",
        name=_named(text),
        texts=_texts(events, layers, sample, plan),
        layers=layers,
    )


def _sample(text: str) -> Sample:
    digest = hashlib.sha256(text.encode()).hexdigest()
    return Sample(0, "text", "text", None, "train", text, digest, digest)


def _named(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= LONGEST_NAME else f"{line[: LONGEST_NAME - 1]}…"


def _texts(events: pa.Table, layers: pd.DataFrame, sample: dict, plan: ModelPlan) -> Texts:
    found = events.to_pandas()
    indices = layers.set_index("layer")["moe_index"]
    routes = pd.DataFrame(
        {
            "moe_index": found["layer"].map(indices),
            "sample_id": UNLANDED,
            **{name: found[name] for name in ("position", "token_id")},
            **{name: found[name] for name in ("experts", "weights", "entropy", "confidence")},
            "shared": None,
            "first_agrees": None,
        }
    )
    passage = pd.DataFrame(
        [
            {
                "sample_id": UNLANDED,
                "name": "text",
                "domain": "text",
                "split": None,
                "tokens": sample["tokens"],
                "prompt_tokens": sample["prompt_tokens"],
                "first": 0,
                "past": sample["tokens"],
            }
        ]
    )
    words = vocabulary(plan.tokenizer, only=set(found["token_id"].tolist()))
    rule = "Routed for this page; no run has it."
    return arranged(passage, routes, pd.DataFrame(words), rule)
