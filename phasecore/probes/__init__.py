"""Probes: signals in, named scalars of the history out."""

from phasecore.probes.base import Probe

__all__ = ["Probe"]
