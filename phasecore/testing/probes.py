"""What every probe must satisfy, and `check_probe`, which runs it all."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, final

import numpy as np
from numpy.typing import DTypeLike

from phasecore import registry
from phasecore.probes.base import Probe
from phasecore.probes.checks import check_columns, checked_row
from phasecore.problems.base import Problem
from phasecore.signals import DESCRIPTIONS, Signals
from phasecore.specifications import parse_specification
from phasecore.testing.laws import Report, run_laws
from phasecore.testing.made_signals import GIVEN, Layout, SignalMaker, make_signals, zeroed
from phasecore.testing.trees import RecordingMapping, Tree, difference, map_leaves


@final
@dataclass(frozen=True)
class ProbeSubject:
    """A probe under test, with what its signals are made of.

    Attributes:
        probe: what is checked.
        extra: makers of signals that are not in the core vocabulary.
        layout: names and sizes of the made-up training.
    """

    probe: Probe
    extra: Mapping[str, SignalMaker] = field(default_factory=dict)
    layout: Layout = field(default_factory=Layout)

    def values(self, seed: int, dtype: DTypeLike = np.float64) -> dict[str, Tree]:
        """Return the required signals."""
        return make_signals(sorted(self.probe.requires), self.layout, seed, dtype, self.extra)

    def measure(self, values: Mapping[str, Tree]) -> dict[str, float]:
        """Return the probe's scalars, checked as a training checks them."""
        label = f"probe {getattr(self.probe, 'name', self.probe)!r}"
        try:
            found = self.probe.measure(Signals(values, np, reader=label))
        except KeyError as error:
            raise AssertionError(
                f"measure raises KeyError: {error}; the terms of the made-up training are "
                f"{', '.join(self.layout.terms)} and its fields {', '.join(self.layout.fields)}. Take the names that "
                "there are; where the probe is for one problem's alone, name that: check_probe(probe, problem=...), "
                "phasecore plugins --check --problem NAME"
            ) from error
        checked_row(label, found)
        return dict(found)


def probe_subject(
    probe: Probe, problem: str | Problem | None = None, signals: Mapping[str, SignalMaker] | None = None
) -> ProbeSubject:
    """Return a probe under test; arguments are those of `check_probe`."""
    if isinstance(problem, str):
        name, parameters = parse_specification(problem, "problem")
        problem = registry.problem(name, **parameters)
    return ProbeSubject(probe, signals or {}, Layout() if problem is None else Layout.of(problem))


def check_probe(
    probe: Probe,
    *,
    problem: str | Problem | None = None,
    signals: Mapping[str, SignalMaker] | None = None,
    known_failures: Mapping[str, str] | None = None,
) -> Report:
    """Check that a probe keeps its contract.

    Args:
        probe: the probe.
        problem: for a probe that reads terms or fields of one problem by their names: that problem, or "name" or
            "name:key=value,key=value". By default the names are made up, as a probe for all problems must allow.
        signals: for required signals outside the core vocabulary, functions that make up values.
        known_failures: {law: reason} for laws that the probe is known to break; an error if it does not.

    Raises:
        AssertionError: listing every broken law and what to change.
        InputError: for an unknown problem.

    Example:
        >>> from phasecore.probes.adam_snr import AdamSNR
        >>> check_probe(AdamSNR()).skipped
        {}
    """
    subject = probe_subject(probe, problem, signals)
    return run_laws(f"probe {getattr(probe, 'name', probe)!r}", PROBE_LAWS, subject, known_failures)


def declares_itself(subject: ProbeSubject) -> None:
    """A probe is a frozen dataclass derived from `Probe`, with a name and known signals."""
    probe: Any = subject.probe
    assert isinstance(probe, Probe), f"{probe!r} is not a Probe; derive its class from phasecore.probes.Probe"
    assert isinstance(getattr(probe, "name", None), str), "the class lacks 'name'; set it to the registered name"
    assert isinstance(getattr(probe, "requires", None), frozenset), (
        "the class lacks 'requires'; set it to a frozenset of signals"
    )
    unknown = sorted(probe.requires - set(DESCRIPTIONS) - set(subject.extra))
    assert not unknown, f"requires names unknown signals {unknown}; phasecore.signals.DESCRIPTIONS lists what there is"
    parameters = getattr(type(probe), "__dataclass_params__", None)
    assert getattr(parameters, "frozen", False), (
        "the class can change after it is made; decorate it with @dataclass(frozen=True)"
    )


