"""Which families of the installed transformers route tokens to experts, read from their sources."""

import re
from importlib.util import find_spec
from pathlib import Path

COMMENTS = re.compile(r'"""[\s\S]*?"""|#.*')
SIGNS_IN_MODELING = (
    # A class, defined or borrowed from another family; every multimodal model has MoE outputs.
    re.compile(r"\b[A-Z]\w*(?:Experts?|Mo[eE]|Router)(?![a-z])(?!\w*Output)"),
    re.compile(r"\bself\.\w*(?:expert|router)"),
)
TOP_K = re.compile(r"\btopk\(")
GATE = re.compile(r"\bself\.\w*gate\b")
SIGN_IN_CONFIGURATION = re.compile(r"^ +\w*(?:expert|router|moe)\w*\s*:", re.MULTILINE)

WORDS_OF_SIGNS = ("expert", "moe", "router", "topk")

NOT_TEXT_MOE = {
    "auto": "not a family: the table of all families' names",
    "d_fine": "object detection: the gate mixes two branches, top-k picks object queries",
    "deimv2": "object detection: the gate mixes two branches, top-k picks object queries",
    "gemma3n": "the modality router weights parallel residual streams (AltUp); no experts",
    "granite_docling": "the density router chooses an image connector for a whole sample",
    "pi0": "robot control: the action expert is one dense network, nothing is routed",
    "vitpose_backbone": "vision: the caller names the expert of each image by dataset",
}
"""Families that bear the signs but hold no text MoE, each with its reason."""


def moe_families() -> set[str]:
    """Return the folders of `transformers/models` that hold a text MoE of their own.

    Composite models that take another family's text model through AutoModel have none.
    """
    return bearing_signs(installed_models()) - NOT_TEXT_MOE.keys()


def installed_models() -> Path:
    """Return the folder `transformers/models`, without importing transformers."""
    package = find_spec("transformers")
    assert package is not None
    assert package.origin is not None
    return Path(package.origin).parent / "models"


def bearing_signs(models: Path) -> set[str]:
    """Return the subfolders whose modeling or configuration sources look like MoE.

    Deliberately broad: a new family must be looked at, whatever it calls its parts.
    """
    return {folder.name for folder in models.iterdir() if folder.is_dir() and _bears_signs(folder)}


def _bears_signs(folder: Path) -> bool:
    modeling = _sources(folder, "modeling_*.py")
    if any(sign.search(modeling) for sign in SIGNS_IN_MODELING):
        return True
    if TOP_K.search(modeling) and GATE.search(modeling):
        return True
    return SIGN_IN_CONFIGURATION.search(_sources(folder, "configuration_*.py")) is not None


def _sources(folder: Path, pattern: str) -> str:
    """Return the sources without comments, leaving out those without any word of a sign."""
    texts = [path.read_text(encoding="utf-8") for path in folder.glob(pattern)]
    worded = [text for text in texts if any(word in text.lower() for word in WORDS_OF_SIGNS)]
    return "\n".join(COMMENTS.sub("", text) for text in worded)
