"""What every problem must satisfy, and `check_problem`, which runs it all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from phasecore.problems.base import Problem
from phasecore.testing.laws import Report, run_laws
from phasecore.testing.libraries import ArrayLibrary, libraries
from phasecore.testing.problem_declarations import DECLARATION_LAWS
from phasecore.testing.problem_equations import EQUATION_LAWS
from phasecore.testing.problem_reference import REFERENCE_LAWS
from phasecore.testing.problem_subject import ProblemSubject

PROBLEM_LAWS = (*DECLARATION_LAWS, *EQUATION_LAWS, *REFERENCE_LAWS)
"""Every law of problems; each takes a `ProblemSubject`."""


def check_problem(
    problem: Problem,
    namespaces: Iterable[str | ArrayLibrary] | None = None,
    *,
    accuracy: float = 1e-6,
    known_failures: Mapping[str, str] | None = None,
) -> Report:
    """Check that a problem keeps its contract, its equations on every array library.

    Args:
        problem: the problem.
        namespaces: array libraries by name ("numpy", "array_api_strict", "torch") or as `ArrayLibrary`; by default
            all that are installed.
        accuracy: error that the reference solution may have in the equations and conditions, as a share of the
            size of their terms.
        known_failures: {law: reason} for laws that the problem is known to break; an error if it does not.

    Raises:
        AssertionError: listing every broken law and what to change.

    Example:
        >>> from phasecore.problems.helmholtz import Helmholtz
        >>> check_problem(Helmholtz(a1=2, a2=3), ["numpy"]).skipped
        {}
    """
    subject = ProblemSubject(problem, libraries(namespaces), accuracy)
    return run_laws(f"problem {getattr(problem, 'name', problem)!r}", PROBLEM_LAWS, subject, known_failures)
