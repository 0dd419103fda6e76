"""The verdict on a model: a statement about its MoE layers, of which each was tested."""

from collections.abc import Sequence
from dataclasses import dataclass

from gatehouse.reports.verdict.assessment import Assessment
from gatehouse.reports.verdict.criteria import CORRELATION, is_significant


@dataclass(frozen=True)
class ModelVerdict:
    """In how many of the tested MoE layers all three criteria are met, p corrected for all.

    `supporting` has one bool per layer, in their order. The model is SUPPORTED where every layer
    is. An average of the layers decides nothing: it can be SUPPORTED where no layer is.
    """

    supporting: tuple[bool, ...]

    @property
    def supported(self) -> bool:
        """Whether every layer meets all three criteria."""
        return all(self.supporting)

    @property
    def verdict(self) -> str:
        """SUPPORTED or NOT SUPPORTED."""
        return "SUPPORTED" if self.supported else "NOT SUPPORTED"

    @property
    def sentence(self) -> str:
        """What the verdict is about, as one sentence."""
        layers = len(self.supporting)
        if layers == 1:
            does = "meets" if self.supported else "does not meet"
            return f"The one MoE layer tested {does} all three criteria."
        return (
            f"{sum(self.supporting)} of {layers} MoE layers meet all three criteria, with p "
            "corrected by Holm for the layers of the run."
        )


def model_verdict(layers: Sequence[Assessment]) -> ModelVerdict:
    """Return the verdict that follows from the layers' own.

    Args:
        layers: assessed MoE layers of one run; the p of each was corrected for all of its layers.

    Source: Holm (1979), A simple sequentially rejective multiple test procedure.
    """
    return ModelVerdict(tuple(_supports(each) for each in layers))


def _supports(assessment: Assessment) -> bool:
    rho = assessment.validation.correlation.spearman
    corrected = assessment.evidence.holm_log10_p
    if rho is None or corrected is None:
        return False
    _, low_entropy, coverage = assessment.validation.criteria
    correlated = CORRELATION.is_met_by(rho) and is_significant(corrected)
    return bool(correlated and low_entropy.met and coverage.met)
