"""How laws are run: each is a function that asserts one thing, whose docstring states it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar, final

import numpy as np

from phasecore.errors import PhasecoreError

Subject = TypeVar("Subject")


class NotApplicableError(PhasecoreError):
    """Raised by a law that says nothing about its subject; the reason is part of the report."""


@final
@dataclass(frozen=True)
class Report:
    """What a conformance check found; a broken law raises instead.

    Attributes:
        subject: what was checked.
        passed: names of the laws that hold.
        skipped: laws that do not apply, each with the reason.
        known_failures: laws that were declared broken and are, each with the declared reason.
    """

    subject: str
    passed: tuple[str, ...]
    skipped: Mapping[str, str]
    known_failures: Mapping[str, str]


def run_laws(
    name: str,
    laws: Sequence[Callable[[Subject], None]],
    subject: Subject,
    known_failures: Mapping[str, str] | None = None,
) -> Report:
    """Run every law on the subject.

    Args:
        name: the subject in words, for messages: "weighting scheme 'rba'".
        laws: what must hold.
        subject: what it must hold for.
        known_failures: {law: reason} for laws that are known to be broken. Strict: one that holds is an error too.

    Raises:
        AssertionError: listing every broken law and what to change.

    Example:
        >>> def is_positive(number: int) -> None:
        ...     assert number > 0, f"{number} is not positive; use a positive number"
        >>> run_laws("number 3", [is_positive], 3).passed
        ('is_positive',)
    """
    declared = dict(known_failures or {})
    names = [law.__name__ for law in laws]
    unknown = sorted(set(declared) - set(names))
    assert not unknown, f"{name}: known_failures names {unknown}; the laws are {names}"
    passed: list[str] = []
    skipped: dict[str, str] = {}
    failed: dict[str, str] = {}
    for law in laws:
        try:
            with np.errstate(all="ignore"):
                law(subject)
        except NotApplicableError as reason:
            skipped[law.__name__] = str(reason)
        except (AssertionError, PhasecoreError) as broken:
            failed[law.__name__] = str(broken)
        except Exception as error:
            failed[law.__name__] = f"it raised {type(error).__name__}: {error}"
        else:
            passed.append(law.__name__)
    mended = [law for law in declared if law not in failed]
    assert not mended, f"{name}: known failures that do not fail: {mended}; drop them from known_failures"
    unexpected = {law: message for law, message in failed.items() if law not in declared}
    listing = "".join(f"\n  - {', '.join(same)}: {message}" for message, same in _by_message(unexpected).items())
    assert not unexpected, f"{name} breaks {len(unexpected)} of {len(laws)} laws:{listing}"
    return Report(name, tuple(passed), skipped, declared)


def _by_message(failed: Mapping[str, str]) -> dict[str, list[str]]:
    """One cause breaks many laws, and is said once; all laws are named, as `known_failures` wants their names."""
    found: dict[str, list[str]] = {}
    for law, message in failed.items():
        found.setdefault(message, []).append(law)
    return found
