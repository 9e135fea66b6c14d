"""Schemes at work in a training: their states are kept for all points, and each batch sees the rows of its own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, TypeVar

from phasecore.arrays import Array, ArrayNamespace
from phasecore.errors import PluginError
from phasecore.policies.actions import Action, AverageWeighting, ReleaseWeighting
from phasecore.sampling.places import Places
from phasecore.signals import CONDITION_RESIDUALS, RESIDUALS, Signals
from phasecore.weighting.base import State, WeightingScheme, Weights
from phasecore.weighting.checks import (
    NAME_POINTS,
    check_rows,
    check_state_stays,
    check_terms_stay,
    check_update,
    check_weight_range,
    first_state,
    updated,
)
from phasecore.weighting.composition import Products, averaged, filled, point_weights, products
from phasecore.weighting.states import Entry, state_entries, state_names
from phasecore.weighting.writes import check_unwritten, writes

Returned = TypeVar("Returned")

UNSEEN = -(2.0**15)
"""What is kept as the weight of a point that was in no batch yet; every float type has this number, no weight is it."""


class IndexedScheme(ABC):
    """A scheme with its state and weights, which an adapter keeps where its framework saves them.

    Base class, beside that of a framework's module or layer. A point that was in no batch yet has no weight of its own:
    where one is read it is the mean of those of its term that have, or 1 where none has.

    Attributes:
        namespace: the framework's functions of arrays.
        refused_in_names: characters that the framework takes in no name of what it keeps.
        scheme: the weighting scheme.
        scheme_name: what to call it in errors.
        weighted: the terms that it weights.
        has_seen_all: whether each point is known to have a weight of its own.
    """

    namespace: ClassVar[ArrayNamespace]
    refused_in_names: ClassVar[str]
    scheme: WeightingScheme
    scheme_name: str
    weighted: tuple[str, ...] = ()
    has_seen_all: bool = False
    _structure: Any = None
    """A state whose entries are their keys, or None for an array."""
    _names: Mapping[Entry, str] = MappingProxyType({})
    """By what name each array of the state is kept."""
    _batched: frozenset[str] = frozenset()
    """The terms of which a batch sees some points: the equations."""

    @abstractmethod
    def _kept(self, name: str) -> Any:
        """Return what is kept as the attribute of a name."""

    @abstractmethod
    def _at(self, values: Any, indices: Any) -> Any:
        """Return some rows of an array."""

    @abstractmethod
    def _write(self, name: str, value: Any, indices: Any) -> None:
        """Put values in their place."""

    @abstractmethod
    def _replace(self, values: Mapping[str, Any]) -> None:
        """Keep other values under these names, of any length; they are rows for points that have moved."""

    @abstractmethod
    def _array(self, values: Any) -> Any:
        """Return a numpy array as one of the framework's."""

    @abstractmethod
    def _range(self, weight: Any) -> tuple[float, float]:
        """Return the least and the largest weight."""

    def _is_traced(self) -> bool:
        """Whether a compiler looks on that is not to see how often arrays were written to."""
        return False

    def weight(self, term: str, indices: Any = None) -> Any:
        """Return the current weights of a term, shape (n,) or (), or None for a term that is not weighted.

        Args:
            term: a term of the loss.
            indices: those of a batch of collocation points, if of an equation only these are wanted.
        """
        if term not in self.weighted:
            return None
        name = f"weight_{term}"
        weight = self._kept(name)
        if not len(weight.shape):
            return weight
        if not self.has_seen_all:
            xp = self.namespace
            ones = xp.ones_like(weight)
            unseen = xp.where(weight == UNSEEN, ones, 0.0 * ones)
            weight = filled(xp.where(weight == UNSEEN, ones, weight), unseen, self.scheme.multiplies, xp)
        return weight if indices is None or term not in self._batched else self._at(weight, indices)

    @property
    def is_active(self) -> bool:
        """Whether the scheme has weights or a state to update."""
        return not self.scheme.constant and bool(self.weighted or self._structure)

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

    def fill(self) -> None:
        """Keep the mean weight of the others for each point that was in no batch yet."""
        for term in self.weighted:
            self._write(f"weight_{term}", self.weight(term), None)

    def average(self) -> None:
        """Give each of a term's points the mean of their weights, see `averaged`."""
        for term in self.weighted:
            self._write(f"weight_{term}", averaged(self.weight(term), self.scheme.multiplies, self.namespace), None)

    def move(self, signals: Signals, places: Mapping[str, Places | None], *, held: bool = False) -> None:
        """Keep the states and weights of points that have moved with their points, see `WeightingScheme.on_move`.

        Args:
            signals: of the full set of points as they are now, with the right shapes; values do not matter.
            places: where the residuals of each term come from, for the terms that moved; None to begin anew.
            held: whether weights are held: a new point then has that of the nearest old one in any case.
        """
        fresh = self._begin(signals)
        found: dict[str, Any] = {}
        for field in self.scheme.per_point:
            for term, first in getattr(fresh, field).items():
                found[self._names[field, term]] = term, first
        for term in self.weighted:
            if len(getattr(self, f"weight_{term}").shape):
                some = {**signals.values.get(RESIDUALS, {}), **signals.values.get(CONDITION_RESIDUALS, {})}
                found[f"weight_{term}"] = term, UNSEEN * signals.namespace.ones_like(some[term])
        self._replace(
            {
                name: self._carried(name, first, places[term], signals.namespace, held=held)
                for name, (term, first) in found.items()
                if term in places
            }
        )

    def _carried(self, name: str, first: Any, places: Places | None, xp: ArrayNamespace, *, held: bool) -> Any:
        if places is None:
            return first
        rows = self._read(name, self._array(places.nearest))
        of_nearest = self.scheme.on_move == "nearest" or (held and name.startswith("weight_"))
        return rows if of_nearest else xp.where(self._array(places.stayed), rows, first)

    def _begun(self, weight: Any) -> Any:
        """Return what is kept for a weight before the first update; those of constant schemes are there at once."""
        if self.scheme.constant:
            return weight
        return (UNSEEN if len(weight.shape) else 1.0) * self.namespace.ones_like(weight)

    def _read(self, name: str, indices: Any) -> Any:
        kept = self._kept(name)
        return kept if indices is None else self._at(kept, indices)

    def _check_values(self, term: str, weight: Any, iteration: int) -> None:
        check_weight_range(self.scheme_name, self.scheme, term, *self._range(weight), iteration)

    def _begin(self, signals: Signals) -> State:
        return self._unwritten("init(signals)", signals, lambda: first_state(self.scheme_name, self.scheme, signals))

    def _following(self, signals: Signals, state: State) -> tuple[Weights, State]:
        """Return weights and state of an update; nothing is kept of them."""
        call = "update(signals, state)"
        return self._unwritten(call, signals, lambda: updated(self.scheme_name, self.scheme, signals, state))

    def _unwritten(self, function: str, signals: Signals, call: Callable[[], Returned]) -> Returned:
        """Return what a function of the scheme returns, which must not write into the signals."""
        if self._is_traced():
            return call()
        before = writes(signals.values)
        returned = call()
        check_unwritten(f"weighting {self.scheme_name!r}, {function}", signals, before)
        return returned

    def _first(self, signals: Signals, sizes: Mapping[str, int]) -> tuple[dict[str, Array], Weights]:
        """The state that a training starts from, by name, and the weights of a first update.

        Args:
            signals: of the full set of points, of the right shapes.
            sizes: number of points of each term.
        """
        state = self._begin(signals)
        weights, later = self._following(signals, state)
        check_update(self.scheme_name, weights, later, state, sizes, signals)
        self._batched = frozenset(signals[RESIDUALS])
        self._structure = type(state)(*(tuple(value) if isinstance(value, Mapping) else None for value in state))
        names = state_names(state, self.refused_in_names, lambda name: hasattr(type(self), f"state_{name}"))
        self._names = {entry: f"state_{name}" for entry, name in names.items()}
        self.weighted = tuple(weights)
        return {self._names[entry]: leaf for entry, leaf in state_entries(state)}, weights

    def _advance(self, signals: Signals, indices: Any) -> Weights:
        """Update state and weights from the signals of a batch; return the batch's weights."""
        before = self._state(indices)
        fix = NAME_POINTS if indices is not None and self._has_whole_arrays() else ""
        try:
            weights, state = self._following(signals, before)
        except PluginError as error:
            if error.__cause__ is None or not fix:
                raise
            raise PluginError(str(error), fix=fix) from error.__cause__
        check_terms_stay(self.scheme_name, weights, self.weighted, signals)
        check_state_stays(self.scheme_name, state, before, signals, fix)
        for entry, leaf in state_entries(state):
            self._write(self._names[entry], leaf, self._rows(*entry, indices))
        for term, weight in weights.items():
            of_batch = len(weight.shape) and term in self._batched
            if of_batch:
                rows = tuple(signals[RESIDUALS][term].shape)
                check_rows(self.scheme_name, f"weights of term {term!r}", tuple(weight.shape), rows, fix)
            self._write(f"weight_{term}", weight, indices if of_batch else None)
        return weights

    def _state(self, indices: Any) -> Any:
        structure = self._structure
        fields = []
        for field, keys in zip(getattr(structure, "_fields", ()), structure, strict=True):
            fields.append(
                self._read(self._names[field, None], None)
                if keys is None
                else {key: self._read(self._names[field, key], self._rows(field, key, indices)) for key in keys}
            )
        return type(structure)(*fields)

    def _has_whole_arrays(self) -> bool:
        """Whether a batch is handed arrays that may have a value for each point, of fields that do not say so."""
        per_point = self.scheme.per_point
        return any(len(getattr(self, name).shape) for (field, _), name in self._names.items() if field not in per_point)

    def _rows(self, field: str, key: Any, indices: Any) -> Any:
        """Which rows of a state's entry a batch sees: those of its collocation points, or all."""
        return indices if field in self.scheme.per_point and key in self._batched else None


