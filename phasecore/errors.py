"""The errors that phasecore raises: what failed, what was received, what was expected, how to fix it.

Sources: the message layout follows the design's section on errors; near matches come from `difflib`.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from types import SimpleNamespace
from typing import Any

from phasecore.arrays import lacking


class PhasecoreError(Exception):
    """Base class of every error that phasecore raises on purpose.

    The message is assembled from up to four parts, so that each error answers the same four questions.

    Args:
        what: what failed, in a few words ("weighting scheme 'rba', option 'gamma'").
        received: what was given.
        expected: what would have been accepted.
        fix: what to do about it, a sentence.

    Example:
        >>> str(PhasecoreError("option 'points'", received=-3, expected="a positive integer"))
        "option 'points': received -3; expected a positive integer."
    """

    def __init__(self, what: str, *, received: object = None, expected: object = None, fix: str = "") -> None:
        details = []
        if received is not None:
            details.append(f"received {received}")
        if expected is not None:
            details.append(f"expected {expected}")
        message = what + (": " + "; ".join(details) if details else "")
        message = message.rstrip(".") + "."
        super().__init__(f"{message} {fix}".rstrip())

    def __reduce__(self) -> tuple[Callable[..., PhasecoreError], tuple[type[PhasecoreError], str]]:
        return _rebuilt, (type(self), str(self))


def _rebuilt(kind: type[PhasecoreError], message: str) -> PhasecoreError:
    """Make an error anew from its whole message, so that errors travel between processes."""
    return kind.__new__(kind, message)


class InputError(PhasecoreError, ValueError):
    """A bad argument, file or configuration; the command line exits with status 2."""


class UnknownNameError(InputError, LookupError):
    """A name that nothing is registered under; suggests the nearest ones."""

    def __init__(self, kind: str, name: str, known: Iterable[str], *, fix: str = "") -> None:
        known = sorted(known)
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
        suggestion = f"Did you mean {' or '.join(repr(match) for match in near)}?" if near else ""
        super().__init__(
            f"unknown {kind}",
            received=repr(name),
            expected="one of " + ", ".join(known) if known else "nothing: none is registered",
            fix=f"{suggestion} {fix}".strip(),
        )


class MissingDependencyError(PhasecoreError, ImportError):
    """A package that is needed and not installed; says how to install it."""


class PluginError(PhasecoreError):
    """A plugin that could not be loaded or registered, or that broke its contract."""


class TrainingError(PhasecoreError, RuntimeError):
    """A training that could not go on (a loss that is not finite, a scheme that returns NaN); exit status 1.

    Args:
        what: what failed, and the rest as in `PhasecoreError`.
        received: what was given.
        expected: what would have been accepted.
        fix: what to do about it.
        row: the last row of the history, where the failure is one: "iteration" and what was measured.
    """

    row: Mapping[str, float] | None = None

    def __init__(
        self,
        what: str,
        *,
        received: object = None,
        expected: object = None,
        fix: str = "",
        row: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__(what, received=received, expected=expected, fix=fix)
        self.row = row


class PluginWarning(RuntimeWarning):
    """What a plugin does to a training that goes on: it was switched off, or another package offers its name too."""


def called(where: str, call: Callable[[], Any]) -> Any:
    """Return what a function of a plugin returns.

    Args:
        where: the function, as messages call it.
        call: calls it.

    Raises:
        PluginError: if it raises, naming it; what phasecore raises on purpose, and a lack of memory, stay as they are.

    Example:
        >>> called("problem 'mine', residuals()", lambda: 3)
        3
    """
    try:
        return call()
    except (PhasecoreError, MemoryError):
        raise
    except (Exception, SystemExit) as error:
        if "Memory" in type(error).__name__ or "Exhausted" in type(error).__name__:  # as frameworks call it
            raise
        raise PluginError(where, received=f"{type(error).__name__}: {error}", fix=_advice(error)) from error


USE_XP = "Compute with the functions of xp, such as xp.sin, in place of numpy's: the arrays are the framework's."
_TO_NUMPY = ("call numpy() on", "to numpy", "to a numpy array", "numpy.ndarray conversion")
"""How torch, TensorFlow and JAX say that one of numpy's functions was given an array of theirs."""


def _advice(error: BaseException) -> str:
    if isinstance(error, AttributeError) and error.name and isinstance(error.obj, SimpleNamespace):
        return f"{lacking(error.name)}."
    if "truth value" in str(error):
        return "Join conditions on arrays by &, | and ~, each in brackets, in place of and, or and not."
    if isinstance(error, TypeError) and "operand" in str(error) and "numpy.ndarray" in str(error):
        return f"{USE_XP} A number is a float, such as float(value)."
    if isinstance(error, KeyError):
        return "That name is not there: read what is declared, and declare what is read."
    if any(words in str(error) for words in _TO_NUMPY):
        return USE_XP
    return ""


def described(value: Any) -> str:
    """Return what a value is, for messages.

    Example:
        >>> described({"pde": 1}), described(None), described("text")
        ("a mapping with ['pde']", 'None', "a str, 'text'")
    """
    if value is None:
        return "None"
    if isinstance(value, Mapping):
        return f"a mapping with {[*value]}"
    kind = f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
    if hasattr(value, "shape"):
        return f"a {kind} of shape {tuple(value.shape)}"
    on_one_line = " ".join(repr(value).split())
    return f"a {kind}, {on_one_line:.60}"
