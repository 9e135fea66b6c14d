"""The pictures of the evidence: when total diffusion begins, what happens around it, what it predicts."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.study.claims import ERROR, layers
from benchmarks.study.measures import Measured

COLORS = ("#1b6ca8", "#c8553d", "#2e933c", "#7d4e9f")
OFFSETS = np.arange(-1.0, 1.01, 0.1)
"""Decades from the beginning of total diffusion."""


def draw_beginnings(groups: Mapping[tuple[str, str], Sequence[Measured]], file: Path) -> None:
    """Draw when total diffusion begins in each run, one line for each problem and weighting.

    Args:
        groups: runs by problem and weighting.
        file: of the picture.
    """
    figure, axes = _figure(7.0, 1.0 + 0.28 * len(groups))
    for place, ((_, scheme), runs) in enumerate(groups.items()):
        color = COLORS[0] if scheme == "uniform" else COLORS[1]
        for run in runs:
            begins = run.total_diffusion
            never = not math.isfinite(begins)
            axes.plot(run.last if never else begins, place, "x" if never else "o", color=color, markersize=5, alpha=0.8)
    axes.set_yticks(range(len(groups)), [f"{problem}, {scheme}" for problem, scheme in groups], fontsize=8)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlabel("iteration at which total diffusion begins (x: not before the last one)", fontsize=8)
    axes.grid(axis="x", alpha=0.3)
    _save(figure, file)


def draw_around(groups: Mapping[str, Sequence[Measured]], file: Path) -> None:
    """Draw the medians of eight quantities over runs, against decades from the beginning of total diffusion.

    Args:
        groups: runs in which it begins, by problem.
        file: of the picture.
    """
    import matplotlib.pyplot as plt

    figure, places = plt.subplots(2, 4, figsize=(12.0, 5.0), sharex=True)
    for axes, (title, curve, logarithmic) in zip(places.flat, QUANTITIES, strict=True):
        for color, (problem, runs) in zip(COLORS, groups.items(), strict=False):
            curves = np.asarray([[curve(run, run.total_diffusion * 10**offset) for offset in OFFSETS] for run in runs])
            if curves.size and np.isfinite(curves).any():
                axes.plot(OFFSETS, _median(curves), color=color, label=problem, linewidth=1.5)
                for own in curves:
                    axes.plot(OFFSETS, own, color=color, linewidth=0.4, alpha=0.3)
        axes.axvline(0.0, color="black", linewidth=0.6)
        axes.set_title(title, fontsize=9)
        axes.tick_params(labelsize=7)
        if logarithmic:
            axes.set_yscale("log")
    for axes in places[1]:
        axes.set_xlabel("decades from total diffusion", fontsize=8)
    if any(groups.values()):
        places.flat[0].legend(fontsize=7)
    _save(figure, file)


def draw_prediction(groups: Mapping[str, Sequence[Measured]], file: Path) -> None:
    """Draw the final error against when total diffusion begins, a point for each run of a problem.

    Args:
        groups: runs of all schemes, by problem.
        file: of the picture.
    """
    import matplotlib.pyplot as plt
    from matplotlib.ticker import LogLocator, NullFormatter

    figure, places = plt.subplots(1, max(len(groups), 1), figsize=(12.0, 2.8), squeeze=False)
    for axes, (problem, runs) in zip(places.flat, groups.items(), strict=False):
        for run in runs:
            never = not math.isfinite(run.total_diffusion)
            color = {"uniform": COLORS[0]}.get(run.scheme, COLORS[1] if run.scheme.startswith("rba") else "gray")
            at = run.last if never else run.total_diffusion
            axes.plot(at, run.final(ERROR), "x" if never else "o", color=color, markersize=4)
        axes.set_xscale("log")
        axes.set_yscale("log")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.set_major_formatter("{x:g}")
            axis.set_minor_formatter(NullFormatter())
        axes.set_title(problem, fontsize=9)
        axes.set_xlabel("total diffusion begins (x: never)", fontsize=8)
        axes.tick_params(labelsize=7)
    places.flat[0].set_ylabel("final error", fontsize=8)
    _save(figure, file)


def _near(run: Measured, name: str, moment: float) -> float:
    """Return the median of a column within a twentieth of a decade of a moment, and of at least one capture."""
    chosen = np.abs(np.log10(run.iteration / moment)) <= 0.05
    values = run.column(name)[chosen] if run.has(name) else np.asarray([])
    return float(np.median(values[np.isfinite(values)])) if np.isfinite(values).any() else math.nan


def _of(name: str) -> Callable[[Measured, float], float]:
    return lambda run, moment: _near(run, name, moment)


def _of_layers(suffix: str) -> Callable[[Measured, float], float]:
    def curve(run: Measured, moment: float) -> float:
        found = [_near(run, name, moment) for name in layers(run, suffix)]
        return float(np.mean(found)) if found else math.nan

    return curve


QUANTITIES = (
    ("relative L2 error", _of(ERROR), True),
    ("loss, unweighted", _of("unweighted_loss"), True),
    ("gradient SNR", _of("snr"), True),
    ("residual order", _of("residual_order"), False),
    ("Adam's SNR", _of("adam_snr"), True),
    ("variation of Adam's learning rates", _of("adam_learning_rate_variation"), True),
    ("saturation, mean of layers", _of_layers("_saturation"), False),
    ("layer entropy, mean of layers, bits", _of_layers("_entropy_bits"), False),
)


def _median(curves: NDArray[np.float64]) -> list[float]:
    return [float(np.median(own[np.isfinite(own)])) if np.isfinite(own).any() else math.nan for own in curves.T]


def _figure(width: float, height: float) -> Any:
    import matplotlib.pyplot as plt

    return plt.subplots(figsize=(width, height))


def _save(figure: Any, file: Path) -> None:
    import matplotlib.pyplot as plt

    figure.tight_layout()
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=80)
    plt.close(figure)
