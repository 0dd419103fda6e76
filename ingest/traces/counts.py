"""Counts of experts: how often each was selected, of an engine that keeps no more than that."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gatehouse.ingest.traces.laws.required import ANOTHER_MODEL, require
from gatehouse.ingest.traces.likeness import of_another_format, suffix_of
from gatehouse.ingest.traces.sequence import Format, Layout
from gatehouse.ingest.traces.torch_files import as_array, loaded
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.plain_text import counted

SUFFIXES = (".gguf", ".pt")
PARTS = ("gate", "up", "gate_up", "down")
"""The matrices of an expert. llama.cpp counts the selections at each of them."""

AGAIN = "record it again"
LARGEST_WHOLE = 2**53
"""Counts up to this are exact as floats of 64 bits; larger ones are nobody's."""


@dataclass(frozen=True)
class ExpertCounts:
    """How often each expert was selected.

    Attributes:
        selections: of each MoE layer, [E] int64.
        note: what is unusual about their sums, "" where nothing is.
    """

    selections: list[np.ndarray]
    note: str


def read(paths: list[Path], layout: Layout) -> ExpertCounts:
    """Return the counts of some files, added up.

    Raises:
        GatehouseError: a file is of another kind or another model, or breaks a law: every MoE layer
            has a whole number of selections, 0 or more, for each expert, and not 0 for all.
    """
    require(
        len(set(layout.blocks)) == len(layout.blocks),
        "the model has two MoE layers in one block, which counts by block do not tell apart",
        "import a trace of its events instead",
    )
    by_file = [_read_one(path, layout) for path in paths]
    added = [np.sum(of_layer, axis=0) for of_layer in zip(*by_file, strict=True)]
    return ExpertCounts(added, _note_on(added, layout))


def _read_one(path: Path, layout: Layout) -> list[np.ndarray]:
    suffix = suffix_of(path)
    if suffix == ".dat":
        raise GatehouseError(
            f"{path} is an imatrix of llama.cpp in its legacy format, which has no counts of "
            "experts: make it again with `llama-imatrix --output-format gguf`"
        )
    if suffix not in SUFFIXES or path.suffix.lower() != suffix:
        raise of_another_format(path, "counts", SUFFIXES)
    found = _of_imatrix(path, layout) if suffix == ".gguf" else _of_recorder(path, layout)
    return [
        _lawful(values, f"{path} block {block}", size)
        for values, block, size in zip(found, layout.blocks, layout.num_experts, strict=True)
    ]


def _of_imatrix(path: Path, layout: Layout) -> list[np.ndarray]:
    """Return the counts of each MoE layer in an imatrix of llama.cpp."""
    tensors = _tensors(path)
    found = []
    for block in layout.blocks:
        names = [f"blk.{block}.ffn_{part}_exps.weight.counts" for part in PARTS]
        there = [name for name in names if name in tensors]
        require(bool(there), f"{path} has no counts of the experts of block {block}", ANOTHER_MODEL)
        first, *others = (tensors[name] for name in there)
        for name, other in zip(there[1:], others, strict=True):
            require(
                np.array_equal(first, other, equal_nan=True),
                f"{path}: {there[0]} and {name} differ, though a token goes through all of an "
                "expert",
                AGAIN,
            )
        found.append(first)
    return found


def _tensors(path: Path) -> dict[str, np.ndarray]:
    """Return the counts of experts in a GGUF, by the names of the tensors, each [E]."""
    from gguf import GGUFReader

    try:
        # a file of no bytes cannot be mapped
        tensors = GGUFReader(path).tensors
    except OSError as error:
        raise GatehouseError(f"cannot read {path}: {error.strerror or error}") from error
    # its reader does not check what it reads: indices, sizes and names fail in their own ways
    except Exception as error:
        raise GatehouseError(f"{path} is no readable GGUF file: copy or make it again") from error
    found = {
        each.name: np.array(each.data).reshape(-1)
        for each in tensors
        if each.name.endswith("_exps.weight.counts")
    }
    require(
        bool(found),
        f"{path} has no counts of experts, as a model has none, nor an imatrix of one without "
        "experts",
        "give the file that llama-imatrix wrote",
    )
    return found


