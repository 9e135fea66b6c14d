"""What is written in the figure of a comparison: headings, phases, where they begin, and what policies had done."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from phasecore.backends import Acted
from phasecore.phases import Phase, Timeline, Transition
from phasecore.reporting.marks import heading_lines, placed_labels, side_by_side
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

BOLD_CHARACTER = 0.027
"""Likewise one of the name of a phase."""

ROOM = 0.1
"""Share of a panel's height that a label above the curves takes."""

SUBTITLE, TITLE = 25, 39
"""Points above a panel at which the lines of its heading are: above the names of phases, which have up to two lines."""

REASON = 60
"""Characters of a line of the reason why no phase is known."""


class Column(NamedTuple):
    """The networks of one weighting, and where they are drawn."""

    panels: Mapping[str, Axes]
    """A panel for each quantity, from above."""
    group: Group
    timeline: Timeline
    """The phases that are shown."""
    last: float
    """The last iteration of the longest of the networks."""


class Above(NamedTuple):
    """What a label covers in the first panel: shares of its width, and of its height from above."""

    left: float
    right: float
    depth: float


def labels_above(column: Column) -> list[Above]:
    """Return what the labels with a ground cover, and the reason: no curve is to be beneath them."""
    panel, *_ = column.panels.values()
    beginnings, reason = _beginnings(column), _reason(column)
    if not beginnings:
        return [Above(0.0, 1.0, ROOM * (0.3 + len(reason)))] if reason else []
    found = []
    for place, (_, iteration, label) in enumerate(beginnings):
        where, width = _share(panel, iteration), CHARACTER * (len(label) + 2)
        left = where - {"left": 0.0, "center": 0.5, "right": 1.0}[_alignment(where, label)] * width
        found.append(Above(left - CHARACTER, left + width + CHARACTER, ROOM * (1.3 + place)))
    return found


def write_labels(column: Column) -> None:
    """Write all labels of a column, where the limits of its panels say: these must not change any more."""
    first, *_ = column.panels.values()
    group = column.group
    if ERROR in column.panels and (error := group.error()) is not None:
        _label_end(column.panels[ERROR], error)
    _name_phases(first, column)
    _label_beginnings(first, column)
    first.text(
        0.5, 0.95, "\n".join(_reason(column)), transform=first.transAxes, ha="center", va="top", fontsize=9, color=INK
    )
    _label_actions(first, group)
    lines = heading_lines(group.weighting)
    size = min(13.0, 480 / max(map(len, lines)))
    first.set_title("\n".join(lines), fontsize=size, fontweight="bold", color=INK, pad=TITLE)
    first.annotate(
        _subtitle(group), (0.5, 1.0), (0, SUBTITLE), xycoords="axes fraction", textcoords="offset points",
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
    """Write how high the curve of the error ends at the other side, where it began higher; 0 is below every scale."""
    low, high = np.log10(panel.get_ylim())
    height = (np.log10(error.median) - low) / (high - low) if error.median > 0 else 0.0
    below = height > 1 - ROOM
    panel.annotate(
        f"final error {number(error.median)}", (0.02, height), (0, -4 if below else 4), xycoords="axes fraction",
        textcoords="offset points", ha="left", va="top" if below else "bottom",
        fontsize=9, fontweight="bold", color=INK,
    )  # fmt: skip


def _reason(column: Column) -> list[str]:
    """The lines that say why no phase of a single network is known; none if one is."""
    timeline = column.timeline
    is_told = timeline.current is not None or bool(timeline.transitions) or len(column.group.networks) > 1
    return [] if is_told else textwrap.wrap(timeline.reason, REASON)


def _name_phases(panel: Axes, column: Column) -> None:
    """Write each phase's name above its part of the panel, as near as there is room."""
    left, right = (float(np.log10(bound)) for bound in panel.get_xlim())
    names: list[tuple[Phase, str]] = []
    centres: list[float] = []
    for phase, first, end in column.timeline.spans(int(column.last)):
        low = max((np.log10(max(first, 1)) - left) / (right - left), 0.0)
        share = (np.log10(max(end, 1)) - left) / (right - left) - low
        if share <= 0:
            continue
        name = PHASE_NAMES[phase]
        names.append((phase, name if share * 46 > len(name) else name.replace(" ", "\n")))
        centres.append(float(low + share / 2))
    widths = [BOLD_CHARACTER * max(map(len, name.split("\n"))) for _, name in names]
    for (phase, name), place in zip(names, side_by_side(centres, widths), strict=True):
        panel.text(
            place, 1.02, name, transform=panel.transAxes, ha="center", va="baseline", fontsize=9, fontweight="bold",
            color=PHASE_COLOURS[phase], linespacing=0.9,
        )  # fmt: skip


def _beginnings(column: Column) -> list[tuple[Phase, int, str]]:
    """Where each phase begins, and what is written there."""
    group, timeline = column.group, column.timeline
    labels = [(item.phase, item.iteration, _label(group, item)) for item in timeline.transitions]
    for phase, begins in of_few(group, timeline):
        name, reached = PHASE_NAMES[phase], f"{len(begins.values)} of {len(group.completed)}"
        labels.append((phase, round(begins.median), f"{name} in {reached}: {ranged(begins, grouped)}"))
    return labels


def _label_beginnings(panel: Axes, column: Column) -> None:
    """Write where phases begin at their lines, one label below the other, above the curves."""
    for place, (phase, iteration, label) in enumerate(_beginnings(column)):
        panel.annotate(
            label, (max(iteration, 1), 0.94 - ROOM * place), xycoords=panel.get_xaxis_transform(),
            ha=_alignment(_share(panel, iteration), label), va="center", fontsize=9, color=PHASE_COLOURS[phase],
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


def _share(panel: Axes, iteration: int) -> float:
    """At which share of a panel's width an iteration is."""
    left, right = np.log10(panel.get_xlim())
    return float((np.log10(max(iteration, 1)) - left) / (right - left))


def _alignment(share: float, label: str) -> str:
    """How to align a label at a share of the panel's width so that it stays inside."""
    edge = max(EDGE, len(label) * CHARACTER / 2)
    return "left" if share < edge else "right" if share > 1 - edge else "center"
