"""Weighting schemes' states as non-trainable Keras variables, keyed by point index, so that saved models carry them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any, final

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from phasecore.losses import attention_of
from phasecore.signals import Signals
from phasecore.weighting import WeightingScheme
from phasecore.weighting.composition import Products, point_factor, products, reads_weighted_terms, weighted_square
from phasecore.weighting.indexed import UNSEEN, Composition, IndexedScheme, weights_of
from phasecore.weighting.states import escaped
from phasecore_keras.autodiff import to_numpy
from phasecore_keras.differentiation import Tensor
from phasecore_keras.distribution import scope_here
from phasecore_keras.namespace import namespace


@final
class IndexedWeighting(IndexedScheme, keras.layers.Layer):  # type: ignore[misc, unused-ignore]
    """Runs a scheme on the points of a batch and keeps every point's state in its place.

    The variables are made when the numbers of points are known, by `allocate`.

    Args:
        scheme: the weighting scheme.
        name: what to call it in errors.
    """

    namespace = namespace
    refused_in_names = "./"  # torch, which Keras may compute with, takes no "."

    def __init__(self, scheme: WeightingScheme, name: str) -> None:
        super().__init__(name=escaped(f"weighting_{name}", self.refused_in_names), trainable=False, autocast=False)
        self.scheme = scheme
        self.scheme_name = name
        self.points = 0
        self.in_step = scheme.every == 1 and not reads_weighted_terms(scheme)
        self._owned: tuple[str, ...] = ()
        self._at_first: dict[str, NDArray[Any]] = {}
        self._updated = -1
        self._scope = scope_here()

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
        state, weights = self._first(signals, sizes)
        owned = [self._own(key, value) for key, value in state.items()]
        self._at_first = {name: to_numpy(self._kept(name)) for name in owned}
        for term, weight in weights.items():
            self._check_values(term, weight, 0)
            owned.append(self._own("weight_" + term, self._begun(weight)))
        self._updated = -1
        if not self.in_step:
            owned.append(self._own("updated_at", ops.convert_to_tensor(-1, dtype="int32")))
        self.points = max(sizes[term] for term in self._batched)
        self._owned = tuple(owned)
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
        weights = self._advance(signals, indices) if self.is_active else weights_of(self, indices)
        return {term: ops.stop_gradient(weight) for term, weight in weights.items()}

    def following(self, signals: Signals) -> Mapping[str, Tensor]:
        """Return the weights that the next step on all points uses, from the signals before it; nothing is changed."""
        if self.in_step and self._owned:
            return self._following(signals, self._state(None))[0]
        return {term: self.weight(term) for term in self.weighted}

    @contextlib.contextmanager
    def kept_as_it_is(self) -> Iterator[None]:
        """Have state and weights as they are again at the end, whatever is assigned to them inside."""
        kept = {name: self._kept(name) for name in self._owned}
        try:
            yield
        finally:
            for name, value in kept.items():
                getattr(self, name).assign(value)
            self.refresh()

    def has_seen_none(self) -> bool:
        """Return whether nothing was updated yet: no point has a weight of its own, or all is as at first."""
        if not self.in_step:
            return bool(self._owned) and int(to_numpy(self.updated_at.value)) < 0
        kept = [to_numpy(self._kept(f"weight_{term}")) for term in self.weighted]
        of_points = [weight for weight in kept if weight.ndim]
        if of_points:
            return all((weight == UNSEEN).all() for weight in of_points)
        if not self.is_active or any(weight != 1.0 for weight in kept):
            return False
        return all(np.array_equal(to_numpy(self._kept(name)), first) for name, first in self._at_first.items())

    def get_config(self) -> dict[str, Any]:
        """Say nothing of the scheme: the model that holds it makes it again."""
        return {"name": self.name}

    def _copied(self, name: str) -> IndexedWeighting:
        other = IndexedWeighting(self.scheme, name)
        other._structure, other._names = self._structure, self._names
        other._batched, other.weighted = self._batched, self.weighted
        other._owned = tuple(other._own(own, getattr(self, own).value) for own in self._owned)
        other.points, other.built = self.points, True
        other.refresh()
        return other

    def _own(self, name: str, value: Tensor) -> str:
        initial = ops.convert_to_numpy(value)
        with self._scope():
            variable = self.add_weight(
                name=name,
                shape=tuple(value.shape),
                dtype=keras.backend.standardize_dtype(value.dtype),
                initializer=lambda shape, dtype: ops.convert_to_tensor(initial, dtype),
                trainable=False,
                autocast=False,
                aggregation="only_first_replica",  # each computes the same from the whole batch
            )
        setattr(self, name, variable)
        return name

    def _replace(self, values: Mapping[str, Tensor]) -> None:
        if all(tuple(getattr(self, name).shape) == tuple(value.shape) for name, value in values.items()):
            for name, value in values.items():
                getattr(self, name).assign(value)
            return
        # variables of another length: all are made anew, so that their order stays
        kept = {name: getattr(self, name).value for name in self._owned} | dict(values)
        for name in self._owned:
            delattr(self, name)
        for name, value in kept.items():
            self._own(name, value)
        self.points = max(int(value.shape[0]) for value in kept.values() if len(value.shape))

    def _array(self, values: NDArray[Any]) -> Tensor:
        return ops.convert_to_tensor(values.astype("int32") if values.dtype.kind == "i" else values)

    def _range(self, weight: Tensor) -> tuple[float, float]:
        values = to_numpy(weight)
        return float(np.min(values)), float(np.max(values))

    def _is_traced(self) -> bool:
        if keras.backend.backend() != "torch":
            return False
        import torch

        return bool(torch.compiler.is_compiling())

    def _kept(self, name: str) -> Tensor:
        """The values now: what a variable itself stands for changes when it is assigned to."""
        return ops.copy(getattr(self, name).value)

    def _at(self, values: Tensor, indices: Tensor) -> Tensor:
        return ops.take(values, indices, axis=0)

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
class Weighting(Composition, keras.layers.Layer):  # type: ignore[misc, unused-ignore]
    """The schemes of a loss, by name: their weights are multiplied.

    Args:
        schemes: by name.
    """

    parts: list[IndexedWeighting]

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

    def update(self, signals: Signals, indices: Tensor) -> Products:
        """Update what is updated at every step from the signals of a batch; return the batch's weights.

        Args:
            signals: those of the points in the batch.
            indices: which collocation points these are, shape (batch,).
        """
        parts = [
            part.update(signals, indices) if part.in_step and not self.held else weights_of(part, indices)
            for part in self.parts
        ]
        return products(zip((part.scheme for part in self.parts), parts, strict=True))

    def point_factors(self, signals: Signals) -> dict[str, Tensor]:
        """Return what multiplies the residuals of each term whose points are weighted in the next step, shape (n,).

        Args:
            signals: those of all points before the step, which updates weights from them.
        """
        following = [(part.scheme, weights_of(part) if self.held else part.following(signals)) for part in self.parts]
        found = {
            term: point_factor([(scheme, weights.get(term)) for scheme, weights in following], namespace)
            for term in dict.fromkeys(term for _, weights in following for term in weights)
        }
        return {term: factor for term, factor in found.items() if factor is not None}

    def unstarted(self) -> list[IndexedWeighting]:
        """Return the schemes that a step updates, and that no step has updated yet."""
        return [] if self.held else [part for part in self.parts if part.in_step and part.has_seen_none()]

    @contextlib.contextmanager
    def as_in_first_step(self, signals: Signals) -> Iterator[None]:
        """Have the weights that a first step on all points uses where there are none yet, and none again at the end.

        Args:
            signals: those of all points before the step, which updates weights from them.
        """
        with contextlib.ExitStack() as kept:
            for part in self.unstarted():
                kept.enter_context(part.kept_as_it_is())
                for term, weight in part.following(signals).items():
                    part._write(f"weight_{term}", weight, None)
            yield

    def attention_beside(self) -> IndexedWeighting | None:
        """Return the residual-based attention among the schemes once more, to be updated beside them, or None."""
        own = [part for part in self.parts if attention_of([part]) is not None]
        return own[0]._copied("attention") if own else None

    def get_config(self) -> dict[str, Any]:
        """Say nothing of the schemes: the model that holds them makes them again."""
        return {"name": self.name}


def weighted_loss(term: str, residual: Tensor, weights: Products) -> Tensor:
    """Return a term's loss, a scalar: the mean of the squared residual with all its weights."""
    return namespace.mean(weighted_square(term, residual, weights, namespace))
