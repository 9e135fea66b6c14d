"""Neural tangent kernel weights: every term converges at the same average rate.

Source: Wang, Yu, Perdikaris, "When and why PINNs fail to train: A neural tangent kernel perspective" (arXiv
2007.14527), the adaptive weights: total trace over own trace. They go with losses that are sums over points. Where
losses are means, as here, a term's errors decay at the rates of its kernel divided by its number of points, so that the
same balance is one of mean diagonals: so have it the authors' later guide, "An expert's guide to training
physics-informed neural networks" (arXiv 2308.08468), and its code, jaxpi. These also keep 0.9 of a weight at each
update (`alpha=0.9`), and update every 1000 iterations; the paper averages nothing over updates.
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


def ntk(kernel: Kernel = "mean", alpha: float = 0.0, every: int = 1000) -> WeightingScheme:
    """Return neural tangent kernel weights: `w_k <- alpha w_k + (1 - alpha) sum_l t_l / t_k`, `t_k = trace(K_k) / n_k`.

    `K_k` is the tangent kernel of term k's residuals at its n_k points, whose trace is the sum over the points of the
    squared norm of the residual's gradient, of the residual as schemes of points weight it; `K_k / n_k` has the rates
    at which the term's errors decay. Slow terms gain weight. Weights start at one; a term without a trace keeps its
    weight. The loss of a term is `mean(w_k r^2)`.

    Args:
        kernel: "mean" divides each trace by the term's number of points, as the loss of a term does (arXiv 2308.08468);
            "sum" takes traces as they are, `t_k = trace(K_k)`, as the paper's equation has it for losses that are sums.
        alpha: how much of a weight is kept at each update, in [0, 1); 0 in the paper, 0.9 in jaxpi.
        every: iterations between updates, 1000 in arXiv 2308.08468; each costs a backward pass per point.

    Raises:
        InputError: if an option is outside its range.

    Example:
        >>> import numpy
        >>> from phasecore.signals import Signals
        >>> traces = {"pde": numpy.asarray(9000.0), "initial": numpy.asarray(10.0)}
        >>> points = {"residuals": {"pde": numpy.zeros(1000)}, "condition_residuals": {"initial": numpy.zeros(10)}}
        >>> signals, scheme = Signals({"tangent_kernel_traces": traces, **points}, numpy), ntk()
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
