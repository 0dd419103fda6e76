"""The made-up runs of the tests: between them, every case that is hard for a definition.

The name of its text determines a sample's tokens, and the name of the routing determines how they
are routed: runs that share a text read the same tokens, and runs that also share the routing choose
the same experts.
"""

from dataclasses import dataclass, replace

from gatehouse.warehouse.records import CAPTURE, LAKE_VERSION

SAMPLES_IN_A_SHARD = 10


@dataclass(frozen=True)
class RandomRun:
    """A run to make up; `blocks` are the indices of its MoE layers' blocks in each stack."""

    run_id: str
    num_experts: int
    top_k: int
    blocks: tuple[int, ...]
    shards: int = 1
    samples: range = range(SAMPLES_IN_A_SHARD)
    stacks: tuple[str, ...] = ("decoder",)
    finished: bool = True
    flat: bool = False
    """Entropies are within about 1e-5 of 4.85 nats."""
    uniform: bool = False
    """First choices are drawn at random, whatever the token."""
    dropped: float = 0.0
    """Share of the events that lose their last expert to its capacity."""
    skip_class: bool = False
    """The last class computes nothing, with weight 0."""
    token_types: int = 55
    lengths: tuple[int, int] = (1, 60)
    max_length: int = 1000
    text: str = ""
    tokenizer: str = "x"
    routing: str = ""
    changed: float = 0.0
    """Share of the events that depart from the routing."""
    windows: bool = False
    """Longer samples are cut into windows of `max_length`."""
    documents: int = 0
    """The samples belong to so many documents in turn; 0: each is its own."""
    texts: int = 0
    """So many texts are read again and again; 0: each sample has its own."""
    lake_version: int = LAKE_VERSION
    rewritten: tuple[int, ...] = ()
    """Samples whose text differs but is as long as the other runs'."""
    generated: float = 0.0
    """Share of a sample's tokens that follow its prompt."""
    unknown: tuple[str, ...] = ()
    """What its source does not tell, of UNKNOWN in random_lake.py."""
    source: str = CAPTURE
    """A trace numbers its samples anew, hashes other bytes, and lacks each sample's last token."""

    norms: bool = False
    """Its events have the norms of the experts' outputs, unless they are unknown."""

    only_counts: bool = False
    """Of its events, only how often each expert was selected lands."""

    @property
    def has_norms(self) -> bool:
        return self.norms and "norms" not in self.unknown

    @property
    def layers(self) -> list[tuple[int, str, int]]:
        """(layer, stack, block) of each MoE layer; with several stacks, layers are numbered."""
        places = [(stack, block) for stack in self.stacks for block in self.blocks]
        return [
            (block if len(self.stacks) == 1 else index, stack, block)
            for index, (stack, block) in enumerate(places)
        ]


TOLD = RandomRun(
    "told",
    num_experts=8,
    top_k=3,
    blocks=(0, 2),
    shards=2,
    token_types=6,
    lengths=(70, 110),
    max_length=80,
    windows=True,
    text="told",
    tokenizer="told",
    routing="told",
    generated=0.25,
    norms=True,
)
PARTLY_TOLD = {
    "ids-only": ("weights", "distribution", "order", "tokens", "norms"),
    "ranked": ("weights", "distribution", "norms"),
    "weighted": ("distribution", "tokens"),
    "unordered": ("weights", "order", "norms"),
    "tokenless": ("tokens",),
    "normless": ("norms",),
}
"""The same run, of which its source tells less: what, by the names of UNKNOWN in random_lake.py."""

THIRTY, TWENTY = range(30), range(20)
RUNS_TO_LAND = [
    RandomRun("0042", 4, 1, blocks=(0, 1, 2), shards=2, samples=TWENTY, texts=15),
    RandomRun("wide", 8, 2, blocks=(1, 3), shards=3, samples=THIRTY, dropped=0.1, norms=True),
    RandomRun(
        "whole", 8, 2, blocks=(1, 3), samples=THIRTY, dropped=0.1, text="wide", routing="wide"
    ),
    RandomRun(
        "slim",
        num_experts=8,
        top_k=2,
        blocks=(1, 3),
        shards=2,
        samples=TWENTY,
        dropped=0.1,
        max_length=40,
        text="wide",
        routing="wide",
        changed=0.4,
        rewritten=(5,),
    ),
    RandomRun(
        "traced",
        num_experts=8,
        top_k=2,
        blocks=(1, 3),
        samples=TWENTY,
        dropped=0.1,
        text="wide",
        routing="wide",
        tokenizer="none",
        source="jsonl",
    ),
    RandomRun(
        "switch",
        lake_version=4,
        num_experts=8,
        top_k=1,
        blocks=(1, 3),
        shards=2,
        samples=TWENTY,
        stacks=("encoder", "decoder"),
        dropped=0.2,
        text="wide",
    ),
    RandomRun(
        "flat",
        num_experts=128,
        top_k=4,
        blocks=(0,),
        samples=range(8),
        flat=True,
        text="wide",
        tokenizer="other",
        lake_version=3,
    ),
    RandomRun("skipping", 5, 1, (0, 2), samples=range(8, 10), skip_class=True),
    RandomRun(
        "fine",
        num_experts=64,
        top_k=8,
        blocks=(0,),
        samples=THIRTY,
        token_types=900,
        lengths=(30, 90),
        max_length=32,
        windows=True,
        documents=7,
    ),
    RandomRun(
        "long",
        num_experts=16,
        top_k=8,
        blocks=(0, 5),
        shards=2,
        samples=range(12),
        token_types=6,
        lengths=(250, 450),
        generated=0.3,
        lake_version=5,
    ),
    RandomRun("uniform", 8, 2, blocks=(0,), samples=range(150), uniform=True, token_types=400),
    RandomRun("unfinished", 8, 2, blocks=(0, 1), shards=2, samples=TWENTY, finished=False),
    *(replace(TOLD, run_id=name, unknown=unknown) for name, unknown in PARTLY_TOLD.items()),
    TOLD,
    replace(TOLD, run_id="counted", unknown=PARTLY_TOLD["ids-only"], only_counts=True),
    replace(TOLD, run_id="new", changed=0.4),
]
