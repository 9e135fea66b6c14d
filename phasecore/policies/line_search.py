"""What the quasi-Newton steps of all backends have in common."""

from __future__ import annotations

MEMORY = 150
"""Pairs of steps and changes of the gradient that are remembered."""

MOST_EVALUATIONS = 25
"""Most evaluations of a line search."""

ROUNDED = 10_000
"""Up to so many units of rounding, differences of the loss are told by its gradients."""


def hidden_by_rounding(begin: float, end: float, unit: float) -> bool:
    """Return whether the losses at both ends of a step differ by no more than rounding may have done.

    The difference is then better told by the gradients at both ends along the step, by the trapezoidal rule. So a line
    search goes on to see what it does where the loss has no digits left: one of residuals that are differences of
    derivatives has five in float32 (Hager, Zhang, SIAM J. Optim. 16 (2005), 170-192, section 4, tell it by gradients
    too).

    Args:
        begin: the loss at the beginning.
        end: the loss at the end.
        unit: the unit of rounding of what both are computed in, as a part of one.

    Example:
        >>> hidden_by_rounding(1.0, 1.0 + 1e-5, 2**-23), hidden_by_rounding(1.0, 1.0 + 1e-5, 2**-52)
        (True, False)
    """
    return abs(end - begin) <= ROUNDED * unit * abs(begin)
