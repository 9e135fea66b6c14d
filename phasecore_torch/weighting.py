"""Weighting schemes' states as torch buffers, keyed by point index, so that `state_dict` carries them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, final

import torch
from torch import Tensor, nn

from phasecore.errors import InputError
from phasecore.signals import RESIDUALS, Signals
from phasecore.weighting import WeightingScheme, check_weight_range, state_leaves
from phasecore.weighting.checks import check_terms_stay, check_update, first_state, updated
from phasecore.weighting.composition import OF_WEIGHTED_TERMS, point_factor, reads_weighted_terms
from phasecore_torch.namespace import namespace

Further = Callable[[Signals, frozenset[str]], Signals]
"""From signals and the names of others to both."""


@final
class IndexedWeighting(nn.Module):
    """Runs a scheme on the points of a batch and keeps every point's state in its place.

    Args:
        scheme: the weighting scheme.
        name: what to call it in errors.
        signals: of the full set of points, with the right shapes, dtypes and device; values do not matter.
        sizes: number of points of each term.

    Raises:
        PluginError: if the scheme returns weights of a wrong shape, or of a term that is not there.
    """

    calls: Tensor

    def __init__(self, scheme: WeightingScheme, name: str, signals: Signals, sizes: Mapping[str, int]) -> None:
        super().__init__()
        self.scheme = scheme
        self.name = name
        self._batched = frozenset(signals[RESIDUALS])
        with torch.no_grad():
            state = first_state(name, scheme, signals)
            weights, later = updated(name, scheme, signals, state)
            check_update(name, weights, later, state, sizes, signals)
        self._structure = state
        for key, value in state_leaves(state):
            self.register_buffer("state_" + key, value.detach().clone())
        self.weighted = tuple(weights)
        for term, weight in weights.items():
            self.register_buffer("weight_" + term, torch.ones_like(weight.detach()))
        self._calls = 0
        if scheme.every > 1:
            self.register_buffer("calls", torch.zeros((), dtype=torch.int64))
            self.register_load_state_dict_post_hook(_count_calls)  # type: ignore[no-untyped-call]

    def due(self) -> bool:
        """Return whether this iteration updates the weights."""
        return self.scheme.every == 1 or self._calls % self.scheme.every == 0

    @torch.no_grad()
    def update(self, signals: Signals, indices: Tensor | None) -> None:
        """Count an iteration, and update state and weights from the signals of a batch if it is due.

        Args:
            signals: those of the points in the batch.
            indices: which points these are, shape (batch,); None for all, in order.
        """
        due = self.due()
        if self.scheme.every > 1:
            self._calls += 1
            self.calls = torch.full_like(self.calls, self._calls)
        if not due or not (self.weighted or self._structure):
            return
        weights, state = updated(self.name, self.scheme, signals, self._state(indices))
        check_terms_stay(self.name, weights, self.weighted)
        for (key, value), (field, entry) in zip(state_leaves(state), self._places(), strict=True):
            self._write("state_" + key, value, self._rows(field, entry, indices))
        for term, weight in weights.items():
            self._write("weight_" + term, weight, indices if weight.ndim and term in self._batched else None)

    def weight(self, term: str, indices: Tensor | None = None) -> Tensor | None:
        """Return the current weights of a term, shape (batch,) or (), or None for a term that is not weighted."""
        if term not in self.weighted:
            return None
        weight: Tensor = getattr(self, "weight_" + term)
        return weight[indices] if indices is not None and weight.ndim and term in self._batched else weight

    @property
    def state(self) -> Any:
        """The scheme's state for all points."""
        return self._state(None)

    def _state(self, indices: Tensor | None) -> Any:
        structure = self._structure
        fields = []
        for field, value in zip(getattr(structure, "_fields", ()), structure, strict=True):
            fields.append(
                {entry: self._read(f"state_{field}_{entry}", self._rows(field, entry, indices)) for entry in value}
                if isinstance(value, Mapping)
                else self._read(f"state_{field}", None)
            )
        return type(structure)(*fields)

    def _places(self) -> Iterator[tuple[str, str]]:
        for field, value in zip(getattr(self._structure, "_fields", ()), self._structure, strict=True):
            for entry in value if isinstance(value, Mapping) else ("",):
                yield field, entry

    def _rows(self, field: str, entry: str, indices: Tensor | None) -> Tensor | None:
        """Which rows of a state's entry a batch sees: those of its points, or all."""
        return indices if field in self.scheme.per_point and entry in self._batched else None

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


