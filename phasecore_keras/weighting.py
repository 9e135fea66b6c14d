"""Weighting schemes' states as non-trainable Keras variables, keyed by point index, so that saved models carry them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, final

import keras
import numpy as np
from keras import ops

from phasecore.signals import RESIDUALS, Signals
from phasecore.weighting import WeightingScheme, check_weight_range, state_leaves
from phasecore.weighting.checks import check_terms_stay, check_update, first_state, updated
from phasecore.weighting.composition import point_factor, reads_weighted_terms
from phasecore_keras.autodiff import Tensor, to_numpy
from phasecore_keras.namespace import namespace

Multiplies = Literal["residual", "squared_residual"]
Weights = Mapping[tuple[str, Multiplies], Tensor]
"""By term and by what it multiplies: the product of the schemes' weights, shape (n,) or ()."""


@final
class IndexedWeighting(keras.layers.Layer):  # type: ignore[misc, unused-ignore]
    """Runs a scheme on the points of a batch and keeps every point's state in its place.

    The variables are made when the numbers of points are known, by `allocate`.

    Args:
        scheme: the weighting scheme.
        name: what to call it in errors.
    """

    def __init__(self, scheme: WeightingScheme, name: str) -> None:
        super().__init__(name=f"weighting_{name}", trainable=False, autocast=False)
        self.scheme = scheme
        self.scheme_name = name
        self.points = 0
        self.weighted: tuple[str, ...] = ()
        self.in_step = scheme.every == 1 and not reads_weighted_terms(scheme)
        self._structure: Any = None
        self._batched: frozenset[str] = frozenset()
        self._owned: tuple[str, ...] = ()
        self._updated = -1

    def build(self, input_shape: Any = None) -> None:
        """Do nothing: the state depends on the number of points, not on a shape of inputs."""

    def allocate(self, signals: Signals, sizes: Mapping[str, int]) -> None:
        """Make the state of all points, in place of any that is there.

        Args:
            signals: of the full set of points, with the right shapes and dtypes; values are zero.
            sizes: number of points of each term.

        Raises:
            PluginError: if the scheme returns weights of a wrong shape, of a term that is not there, or that are not
                finite.
        """
        for name in self._owned:
            delattr(self, name)
        self._batched = frozenset(signals[RESIDUALS])
        owned = []
        state = first_state(self.scheme_name, self.scheme, signals)
        weights, later = updated(self.scheme_name, self.scheme, signals, state)
        check_update(self.scheme_name, weights, later, state, sizes, signals)
        keys = [tuple(value) if isinstance(value, Mapping) else None for value in state]
        self._structure = type(state)(*keys)
        for key, value in state_leaves(state):
            owned.append(self._own("state_" + key, value))
        for term, weight in weights.items():
            self._check_values(term, weight, 0)
            owned.append(self._own("weight_" + term, ops.ones_like(weight)))
        self._updated = -1
        if not self.in_step:
            owned.append(self._own("updated_at", ops.convert_to_tensor(-1, dtype="int32")))
        self.points = max(sizes[term] for term in self._batched)
        self.weighted, self._owned = tuple(weights), tuple(owned)
        self.built = True

    def is_due(self, iteration: int) -> bool:
        """Return whether weights that are updated between steps are to be updated after `iteration` steps."""
        if self.in_step or not self._owned:
            return False
        every, updated = self.scheme.every, self._updated
        return updated < 0 or iteration < updated or iteration // every > updated // every

    def refresh(self) -> None:
        """Read from the saved state when the weights were updated last."""
        if not self.in_step and self._owned:
            self._updated = int(to_numpy(self.updated_at.value))

    def update_between_steps(self, signals: Signals, iteration: int) -> None:
        """Update state and weights of all points after `iteration` steps, and check the weights.

        Raises:
            PluginError: if they are not finite, or negative where they multiply squares.
        """
        self.update(signals, None)
        self.updated_at.assign(iteration)
        self._updated = iteration
        self.check(iteration)

    def update(self, signals: Signals, indices: Tensor | None) -> dict[str, Tensor]:
        """Update state and weights from the signals of a batch, and return the weights: shape (batch,) or ().

        Args:
            signals: those of the points in the batch.
            indices: which collocation points these are, shape (batch,); None for all, in order.
        """
        if not self._owned:
            return {}
        weights, state = updated(self.scheme_name, self.scheme, signals, self._state(indices))
        check_terms_stay(self.scheme_name, weights, self.weighted)
        for field, value in zip(getattr(state, "_fields", ()), state, strict=True):
            for key, leaf in value.items() if isinstance(value, Mapping) else (("", value),):
                rows = indices if self._has_rows(field, key) else None
                self._write(f"state_{field}_{key}" if key else f"state_{field}", leaf, rows)
        for term, weight in weights.items():
            self._write("weight_" + term, weight, indices if len(weight.shape) and term in self._batched else None)
        return {term: ops.stop_gradient(weight) for term, weight in weights.items()}

    def following(self, signals: Signals) -> Mapping[str, Tensor]:
        """Return the weights that the next step on all points uses, from the signals before it; nothing is changed."""
        if self.in_step and self._owned:
            return updated(self.scheme_name, self.scheme, signals, self._state(None))[0]
        return {term: self.weight(term) for term in self.weighted}

    def weight(self, term: str, indices: Tensor | None = None) -> Tensor | None:
        """Return the current weights of a term, shape (n,) or (), or None for a term that is not weighted.

        Args:
            term: a term of the loss.
            indices: those of a batch of collocation points, if of an equation only these are wanted.
        """
        if term not in self.weighted:
            return None
        variable = getattr(self, "weight_" + term)
        return self._read(variable, indices if len(variable.shape) and term in self._batched else None)

    @property
    def state(self) -> Any:
        """The scheme's state for all points."""
        return self._state(None)

    def check(self, iteration: int) -> None:
        """Refuse weights that are not finite, or negative where they multiply squares.

        Raises:
            PluginError: naming scheme, term and iteration.
        """
        for term in self.weighted:
            self._check_values(term, self.weight(term), iteration)

    def get_config(self) -> dict[str, Any]:
        """Say nothing of the scheme: the model that holds it makes it again."""
        return {"name": self.name}

    def _has_rows(self, field: str, term: str) -> bool:
        """Whether a batch sees rows of this entry of the state: those of its collocation points."""
        return field in self.scheme.per_point and term in self._batched

    def _state(self, indices: Tensor | None) -> Any:
        structure = self._structure
        fields = []
        for field, keys in zip(getattr(structure, "_fields", ()), structure, strict=True):
            fields.append(
                {
                    key: self._read(
                        getattr(self, f"state_{field}_{key}"), indices if self._has_rows(field, key) else None
                    )
                    for key in keys
                }
                if keys is not None
                else self._read(getattr(self, f"state_{field}"), None)
            )
        return type(structure)(*fields)

    def _own(self, name: str, value: Tensor) -> str:
        initial = ops.convert_to_numpy(value)
        variable = self.add_weight(
            name=name,
            shape=tuple(value.shape),
            dtype=keras.backend.standardize_dtype(value.dtype),
            initializer=lambda shape, dtype: ops.convert_to_tensor(initial, dtype),
            trainable=False,
            autocast=False,
        )
        setattr(self, name, variable)
        return name

    def _check_values(self, term: str, weight: Tensor, iteration: int) -> None:
        values = to_numpy(weight)
        least, largest = float(np.min(values)), float(np.max(values))
        check_weight_range(self.scheme_name, self.scheme, term, least, largest, iteration)

    @staticmethod
    def _read(variable: Any, indices: Tensor | None) -> Tensor:
        """The values now: what a variable itself stands for changes when it is assigned to."""
        value = variable.value
        return ops.copy(value) if indices is None else ops.take(value, indices, axis=0)

    def _write(self, name: str, value: Tensor, indices: Tensor | None) -> None:
        variable = getattr(self, name)
        value = ops.cast(ops.stop_gradient(value), variable.dtype)
        if indices is not None:
            value = ops.scatter_update(variable.value, ops.expand_dims(indices, 1), value)
        else:
            value = ops.copy(
                ops.broadcast_to(value, variable.shape)
            )  # JAX gives away the buffers of variables, and must not be given one twice
        variable.assign(value)


