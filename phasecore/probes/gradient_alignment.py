"""Whether the loss terms pull the parameters in the same direction."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
from numpy.typing import ArrayLike

from phasecore.probes.base import Probe
from phasecore.probes.norms import norm
from phasecore.signals import TERM_GRADIENTS, Signals

Gradient = Mapping[str, ArrayLike]
"""Of one term, by parameter."""


@final
@dataclass(frozen=True)
class GradientAlignment(Probe):
    """`cos(g_k, g_l) = <g_k, g_l> / (norm2(g_k) norm2(g_l))` for each pair of terms, and for each term and the total.

    `g_k` is the gradient of term k's mean squared residual, without weights, with respect to all trainable parameters;
    the total is their sum. A negative cosine means that the terms conflict. NaN where a gradient is zero.

    Source: Wang, Teng, Perdikaris, arXiv 2001.04536 (unbalanced gradients between terms); Yu et al., arXiv 2001.06782
    (conflicting gradients by their cosine).

    Example:
        >>> import numpy
        >>> gradients = {"pde": {"w": numpy.asarray([1.0, 0.0])}, "boundary": {"w": numpy.asarray([0.0, 1.0])}}
        >>> measured = GradientAlignment().measure(Signals({"term_gradients": gradients}, numpy))
        >>> measured["gradient_alignment_pde_and_boundary"], round(measured["gradient_alignment_pde_and_total"], 3)
        (0.0, 0.707)
    """

    name: ClassVar[str] = "gradient_alignment"
    requires: ClassVar[frozenset[str]] = frozenset({TERM_GRADIENTS})

    def measure(self, signals: Signals) -> Mapping[str, float]:
        """Return gradient_alignment_K_and_L and gradient_alignment_K_and_total, in [-1, 1] or NaN."""
        terms: Mapping[str, Gradient] = signals[TERM_GRADIENTS]
        total = {
            parameter: sum(np.asarray(gradient[parameter], dtype=np.float64) for gradient in terms.values())
            for parameter in next(iter(terms.values()))
        }
        pairs = [(f"{one}_and_{other}", terms[one], terms[other]) for one, other in itertools.combinations(terms, 2)]
        pairs += [(f"{term}_and_total", gradient, total) for term, gradient in terms.items()]
        return {f"gradient_alignment_{pair}": _cosine(one, other) for pair, one, other in pairs}


def _cosine(one: Gradient, other: Gradient) -> float:
    lengths = norm(one.values()), norm(other.values())
    if not all(0 < length < math.inf for length in lengths):
        return math.nan
    # each divided by its length first: products of small gradients would vanish
    cosine = math.fsum(
        float(
            np.sum((np.asarray(values, np.float64) / lengths[0]) * (np.asarray(other[name], np.float64) / lengths[1]))
        )
        for name, values in one.items()
    )
    return min(1.0, max(-1.0, cosine))
