"""What policies share: checks of their options, and the reason that they give for acting at a phase."""

from __future__ import annotations

from phasecore.arguments import is_number
from phasecore.errors import InputError, UnknownNameError
from phasecore.phases import Phase, Timeline


def phase_of(policy: str, option: str, value: object) -> Phase:
    """Return the phase that an option names.

    Raises:
        UnknownNameError: for another name.

    Example:
        >>> phase_of("at_phase", "phase", "diffusion")
        <Phase.DIFFUSION: 'diffusion'>
    """
    if not isinstance(value, str) or value not in list(Phase):
        raise UnknownNameError(f"phase, option {option!r} of policy {policy!r}", str(value), map(str, Phase))
    return Phase(value)


def check_positive(policy: str, option: str, value: object, most: float | None = None) -> None:
    """Refuse an option that is no positive number, or larger than it may be.

    Raises:
        InputError: naming policy, option, value and range.

    Example:
        >>> check_positive("stop_when_done", "patience", 0.2)
    """
    if not (is_number(value) and value > 0 and (most is None or value <= most)):
        expected = "a positive number" if most is None else f"a number above 0 and at most {most:g}"
        raise InputError(f"policy {policy!r}, option {option!r}", received=repr(value), expected=expected)


def declared(timeline: Timeline, phase: Phase) -> str | None:
    """Return in words that a phase was declared, or None as long as it was not.

    Example:
        >>> declared(Timeline((), Phase.FITTING, "no diffusion yet"), Phase.FITTING)
        'fitting declared, since iteration 0'
    """
    start = timeline.start(phase)
    return None if start is None else f"{phase.replace('_', ' ')} declared, since iteration {start}"
