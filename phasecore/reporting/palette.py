"""The colours and names of the phases, the same in every figure and on the terminal.

Source: Okabe and Ito's palette, which remains distinct under every common form of colour blindness.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from phasecore.phases import Phase

PHASE_COLOURS: Mapping[Phase, str] = MappingProxyType(
    {Phase.FITTING: "#e69f00", Phase.DIFFUSION: "#0072b2", Phase.TOTAL_DIFFUSION: "#009e73"}
)
"""Colour of each phase, for lines, text and (at `SHADE`) the ground behind a curve."""

PHASE_NAMES: Mapping[Phase, str] = MappingProxyType(
    {Phase.FITTING: "fitting", Phase.DIFFUSION: "diffusion", Phase.TOTAL_DIFFUSION: "total diffusion"}
)
"""Name of each phase in words."""

SHADE = 0.16
"""Opacity of a phase's colour behind a curve."""

INK = "#1f2933"
"""Curves and text."""

FAINT = "#8a949e"
"""Grid lines, raw values behind a smoothed curve, and secondary text."""
