"""A weighting scheme's state as torch buffers, keyed by point index, so that `state_dict` carries it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, final

import torch
from torch import Tensor, nn

from phasecore.errors import PluginError
from phasecore.signals import RESIDUALS, TERM_LOSSES, Signals
from phasecore.weighting import WeightingScheme


@final
class IndexedWeighting(nn.Module):
    """Runs a scheme on the points of a batch and keeps every point's state in its place.

    Args:
        scheme: the weighting scheme.
        name: what to call it in errors.
        signals: of the full set of points, with the right shapes, dtypes and device; values do not matter.
        points: number of collocation points.

    Raises:
        PluginError: if the scheme returns weights of a wrong shape, or of a term that is not there.
    """

    def __init__(self, scheme: WeightingScheme, name: str, signals: Signals, points: int) -> None:
        super().__init__()
        self.scheme = scheme
        self.name = name
        self.points = points
        with torch.no_grad():
            state = scheme.init(signals)
            weights, _ = scheme.update(signals, state)
        self._structure = state
        for key, value in _leaves(state):
            self.register_buffer("state_" + key, value.detach().clone())
        self.weighted = tuple(weights)
        for term, weight in weights.items():
            if term not in signals[TERM_LOSSES]:
                raise PluginError(
                    f"weighting {name!r}", received=f"weights of term {term!r}", expected=f"{[*signals[TERM_LOSSES]]}"
                )
            shapes = ((), (points,)) if term in signals[RESIDUALS] else ((),)
            if tuple(weight.shape) not in shapes:
                raise PluginError(
                    f"weighting {name!r}, weights of term {term!r}",
                    received=f"shape {tuple(weight.shape)}",
                    expected="() for the whole term"
                    + (f", or ({points},), one for each collocation point" if len(shapes) > 1 else ""),
                )
            self.register_buffer("weight_" + term, torch.ones_like(weight.detach()))

    @torch.no_grad()
    def update(self, signals: Signals, indices: Tensor | None) -> None:
        """Update state and weights from the signals of a batch.

        Args:
            signals: those of the points in the batch.
            indices: which points these are, shape (batch,); None for all, in order.
        """
        if not self.weighted and not self._structure:
            return
        weights, state = self.scheme.update(signals, self._state(indices))
        for (key, value), per_point in zip(_leaves(state), self._per_point(), strict=True):
            self._write("state_" + key, value, indices if per_point else None)
        for term, weight in weights.items():
            self._write("weight_" + term, weight, indices if weight.ndim else None)

    def weight(self, term: str, indices: Tensor | None = None) -> Tensor | None:
        """Return the current weights of a term, shape (batch,) or (), or None for a term that is not weighted."""
        if term not in self.weighted:
            return None
        weight: Tensor = getattr(self, "weight_" + term)
        return weight if indices is None or weight.ndim == 0 else weight[indices]

    @property
    def state(self) -> Any:
        """The scheme's state for all points."""
        return self._state(None)

    def _state(self, indices: Tensor | None) -> Any:
        structure = self._structure
        fields = []
        for field, value in zip(structure._fields, structure, strict=True):
            rows = indices if field in self.scheme.per_point else None
            fields.append(
                {key: self._read(f"state_{field}_{key}", rows) for key in value}
                if isinstance(value, Mapping)
                else self._read(f"state_{field}", rows)
            )
        return type(structure)(*fields)

    def _per_point(self) -> Iterator[bool]:
        for field, value in zip(self._structure._fields, self._structure, strict=True):
            for _ in value if isinstance(value, Mapping) else (None,):
                yield field in self.scheme.per_point

    def _read(self, name: str, indices: Tensor | None) -> Tensor:
        buffer: Tensor = getattr(self, name)
        return buffer if indices is None else buffer[indices]

    def _write(self, name: str, value: Tensor, indices: Tensor | None) -> None:
        """Put a new tensor in the buffer's place.

        A write in place would reach into the graph of the loss: in eager mode backward() then refuses, and under
        torch.compile's default backend, which recomputes the weights in the backward pass, gradients are wrong.
        """
        buffer: Tensor = getattr(self, name)
        value = value.to(buffer.dtype)
        new = value.expand_as(buffer).clone() if indices is None else buffer.index_copy(0, indices, value)
        setattr(self, name, new)


def _leaves(state: Any) -> Iterator[tuple[str, Tensor]]:
    for field, value in zip(state._fields, state, strict=True):
        if isinstance(value, Mapping):
            for key, leaf in value.items():
                yield f"{field}_{key}", leaf
        else:
            yield field, value
