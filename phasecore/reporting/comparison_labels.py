"""What is written in the figure of a comparison: headings, phases, where they begin, and what policies had done."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from phasecore.backends import Acted
from phasecore.phases import Phase, Timeline, Transition
from phasecore.reporting.marks import placed_labels
from phasecore.reporting.palette import FAINT, INK, PHASE_COLOURS, PHASE_NAMES
from phasecore.reporting.seeds import BEGINS, Group, Spread
from phasecore.reporting.wording import grouped, number, ranged

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ERROR = "relative_l2_error"

EDGE = 0.15
"""Share of a panel's width at its sides in which labels are aligned to stay inside."""

CHARACTER = 0.017
"""Share of a panel's width that a character of a label takes."""


class Column(NamedTuple):
    """The networks of one weighting, and where they are drawn."""

    panels: Mapping[str, Axes]
    """A panel for each quantity, from above."""
    group: Group
    timeline: Timeline
    """The phases that are shown."""
    last: float
    """The last iteration of the longest of the networks."""


def write_labels(column: Column) -> None:
    """Write all labels of a column, where the limits of its panels say: these must not change any more."""
    first, *_ = column.panels.values()
    group, timeline = column.group, column.timeline
    if ERROR in column.panels and (error := group.error()) is not None:
        _label_end(column.panels[ERROR], error)
    _label_phases(first, group, timeline, column.last)
    if timeline.current is None and not timeline.transitions and len(group.networks) == 1:
        first.text(
            0.5, 0.95, textwrap.fill(timeline.reason, 60), transform=first.transAxes,
            ha="center", va="top", fontsize=9, color=INK,
        )  # fmt: skip
    _label_actions(first, group)
    title = group.weighting
    first.set_title(f"{title}\n", fontsize=min(13.0, 480 / len(title)), fontweight="bold", color=INK, pad=20)
    first.annotate(
        _subtitle(group), (0.5, 1.0), (0, 25), xycoords="axes fraction", textcoords="offset points",
        ha="center", fontsize=10, color=FAINT,
    )  # fmt: skip


def _subtitle(group: Group) -> str:
    count, completed = len(group.networks), len(group.completed)
    if not completed:
        return "failed"
    error, seconds = group.error(), group.seconds()
    parts = [f"final error {ranged(error, number)}"] if error else []
    if count == 1:
        parts += [f"{seconds.median:.0f} s"] if seconds else []
    else:
        parts.append(f"{count} seeds" if completed == count else f"{completed} of {count} seeds, the others failed")
    return ", ".join(parts)


def of_few(group: Group, timeline: Timeline) -> list[tuple[Phase, Spread]]:
    """The phases that some networks reached, but not most of them."""
    begins = [(phase, group.start(phase)) for phase in BEGINS if timeline.transition(phase) is None]
    return [(phase, spread) for phase, spread in begins if spread is not None]


def _label_end(panel: Axes, error: Spread) -> None:
    """Write how high the curve of the error ends at the other side, where it began higher."""
    panel.annotate(
        f"final error {number(error.median)}", (0.02, error.median), (0, 4), xycoords=panel.get_yaxis_transform(),
        textcoords="offset points", ha="left", va="bottom", fontsize=9, fontweight="bold", color=INK,
    )  # fmt: skip


def _label_phases(panel: Axes, group: Group, timeline: Timeline, last: float) -> None:
    """Write each phase's name above its part of the panel, and where it begins at its transition."""
    left, right = (float(np.log10(bound)) for bound in panel.get_xlim())
    above: Any = panel.get_xaxis_transform()
    for phase, first, end in timeline.spans(int(last)):
        low = max(np.log10(max(first, 1)), left)
        share = (np.log10(max(end, 1)) - low) / (right - left)
        if share <= 0:
            continue
        name = PHASE_NAMES[phase]
        fits = share * 46 > len(name)
        panel.text(
            10 ** (low + share * (right - left) / 2), 1.02, name if fits else name.replace(" ", "\n"),
            transform=above, ha="center", va="baseline", fontsize=9, fontweight="bold",
            color=PHASE_COLOURS[phase], linespacing=0.9,
        )  # fmt: skip
    labels = [(item.phase, item.iteration, _label(group, item)) for item in timeline.transitions]
    for phase, begins in of_few(group, timeline):
        name, reached = PHASE_NAMES[phase], f"{len(begins.values)} of {len(group.completed)}"
        labels.append((phase, round(begins.median), f"{name} in {reached}: {ranged(begins, grouped)}"))
    for place, (phase, iteration, label) in enumerate(labels):
        where = (np.log10(max(iteration, 1)) - left) / (right - left)
        panel.annotate(
            label, (max(iteration, 1), 0.94 - 0.1 * place), xycoords=above,
            ha=_alignment(float(where), label), va="center", fontsize=9, color=PHASE_COLOURS[phase],
            bbox={"boxstyle": "round,pad=0.25", "facecolor": "white", "edgecolor": "none", "alpha": 0.9},
        )  # fmt: skip


def _label(group: Group, transition: Transition) -> str:
    begins = group.start(transition.phase)
    if len(group.networks) == 1 or begins is None:
        return f"from {grouped(transition.iteration)} ({transition.confidence:.0%} sure)"
    reached, completed = len(begins.values), len(group.completed)
    return ranged(begins, grouped) + ("" if reached == completed else f", {reached} of {completed}")


def _label_actions(panel: Axes, group: Group) -> None:
    """Write what policies had done along the lines of their iterations, from below."""
    left, right = (float(np.log10(bound)) for bound in panel.get_xlim())
    words: dict[int, list[str]] = {}
    for acted in acted_alone(group):
        words.setdefault(acted.iteration, []).append(acted.words)
    for done in group.done() if len(group.networks) > 1 else ():
        reached, completed = len(done.begins.values), len(group.completed)
        some = "" if reached == completed else f", {reached} of {completed}"
        words.setdefault(round(done.begins.median), []).append(done.words + some)
    for iteration, label in placed_labels(words, left, right):
        share = (np.log10(max(iteration, 1)) - left) / (right - left)
        panel.annotate(
            label, (max(iteration, 1), 0.02), (-2 if share > EDGE else 8, 0), rotation=90,
            xycoords=panel.get_xaxis_transform(), textcoords="offset points",
            ha="right" if share > EDGE else "left", va="bottom", fontsize=8, color=INK,
        )  # fmt: skip


def acted_alone(group: Group) -> Sequence[Acted]:
    """What policies had done, where there is one network."""
    return group.networks[0].actions if len(group.networks) == 1 else ()


def _alignment(share: float, label: str) -> str:
    """How to align a label at a share of the panel's width so that it stays inside."""
    edge = max(EDGE, len(label) * CHARACTER / 2)
    return "left" if share < edge else "right" if share > 1 - edge else "center"
