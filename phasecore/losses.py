"""The physics-informed loss, as far as it needs no framework: the half that the adapters' losses share."""

from __future__ import annotations

import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any

from phasecore.arrays import Array, ArrayNamespace
from phasecore.errors import InputError, PhasecoreError, PluginError
from phasecore.problems import CollocationPoints, Problem
from phasecore.problems.checks import columns_joined
from phasecore.problems.finite import check_residuals_are_finite, explained
from phasecore.signals import (
    CONDITION_RESIDUALS,
    COORDINATES,
    DOMAIN,
    RESIDUALS,
    TANGENT_KERNEL_TRACES,
    TERM_GRADIENTS,
    TERM_LOSSES,
    UNIT_COORDINATES,
    Reduce,
    Signals,
    check_requirements,
    unit_coordinates,
)
from phasecore.weighting import WeightingScheme
from phasecore.weighting.checks import check_can_move
from phasecore.weighting.composition import filled
from phasecore.weighting.indexed import Composition, IndexedScheme
from phasecore.weighting.rba import RBAState

SUPPLIES = frozenset(
    {
        RESIDUALS,
        CONDITION_RESIDUALS,
        TERM_LOSSES,
        TERM_GRADIENTS,
        TANGENT_KERNEL_TRACES,
        COORDINATES,
        UNIT_COORDINATES,
        DOMAIN,
    }
)
"""Signals that a weighting scheme can require of an adapter's loss."""

UPDATES_BETWEEN_CHECKS = 100
"""How often the values of weights are looked at."""


class ResidualLoss(ABC):
    """The mean squared weighted residual of every term of a problem, summed. Base class, beside a framework's module.

    Attributes:
        problem: whose residuals.
        collocation: the collocation points, with those of the conditions; None before there are any.
        weighting: the schemes with their states.
    """

    problem: Problem
    collocation: CollocationPoints | None
    weighting: Composition
    _equations: Any
    """What evaluates the partial derivatives, an adapter's `PartialDerivatives`."""
    trained_coefficients: Any
    """Of the problem, an adapter's `Coefficients`."""
    _conditions: Any
    _out_of_range: tuple[str, ...] = ()

    @abstractmethod
    def _residuals_now(self) -> Mapping[str, Any]:
        """Return the residual of every term at all points, numpy arrays, aside from the training."""

    @abstractmethod
    def coefficients(self) -> dict[str, Any]:
        """Return the value of each trained coefficient now, a scalar, by name."""

    @abstractmethod
    def _attention_state(self) -> RBAState | None:
        """Return the state of the residual-based attention in use, or tracked beside it."""

    @property
    def model(self) -> Any:
        """The user's model."""
        return self._equations.model

    @property
    def method(self) -> str:
        """How derivatives are taken: "jets" or "autodiff"."""
        return str(self._equations.method)

    def condition_residuals(self) -> dict[str, Any]:
        """Return the unweighted residual of each condition term at all its points, shape (m,)."""
        return self._conditions()  # type: ignore[no-any-return]

    def _taken(self, points: Any) -> CollocationPoints:
        """Return points to go on with, checked: with those of the conditions, or the equations' alone.

        Raises:
            InputError: for a weighting that forbids it, points of another problem, of a wrong shape or outside the
                domain.
        """
        check_can_move({part.scheme_name: part.scheme for part in self.weighting.parts})
        points = columns_joined(points, self.problem.coordinates)
        if isinstance(points, CollocationPoints) or self.collocation is None:
            return self.problem.check_collocation_points(points)
        return CollocationPoints(self.problem.check_points(points, "collocation points"), self.collocation.conditions)

    def check_residuals(self) -> None:
        """Refuse residuals that are not finite at the points, before a training.

        Raises:
            PluginError: naming the term, how many points and the first of them.
        """
        assert self.collocation is not None
        check_residuals_are_finite(self.problem, self.collocation, self._residuals_now())

    def check_weights(self, iteration: int) -> None:
        """Refuse weights that are not finite, or negative where they multiply squares.

        Trained coefficients that stand still, or that the problem would not be made with, are warned of, once.

        Raises:
            PluginError: naming scheme, term and iteration.
            TrainingError: where they only follow residuals that are not finite, naming those.
        """
        self._check_coefficients(iteration)
        try:
            self.weighting.check(iteration)
        except PluginError as error:
            raise self.explained(error, iteration) from None

    def _check_coefficients(self, iteration: int) -> None:
        """Warn of a coefficient that stands still, or has left the range of its problem, where it has no bounds."""
        if not self.problem.trained_coefficients:
            return
        self.trained_coefficients.warn_of_unmoved(self.model, iteration)
        values = {name: float(value) for name, value in self.coefficients().items()}
        for name, value in values.items():
            told = "" if name in self._out_of_range or not math.isfinite(value) else _refused(self.problem, name, value)
            if told:
                self._out_of_range += (name,)
                warnings.warn(
                    f"Iteration {iteration}: trained coefficient {name!r} is out of range. {told} Keep it there by "
                    "trained(..., positive=True) or bounds=(low, high).",
                    stacklevel=2,
                )

    def explained(self, error: PluginError, iteration: int) -> PhasecoreError:
        """Return an error about weights, or where these only follow residuals that are not finite, about those."""
        assert self.collocation is not None
        return explained(error, self.problem, iteration, self.collocation, self._residuals_now())

    def point_weights(self) -> dict[str, Any]:
        """Return the current weight of each point, shape (n,), for the terms that are weighted point by point.

        It is the product of all schemes' weights; where some multiply the residual and some its square, the former
        enter squared.
        """
        return self.weighting.point_weights()

    def residual_attention(self) -> dict[str, Any]:
        """Return the residual-based attention of each equation, shape (n,): the weights of rba, or those tracked.

        A point that was in no batch yet has the mean of those that were.

        Raises:
            InputError: if none was tracked.
        """
        state = self._attention_state()
        if state is None:
            raise InputError(
                "residual-based attention", received="none was tracked", fix="Call track_attention() before training."
            )
        xp = self.weighting.parts[0].namespace
        return {term: _of_all(weight, state.visited[term], xp) for term, weight in state.weights.items()}

    def _named(self, points: Any) -> dict[str, Array]:
        return {name: points[:, axis] for axis, name in enumerate(self.problem.coordinates)}


