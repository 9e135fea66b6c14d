"""Probes: signals in, named scalars of the history out."""

from typing import final

from phasecore.probes.base import Probe

__all__ = ["DEFAULT_PROBES", "Default", "Probe"]


@final
class Default(str):
    """The name of a probe that is measured unasked, where its signals are there."""

    __slots__ = ()


DEFAULT_PROBES = tuple(map(Default, ("gradient_snr", "adam_snr", "residual_order", "term_losses", "relative_l2_error")))
"""What is measured where nothing else is asked for; `residual_order` and the SNR tell the phases.

The other built-in probes cost time or fill the history, and a plugin's probe is measured by those who name it.
"""
