"""Numbers and times as a person reads them."""

from __future__ import annotations

import math


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