def returns_finite_floats(subject: ProbeSubject) -> None:
    """For signals of an ordinary training, in float32 or float64, every scalar is a finite float."""
    for dtype in ("float32", "float64"):
        for name, value in subject.measure(subject.values(0, dtype)).items():
            assert isinstance(value, float), f"{name!r} is {value!r} ({type(value).__name__}); return a float"
            assert math.isfinite(value), f"{name!r} is {value} for ordinary {dtype} signals"


def names_are_keys_of_the_history(subject: ProbeSubject) -> None:
    """Names are strings without spaces, none of the row's own, and stay the same; the row survives JSON."""
    row = subject.measure(subject.values(0))
    assert row, "the probe measures nothing; return at least one scalar"
    check_columns(f"probe {subject.probe.name!r}", row, {})
    assert json.loads(json.dumps(row)) == row, f"the row {row} does not survive JSON; return plain floats"
    later = subject.measure(subject.values(1))
    assert later.keys() == row.keys(), f"names differ between captures: {sorted(later.keys() ^ row.keys())}"


def is_deterministic(subject: ProbeSubject) -> None:
    """The same signals give the same scalars, whatever was measured in between."""
    first = subject.measure(subject.values(0))
    subject.measure(subject.values(1))
    found = difference(first, subject.measure(subject.values(0)))
    assert not found, f"a second measurement of the same signals differs: {found}"


def depends_on_its_signals(subject: ProbeSubject) -> None:
    """Other signals give other scalars."""
    assert difference(subject.measure(subject.values(0)), subject.measure(subject.values(1))), (
        "two different trainings measure exactly alike; use the signals"
    )


def agrees_across_dtypes(subject: ProbeSubject) -> None:
    """Signals in float32 give the scalars of float64, to float32 rounding."""
    values = subject.values(0, np.float32)
    expected = subject.measure(map_leaves(lambda leaf: leaf.astype(np.float64), values))
    for name, value in subject.measure(values).items():
        assert math.isclose(value, expected[name], rel_tol=1e-4, abs_tol=1e-6), (
            f"{name!r} is {value} for float32 signals and {expected[name]} for the same in float64; compute in float64"
        )


def signals_are_not_mutated(subject: ProbeSubject) -> None:
    """`measure` leaves its signals as they were."""
    values = subject.values(0)
    before = map_leaves(np.copy, values)
    subject.measure(values)
    found = difference(before, values)
    assert not found, f"measure changed a signal in place: {found}; work on a copy"


def reads_what_it_requires(subject: ProbeSubject) -> None:
    """`measure` reads every required signal and no other."""
    read: set[str] = set()
    subject.measure(RecordingMapping(subject.values(0), read))
    unread = sorted(subject.probe.requires - read)
    assert not unread, f"requires {unread} and never reads them; drop them, each costs the training something"


def survives_a_dead_network(subject: ProbeSubject) -> None:
    """Where gradients, residuals and predictions are zero, it returns floats: NaN or infinity if undefined."""
    with warnings.catch_warnings(), np.errstate(all="warn"):
        warnings.simplefilter("error")
        try:
            row = subject.measure(zeroed(subject.values(0), GIVEN))
        except (ArithmeticError, ValueError, Warning) as error:
            raise AssertionError(
                f"for signals of zero measure raises {type(error).__name__}: {error}; return NaN where undefined"
            ) from error
    for name, value in row.items():
        assert isinstance(value, float), f"{name!r} is {value!r} for signals of zero; return a float, NaN if undefined"


PROBE_LAWS = (
    declares_itself,
    returns_finite_floats,
    names_are_keys_of_the_history,
    is_deterministic,
    depends_on_its_signals,
    agrees_across_dtypes,
    signals_are_not_mutated,
    reads_what_it_requires,
    survives_a_dead_network,
)
"""Every law of probes; each takes a `ProbeSubject`."""
