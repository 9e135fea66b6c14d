"""Labels of what policies had done, in the figure of a comparison: few words, where they fit."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

APART = 0.05
"""Least distance of two labels that stand side by side, as a share of a panel's width."""

LONGEST = 26
"""Most characters of a label along the height of a panel."""


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
