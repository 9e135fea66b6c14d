"""Whether the parts of a training suit its problem and one another: said before anything is trained."""

from __future__ import annotations

from collections.abc import Sequence

from phasecore import registry
from phasecore.backends import Training
from phasecore.errors import InputError
from phasecore.probes import Default, Probe
from phasecore.problems.base import Problem
from phasecore.problems.checks import compared_with, reference_of, targets_of
from phasecore.problems.condition_rehearsal import condition_rehearsed
from phasecore.problems.partition import not_in_parts
from phasecore.problems.rehearsal import fields_known
from phasecore.recording.applying import changes, check_apply, check_changes_apply
from phasecore.recording.own_problem import is_own
from phasecore.runs.session import resampler_of
from phasecore.signals import OF_REFERENCE
from phasecore.weighting.checks import check_can_move


def check_own(problem: Problem) -> None:
    """Refuse a problem of one's own, before anything is written, whose parts do not fit; a package's are trusted."""
    problem.check_terms()
    if is_own(problem):
        problem.check_partials()
        if problem.reference_data is not None:
            compared_with(problem, ())
        elif problem.has_reference and "equations" in vars(problem):
            reference_of(problem, problem.evaluation_points()[:2], fields_known(problem))


def check_conditions(training: Training) -> None:
    """Refuse a problem of one's own whose conditions do not fit their points, before anything is written.

    Residuals that only a framework's arrays go through, of classes of one's own or with `reads`, are left to it.

    Raises:
        InputError: for points outside the domain, or as `phasecore.problems.condition_rehearsal.condition_rehearsed`.
        PluginError: for a condition that breaks its contract.
    """
    problem = training.problem
    if not is_own(problem):
        return
    points = problem.check_collocation_points(training.points)
    for condition, own in zip(problem.conditions, points.conditions, strict=True):
        if type(condition).__module__.startswith("phasecore.") and getattr(condition, "reads", None) is None:
            condition_rehearsed(problem, condition, own)
        else:
            targets_of(condition, own, problem.coordinates, problem.normals)


def probes_of(problem: Problem, given: Sequence[str | Probe]) -> list[Probe]:
    """Make the probes; of those that nobody asked for, the ones that the problem has what they read of.

    Raises:
        InputError: for a probe that is asked for and reads the reference solution of a problem that has none.
    """
    probes = []
    for item in given:
        probe = registry.as_probe(item)
        lacking = () if problem.has_reference else sorted(OF_REFERENCE & set(probe.requires))
        if not lacking:
            probes.append(probe)
        elif not isinstance(item, Default):
            raise InputError(
                f"probe {probe.name!r} requires signal {' and '.join(map(repr, lacking))}",
                received=f"problem {problem.name!r}, which has no reference solution",
                fix="Give it one (see docs/problems.md), or drop the probe.",
            )
    return probes


def check_processes(training: Training) -> None:
    """Refuse, before anything is trained, to train in several processes what cannot be cut into as many parts.

    Raises:
        InputError: for a backend, a policy or a sampling that cannot, or too few batches or points.
    """
    count = training.settings.processes
    if count == 1:
        return
    backend = registry.backend(training.backend)
    torn = not_in_parts(training.problem, training.points.conditions, count)
    hindrances = {
        f"backend {training.backend!r}": not backend.takes_processes,
        f"policy {training.policy_name!r}, which acts in one process": bool(training.policies),
        f"sampling {training.sampling_name!r}, which moves points": training.sampling.move is not None,
        f"{training.settings.batches} batches of the gradient statistics": training.settings.batches < count,
        torn: bool(torn),
    }
    for hindrance, is_there in hindrances.items():
        if is_there:
            raise InputError(
                f"a training in {count} processes",
                received=hindrance,
                expected="the backend torch, without policies, with points that stay, and of batches and of the points "
                "of each condition as many as processes",
                fix="Train in one process, or in fewer.",
            )


def check_precision(training: Training) -> None:
    """Refuse, before anything is trained, a precision that the backend does not know of.

    Raises:
        InputError: naming both.
    """
    precision = training.settings.precision
    if precision is not None and not registry.backend(training.backend).takes_precision:
        raise InputError(
            "setting 'precision'",
            received=f"{precision!r} for backend {training.backend!r}, which takes none",
            fix="Leave it out, or train with the backend torch or keras.",
        )


def check_schemes_apply(training: Training) -> None:
    """Refuse, before anything is trained, a scheme that the problem has nothing for, see `check_apply`."""
    check_apply(training.schemes, training.problem, training.points)
    check_changes_apply(training.policies, training.problem, training.points)


def check_points_can_move(training: Training) -> None:
    """Refuse, before anything is trained, to move points where a scheme or their number forbids it.

    It is the sampling that moves them, or a policy that may; the schemes are those that a policy may change to, too.
    """
    resampler = resampler_of(training)
    if resampler is None:
        return
    for schemes in (training.schemes, *changes(training.policies)):
        check_can_move(schemes)
    resampler.check(training.points.interior)
