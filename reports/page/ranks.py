"""Frequencies by rank and the laws fitted to them, as the page draws them."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gatehouse.reports import statistics
from gatehouse.reports.page.packing import plain
from gatehouse.reports.statistics import ZipfFit

POINTS = 240
LEAST_DRAWN = 0.1
"""Occurrences: a curve ends where it falls under this."""

EN_DASH = "\N{EN DASH}"
Ranks = NDArray[np.int64]
Frequencies = NDArray[np.float64]


def ranks(table: pd.DataFrame, fit: ZipfFit) -> dict[str, Any]:
    """Return frequencies at log-spaced ranks, fitted lines there, and what the fit says.

    Args:
        table: of the marts, `frequency_rank`.
        fit: `reports.statistics.fit_zipf` of the frequencies; where undefined no law is drawn.
    """
    frequency = np.sort(table["frequency"].to_numpy(dtype=np.float64))[::-1]
    if not frequency.size:
        return {"rank": [], "frequency": [], "lines": [], "note": ""}
    spread = np.geomspace(1, frequency.size, min(POINTS, frequency.size))
    rank = np.unique(np.rint(spread).astype(np.int64))
    lines = [_least_squares(rank, frequency), _mandelbrot(fit, rank, frequency), _tail(fit, rank)]
    return {
        "rank": plain(rank),
        "frequency": plain(frequency[rank - 1]),
        "lines": [line for line in lines if line],
        "note": _note(fit),
    }


def _least_squares(rank: Ranks, frequency: Frequencies) -> dict[str, Any] | None:
    """Return the line of the validation's R²: ln(frequency + 1) on ln(rank)."""
    if frequency[0] == frequency[-1]:
        return None
    line = statistics.zipf_line(frequency)
    return _line(
        f"Least squares, slope {line.slope:.2f}", line.frequencies(rank.astype(np.float64))
    )


def _mandelbrot(fit: ZipfFit, rank: Ranks, frequency: Frequencies) -> dict[str, Any] | None:
    law = fit.mandelbrot
    if law is None:
        return None
    drawn = law.frequencies(rank.astype(np.float64), frequency.size, frequency.sum())
    name = f"Zipf{EN_DASH}Mandelbrot, exponent {law.exponent:.2f}, shift {law.shift:.3g}"
    return _line(name, drawn)


def _tail(fit: ZipfFit, rank: Ranks) -> dict[str, Any] | None:
    """Return the power law of the frequencies' tail, which is that of the first ranks."""
    exponent = fit.rank_exponent
    if exponent is None or fit.x_min is None:
        return None
    drawn = fit.x_min * (rank / fit.tail_tokens) ** -exponent
    name = f"Power law of the tail, exponent {exponent:.2f}"
    return _line(name, np.where(rank <= fit.tail_tokens, drawn, np.nan))


def _line(name: str, drawn: Frequencies) -> dict[str, Any]:
    return {"name": name, "frequency": plain(np.where(drawn > LEAST_DRAWN, drawn, np.nan))}


def _note(fit: ZipfFit) -> str:
    if fit.alpha is None:
        return f"No power law is fitted: {fit.undefined}."
    error = "" if fit.alpha_error is None else f" ± {fit.alpha_error:.2f}"
    sentences = [
        f"Frequencies from {fit.x_min:,} on ({fit.tail_tokens:,} tokens): power law with exponent "
        f"{fit.alpha:.2f}{error}"
    ]
    if fit.p_text:
        sentences.append(f"goodness of fit {fit.p_text} (under 0.1 it is not a power law)")
    sentences.append(f"{fit.x_min:,} is the best of up to {statistics.CANDIDATES} cut-offs tried")
    return "; ".join(sentences) + "."