@final
class Weighting(nn.ModuleDict):
    """The schemes of a loss, by name: their weights are multiplied.

    Args:
        schemes: by name.
        signals: of the full set of points, with the right shapes, dtypes and device; values do not matter.

    Raises:
        PluginError: if a scheme returns weights of a wrong shape, or of a term that is not there.
    """

    def __init__(self, schemes: Mapping[str, WeightingScheme], signals: Signals, sizes: Mapping[str, int]) -> None:
        super().__init__({name: IndexedWeighting(scheme, name, signals, sizes) for name, scheme in schemes.items()})

    @property
    def parts(self) -> list[IndexedWeighting]:
        """The schemes with their states."""
        return list(self.values())  # type: ignore[arg-type]

    def required(self) -> frozenset[str]:
        """Return the signals that this iteration's updates read."""
        return frozenset().union(*(part.scheme.requires for part in self.parts if part.due()))

    def update_weights(self, signals: Signals, indices: Tensor | None, further: Further | None = None) -> None:
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

    def loss(self, term: str, residual: Tensor, indices: Tensor | None) -> Tensor:
        """Return a term's weighted loss: the mean of the squared residual with all weights, a scalar."""
        factors = [(part.scheme.multiplies, part.weight(term, indices)) for part in self.parts]
        for multiplies, weight in factors:
            if weight is not None and multiplies == "residual":
                residual = weight * residual
        square = residual.square()
        for multiplies, weight in factors:
            if weight is not None and multiplies == "squared_residual":
                square = weight * square
        return square.mean()

    def point_weights(self, term: str) -> Tensor | None:
        """Return the product of a term's weights, shape (n,), or None if no scheme weights it point by point.

        Where some multiply the residual and some its square, the former enter squared.
        """
        weights = [(part.scheme.multiplies, part.weight(term)) for part in self.parts]
        weights = [(multiplies, weight) for multiplies, weight in weights if weight is not None]
        mixed = len({multiplies for multiplies, _ in weights}) > 1
        product = None
        for multiplies, weight in weights:
            assert weight is not None
            factor = weight.square() if mixed and multiplies == "residual" else weight
            product = factor if product is None else product * factor
        return product if product is not None and product.ndim else None

    def check(self, iteration: int) -> None:
        """Refuse weights that are not finite, or negative where they multiply squares.

        Raises:
            PluginError: naming scheme, term and iteration.
        """
        for part in self.parts:
            for term in part.weighted:
                weight = part.weight(term)
                assert weight is not None
                check_weight_range(part.name, part.scheme, term, float(weight.min()), float(weight.max()), iteration)


def _count_calls(part: nn.Module, incompatible: Any) -> None:
    assert isinstance(part, IndexedWeighting)
    part._calls = int(part.calls)


def check_indices(indices: Tensor | None) -> None:
    """Refuse indices of points that are not integers of shape (batch,), or None for all.

    Raises:
        InputError: if so.
    """
    if indices is not None and not (isinstance(indices, Tensor) and indices.dtype == torch.int64 and indices.ndim == 1):
        given = f"{indices.dtype} of shape {tuple(indices.shape)}" if isinstance(indices, Tensor) else type(indices)
        raise InputError(
            "indices of collocation points", received=given, expected="a tensor of torch.int64 of shape (batch,)"
        )


def with_or_without_attention(loss: Any, state: dict[str, Any], prefix: str, *unused: Any) -> None:
    """Let the state of a `PhysicsLoss` be loaded whether or not a monitor tracked the attention, then or now."""
    prefix += "attention."
    if any(key.startswith(prefix) for key in state):
        loss.track_attention()
    elif loss.attention is not None:
        state.update(loss.attention.state_dict(prefix=prefix))
