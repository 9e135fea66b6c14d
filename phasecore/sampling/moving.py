"""Points of a problem: the first ones of a training by any sampling, and where they go while it trains."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from phasecore.errors import InputError, TrainingError
from phasecore.problems.base import CollocationPoints, Problem
from phasecore.problems.finite import SUSPECTS, places_not_finite
from phasecore.sampling.base import Floats, Region, Sampling, Situation, unit_latin_hypercube
from phasecore.sampling.checks import check_declaration, check_seed, drawing, drawn, moved, repeats

MOVES = 1_000_000
"""First key of the random numbers of moves, beyond those of conditions."""

Residuals = Callable[[Floats], Mapping[str, NDArray[Any]]]
"""From points, shape (m, dimension), to {equation: residual, shape (m,)}."""


def region_of(problem: Problem) -> Region:
    """Return where the collocation points of a problem may lie.

    Example:
        >>> from phasecore.problems.burgers import Burgers
        >>> region_of(Burgers()).bounds.tolist()
        [[-1.0, 0.0], [1.0, 1.0]]
    """
    region = problem.region
    return Region(region.bounds, None if region.is_box else region.contains)


def sample(
    problem: Problem,
    points: int,
    sampling: Sampling | None = None,
    *,
    seed: int = 0,
    condition_points: int | None = None,
    name: str = "of one's own",
) -> CollocationPoints:
    """Return first points of a training: as `problem.sample`, those of the equations drawn by another sampling.

    Args:
        problem: whose points.
        points: number of collocation points of the equations.
        sampling: draws them; Latin hypercube sampling by default.
        seed: the same seed gives the same points.
        condition_points: number of points of each condition, which are drawn as ever; the problem's choice by default.
        name: the sampling, as messages call it.

    Raises:
        InputError: if a count is not a positive integer.
        PluginError: if the sampling draws anything but points of the unit box.

    Example:
        >>> from phasecore.problems.burgers import Burgers
        >>> from phasecore.sampling import sobol
        >>> sample(Burgers(), 64, sobol(), seed=1).interior.shape
        (64, 2)
    """
    given = problem.sample(points, seed=seed, condition_points=condition_points)
    if sampling is None or sampling.draw is unit_latin_hypercube:
        return given
    check_declaration(name, sampling)
    generator = np.random.default_rng(seed).spawn(1)[0]
    return CollocationPoints(drawn(name, sampling, points, region_of(problem), generator), given.conditions)


@final
class Resampler:
    """Says when the points of a training move and where to; who trains hands it the network's residuals.

    The points at hand are all the state there is: a move is a function of these, of the network, of the seed and of the
    iteration.

    Args:
        sampling: one that moves points.
        problem: whose points.
        seed: of the moves, a whole number of at least 0.
        name: the sampling, as messages call it.

    Attributes:
        moved_at: the last iteration up to which nothing is due any more.

    Raises:
        InputError: for a sampling that moves nothing, or another seed.

    Example:
        >>> from phasecore.problems.burgers import Burgers
        >>> from phasecore.sampling import uniform
        >>> problem = Burgers()
        >>> resampler, points = Resampler(uniform(every=10), problem, seed=0), problem.sample(5).interior
        >>> [iteration for iteration in (9, 10, 11) if resampler.is_due(iteration)]
        [10, 11]
        >>> resampler.move(points, lambda points: {"pde": points[:, 0]}, 10).shape, resampler.is_due(11)
        ((5, 2), False)
    """

    def __init__(self, sampling: Sampling, problem: Problem, *, seed: int = 0, name: str = "of one's own") -> None:
        check_declaration(name, sampling)
        check_seed(seed, "the moves")
        if sampling.every is None:
            raise InputError(
                "points that are to move",
                received=f"sampling {name!r}, which moves none",
                expected="a sampling that does, such as 'rad:every=500' or 'sobol+r3'",
            )
        self._sampling, self._problem, self._seed, self._name = sampling, problem, seed, name
        self._region = region_of(problem)
        self._shifts = repeats(sampling, self._region.bounds.shape[1])
        self.every = sampling.every
        self.moved_at = 0

    def is_due(self, iteration: int) -> bool:
        """Return whether a move is due after so many iterations: another multiple of `every` has been reached."""
        return iteration // self.every > self.moved_at // self.every

    def move(self, points: Floats, residuals: Residuals, iteration: int) -> Floats:
        """Return where the points go after an iteration, shape (n or more, dimension), float64.

        Args:
            points: where they are, shape (n, dimension), float64.
            residuals: the network's now.
            iteration: optimizer steps done.

        Raises:
            TrainingError: for residuals that are not finite.
            PluginError: for a sampling that moves points outside the domain, or returns something else than points.
        """
        key = np.random.SeedSequence(entropy=self._seed, spawn_key=(MOVES, iteration))
        generator = np.random.default_rng(key)
        there = np.array(points, dtype=np.float64)
        there.flags.writeable = False

        def finite(at: Floats) -> dict[str, Floats]:
            return self._finite(residuals(at), at, iteration)

        draw = drawing(self._name, self._sampling, there, self._region, generator, shifts=self._shifts)
        situation = Situation(there, finite, draw, generator)
        found = moved(self._name, self._sampling, situation, self._region)
        self.moved_at = iteration
        return found

    def go_on(self, iteration: int) -> None:
        """Take the moves before an iteration as made: they led to the points at hand; one due at it is to come."""
        self.moved_at = max(iteration - 1, 0)

    def check(self, points: Floats) -> None:
        """Make a move as of a network whose residuals are zero, so that what cannot be is said before the training.

        Args:
            points: that it is to move, shape (n, dimension).

        Raises:
            InputError: for options that do not suit the number of points.
            PluginError: as `move`.
        """
        before = self.moved_at
        self.move(points, lambda at: dict.fromkeys(self._problem.equations, np.zeros(len(at))), 0)
        self.moved_at = before

    def _finite(self, found: Mapping[str, NDArray[Any]], at: Floats, iteration: int) -> dict[str, Floats]:
        residuals = {term: np.asarray(values, dtype=np.float64) for term, values in found.items()}
        for term, values in residuals.items():
            if not np.isfinite(values).all():
                where = places_not_finite(values, at, self._problem.coordinates)
                raise TrainingError(
                    f"moving the points of {self._problem.name!r} at iteration {iteration}",
                    received=f"a residual of {term!r} that is {where}",
                    expected="finite real numbers",
                    fix=f"Lower the learning rate, or look at the equation there, {SUSPECTS}.",
                )
        return residuals
