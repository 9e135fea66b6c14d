"""Laws of what a problem declares, of its sampling, and of what it refuses."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

import phasecore.registry as registry
from phasecore.errors import InputError, PluginError
from phasecore.problems.base import CollocationPoints, Problem
from phasecore.problems.pointwise import check_pointwise
from phasecore.testing.problem_subject import ProblemSubject
from phasecore.testing.trees import difference


def declares_itself(subject: ProblemSubject) -> None:
    """A problem is a frozen dataclass derived from `Problem`, with coordinates, outputs, equations and a domain."""
    problem: Any = subject.problem
    assert isinstance(problem, Problem), f"{problem!r} is not a Problem; derive it from phasecore.problems.Problem"
    parameters = getattr(type(problem), "__dataclass_params__", None)
    assert getattr(parameters, "frozen", False), (
        "the class can change after it is made; decorate it with @dataclass(frozen=True)"
    )
    for attribute in ("name", "coordinates", "outputs", "equations", "grid", "reference_accuracy", "presets"):
        assert getattr(problem, attribute, None), f"the class lacks {attribute!r}; set it as a class attribute"
    names = [*problem.coordinates, *problem.outputs]
    assert len(set(names)) == len(names), f"coordinates and outputs {names} are not distinct; rename one"
    words = [problem.name, *names, *problem.terms]
    odd = [name for name in words if not (isinstance(name, str) and name.isidentifier())]
    assert not odd, f"{odd} cannot name loss terms or columns everywhere; use letters, digits and underscores"
    try:
        assert problem.region.coordinates == tuple(problem.coordinates)
    except InputError as error:
        raise AssertionError(f"the domain is not that of the coordinates: {error}") from error
    assert [count > 1 for count in problem.grid] == [True] * len(problem.coordinates), (
        f"grid is {problem.grid}; give at least 2 points for each of {problem.coordinates}"
    )
    shared = sorted({condition.term for condition in problem.conditions} & set(problem.equations))
    assert not shared, f"{shared} name both an equation and a condition; loss terms would be mixed up: rename one"


def its_partials_can_be_read(subject: ProblemSubject) -> None:
    """Every declared partial is one of `phasecore.partials`, of an output and coordinates of the problem."""
    subject.problem.check_partials()


def its_residuals_are_of_one_point_each(subject: ProblemSubject) -> None:
    """The residual at a point is the same whichever points are evaluated with it."""
    try:
        check_pointwise(subject.problem)
    except PluginError as error:
        raise AssertionError(str(error)) from error


def equals_one_with_its_parameters(subject: ProblemSubject) -> None:
    """`parameters` holds all that makes the problem: one made from them is equal."""
    again = type(subject.problem)(**subject.problem.parameters)
    assert again == subject.problem, f"made again from {subject.problem.parameters} it is {again}, not equal"


def its_presets_can_be_made(subject: ProblemSubject) -> None:
    """There is a preset "quick"; every preset has positive numbers, and its parameters and options are accepted."""
    assert "quick" in subject.problem.presets, "there is no preset 'quick'; add one that suits two cores"
    for name, preset in subject.problem.presets.items():
        for attribute in ("points", "width", "depth", "iterations", "learning_rate", "decay_interval", "every"):
            assert getattr(preset, attribute) > 0, f"preset {name!r}: {attribute} is not positive"
        made = type(subject.problem)(**preset.parameters)
        assert made.domain, f"preset {name!r} makes a problem without a domain"
        for scheme, options in preset.weighting.items():
            if scheme in registry.names("weighting"):
                registry.weighting_scheme(scheme, **options)


def sampling_is_seeded(subject: ProblemSubject) -> None:
    """One seed gives the same points each time, another other points; numpy's global generator is left alone."""
    before = np.random.get_state()[1].copy()  # type: ignore[index]  # noqa: NPY002
    first = subject.sample(seed=3)
    assert np.array_equal(before, np.random.get_state()[1]), (  # type: ignore[index]  # noqa: NPY002
        "sampling draws from numpy's global generator; use the generator that is handed over"
    )
    found = difference(_arrays(first), _arrays(subject.sample(seed=3)))
    assert not found, f"the same seed gives other points: {found}"
    assert difference(_arrays(first), _arrays(subject.sample(seed=4))), "all seeds give the same points"


