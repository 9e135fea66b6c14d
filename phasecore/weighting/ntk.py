"""Neural tangent kernel weights: every term converges at the same average rate.

Source: Wang, Yu, Perdikaris, "When and why PINNs fail to train: A neural tangent kernel perspective" (arXiv
2007.14527). The paper's adaptive weights, total trace over own trace, go with losses that are sums over points; for
means with different numbers of points `kernel="mean"` is the same balance, as in the authors' later guide (arXiv
2308.08468), from which `every` is taken.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple, get_args

from phasecore.arrays import Array
from phasecore.signals import CONDITION_RESIDUALS, RESIDUALS, TANGENT_KERNEL_TRACES, Signals
from phasecore.weighting.arithmetic import quotient
from phasecore.weighting.base import WeightingScheme, Weights
from phasecore.weighting.options import check_choice, check_count, check_number

Kernel = Literal["sum", "mean"]


class NTKState(NamedTuple):
    """The weight of each term, {term: scalar}."""

    weights: Mapping[str, Array]


def ntk(kernel: Kernel = "sum", alpha: float = 0.0, every: int = 1000) -> WeightingScheme:
    """Return neural tangent kernel weights: `w_k <- alpha w_k + (1 - alpha) sum_l trace(K_l) / trace(K_k)`.

    `K_k` is the tangent kernel of term k's residuals, whose trace is the sum over the term's points of the squared norm
    of the residual's gradient; its eigenvalues are the rates at which the term's errors decay. Slow terms gain weight.
    Weights start at one; a term without a trace keeps its weight. The loss of a term is `mean(w_k r^2)`.

    Args:
        kernel: "sum" takes the traces as they are; "mean" divides each by the term's number of points.
        alpha: how much of a weight is kept at each update, in [0, 1); 0 in the paper.
        every: iterations between updates; each costs a backward pass per point.

    Raises:
        InputError: if an option is outside its range.

    Example:
        >>> import numpy
        >>> from phasecore.signals import Signals
        >>> traces = {"pde": numpy.asarray(9.0), "initial": numpy.asarray(1.0)}
        >>> signals, scheme = Signals({"tangent_kernel_traces": traces}, numpy), ntk()
        >>> {term: round(float(w), 3) for term, w in scheme.update(signals, scheme.init(signals))[0].items()}
        {'pde': 1.111, 'initial': 10.0}
    """
    check_choice("ntk", "kernel", kernel, get_args(Kernel))
    check_number("ntk", "alpha", alpha, 0, 1, low_included=True)
    check_count("ntk", "every", every)

    def init(signals: Signals) -> NTKState:
        xp = signals.namespace
        return NTKState({term: xp.ones_like(trace) for term, trace in signals[TANGENT_KERNEL_TRACES].items()})

    def update(signals: Signals, state: NTKState) -> tuple[Weights, NTKState]:
        xp = signals.namespace
        traces = signals[TANGENT_KERNEL_TRACES]
        if kernel == "mean":
            points = {**signals[RESIDUALS], **signals[CONDITION_RESIDUALS]}
            traces = {term: trace / signals.total(xp.ones_like(points[term])) for term, trace in traces.items()}
        total = xp.sum(xp.stack(list(traces.values())))
        weights = {
            term: alpha * state.weights[term] + (1.0 - alpha) * quotient(total, own, state.weights[term], xp)
            for term, own in traces.items()
        }
        return weights, NTKState(weights)

    counts = {RESIDUALS, CONDITION_RESIDUALS} if kernel == "mean" else set()
    return WeightingScheme(
        init,
        update,
        requires=frozenset({TANGENT_KERNEL_TRACES} | counts),
        multiplies="squared_residual",
        every=every,
    )
