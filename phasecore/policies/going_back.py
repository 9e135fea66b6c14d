"""How an optimizer goes on where a quasi-Newton method failed: from where its last step began, no faster than that."""

from __future__ import annotations

SHARE = 0.1
"""Part of the last step's length that the steps after a failure are of."""


def gentle(length: float | None, rate: float | None, has_won: bool) -> float:
    """Return what the optimizer's learning rate is multiplied by, at most 1.

    Adam and its like move each parameter by about their learning rate, however small the gradient has become: at the
    rate that they began with they would undo what line searches found. So their steps are to be a tenth as long as the
    last one of these, which went along the valley: across it, there is less room. Where line searches found nothing,
    as at a saddle where the gradient is all but zero, there is nothing to undo: at such a rate it would stay there.

    Args:
        length: of that step, root mean square over the parameters; None where there was none.
        rate: the learning rate; None where there is none.
        has_won: whether the quasi-Newton method had won something before it failed.

    Example:
        >>> gentle(1e-4, 1e-3, True), gentle(None, 1e-3, True), gentle(1.0, 1e-3, True), gentle(1e-4, 1e-3, False)
        (0.01, 1.0, 1.0, 1.0)
    """
    return min(1.0, SHARE * length / rate) if length and rate and has_won else 1.0


def said(failure: str, factor: float) -> str:
    """Return the failure in words, with what became of the learning rate.

    Args:
        failure: which method failed, and why.
        factor: see `gentle`.

    Example:
        >>> said("L-BFGS failed: nothing better", 0.01)
        'L-BFGS failed: nothing better; the learning rate is 0.01 of what it was, a tenth of the last step'
    """
    return failure + (
        f"; the learning rate is {factor:.2g} of what it was, a tenth of the last step" if factor < 1 else ""
    )
