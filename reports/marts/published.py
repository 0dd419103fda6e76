"""Published numbers that figures and the page show beside a run's own."""

from typing import Any

MIXTRAL_LAYERS = (0, 15, 31)

MIXTRAL_REPETITION: dict[str, dict[str, tuple[float, float, float]]] = {
    "ArXiv": {"first_choice": (14.0, 27.9, 22.7), "first_or_second": (46.5, 62.3, 52.9)},
    "DM Mathematics": {"first_choice": (14.1, 28.4, 19.7), "first_or_second": (44.9, 67.0, 44.5)},
    "Github": {"first_choice": (14.9, 28.1, 19.7), "first_or_second": (49.9, 66.9, 49.2)},
    "Gutenberg": {"first_choice": (13.9, 26.1, 26.3), "first_or_second": (49.5, 63.1, 52.2)},
    "PhilPapers": {"first_choice": (13.6, 25.3, 22.1), "first_or_second": (46.9, 61.9, 51.3)},
    "PubMed": {"first_choice": (14.2, 24.6, 22.0), "first_or_second": (48.6, 61.6, 51.8)},
    "StackExchange": {"first_choice": (13.6, 27.2, 23.6), "first_or_second": (48.2, 64.6, 53.6)},
    "Wikipedia": {"first_choice": (14.4, 23.6, 25.3), "first_or_second": (49.8, 62.1, 51.8)},
}
"""Corpus of The Pile -> percent of consecutive tokens with the same expert, layers 0, 15, 31.

Source: Jiang et al. (2024), Mixtral of Experts, arXiv 2401.04088, Table 5.
"""

REPETITION_SOURCE = (
    "Hollow circles: Jiang et al. (2024), Mixtral of Experts, arXiv 2401.04088, Table 5, "
    "eight corpora of The Pile (ArXiv to Wikipedia), layers 0, 15 and 31."
)


def is_mixtral(model: str) -> bool:
    """Return whether the model is the paper's, judging by its name."""
    return "mixtral-8x7b" in model.lower()


def repetition(model: str) -> dict[str, Any] | None:
    """Return the paper's repetition as the page draws it; None where the model is another.

    Its keys are `layers` and the kinds; a kind has one list per corpus, shares in [0, 1] at these
    layers.
    """
    if not is_mixtral(model):
        return None
    corpora = MIXTRAL_REPETITION.values()
    return {"layers": list(MIXTRAL_LAYERS)} | {
        kind: [[share / 100 for share in corpus[kind]] for corpus in corpora]
        for kind in ("first_choice", "first_or_second")
    }
