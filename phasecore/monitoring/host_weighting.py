"""Weighting schemes updated between the steps of a training, in numpy: for loops that are not phasecore's own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from phasecore.errors import InputError, PluginError, TrainingError, described
from phasecore.policies.actions import Action, AverageWeighting, ReleaseWeighting
from phasecore.registry import Weighting, as_schemes
from phasecore.signals import CONDITION_RESIDUALS, RESIDUALS, Signals, check_requirements
from phasecore.weighting import State, WeightingScheme, Weights, check_weight_range, check_weight_shape
from phasecore.weighting.checks import check_state_stays, check_terms_stay, first_state, updated
from phasecore.weighting.composition import OF_WEIGHTED_TERMS, averaged, point_factor, reads_weighted_terms
from phasecore.weighting.rba import RBAState

Floats = NDArray[np.float64]

Further = Callable[[frozenset[str]], Mapping[str, Any]]
"""From names of signals to their values, as numpy arrays."""


@final
class HostWeighting:
    """Runs schemes on numpy arrays, iteration by iteration, on the full set of points.

    Args:
        weighting: a scheme, a specification such as "rba" or "rba+grad_norm", or several, see
            `phasecore.registry.as_schemes`.
        backend: what supplies the signals, as messages call it.
        supplies: names of the signals that there are.

    Attributes:
        names: of the schemes.
        per_point: whether a scheme keeps a state for each point: it is lost where the points change.
        held: whether weights stay as they are.

    Raises:
        InputError: for an unknown scheme or option, or a scheme whose signals are not there.

    Example:
        >>> weighting = HostWeighting("rba:gamma=0.5,eta=0.5", "mine", ["residuals"])
        >>> weighting.update({"residuals": {"pde": np.asarray([1.0, -2.0])}}, iteration=0)
        >>> weighting.factor("pde").tolist()
        [0.25, 0.5]
    """

    def __init__(self, weighting: Weighting, backend: str, supplies: Iterable[str]) -> None:
        self._schemes = as_schemes(weighting)
        for name, scheme in self._schemes.items():
            fix = "Choose a scheme that reads what is there."
            check_requirements(f"weighting {name!r}", scheme.requires, backend, supplies, fix=fix)
        self.names = tuple(self._schemes)
        self.per_point = any(scheme.per_point for scheme in self._schemes.values())
        self._states: dict[str, State] = {}
        self._weights: dict[str, Weights] = {name: {} for name in self._schemes}
        self._iterations = 0
        self._restored: dict[str, Mapping[str, Any]] = {}
        self.held = False

    @property
    def is_fresh(self) -> bool:
        """Whether no weights were updated yet."""
        return not self._states and not self._restored

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint must carry: mappings, numbers and numpy arrays, copies all.

        Example:
            >>> weighting = HostWeighting("rba:gamma=0.5,eta=0.5", "mine", ["residuals"])
            >>> weighting.update({"residuals": {"pde": np.asarray([1.0, -2.0])}}, iteration=0)
            >>> weighting.state_dict()["weights"]["rba"]["pde"].tolist()
            [0.25, 0.5]
        """
        states = {**self._restored, **{name: state._asdict() for name, state in self._states.items()}}
        return {
            "iterations": self._iterations,
            "held": self.held,
            "weights": _mapped(self._weights, np.array),
            "states": _mapped(states, np.array),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state_dict()`.

        Raises:
            InputError: for the state of other schemes.
        """
        if [*state["weights"]] != [*self.names]:
            raise InputError(
                "state of a weighting",
                received=f"that of {' and '.join(state['weights']) or 'no scheme'}",
                expected=f"one of {' and '.join(self.names)}",
                fix="Make the weighting with the schemes that it had.",
            )
        self._iterations, self.held = int(state["iterations"]), bool(state["held"])
        self._weights, self._restored = _mapped(state["weights"], np.array), _mapped(state["states"], np.array)
        self._states = {}

    def alone(self, name: str) -> HostWeighting:
        """Return one of the schemes by itself, with its state."""
        other = HostWeighting({name: self._schemes[name]}, "", self._schemes[name].requires)
        other._states = {key: state for key, state in self._states.items() if key == name}
        other._weights, other._iterations = {name: self._weights[name]}, self._iterations
        return other

    def required(self) -> frozenset[str]:
        """Return the signals that the next `update` reads; none where no scheme is due."""
        if self.held:
            return frozenset()
        due = [scheme.requires for scheme in self._schemes.values() if self._iterations % scheme.every == 0]
        return frozenset().union(*due)

    def update(self, values: Mapping[str, Any], iteration: int, further: Further | None = None) -> None:
        """Count an iteration, and update the schemes that are due.

        Args:
            values: the required signals by name, as numpy arrays.
            iteration: optimizer steps done, for messages.
            further: returns the required signals of terms as their points are weighted (`OF_WEIGHTED_TERMS`), asked
                once the weights of points are those of this iteration; None where `values` has them.

        Raises:
            PluginError: if a scheme returns weights of a wrong shape, or that are not finite, or negative where they
                multiply squares.
            TrainingError: where weights only follow residuals that are not finite, naming the term.
        """
        wide = _mapped(values, _as_float64)
        if self.held:
            for name in [*self._restored]:
                if self._schemes[name].requires <= wide.keys():
                    self._begin(name, wide)
            self._iterations += 1
            return
        due = {name: scheme for name, scheme in self._schemes.items() if self._iterations % scheme.every == 0}
        required = self.required() & OF_WEIGHTED_TERMS
        self._update(
            {name: scheme for name, scheme in due.items() if not reads_weighted_terms(scheme)}, wide, iteration
        )
        if required and further is not None:
            wide |= _mapped(further(required), _as_float64)
        self._update({name: scheme for name, scheme in due.items() if reads_weighted_terms(scheme)}, wide, iteration)
        self._iterations += 1

    def _update(self, schemes: Mapping[str, WeightingScheme], wide: Mapping[str, Any], iteration: int) -> None:
        signals = Signals(wide, np)
        for name, scheme in schemes.items():
            if name not in self._states:
                self._begin(name, wide)
            weights, state = updated(name, scheme, signals, self._states[name])
            check_state_stays(name, state, self._states[name], signals)
            arrays = {term: np.asarray(weight) for term, weight in weights.items()}
            if self._weights[name]:
                check_terms_stay(name, arrays, tuple(self._weights[name]), signals)
            for term, found in arrays.items():
                if found.dtype.kind not in "fiu":
                    what = f"weighting {name!r}, weights of term {term!r}"
                    raise PluginError(what, received=described(weights[term]), expected="an array of real numbers")
                try:
                    check_weight_range(name, scheme, term, float(np.min(found)), float(np.max(found)), iteration)
                except PluginError:
                    _check_residuals(wide, iteration)
                    raise
            self._states[name], self._weights[name] = state, weights

    def _begin(self, name: str, wide: Mapping[str, Any]) -> None:
        """Give a scheme its first state, or the one that was kept of it."""
        first = first_state(name, self._schemes[name], Signals(_mapped(wide, np.zeros_like), np))
        self._states[name] = _as_kept(name, first, self._restored.pop(name, None))

    def hold(self, action: Action) -> None:
        """Hold the weights, as they are or averaged over the points of each term, or release them.

        Args:
            action: one of the three.
        """
        self.held = not isinstance(action, ReleaseWeighting)
        for name, scheme in self._schemes.items() if isinstance(action, AverageWeighting) else ():
            wide = {term: _as_float64(weight) for term, weight in self._weights[name].items()}
            self._weights[name] = {
                term: np.full_like(weight, averaged(weight, scheme.multiplies, np)) for term, weight in wide.items()
            }

    def check(self, sizes: Mapping[str, int]) -> None:
        """Refuse weights of terms that are not there, or that do not fit the number of their points.

        Args:
            sizes: number of points of each term.

        Raises:
            PluginError: naming scheme and term.
        """
        for name, weights in self._weights.items():
            for term, weight in weights.items():
                check_weight_shape(name, term, np.shape(weight), sizes)

    def factor(self, term: str) -> Floats:
        """Return what multiplies a term's residual, shape (n,) or (): weights of squares enter as their roots."""
        product = np.ones(())
        for name, scheme in self._schemes.items():
            weight = np.asarray(self._weights[name].get(term, 1.0), dtype=np.float64)
            product = product * (weight if scheme.multiplies == "residual" else np.sqrt(weight))
        return product

    def point_factor(self, term: str) -> Floats:
        """Return the same of the weights of points alone, shape (n,), or () where no scheme weights the term's."""
        weights = [(scheme, self._weights[name].get(term)) for name, scheme in self._schemes.items()]
        factor = point_factor([(s, None if w is None else _as_float64(w)) for s, w in weights], np)
        return np.ones(()) if factor is None else factor

    def attention(self) -> dict[str, Floats] | None:
        """Return the residual-based attention of each equation's points, or None where rba is not among the schemes."""
        states = (state for state in self._states.values() if isinstance(state, RBAState))
        return next((dict(state.weights) for state in states), None)


def check_points_stay(weighting: HostWeighting, callback: str) -> None:
    """Refuse new points where a scheme has a state for each of the old ones.

    Raises:
        InputError: naming the callback.
    """
    if weighting.per_point:
        raise InputError(
            f"{callback} of a scheme that weights point by point",
            received="other collocation points than before",
            expected="the same points throughout",
            fix="Leave out the callback that resamples points, or use a scheme of terms, such as 'grad_norm'.",
        )


def _check_residuals(values: Mapping[str, Any], iteration: int) -> None:
    for term, residual in {**values.get(RESIDUALS, {}), **values.get(CONDITION_RESIDUALS, {})}.items():
        wrong = int(np.sum(~np.isfinite(residual)))
        if wrong:
            raise TrainingError(
                f"training at iteration {iteration}",
                received=f"the residual of {term!r}, which is not finite at {wrong} of {np.size(residual)} points",
                expected="finite numbers",
                fix="Lower the learning rate, or look at the equation there.",
            )


def _as_kept(name: str, first: Any, kept: Mapping[str, Any] | None) -> Any:
    """Return a scheme's state as it was kept, its first one where nothing was.

    Raises:
        InputError: if another number of points or terms was kept.
    """
    if kept is None:
        return first
    if _mapped(first._asdict(), np.shape) != _mapped(kept, np.shape):
        raise InputError(
            f"state of weighting {name!r}",
            received="one of other terms, or of another number of their points",
            expected="that of a training on the same points",
        )
    return type(first)(**kept)


def _as_float64(array: Any) -> Floats:
    return np.asarray(array, dtype=np.float64)


def _mapped(values: Any, function: Callable[[Any], Any]) -> Any:
    if isinstance(values, Mapping):
        return {name: _mapped(value, function) for name, value in values.items()}
    return function(values)