def samples_are_in_the_domain(subject: ProblemSubject) -> None:
    """As many interior points as asked for, and points of each condition, all finite and within the domain."""
    problem = subject.problem
    for count in (1, subject.points):
        points = problem.sample(count, seed=1, condition_points=count)
        assert points.interior.shape == (count, len(problem.coordinates)), (
            f"asked for {count} points, sample() returned shape {points.interior.shape}"
        )
        assert len(points.conditions) == len(problem.conditions), "sample() returns points of other conditions"
        for condition, chosen in zip(problem.conditions, points.conditions, strict=True):
            problem.check_points(chosen, f"points of a condition of term {condition.term!r}")
        problem.check_points(points.interior)


def its_grid_covers_the_domain(subject: ProblemSubject) -> None:
    """The evaluation grid has the declared size and reaches both bounds of every coordinate."""
    points = subject.problem.evaluation_points()
    in_box = math.prod(subject.problem.grid)
    count = in_box if subject.problem.region.is_box else len(points)
    assert 0 < count <= in_box
    assert points.shape == (count, len(subject.problem.coordinates)), (
        f"evaluation_points() has shape {points.shape}, grid is {subject.problem.grid}"
    )
    extent = np.stack([points.min(axis=0), points.max(axis=0)])
    step = np.diff(subject.problem.bounds, axis=0)[0] / np.asarray(subject.problem.grid)
    slack = 0.0 if subject.problem.region.is_box else 2 * step
    assert np.all(np.abs(extent - subject.problem.bounds) <= 1e-8 + 1e-5 * np.abs(extent) + slack), (
        f"evaluation points reach {extent}, not the domain's bounds"
    )


def refuses_bad_counts(subject: ProblemSubject) -> None:
    """Counts that are not positive integers are refused with an `InputError`."""
    bad: tuple[Any, ...] = (0, -1, 2.5, "many", True)
    for count in bad:
        for counts in ((count, 5), (5, count)):
            try:
                subject.problem.sample(counts[0], seed=0, condition_points=counts[1])
            except InputError:
                continue
            raise AssertionError(f"sample() accepts the count {count!r}; raise InputError")


def refuses_bad_points(subject: ProblemSubject) -> None:
    """`reference` refuses points outside the domain, of another shape or not real, with an `InputError`.

    So does `check_points` of a problem without a reference.
    """
    problem = subject.problem
    refusing: Callable[[Any], Any] = problem.reference if problem.has_reference else problem.check_points
    dimension = len(problem.coordinates)
    low, high = problem.bounds
    centre = (low + high) / 2
    good = np.stack([centre, centre])
    # each is wrong in one way alone, whatever the dimension and the domain
    bad: dict[str, Any] = {
        "outside the domain": [high + (high - low)],
        "that are NaN": np.full((2, dimension), np.nan),
        "with a coordinate too many": np.concatenate([good, good[:, :1]], axis=1),
        "of shape (dimension,)": centre,
        "of no rows": good[:0],
        "that are complex": good + 1j,
        "that are text": [["a"] * dimension],
        "with rows of unequal length": [centre.tolist(), [*centre.tolist(), float(centre[0])]],
    }
    for kind, points in bad.items():
        try:
            refusing(points)
        except InputError:
            continue
        except Exception as error:
            raise AssertionError(
                f"reference() of points {kind} raises {type(error).__name__}: {error}; call self.check_points first"
            ) from error
        raise AssertionError(f"reference() accepts points {kind}; call self.check_points(points) first")


DECLARATION_LAWS = (
    declares_itself,
    its_partials_can_be_read,
    its_residuals_are_of_one_point_each,
    equals_one_with_its_parameters,
    its_presets_can_be_made,
    sampling_is_seeded,
    samples_are_in_the_domain,
    its_grid_covers_the_domain,
    refuses_bad_counts,
    refuses_bad_points,
)


def _arrays(points: CollocationPoints) -> dict[str, Any]:
    return {"interior": points.interior, "conditions": points.conditions}
