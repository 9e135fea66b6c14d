"""Weighting schemes' states as torch buffers, keyed by point index, so that `state_dict` carries them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any, final

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from phasecore.errors import InputError
from phasecore.losses import attention_of
from phasecore.signals import Signals
from phasecore.weighting import WeightingScheme
from phasecore.weighting.composition import (
    OF_WEIGHTED_TERMS,
    Products,
    point_factor,
    reads_weighted_terms,
    weighted_square,
)
from phasecore.weighting.indexed import Composition, IndexedScheme
from phasecore_torch.arrays import lasting
from phasecore_torch.namespace import namespace

Further = Callable[[Signals, frozenset[str]], Signals]
"""From signals and the names of others to both."""


@final
class IndexedWeighting(IndexedScheme, nn.Module):
    """Runs a scheme on the points of a batch and keeps every point's state in its place.

    Args:
        scheme: the weighting scheme.
        name: what to call it in errors.
        signals: of the full set of points, with the right shapes, dtypes and device; values do not matter.
        sizes: number of points of each term.

    Raises:
        PluginError: if the scheme returns weights of a wrong shape, or of a term that is not there.
    """

    namespace = namespace
    refused_in_names = "."
    calls: Tensor

    def __init__(self, scheme: WeightingScheme, name: str, signals: Signals, sizes: Mapping[str, int]) -> None:
        super().__init__()
        self.scheme = scheme
        self.scheme_name = name
        with torch.no_grad():
            state, weights = self._first(signals, sizes)
        for key, value in state.items():
            self.register_buffer(key, value.detach().clone())
        for term, weight in weights.items():
            self.register_buffer("weight_" + term, self._begun(weight.detach().clone()))
        self._calls = 0
        if scheme.every > 1:
            self.register_buffer("calls", torch.zeros((), dtype=torch.int64))
        self.register_load_state_dict_post_hook(_begin_again)  # type: ignore[no-untyped-call]

    def is_due(self) -> bool:
        """Return whether this iteration updates the weights."""
        return self.scheme.every == 1 or self._calls % self.scheme.every == 0

    @torch.no_grad()
    def update(self, signals: Signals, indices: Tensor | None) -> None:
        """Count an iteration, and update state and weights from the signals of a batch if it is due.

        Args:
            signals: those of the points in the batch.
            indices: which points these are, shape (batch,); None for all, in order.
        """
        due = self.is_due()
        if self.scheme.every > 1:
            self._calls += 1
            self.calls = torch.full_like(self.calls, self._calls)
        if due and self.is_active:
            self._advance(signals, indices)
            self.has_seen_all |= indices is None

    def _is_traced(self) -> bool:
        return torch.compiler.is_compiling()

    def _kept(self, name: str) -> Tensor:
        buffer: Tensor = getattr(self, name)
        return buffer

    def _at(self, values: Tensor, indices: Tensor) -> Tensor:
        return values[indices]

    def _write(self, name: str, value: Tensor, indices: Tensor | None) -> None:
        """Put a new tensor in the buffer's place.

        A write in place would reach into the graph of the loss: in eager mode backward() then refuses, and under
        torch.compile's default backend, which recomputes the weights in the backward pass, gradients are wrong.
        """
        buffer: Tensor = getattr(self, name)
        value = value.to(buffer.dtype)
        new = value.expand_as(buffer).clone() if indices is None else buffer.index_copy(0, indices, value)
        setattr(self, name, new)

    def _replace(self, values: Mapping[str, Tensor]) -> None:
        self.has_seen_all = False
        for name, value in values.items():
            setattr(self, name, value.detach().clone())

    def _array(self, values: NDArray[Any]) -> Tensor:
        some = next(self.buffers())
        return torch.as_tensor(values, device=some.device)

    def _range(self, weight: Tensor) -> tuple[float, float]:
        return float(weight.min()), float(weight.max())


@final
class Weighting(Composition, nn.Module):
    """The schemes of a loss, by name: their weights are multiplied.

    Args:
        schemes: by name.
        signals: of the full set of points, with the right shapes, dtypes and device; values do not matter.

    Raises:
        PluginError: if a scheme returns weights of a wrong shape, or of a term that is not there.
    """

    parts: list[IndexedWeighting]

    def __init__(self, schemes: Mapping[str, WeightingScheme], signals: Signals, sizes: Mapping[str, int]) -> None:
        super().__init__()
        self.parts = []
        for name, scheme in schemes.items():
            self._take(IndexedWeighting(scheme, name, signals, sizes))

    def attention_beside(self) -> Weighting | None:
        """Return the residual-based attention among the schemes once more, to be updated beside them, or None."""
        own = [part for part in self.parts if attention_of([part]) is not None]
        if not own:
            return None
        kept = Weighting({}, Signals({}, namespace), {})
        for part in own:
            kept._take(copy.deepcopy(part))
        return kept

    def _take(self, part: IndexedWeighting) -> None:
        self.parts.append(part)
        # add_module() refuses names of a module's own methods, such as "half"; a scheme may be called so
        self._modules[part.scheme_name] = part

    def required(self) -> frozenset[str]:
        """Return the signals that this iteration's updates read."""
        return frozenset().union(*(part.scheme.requires for part in self.parts if part.is_due()))

    def update(self, signals: Signals, indices: Tensor | None, further: Further | None = None) -> None:
        """Count an iteration, and update what is due from the signals of a batch, see `IndexedWeighting.update`.

        Args:
            signals: those of the points in the batch.
            indices: which points these are, shape (batch,); None for all, in order.
            further: adds the required signals of terms as their points are weighted (`OF_WEIGHTED_TERMS`), asked once
                the weights of points are those of this iteration; None where the signals have them.
        """
        required = self.required() & OF_WEIGHTED_TERMS
        for last in (False, True):
            if last and required and further is not None:
                signals = further(signals, required)
            for part in self.parts:
                if reads_weighted_terms(part.scheme) == last:
                    part.update(signals, indices)

    def point_factors(self, indices: Tensor | None) -> dict[str, Tensor]:
        """Return what multiplies the residuals of each term whose points are weighted, shape (batch,).

        Args:
            indices: which collocation points are in the batch, shape (batch,); None for all.
        """
        terms = dict.fromkeys(term for part in self.parts for term in part.weighted)
        found = {
            term: point_factor([(part.scheme, part.weight(term, indices)) for part in self.parts], namespace)
            for term in terms
        }
        return {term: factor for term, factor in found.items() if factor is not None}


