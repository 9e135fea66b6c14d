"""A weighting scheme's state as non-trainable Keras variables, keyed by point index, so that saved models carry it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, final

import keras
from keras import ops

from phasecore.errors import PluginError
from phasecore.signals import RESIDUALS, TERM_LOSSES, Signals
from phasecore.weighting import WeightingScheme
from phasecore_keras.autodiff import Tensor


@final
class IndexedWeighting(keras.layers.Layer):  # type: ignore[misc, unused-ignore]
    """Runs a scheme on the points of a batch and keeps every point's state in its place.

    The variables are made when the number of points is known, by `allocate`.

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
        self._structure: Any = None
        self._owned: tuple[str, ...] = ()

    def build(self, input_shape: Any = None) -> None:
        """Do nothing: the state depends on the number of points, not on a shape of inputs."""

    def allocate(self, signals: Signals, points: int) -> None:
        """Make the state of `points` points, in place of any that is there.

        Args:
            signals: of the full set of points, with the right shapes and dtypes; values do not matter.
            points: number of collocation points.

        Raises:
            PluginError: if the scheme returns weights of a wrong shape, or of a term that is not there.
        """
        for name in self._owned:
            delattr(self, name)
        owned = []
        state = self.scheme.init(signals)
        weights, _ = self.scheme.update(signals, state)
        self._structure = type(state)(
            *(tuple(value) if isinstance(value, Mapping) else None for value in state),
        )
        for key, value in _leaves(state):
            owned.append(self._own("state_" + key, value))
        for term, weight in weights.items():
            self._check(signals, term, tuple(weight.shape), points)
            owned.append(self._own("weight_" + term, ops.ones_like(weight)))
        self.points, self.weighted, self._owned = points, tuple(weights), tuple(owned)
        self.built = True

    def update(self, signals: Signals, indices: Tensor) -> dict[str, Tensor]:
        """Update state and weights from the signals of a batch, and return the weights: shape (batch,) or ().

        Args:
            signals: those of the points in the batch.
            indices: which points these are, shape (batch,).
        """
        if not self._owned:
            return {}
        weights, state = self.scheme.update(signals, self._state(indices))
        for field, value in zip(state._fields, state, strict=True):
            rows = indices if field in self.scheme.per_point else None
            for key, leaf in value.items() if isinstance(value, Mapping) else (("", value),):
                self._write(f"state_{field}_{key}" if key else f"state_{field}", leaf, rows)
        for term, weight in weights.items():
            self._write("weight_" + term, weight, indices if len(weight.shape) else None)
        return {term: ops.stop_gradient(weight) for term, weight in weights.items()}

    def weight(self, term: str, indices: Tensor | None = None) -> Tensor | None:
        """Return the current weights of a term, shape (batch,) or (), or None for a term that is not weighted."""
        if term not in self.weighted:
            return None
        variable = getattr(self, "weight_" + term)
        return self._read(variable, indices if len(variable.shape) else None)

    @property
    def state(self) -> Any:
        """The scheme's state for all points."""
        return self._state(None)

    def get_config(self) -> dict[str, Any]:
        """Say nothing of the scheme: the model that holds it makes it again."""
        return {"name": self.name}

    def _state(self, indices: Tensor | None) -> Any:
        structure = self._structure
        fields = []
        for field, keys in zip(structure._fields, structure, strict=True):
            rows = indices if field in self.scheme.per_point else None
            fields.append(
                {key: self._read(getattr(self, f"state_{field}_{key}"), rows) for key in keys}
                if keys is not None
                else self._read(getattr(self, f"state_{field}"), rows)
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

    def _check(self, signals: Signals, term: str, shape: tuple[int, ...], points: int) -> None:
        if term not in signals[TERM_LOSSES]:
            raise PluginError(
                f"weighting {self.scheme_name!r}",
                received=f"weights of term {term!r}",
                expected=f"{[*signals[TERM_LOSSES]]}",
            )
        shapes = ((), (points,)) if term in signals[RESIDUALS] else ((),)
        if shape not in shapes:
            raise PluginError(
                f"weighting {self.scheme_name!r}, weights of term {term!r}",
                received=f"shape {shape}",
                expected="() for the whole term"
                + (f", or ({points},), one for each collocation point" if len(shapes) > 1 else ""),
            )

    @staticmethod
    def _read(variable: Any, indices: Tensor | None) -> Tensor:
        value = variable.value
        return ops.convert_to_tensor(value) if indices is None else ops.take(value, indices, axis=0)

    def _write(self, name: str, value: Tensor, indices: Tensor | None) -> None:
        variable = getattr(self, name)
        value = ops.cast(ops.stop_gradient(value), variable.dtype)
        if indices is not None:
            value = ops.scatter_update(variable.value, ops.expand_dims(indices, 1), value)
        variable.assign(value)


def _leaves(state: Any) -> Iterator[tuple[str, Tensor]]:
    for field, value in zip(state._fields, state, strict=True):
        if isinstance(value, Mapping):
            for key, leaf in value.items():
                yield f"{field}_{key}", leaf
        else:
            yield field, value
