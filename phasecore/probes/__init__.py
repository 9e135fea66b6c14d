"""Probes: signals in, named scalars of the history out."""

from phasecore.probes.base import Probe

__all__ = ["DEFAULT_PROBES", "Probe"]

DEFAULT_PROBES = ("gradient_snr", "adam_snr", "residual_order", "term_losses", "relative_l2_error")
"""What is measured where nothing else is asked for; `residual_order` and the SNR tell the phases.

The other built-in probes cost time or fill the history, and a plugin's probe is measured by those who name it.
"""