class Composition(ABC):
    """The schemes of a loss: their weights are multiplied. Base class, beside that of a module or layer.

    Attributes:
        parts: the schemes with their states.
        held: whether the weights stay as they are; no part of what is saved.
    """

    parts: Sequence[IndexedScheme]
    held: bool = False

    @property
    def moves(self) -> bool:
        """Whether updates change the weights: they are not held, and some scheme has any."""
        return not self.held and any(part.is_active for part in self.parts)

    @abstractmethod
    def update(self, signals: Signals, indices: Any) -> Any:
        """Update what is updated at a step from the signals of a batch.

        Args:
            signals: those of the points in the batch.
            indices: which collocation points these are, shape (batch,).
        """

    def current(self, indices: Any = None) -> Products:
        """Return the current weights, those of equations for the points of a batch or for all."""
        return products((part.scheme, weights_of(part, indices)) for part in self.parts)

    def point_weights(self) -> dict[str, Array]:
        """Return the product of each term's weights, shape (n,), for the terms that are weighted point by point.

        Where some multiply the residual and some its square, the former enter squared.
        """
        return point_weights(self.current())

    def hold(self, action: Action) -> None:
        """Hold the weights, as they are or each scheme's averaged over the points of a term, or release them.

        Args:
            action: one of the three.
        """
        self.held = not isinstance(action, ReleaseWeighting)
        for part in self.parts if self.held else ():
            part.fill()
            if isinstance(action, AverageWeighting):
                part.average()

    def move(self, signals: Signals, places: Mapping[str, Places | None]) -> None:
        """Keep the states and weights of points that have moved with their points, see `IndexedScheme.move`."""
        for part in self.parts:
            part.move(signals, places, held=self.held)

    def check(self, iteration: int) -> None:
        """Refuse weights that are not finite, or negative where they multiply squares.

        Raises:
            PluginError: naming scheme, term and iteration.
        """
        for part in self.parts:
            part.check(iteration)


def weights_of(part: IndexedScheme, indices: Any = None) -> dict[str, Any]:
    """Return the current weights of a scheme, those of equations for the points of a batch or for all."""
    return {term: part.weight(term, indices) for term in part.weighted}