def weighted_loss(term: str, residual: Tensor, weights: Products) -> Tensor:
    """Return a term's loss, a scalar: the mean of the squared residual with all its weights."""
    square: Any = weighted_square(term, lasting(residual), weights, namespace)
    return square.mean()  # type: ignore[no-any-return]


def _begin_again(part: nn.Module, incompatible: Any) -> None:
    """Go on from a state that was loaded."""
    assert isinstance(part, IndexedWeighting)
    part.has_seen_all = False
    if part.scheme.every > 1:
        part._calls = int(part.calls)


def check_indices(indices: Tensor | None, count: int) -> None:
    """Refuse indices of points that are not integers of shape (batch,), or None for all.

    Whether there are such points is looked at on a CPU only: elsewhere it would wait for the device.

    Args:
        indices: those of a batch.
        count: number of points.

    Raises:
        InputError: if so.
    """
    if indices is not None and not (isinstance(indices, Tensor) and indices.dtype == torch.int64 and indices.ndim == 1):
        given = f"{indices.dtype} of shape {tuple(indices.shape)}" if isinstance(indices, Tensor) else type(indices)
        raise InputError(
            "indices of collocation points", received=given, expected="a tensor of torch.int64 of shape (batch,)"
        )
    if indices is None or indices.device.type != "cpu" or torch.compiler.is_compiling():
        return
    if not len(indices) or indices.min() < 0 or indices.max() >= count:
        given = f"{int(indices.min())} to {int(indices.max())}" if len(indices) else "none"
        raise InputError("indices of collocation points", received=given, expected=f"some from 0 to {count - 1}")


def with_or_without_attention(loss: Any, state: dict[str, Any], prefix: str, *unused: Any) -> None:
    """Let the state of a `PhysicsLoss` be loaded whether or not a monitor tracked the attention, then or now."""
    prefix += "attention."
    if any(key.startswith(prefix) for key in state):
        loss.track_attention()
    elif loss.attention is not None:
        state.update(loss.attention.state_dict(prefix=prefix))
