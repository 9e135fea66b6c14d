"""Numbers and times as a person reads them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from phasecore.phases import Timeline
    from phasecore.reporting.seeds import Spread


def number(value: float | None) -> str:
    """Return a value in three significant digits, or a dash for none.

    Example:
        >>> number(0.123456), number(1234567.0), number(None)
        ('0.123', '1.23e+06', '-')
    """
    return "-" if value is None or not math.isfinite(value) else f"{value:.3g}"


def duration(seconds: float) -> str:
    """Return a time in words that suit its size.

    Example:
        >>> duration(4.21), duration(192), duration(7380), duration(float("nan"))
        ('4.2 s', '3 min 12 s', '2 h 03 min', '-')
    """
    if not math.isfinite(seconds):
        return "-"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def interval(spread: Spread, word: Callable[[float], str] = number) -> str:
    r"""Return the range of some numbers, or the number alone if there is one.

    Args:
        spread: the numbers.
        word: says one of them.

    Example:
        >>> from phasecore.reporting.seeds import Spread
        >>> interval(Spread((0.25, 0.5))) == "0.25\u20130.5", interval(Spread((0.25,)))
        (True, '0.25')
    """
    low, high = word(spread.low), word(spread.high)
    return low if low == high else f"{low}\u2013{high}"


def ranged(spread: Spread, word: Callable[[float], str] = number) -> str:
    r"""Return the median of some numbers with their range, where it has a width.

    Args:
        spread: the numbers.
        word: says one of them.

    Example:
        >>> from phasecore.reporting.seeds import Spread
        >>> ranged(Spread((0.25, 0.5, 1.0))) == "0.5 (0.25\u20131)", ranged(Spread((0.25,)))
        (True, '0.25')
    """
    is_wide = word(spread.low) != word(spread.high)
    return word(spread.median) + (f" ({interval(spread, word)})" if is_wide else "")


def counted(spread: Spread | None, count: int) -> str:
    r"""Return the median of some ratios with their range, and of how many pairs they are where some pairs lack one.

    Args:
        spread: the ratios; None where no pair has one.
        count: how many pairs there are.

    Example:
        >>> from phasecore.reporting.seeds import Spread
        >>> counted(Spread((0.5,)), 3), counted(Spread((0.5,)), 1), counted(None, 3)
        ('0.5, 1 of 3', '0.5', '-')
    """
    if spread is None:
        return "-"
    return ranged(spread) + (f", {len(spread.values)} of {count}" if len(spread.values) < count else "")


def absent(timelines: Iterable[Timeline], not_reached: str = "not reached") -> str:
    """Return what stands in place of the iteration at which a phase begins, where none of some trainings has one.

    A training of which the phase at the end cannot be told may have reached it, unseen.

    Args:
        timelines: of the trainings.
        not_reached: what to say of those of which it can be told.

    Example:
        >>> from phasecore.phases import Phase, Timeline
        >>> known, unknown = Timeline((), Phase.FITTING, ""), Timeline((), None, "cannot tell: 2 captures")
        >>> absent([known]), absent([unknown]), absent([known, unknown]), absent([])
        ('not reached', 'cannot tell', 'not reached, in 1', '-')
    """
    told = [timeline.current is not None for timeline in timelines]
    if not any(told):
        return "cannot tell" if told else "-"
    return not_reached + ("" if all(told) or not_reached == "-" else f", in {sum(told)}")


SECRETS = (
    (re.compile(r"(//[^\s/:@]{0,200}:)(?![0-9]+(?:[/\s]|$))[^\s,]{0,500}@"), r"\1...@"),
    (re.compile(r"\b((?:password|token|secret|api_?key)=)[^\s,&;\"]+", re.IGNORECASE), r"\1..."),
)
"""What a password follows in an address or among options, and what is shown."""


def masked(text: str) -> str:
    """Return a text without the passwords in its addresses, to be shown to anybody.

    Example:
        >>> masked("mlflow:uri=postgresql://me:secret@host/runs"), masked("http://host:5000/a@b")
        ('mlflow:uri=postgresql://me:...@host/runs', 'http://host:5000/a@b')
    """
    for secret, shown in SECRETS:
        text = secret.sub(shown, text)
    return text


def grouped(value: float) -> str:
    """Return a number with its thousands set apart by thin spaces.

    Example:
        >>> grouped(0.05), grouped(300_000) == "300\u2009000"
        ('0.05', True)
    """
    return f"{value:,.0f}".replace(",", "\u2009") if value >= 1 else f"{value:g}"
