"""The one configuration of the detector, for offline and online use alike."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import final

from phasecore.arguments import is_number
from phasecore.errors import InputError


@final
@dataclass(frozen=True)
class DetectorConfiguration:
    """What the detector takes for a phase transition. One configuration serves every curve.

    Lengths are decades of iterations, heights are decades of the quantity, weights are natural log odds. A change
    of a height counts as no evidence at exactly that height, as the weight against the transition at none,
    and as the weight for it at twice the height. The values come from what the phases are and from the synthetic
    families that are not held out.

    Args:
        before: length of the window in which the level before a rise is taken.
        plateau: length over which a rise has to last.
        shortest_plateau: the part of the plateau that must have been seen before anything is said.
        caution: standard errors of the noise that are taken off a change.
        reach: how far the other quantities may lead or lag the SNR.
        snr_rise, order_recovery, loss_fall, error_fall: heights for total diffusion: rise of the SNR (of the
            network, its layers, and Adam's), fall of the coefficient of variation of the residuals, of
            the training loss, and of the relative error.
        snr_weight, layer_weight, adam_weight, order_weight, loss_weight, error_weight: their weights.
        hint: log odds that the others may reach together where the SNR has not risen.
        doubt: log odds against total diffusion before any evidence.
        fall: depth of the fall of the SNR (and of Adam's) at the end of fitting.
        order_loss: rise of the residuals' coefficient of variation by the end of fitting.
        fall_weight, adam_fall_weight, order_loss_weight: their weights.
        fall_doubt: log odds against an end of fitting before any evidence.
        lateness: more log odds against it, per decade by which it comes before iteration 30 or after 300.
        valley: how near to the bottom of its valley a fall has ended.
        hold: how long the SNR has to stay there.
        turn: rise out of the valley that ends a fall at once, and for good.
        temper: what log odds are multiplied with before they become a confidence; quantities of one curve are not
            independent, so their sum is too sure.
        certainty: log odds at which the online tracker declares a transition; until the plateau has been seen in full
            it takes one back at their negative, afterwards at zero.

    Raises:
        InputError: a parameter is not a positive number.

    Example:
        >>> DetectorConfiguration(plateau=0.5).plateau
        0.5
    """

    before: float = 0.3
    plateau: float = 0.4
    shortest_plateau: float = 0.15
    caution: float = 2.0
    reach: float = 0.5
    snr_rise: float = 0.4
    order_recovery: float = 0.1
    loss_fall: float = 0.4
    error_fall: float = 0.05
    snr_weight: float = 4.0
    layer_weight: float = 1.0
    adam_weight: float = 0.5
    order_weight: float = 3.0
    loss_weight: float = 3.0
    error_weight: float = 2.0
    hint: float = 1.2
    doubt: float = 2.0
    fall: float = 0.6
    order_loss: float = 0.15
    fall_weight: float = 3.0
    adam_fall_weight: float = 1.0
    order_loss_weight: float = 2.0
    fall_doubt: float = 1.0
    lateness: float = 2.0
    valley: float = 0.1
    hold: float = 0.1
    turn: float = 0.5
    temper: float = 0.7
    certainty: float = 0.8

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not (is_number(value) and value > 0):
                raise InputError(
                    f"detector configuration, {field.name!r}", received=repr(value), expected="a positive number"
                )