def signals_of(
    problem: Problem,
    domain: Array,
    points: Array,
    residuals: Mapping[str, Array],
    conditions: Mapping[str, Array],
    xp: ArrayNamespace,
    *,
    unit: bool = True,
    reduce: Reduce | None = None,
) -> Signals:
    """Return the signals that schemes read, all but the costly ones.

    Args:
        problem: whose residuals.
        domain: lower and upper bounds, shape (2, dimension).
        points: shape (n, dimension).
        residuals: of each equation at these points, shape (n,), constants.
        conditions: residuals of each condition term, shape (m,), constants.
        xp: the namespace of the arrays.
        unit: with the coordinates that are scaled to the unit box.
        reduce: see `Signals`.
    """
    mean = xp.mean if reduce is None else Signals({}, xp, reduce).mean
    values: dict[str, Any] = {
        RESIDUALS: residuals,
        CONDITION_RESIDUALS: conditions,
        TERM_LOSSES: {term: mean(xp.square(r)) for term, r in {**residuals, **conditions}.items()},
        COORDINATES: points,
        DOMAIN: domain,
    }
    if unit:
        values[UNIT_COORDINATES] = unit_coordinates(points, domain, problem.coordinates)
    return Signals(values, xp, reduce)


def _refused(problem: Problem, name: str, value: float) -> str:
    """What a problem says to a value of a parameter that it refuses, or nothing.

    A class of one's own refuses it by whatever it raises. One that cannot be made again from its fields, whatever these
    are, says nothing of the value.
    """
    made: Any = problem
    names: set[str] = {item.name for item in fields(made) if item.init} if is_dataclass(problem) else set()
    error = _error_of(lambda: replace(made, **{name: value})) if name in names else None
    if error is None or _error_of(lambda: replace(made)) is not None:
        return ""
    said = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
    return f"{said.rstrip('.')}."


def _error_of(make: Callable[[], Any]) -> Exception | None:
    try:
        make()
    except Exception as error:
        return error
    return None


def checked_schemes(schemes: dict[str, WeightingScheme], backend: str) -> dict[str, WeightingScheme]:
    """Return schemes, and refuse those that need a signal which an adapter's loss does not supply.

    Raises:
        InputError: naming the scheme and the signal.

    Example:
        >>> from phasecore.weighting.rba import rba
        >>> list(checked_schemes({"rba": rba()}, "torch"))
        ['rba']
    """
    for name, scheme in schemes.items():
        fix = "Use a scheme that needs these signals only."
        check_requirements(f"weighting {name!r}", scheme.requires, backend, SUPPLIES, fix=fix)
    return schemes


def attention_of(parts: Iterable[IndexedScheme]) -> RBAState | None:
    """Return the state of the first scheme that is a residual-based attention and has one."""
    states = (part.state for part in parts if part.weighted)
    return next((state for state in states if isinstance(state, RBAState)), None)


def _of_all(weight: Array, visited: Array, xp: ArrayNamespace) -> Array:
    ones = xp.ones_like(weight)
    return filled(weight, xp.where(visited > 0, 0.0 * ones, ones), "residual", xp)
