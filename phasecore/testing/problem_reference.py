"""Laws of a problem's reference solution: that it is what it claims to be."""

from __future__ import annotations

import numpy as np

from phasecore.problems.base import Floats
from phasecore.problems.checks import reference_of, targets_of
from phasecore.testing.laws import NotApplicableError
from phasecore.testing.problem_subject import ProblemSubject

SMOOTH_SHARE = 0.5
"""Share of the points at which the reference must be smooth enough to be differentiated."""

SIGNS = 8
"""Combinations of signs with which the errors of finite differences are put together."""


def _applies(subject: ProblemSubject, *, as_a_function: bool = False) -> None:
    if not subject.problem.has_reference:
        raise NotApplicableError("the problem has no reference solution")
    if as_a_function and subject.problem.reference_data is not None:
        raise NotApplicableError("the reference is known at points only, and interpolated between them")


def reference_is_finite(subject: ProblemSubject) -> None:
    """`reference` gives float64 values of shape (m,), the same each time, finite on the evaluation grid too."""
    _applies(subject)
    points = subject.sample().interior
    found = subject.problem.reference(points)
    again = subject.problem.reference(points)
    for name, values in found.items():
        assert values.shape == (len(points),), f"reference field {name!r} has shape {values.shape}, not one value each"
        assert values.dtype == np.float64, f"reference field {name!r} is {values.dtype}; return float64"
        assert np.array_equal(values, again[name]), f"reference field {name!r} differs between two calls"
    reference_of(subject.problem, subject.problem.evaluation_points(), found)


def reference_is_a_function_of_the_point(subject: ProblemSubject) -> None:
    """A point's reference value does not depend on the points that are asked for along with it, or their order."""
    _applies(subject)
    points = subject.sample().interior
    together = subject.problem.reference(points)
    backwards = subject.problem.reference(points[::-1])
    alone = subject.problem.reference(points[:1])
    for name, values in together.items():
        assert np.allclose(values, backwards[name][::-1], rtol=1e-12, atol=1e-12), f"{name!r} depends on the order"
        assert np.allclose(values[:1], alone[name], rtol=1e-12, atol=1e-12), f"{name!r} depends on other points"


def reference_solves_the_equations(subject: ProblemSubject) -> None:
    """The reference has a residual of zero, up to its declared accuracy and the error of differentiating it.

    The residual is compared with the size of the equation's terms. Points at which finite differences cannot resolve
    the reference to 1% of that size are left out; at least half must remain.
    """
    _applies(subject, as_a_function=True)
    problem = subject.problem
    points = subject.sample().interior
    partials: dict[str, Floats] = {}
    errors: dict[str, Floats] = {}
    for name in problem.all_partials():
        partials[name], errors[name] = subject.reference_partial(name, points)
    residuals = subject.residuals(points, partials)
    for equation, declared in problem.equations.items():
        residual = residuals[equation]
        size, noise = np.zeros(len(points)), np.zeros(len(points))
        for name in declared:
            scaled = {**partials, name: partials[name] * 1.001}
            size += np.abs(subject.residuals(points, scaled)[equation] - residual) / 0.001
            uncertain = {**partials, name: partials[name] + errors[name]}
            noise += np.abs(subject.residuals(points, uncertain)[equation] - residual)
        typical = float(np.sqrt(np.mean(size**2)))
        smooth = noise <= 0.01 * typical
        assert np.mean(smooth) >= SMOOTH_SHARE, (
            f"the reference is too rough to be differentiated at {np.mean(~smooth):.0%} of the points "
            f"(equation {equation!r}); interpolate it more smoothly"
        )
        excess = np.where(smooth, np.abs(residual) - 10 * noise - subject.accuracy * typical, -np.inf)
        worst = int(np.argmax(excess))
        assert excess[worst] <= 0, (
            f"the reference leaves a residual of {residual[worst]:.3g} in {equation!r} at {points[worst].tolist()}, "
            f"where its terms are of size {typical:.3g} and differentiating errs by {noise[worst]:.1g}; "
            f"correct residuals() or reference(), or state an accuracy coarser than {subject.accuracy:g}"
        )


def reference_satisfies_the_conditions(subject: ProblemSubject) -> None:
    """The reference has a residual of zero in every condition, up to its declared accuracy."""
    _applies(subject, as_a_function=True)
    problem = subject.problem
    inside = list(problem.reference(subject.sample().interior).values())
    checked = 0
    for condition, points in zip(subject.evaluated.conditions, subject.sample().conditions, strict=True):
        try:
            known = {name: subject.reference_partial(name, points) for name in condition.partials}
        except NotApplicableError:
            continue
        checked += 1
        partials = {name: values for name, (values, _) in known.items()}
        targets = targets_of(condition, points, problem.coordinates, problem.normals)
        residual = np.atleast_1d(condition.residuals(partials, targets, np))
        noise = np.zeros_like(residual)
        signs = np.random.default_rng(0)
        for _ in range(SIGNS):
            uncertain = {name: v + e * signs.choice([-1.0, 1.0], len(v)) for name, (v, e) in known.items()}
            noise = np.maximum(noise, np.abs(np.asarray(condition.residuals(uncertain, targets, np)) - residual))
        size = max(float(np.max(np.abs(values))) for values in [*partials.values(), *targets.values(), *inside])
        assert np.mean(noise <= 0.01 * size) >= SMOOTH_SHARE, (
            f"the reference is too rough to be differentiated where {condition.partials} of a condition of term "
            f"{condition.term!r} are wanted; interpolate it more smoothly"
        )
        excess = np.abs(residual) - 10 * noise - subject.accuracy * size
        assert np.max(excess) <= 0, (
            f"the reference misses a condition of term {condition.term!r} on {condition.partials} by "
            f"{abs(residual[np.argmax(excess)]):.3g}; correct the condition or reference(), or state an accuracy "
            f"coarser than {subject.accuracy:g}"
        )
    if checked == 0:
        raise NotApplicableError("the reference gives none of the partials that the conditions read")


REFERENCE_LAWS = (
    reference_is_finite,
    reference_is_a_function_of_the_point,
    reference_solves_the_equations,
    reference_satisfies_the_conditions,
)
