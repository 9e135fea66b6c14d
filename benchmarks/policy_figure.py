"""The picture of the study of policies: what leaving Adam at each moment gained, by what became of the weights."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from phasecore.phases import Phase
from phasecore.reporting.palette import FAINT, INK, PHASE_COLOURS

Results = Mapping[str, Mapping[str, Any]]
COLOURS = {"averaged": "#009e73", "held": "#d55e00", "updated": INK, "uniform": "#56b4e9"}
MARKERS = {"share": "o", "plateau": "x", "diffusion declared": "D", "total diffusion declared": "*"}


def draw(file: Path, there: Mapping[str, Sequence[Results]]) -> None:
    """Draw a panel for each problem: the error of Adam alone over that of each branch, at the moment of its switch.

    Args:
        file: where to.
        there: by problem, the results of each seed.
    """
    import matplotlib.pyplot as plt
    from matplotlib.lines import Line2D

    columns = 3
    rows = math.ceil(len(there) / columns)
    figure, panels = plt.subplots(
        rows, columns, figsize=(11, 3.1 * rows + 0.6), sharey=True, squeeze=False, layout="constrained"
    )
    for panel, (problem, seeds) in zip(panels.flat, there.items(), strict=False):
        panel.set_title(problem, fontsize=10)
        for results in seeds:
            _draw_seed(panel, results)
        panel.axhline(1, color=FAINT, linewidth=0.8)
        panel.set_xscale("log")
        panel.set_yscale("log")
        panel.set_xlabel("iteration of the switch", fontsize=9)
    for panel in panels.flat[len(there) :]:
        panel.set_visible(False)
    for panel in panels[:, 0]:
        panel.set_ylabel("error of Adam alone / error", fontsize=9)
    handles = [Line2D([], [], color=colour, label=f"weights {weights}") for weights, colour in COLOURS.items()]
    kinds = ("a share of the iterations", "a plateau of the loss", "diffusion declared", "total diffusion declared")
    handles += [
        Line2D([], [], color=_edge(kind), marker=marker, linestyle="", label=label)
        for (kind, marker), label in zip(MARKERS.items(), kinds, strict=True)
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, fontsize=9, frameon=False)
    figure.savefig(file, dpi=110)
    plt.close(figure)


def _draw_seed(panel: Any, results: Results) -> None:
    adam = results["adam"]["error"]
    for weights, colour in COLOURS.items():
        found = {}
        for kind, marker in MARKERS.items():
            for name, own in results.items():
                if name.startswith(kind) and name.endswith(f", {weights}") and own.get("error"):
                    at, gain = own["began"]["iteration"], adam / own["error"]
                    found[at] = gain
                    size = 9 if marker == "*" else 5
                    panel.plot(at, gain, marker, color=colour, markeredgecolor=_edge(kind, colour), markersize=size)
        if found:
            panel.plot(*zip(*sorted(found.items()), strict=True), color=colour, linewidth=0.8, alpha=0.5)


def _edge(kind: str, otherwise: str = FAINT) -> str:
    phases = {"diffusion declared": Phase.DIFFUSION, "total diffusion declared": Phase.TOTAL_DIFFUSION}
    return PHASE_COLOURS[phases[kind]] if kind in phases else otherwise