def _of_recorder(path: Path, layout: Layout) -> list[np.ndarray]:
    """Return the counts of each MoE layer in what SGLang's recorder wrote in its mode `stat`."""
    content = loaded(path)
    there = isinstance(content, dict) and "logical_count" in content
    values: Any = as_array(content["logical_count"], f"{path} logical_count") if there else None
    if not isinstance(values, np.ndarray) or values.ndim not in (2, 3):
        raise GatehouseError(
            f"{path} has no logical_count [steps, layers, experts]: give what SGLang's recorder "
            "wrote in its mode `stat`"
        )
    # the counts of a step fit into 32 bits, those of all need not
    by_layer = values.sum(axis=0, dtype=_wide(values)) if values.ndim == 3 else values
    require(bool((values >= 0).all()), f"{path} has counts below 0", AGAIN)
    require(
        len(by_layer) == layout.num_blocks,
        f"{path} has {counted(len(by_layer), 'layer')}, and the model "
        f"{counted(layout.num_blocks, 'block')}",
        ANOTHER_MODEL,
    )
    dense = (block for block in range(layout.num_blocks) if block not in layout.blocks)
    for block in dense:
        require(
            not by_layer[block].any(),
            f"{path} has selections in block {block}, which has no experts",
            ANOTHER_MODEL,
        )
    return [by_layer[block] for block in layout.blocks]


def _wide(values: np.ndarray) -> type:
    return np.float64 if values.dtype.kind == "f" else np.int64


def _lawful(values: np.ndarray, where: str, size: int) -> np.ndarray:
    """Return a layer's counts as whole numbers, [E] int64."""
    require(
        values.shape == (size,),
        f"{where} has {counted(values.size, 'count')}, and the model {counted(size, 'expert')}",
        ANOTHER_MODEL,
    )
    wide = values.astype(np.float64)
    # also where a value is not a number
    lawful = bool(((wide >= 0) & (wide < LARGEST_WHOLE) & (wide == np.floor(wide))).all())
    require(lawful, f"{where} has counts that are no whole numbers of 0 or more", AGAIN)
    require(
        bool(values.any()),
        f"{where} has no selections of any expert",
        "let the engine record while it runs, from the first layer to the last",
    )
    return values.astype(np.int64)


def _note_on(selections: list[np.ndarray], layout: Layout) -> str:
    """Return which layers count fewer tokens than the busiest one, or parts of a token."""
    tokens = [
        float(of_layer.sum()) / top_k
        for of_layer, top_k in zip(selections, layout.top_k, strict=True)
    ]
    most = max(tokens)
    fewer = [index for index, each in enumerate(tokens) if each != most]
    if not fewer and most.is_integer():
        return ""
    first = fewer[0] if fewer else 0
    block, top_k = layout.blocks[first], layout.top_k[first]
    its = f"{int(selections[first].sum()):,} selections in block {block}"
    if fewer:
        what = (
            f"the layers do not count the same tokens: {counted(len(fewer), 'layer')} of "
            f"{len(tokens)}, the first with {its} where the busiest layer would have "
            f"{most * top_k:,.0f}"
        )
    else:
        what = f"the layers count no whole number of tokens: {its}, where each token makes {top_k}"
    return f"{what}; the engine left some out, or rounded large numbers"


FORMAT = Format(
    name="counts",
    description="counts of experts only: llama.cpp's imatrix (GGUF), or SGLang's recorder, `stat`",
    suffixes=SUFFIXES,
    read=read,
    example="""llama-imatrix -m MODEL.gguf -f text.txt -o imatrix.gguf

SGLANG_EXPERT_DISTRIBUTION_RECORDER_DIR=recorded \\
  python -m sglang.launch_server --model MODEL --expert-distribution-recorder-mode stat
curl -X POST localhost:30000/start_expert_distribution_record
curl -X POST localhost:30000/stop_expert_distribution_record
curl -X POST localhost:30000/dump_expert_distribution_record  # recorded/*.pt""",
)
