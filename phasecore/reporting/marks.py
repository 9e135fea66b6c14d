"""Labels of the figure of a comparison: few words, in lines that are not too long, where they fit."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

APART = 0.05
"""Least distance of two labels that stand side by side, as a share of a panel's width."""

LONGEST = 26
"""Most characters of a label along the height of a panel."""

LINE = 36
"""Most characters of a line of a heading."""


def heading_lines(title: str, longest: int = LINE) -> list[str]:
    """Return the lines of a heading, which end behind a comma or a plus sign; what has none is cut.

    Args:
        title: such as the specification of a weighting; the sign of an exponent ends no line.
        longest: most characters of a line.

    Example:
        >>> heading_lines("rba:gamma=0.99,eta=0.01+grad_norm:every=100")
        ['rba:gamma=0.99,eta=0.01+', 'grad_norm:every=100']
    """
    lines = [""]
    for part in re.split(r"(?<=[,+])(?<!\d[eE]\+)", title):
        if lines[-1] and len(lines[-1] + part.rstrip()) > longest:
            lines.append("")
        lines[-1] += part
        while len(lines[-1].strip()) > longest:
            line = lines.pop().strip()
            lines += [line[:longest], line[longest:]]
    return [line.strip() for line in lines if line.strip()] or [""]


def side_by_side(centres: Sequence[float], widths: Sequence[float]) -> list[float]:
    """Return where the middles of labels are that stand inside a panel and apart, near to where they would be.

    Args:
        centres: where they would be, ascending, as shares of the panel's width.
        widths: of the labels, together at most 1.

    Example:
        >>> [round(place, 3) for place in side_by_side([0.5, 0.95, 0.99], [0.2, 0.2, 0.2])]
        [0.5, 0.7, 0.9]
    """
    places: list[float] = []
    end = 0.0
    for centre, width in zip(centres, widths, strict=True):
        places.append(max(centre, end + width / 2))
        end = places[-1] + width / 2
    end = 1.0
    for at in reversed(range(len(places))):
        places[at] = min(places[at], end - widths[at] / 2)
        end = places[at] - widths[at] / 2
    return places


def placed_labels(labels: Mapping[int, Sequence[str]], left: float, right: float) -> list[tuple[int, str]]:
    """Return one label for each iteration that has room for one; what has none is counted in the label before it.

    Args:
        labels: words at iterations.
        left: the logarithm to base 10 of the iteration at the left side of the panel.
        right: likewise at the right side.

    Example:
        >>> placed_labels({10: ["snapshot"], 100: ["optimizer lbfgs", "weights held"], 101: ["stop"]}, 0.0, 3.0)
        [(10, 'snapshot'), (100, 'optimizer lbfgs +2')]
    """
    together: list[tuple[int, list[str]]] = []
    last = -math.inf
    for iteration, words in sorted(labels.items()):
        share = (math.log10(max(iteration, 1)) - left) / (right - left)
        if share - last < APART:
            together[-1][1].extend(words)
            continue
        together.append((iteration, [*words]))
        last = share
    return [(iteration, _shortened(words)) for iteration, words in together]


def _shortened(words: Sequence[str]) -> str:
    """As many of the words as there is room for, and the number of the others."""
    for shown in range(len(words), 0, -1):
        others = len(words) - shown
        label = ", ".join(words[:shown]) + (f" +{others}" if others else "")
        if len(label) <= LONGEST:
            return label
    others = len(words) - 1
    ending = "\u2026" + (f" +{others}" if others else "")
    return words[0][: LONGEST - len(ending)] + ending