@final
class Weighting(keras.layers.Layer):  # type: ignore[misc, unused-ignore]
    """The schemes of a loss, by name: their weights are multiplied.

    Args:
        schemes: by name.
    """

    def __init__(self, schemes: Mapping[str, WeightingScheme]) -> None:
        super().__init__(name="weighting", trainable=False, autocast=False)
        self.parts = [IndexedWeighting(scheme, name) for name, scheme in schemes.items()]
        self.built = True

    @property
    def points(self) -> int:
        """Number of collocation points whose weights are kept, 0 before there are any."""
        return max(part.points for part in self.parts)

    def allocate(self, signals: Signals, sizes: Mapping[str, int]) -> None:
        """Make the state of all schemes, see `IndexedWeighting.allocate`."""
        for part in self.parts:
            part.allocate(signals, sizes)

    def update(self, signals: Signals, indices: Tensor) -> Weights:
        """Update what is updated at every step from the signals of a batch; return the batch's weights.

        Args:
            signals: those of the points in the batch.
            indices: which collocation points these are, shape (batch,).
        """
        return _product(
            (part, part.update(signals, indices) if part.in_step else self._of(part, indices)) for part in self.parts
        )

    def current(self, indices: Tensor | None = None) -> Weights:
        """Return the current weights, those of equations for the points of a batch or for all."""
        return _product((part, self._of(part, indices)) for part in self.parts)

    def point_weights(self) -> dict[str, Tensor]:
        """Return the product of each term's weights, shape (n,), for the terms that are weighted point by point.

        Where some multiply the residual and some its square, the former enter squared.
        """
        weights = self.current()
        found = {}
        for term in dict.fromkeys(term for term, _ in weights):
            of_residual, of_square = weights.get((term, "residual")), weights.get((term, "squared_residual"))
            product: Any = of_square if of_residual is None else of_residual
            if of_residual is not None and of_square is not None:
                product = ops.square(of_residual) * of_square
            if len(product.shape):
                found[term] = product
        return found

    def point_factors(self, signals: Signals) -> dict[str, Tensor]:
        """Return what multiplies the residuals of each term whose points are weighted in the next step, shape (n,).

        Args:
            signals: those of all points before the step, which updates weights from them.
        """
        following = [(part.scheme, part.following(signals)) for part in self.parts]
        found = {
            term: point_factor([(scheme, weights.get(term)) for scheme, weights in following], namespace)
            for term in dict.fromkeys(term for _, weights in following for term in weights)
        }
        return {term: factor for term, factor in found.items() if factor is not None}

    def check(self, iteration: int) -> None:
        """Refuse weights that are not finite, or negative where they multiply squares.

        Raises:
            PluginError: naming scheme, term and iteration.
        """
        for part in self.parts:
            part.check(iteration)

    def get_config(self) -> dict[str, Any]:
        """Say nothing of the schemes: the model that holds them makes them again."""
        return {"name": self.name}

    @staticmethod
    def _of(part: IndexedWeighting, indices: Tensor | None) -> dict[str, Tensor]:
        return {term: part.weight(term, indices) for term in part.weighted}


def weighted_loss(term: str, residual: Tensor, weights: Weights) -> Tensor:
    """Return a term's loss, a scalar: the mean of the squared residual with all its weights."""
    of_residual, of_square = weights.get((term, "residual")), weights.get((term, "squared_residual"))
    square = ops.square(residual if of_residual is None else of_residual * residual)
    return ops.mean(square if of_square is None else of_square * square)


def _product(parts: Iterator[tuple[IndexedWeighting, Mapping[str, Tensor]]]) -> dict[tuple[str, Multiplies], Tensor]:
    found: dict[tuple[str, Multiplies], Tensor] = {}
    for part, weights in parts:
        for term, weight in weights.items():
            key = (term, part.scheme.multiplies)
            found[key] = found[key] * weight if key in found else weight
    return found
