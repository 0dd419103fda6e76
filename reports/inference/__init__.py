"""What engines need to know of routing: caches of experts, and their placement on GPUs.

Arrays in, arrays and frozen dataclasses out. Everything random is seeded.
"""

from gatehouse.reports.inference.accesses import Accesses, by_layer, random_router, through_layers
from gatehouse.reports.inference.byte_cache import POLICIES, Pass, Served, passes, serve
from gatehouse.reports.inference.expert_cache import belady, chance, hits, lfu, lru, static
from gatehouse.reports.inference.placement import Placement, balanced, contiguous, shuffled

__all__ = [
    "POLICIES",
    "Accesses",
    "Pass",
    "Placement",
    "Served",
    "balanced",
    "belady",
    "by_layer",
    "chance",
    "contiguous",
    "hits",
    "lfu",
    "lru",
    "passes",
    "random_router",
    "serve",
    "shuffled",
    "static",
    "through_layers",
]
