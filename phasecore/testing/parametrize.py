"""One pytest test for each law and subject, like scikit-learn's decorator of the same name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from phasecore.errors import InputError
from phasecore.policies.base import Policy
from phasecore.probes.base import Probe
from phasecore.problems.base import Problem
from phasecore.sampling.base import Sampling
from phasecore.testing.laws import NotApplicableError
from phasecore.testing.libraries import ArrayLibrary, libraries
from phasecore.testing.policies import POLICY_LAWS, policy_subject
from phasecore.testing.probes import PROBE_LAWS, probe_subject
from phasecore.testing.problem_subject import ProblemSubject
from phasecore.testing.problems import PROBLEM_LAWS
from phasecore.testing.samplings import SAMPLING_LAWS, sampling_subject
from phasecore.testing.weighting import WEIGHTING_LAWS
from phasecore.testing.weighting_subject import WeightingSubject
from phasecore.weighting.base import WeightingScheme

Law = Callable[[Any], None]


@final
@dataclass(frozen=True)
class Check:
    """One law and the subject that it is to hold for; call it to check, in a pytest test.

    Attributes:
        name: "subject-law", the test's id.
        law: raises an AssertionError that says what to change.
        subject: what the law takes.
    """

    name: str
    law: Law
    subject: Any

    def __call__(self) -> None:
        """Check the law; skips the test where it says nothing about the subject.

        Raises:
            AssertionError: if the law is broken.
        """
        import pytest

        try:
            with np.errstate(all="ignore"):
                self.law(self.subject)
        except NotApplicableError as reason:
            pytest.skip(str(reason))


def checks_of(
    subject: object,
    namespaces: Iterable[str | ArrayLibrary] | None = None,
    problem: str | Problem | None = None,
) -> list[Check]:
    """Return a check for each law of a subject.

    Args:
        subject: a weighting scheme, problem, sampling, policy or probe, or a class or function that makes one without
            arguments.
        namespaces: array libraries, as `check_weighting` takes them; by default all that are installed.
        problem: whose terms a probe reads by name, as `check_probe` takes it.

    Raises:
        InputError: for anything else.

    Example:
        >>> from phasecore.weighting.rba import rba
        >>> checks_of(rba, ["numpy"])[0].name
        'rba-declares_itself'
    """
    is_made = isinstance(subject, WeightingScheme | Problem | Sampling | Policy | Probe)
    made: Any = subject() if callable(subject) and not is_made else subject
    laws: Sequence[Law]
    of_laws: Any
    if isinstance(made, WeightingScheme):
        owner = getattr(made.update, "__qualname__", "scheme").partition(".")[0]
        name, laws, of_laws = owner, WEIGHTING_LAWS, WeightingSubject(made, libraries(namespaces))
    elif isinstance(made, Problem):
        name, laws, of_laws = made.name, PROBLEM_LAWS, ProblemSubject(made, libraries(namespaces))
    elif isinstance(made, Sampling):
        of_laws, laws = sampling_subject(made), SAMPLING_LAWS
        name = of_laws.name
    elif isinstance(made, Policy):
        of_laws, laws = policy_subject(made), POLICY_LAWS
        name = of_laws.name
    elif isinstance(made, Probe):
        name, laws, of_laws = made.name, PROBE_LAWS, probe_subject(made, problem)
    else:
        raise InputError(
            "subject of conformance checks",
            received=repr(made),
            expected="a sampling, weighting scheme, problem, policy or probe, or what makes one without arguments",
        )
    name = getattr(subject, "__name__", name)
    return [Check(f"{name}-{law.__name__}", law, of_laws) for law in laws]


def parametrize_with_checks(
    subjects: Iterable[object],
    known_failures: Mapping[str, str] | None = None,
    *,
    namespaces: Iterable[str | ArrayLibrary] | None = None,
    problem: str | Problem | None = None,
) -> Callable[[Callable[..., Any]], Any]:
    """Return a decorator that runs a pytest test, whose argument is `check`, for each law of each subject.

    Args:
        subjects: weighting schemes, problems, samplings, policies and probes, or what makes them without arguments.
        known_failures: {law: reason} for laws that every subject is known to break: these tests are expected to fail,
            and it is an error if one does not. Subjects with other failures need a test of their own.
        namespaces: array libraries, as `check_weighting` takes them; by default all that are installed.
        problem: whose terms the probes read by name, as `check_probe` takes it.

    Raises:
        InputError: for a subject of another kind, or a law that no subject has.

    Example:
        >>> from phasecore.weighting.rba import rba
        >>> @parametrize_with_checks([rba], namespaces=["numpy"])
        ... def test_contract(check):
        ...     check()
    """
    import pytest

    over = None if namespaces is None else tuple(namespaces)
    checks = [check for subject in subjects for check in checks_of(subject, over, problem)]
    known = dict(known_failures or {})
    names = dict.fromkeys(check.law.__name__ for check in checks)
    for law in known:
        if law not in names:
            raise InputError("known failures", received=repr(law), expected=f"one of {', '.join(names)}")

    def marks(check: Check) -> list[pytest.MarkDecorator]:
        reason = known.get(check.law.__name__)
        return [] if reason is None else [pytest.mark.xfail(reason=reason, strict=True)]

    return pytest.mark.parametrize(
        "check", [pytest.param(check, id=check.name, marks=marks(check)) for check in checks]
    )
