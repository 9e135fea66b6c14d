"""Points of a PINN that move within `fit`."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, final

import numpy as np
from keras import ops
from numpy.typing import ArrayLike, NDArray

from phasecore.errors import InputError
from phasecore.problems import CollocationPoints, Problem
from phasecore_keras.differentiation import Tensor
from phasecore_keras.distribution import cut_by_device, own_part
from phasecore_keras.loss import PhysicsLoss

Points = int | CollocationPoints | ArrayLike
"""How many points to draw; or those of `problem.sample(...)`; or coordinates, shape (n, dimension)."""

Arrays = dict[str, NDArray[Any]]
"""Points as `fit` takes them: COORDINATES of shape (n, dimension), INDICES of shape (n,)."""

COORDINATES = "coordinates"
INDICES = "indices"


def chosen(
    problem: Problem, points: Points | None, seed: int | None, condition_points: int | None
) -> CollocationPoints | None:
    """Return the points that are asked for, checked, or None for those that there are.

    Args:
        problem: whose points.
        points: see `Points`.
        seed: of those drawn, 0 by default: all, or those of the conditions where coordinates are given.
        condition_points: number of points of each condition that are drawn; the problem chooses by default.

    Raises:
        InputError: for what does not fit the problem, and for options where nothing is drawn.
    """
    if isinstance(points, CollocationPoints) or points is None:
        given = {"seed": seed, "condition_points": condition_points}
        for name, value in given.items():
            if value is not None:
                raise InputError(
                    f"argument {name!r} of pinn.points",
                    received=f"{value!r} beside {'no points' if points is None else 'those of problem.sample(...)'}",
                    expected="nothing where nothing is drawn",
                    fix="Give a number of points, or coordinates, for which those of the conditions are drawn.",
                )
        return None if points is None else problem.check_collocation_points(points)
    drawn = functools.partial(problem.sample, seed=seed or 0, condition_points=condition_points)
    if isinstance(points, int | np.integer) and not isinstance(points, bool):
        return drawn(int(points))
    interior = problem.check_points(points, "collocation points")
    return CollocationPoints(interior, drawn(len(interior)).conditions)


@final
class WithinFit:
    """Which points the steps of a `fit` are on: all that there are, or those whose indices the data have.

    Args:
        physics: the loss, with its points.

    Attributes:
        goes_on: whether a fit is in progress.
    """

    def __init__(self, physics: PhysicsLoss) -> None:
        self._physics = physics
        self._on_all = False
        self._fed: NDArray[Any] | None = None
        self.goes_on = False

    def __enter__(self) -> None:
        """Begin, on data that have the coordinates of the points as they are."""
        self._fed = self._physics.points
        self.goes_on = True

    def __exit__(self, *unused: object) -> None:
        """End."""
        self.goes_on = False

    def prepare(self, x: Any, batch_size: int | None) -> None:
        """Hear what a fit is given; what is compiled of points that move depends on it.

        Args:
            x: the data.
            batch_size: number of points of a step, or None for all.
        """
        points = self._physics.points
        assert points is not None
        all_at_once = isinstance(x, Mapping) and not batch_size
        on_all = all_at_once and np.array_equal(np.asarray(x[INDICES]), np.arange(len(points)))
        self._be_on_all(on_all)

    def prepare_batch(self) -> None:
        """Hear that a step is made by itself: it is on its batch, whatever a fit before it was on."""
        if not self.goes_on:
            self._be_on_all(False)

    def _be_on_all(self, on_all: bool) -> None:
        if on_all != self._on_all and self._physics.moving is not None:
            self._physics.version += 1
        self._on_all = on_all

    def points_now(self) -> tuple[NDArray[Any], bool]:
        """Return the points, shape (n, dimension), and whether steps find them by their indices alone."""
        assert self._physics.points is not None
        return self._physics.points, self._physics.moving is not None

    def check(self, points: CollocationPoints | ArrayLike) -> None:
        """Refuse another number of points than the data that are trained on have indices of.

        Raises:
            InputError: if so.
        """
        given = np.shape(points.interior if isinstance(points, CollocationPoints) else points)
        now = self._physics.points
        if self.goes_on and not self._on_all and now is not None and given and given[0] != len(now):
            raise InputError(
                "moving points within a fit on batches",
                received=f"{given[0]} points",
                expected=f"{len(now)}, of which its data have the indices",
                fix="Fit on all points at once, pinn.fit(pinn.points(...)), without a batch_size.",
            )

    def check_number(self, points: CollocationPoints) -> None:
        """Refuse to begin with another number of points while a fit goes on.

        Raises:
            InputError: if so.
        """
        now = self._physics.points
        if self.goes_on and now is not None and len(points.interior) != len(now):
            raise InputError(
                "pinn.points(...) within a fit",
                received=f"{len(points.interior)} points",
                expected=f"{len(now)}, as there are: with another number weights would start anew",
                fix="Call pinn.resample(points), which keeps what is known of each.",
            )

    def follow(self) -> None:
        """Have the steps of a fit find the points where they are, if they are no more where its data have them."""
        fed, now = self._fed, self._physics.points
        if self.goes_on and fed is not None and now is not None and not np.array_equal(fed, now):
            self._physics.let_move()

    def batch(self, x: Mapping[str, Any], *, training: bool) -> tuple[Tensor, Tensor | None]:
        """Return coordinates and indices of a batch: of points that move, where they are now.

        Args:
            x: the batch.
            training: whether it is one of a training.
        """
        moving, indices = self._physics.moving, x.get(INDICES)
        if moving is None or indices is None:
            assert self._physics.points is not None
            return cut_by_device(ops.cast(x[COORDINATES], self._physics.points.dtype.name)), indices
        if training and self._on_all:
            indices = own_part(ops.arange(moving.shape[0], dtype="int32"))
        return cut_by_device(ops.take(moving.value, indices, axis=0)), indices
