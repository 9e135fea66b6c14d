"""What a weighting scheme declares and returns, checked where it is used.

Adapters call schemes through `first_state` and `updated`, and the conformance suite makes the same checks, so that a
scheme that breaks its contract is told the same thing by both.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Mapping, Set
from typing import Any, get_args, get_type_hints

import numpy as np

from phasecore.arguments import is_whole
from phasecore.arrays import Array
from phasecore.errors import InputError, PluginError, called, described
from phasecore.signals import Signals
from phasecore.weighting.base import State, WeightingScheme, Weights
from phasecore.weighting.states import state_entries, state_leaves, usual_name

_NUMPY = (np.ndarray, np.generic)

NAME_POINTS = "Name fields with a value for each point in per_point."

_ADVICE = "Lower the scheme's rates, or the optimizer's learning rate if the loss has grown too."
_FIRST_ADVICE = (
    "No rate has had a part in them yet: look at the scheme's formula, for a division by zero first of all; "
    "phasecore.testing.check_weighting tells for which signals it fails."
)


def check_declaration(name: str, scheme: WeightingScheme) -> None:
    """Refuse a scheme whose declarations are of a wrong kind.

    Args:
        name: the scheme, as messages call it.
        scheme: the scheme.

    Raises:
        PluginError: naming scheme, attribute and what it is to be.

    Example:
        >>> from phasecore.weighting.rba import rba
        >>> check_declaration("rba", rba())
    """
    kinds, moves = (get_args(get_type_hints(WeightingScheme)[name]) for name in ("multiplies", "on_move"))
    for attribute, holds, expected in (
        ("requires", _are_names(scheme.requires, Set), "a frozenset of names of signals"),
        ("multiplies", scheme.multiplies in kinds, f"one of {kinds}"),
        ("per_point", _are_names(scheme.per_point, tuple), "a tuple of names of the state's fields"),
        ("every", is_whole(scheme.every), "a positive integer, 1 to update at every iteration"),
        ("on_move", scheme.on_move in moves, f"one of {moves}"),
        ("constant", isinstance(scheme.constant, bool), "True or False"),
    ):
        if not holds:
            raise PluginError(
                f"weighting {name!r}, {attribute}", received=repr(getattr(scheme, attribute)), expected=expected
            )


def check_can_move(schemes: Mapping[str, WeightingScheme]) -> None:
    """Refuse to move the points of a training whose weighting forbids it.

    Args:
        schemes: by name.

    Raises:
        InputError: naming the scheme.

    Example:
        >>> from phasecore.weighting.rba import rba
        >>> check_can_move({"rba": rba()})
    """
    for name, scheme in schemes.items():
        if scheme.on_move == "refused":
            raise InputError(
                "moving the collocation points",
                received=f"weighting {name!r}, which forbids it: the state of its points has no meaning at others",
                expected="a scheme whose 'on_move' is 'nearest' or 'anew'",
                fix="Use another scheme, or a sampling whose points stay.",
            )


def first_state(name: str, scheme: WeightingScheme, signals: Signals) -> State:
    """Return what `init` makes of the signals that the scheme declared.

    Args:
        name: the scheme, as messages call it.
        scheme: the scheme.
        signals: at least those; of the right shapes and dtypes, with values that do not matter.

    Raises:
        PluginError: if `init` raises, or returns something else than a NamedTuple of mappings of term to array, or
            of arrays.

    Example:
        >>> from phasecore.weighting.rba import rba
        >>> first_state("rba", rba(), Signals({"residuals": {"pde": np.zeros(3)}}, np)).visited["pde"].shape
        (3,)
    """
    where = f"weighting {name!r}, init(signals)"
    state = called(where, lambda: scheme.init(signals.declared_by(f"weighting {name!r}", scheme.requires)))
    is_named_tuple = isinstance(state, tuple) and (hasattr(state, "_fields") or not state)
    if not is_named_tuple:
        raise PluginError(where, received=described(state), expected="a NamedTuple of mappings of term to array")
    for leaf, value in state_leaves(state):
        _check_array(f"{where}, state {leaf!r}", value, signals)
    for (field, key), count in Counter((field, str(key)) for (field, key), _ in state_entries(state)).items():
        if count > 1:
            raise PluginError(f"{where}, state {field!r}", received=f"{count} keys {key}", expected="different texts")
    fields = getattr(state, "_fields", ())
    unknown = [field for field in scheme.per_point if field not in fields]
    if unknown:
        raise PluginError(
            f"weighting {name!r}, per_point", received=f"{unknown}", expected=f"fields of the state: {[*fields]}"
        )
    for field in scheme.per_point:
        if not isinstance(getattr(state, field), Mapping):
            raise PluginError(
                f"weighting {name!r}, per_point",
                received=f"{field!r}, which is an array",
                expected="fields that are mappings of term to array: the points are those of a term",
            )
    return state


def updated(name: str, scheme: WeightingScheme, signals: Signals, state: State) -> tuple[Weights, State]:
    """Return weights and state of one update from the signals that the scheme declared.

    What depends on no value and costs nothing is checked at every update; `check_update` does the rest once.

    Args:
        name: the scheme, as messages call it.
        scheme: the scheme.
        signals: at least those that it requires.
        state: the last one.

    Raises:
        PluginError: if `update` raises, or returns something else than a mapping of weights and a state of its kind.

    Example:
        >>> from phasecore.weighting.rba import rba
        >>> signals = Signals({"residuals": {"pde": np.ones(3)}}, np)
        >>> weights, _ = updated("rba", rba(gamma=0.5, eta=0.5), signals, first_state("rba", rba(), signals))
        >>> weights["pde"].tolist()
        [0.5, 0.5, 0.5]
    """
    where = f"weighting {name!r}, update(signals, state)"
    result = called(where, lambda: scheme.update(signals.declared_by(f"weighting {name!r}", scheme.requires), state))
    if not (isinstance(result, tuple) and len(result) == 2 and isinstance(result[0], Mapping)):
        raise PluginError(
            where,
            received=described(result),
            expected="a tuple (weights, state), weights being a mapping of term to array",
            fix="Return the state too, even where nothing is remembered." if isinstance(result, Mapping) else "",
        )
    if type(result[1]) is not type(state):
        raise PluginError(
            where,
            received=f"a state that is {described(result[1])}",
            expected=f"a {type(state).__name__}, as init returned",
        )
    return result


def check_update(
    name: str, weights: Weights, state: State, before: State, sizes: Mapping[str, int], signals: Signals
) -> None:
    """Refuse weights of another shape than a term's, a state of another structure, and dtypes that no signal has.

    Args:
        name: the scheme, as messages call it.
        weights: that an update returned.
        state: likewise.
        before: the state that the update was given.
        sizes: number of points of each term.
        signals: that it was given.

    Raises:
        PluginError: naming scheme, and the term or the state's entry.
    """
    for term, weight in weights.items():
        where = f"weighting {name!r}, weights of term {term!r}"
        _check_array(where, weight, signals)
        check_weight_shape(name, term, tuple(weight.shape), sizes)
        _check_dtype(where, weight, signals, "Mix in Python numbers only, they keep the dtype.")
    first, now = dict(state_leaves(before)), dict(state_leaves(state))
    for entry, leaf in first.items():
        fix = "Make it with xp.zeros_like or xp.ones_like of a signal."
        _check_dtype(f"weighting {name!r}, state {entry!r}", leaf, signals, fix)
    for entry in dict.fromkeys([*first, *now]):
        old, new = (_structure(leaves.get(entry)) for leaves in (first, now))
        if old != new:
            raise PluginError(
                f"weighting {name!r}, state {entry!r} after an update", received=new, expected=f"{old}, as init made it"
            )


def check_rows(name: str, what: str, shape: tuple[int | None, ...], expected: tuple[int | None, ...], fix: str) -> None:
    """Refuse an array of another shape than the points at hand ask for.

    Args:
        name: the scheme, as messages call it.
        what: the array in words.
        shape: of the array; a length is None where a compiler does not know it yet.
        expected: likewise.
        fix: what to do about it.

    Raises:
        PluginError: naming scheme and array.

    Example:
        >>> check_rows("mine", "state 'sizes_pde'", (30,), (30,), "")
    """
    if None not in (*shape, *expected) and shape != expected:
        raise PluginError(
            f"weighting {name!r}, {what} after an update",
            received=f"shape {shape}",
            expected=f"{expected}, as of what it was given",
            fix=fix,
        )


def check_state_stays(name: str, state: State, before: State, signals: Signals, fix: str = "") -> None:
    """Refuse a state of other entries than the last one had, or whose arrays have become something else.

    Args:
        name: the scheme, as messages call it.
        state: that an update returned.
        before: that it was given.
        signals: likewise.
        fix: what to do where an array has another shape.

    Raises:
        PluginError: naming scheme and entry.

    Example:
        >>> from phasecore.weighting.rba import RBAState
        >>> state = RBAState({"pde": np.ones(3)}, {"pde": np.ones(3)})
        >>> check_state_stays("rba", state, state, Signals({}, np))
    """
    first, now = dict(state_entries(before)), dict(state_entries(state))
    for entry, leaf in now.items():
        if entry in first:
            what = f"state {usual_name(*entry)!r}"
            _check_array(f"weighting {name!r}, {what} after an update", leaf, signals)
            check_rows(name, what, tuple(leaf.shape), tuple(first[entry].shape), fix)
    for entry in {**first, **now}:
        if entry not in first or entry not in now:
            raise PluginError(
                f"weighting {name!r}, state {usual_name(*entry)!r} after an update",
                received=_structure(now.get(entry)),
                expected=f"{_structure(first.get(entry))}, as before",
                fix="Return the entries that init made at every update.",
            )


def check_terms_stay(name: str, weights: Weights, weighted: tuple[str, ...], signals: Signals) -> None:
    """Refuse weights of other terms than those of the first update, and what is no array of the signals' framework.

    Args:
        name: the scheme, as messages call it.
        weights: of this update.
        weighted: terms of the first update.
        signals: that the update was given.

    Raises:
        PluginError: naming scheme and terms.

    Example:
        >>> check_terms_stay("rba", {"pde": np.ones(3)}, ("pde",), Signals({}, np))
    """
    if len(weights) != len(weighted) or any(term not in weights for term in weighted):
        raise PluginError(
            f"weighting {name!r}, update(signals, state)",
            received=f"weights of {[*weights]}",
            expected=f"weights of {[*weighted]}, as at first",
            fix="Return weights of the same terms at every update.",
        )
    for term, weight in weights.items():
        _check_array(f"weighting {name!r}, weights of term {term!r}", weight, signals)


def check_weight_shape(name: str, term: str, shape: tuple[int, ...], sizes: Mapping[str, int]) -> None:
    """Refuse weights of a term that is not there, or of a wrong shape.

    Args:
        name: the scheme, as messages call it.
        term: the term that is weighted.
        shape: of its weights.
        sizes: number of points of each term.

    Raises:
        PluginError: naming scheme, term, and the shapes that there may be.

    Example:
        >>> check_weight_shape("rba", "pde", (30,), {"pde": 30})
    """
    if term not in sizes:
        raise PluginError(f"weighting {name!r}", received=f"weights of term {term!r}", expected=f"{[*sizes]}")
    if shape not in ((), (sizes[term],)):
        raise PluginError(
            f"weighting {name!r}, weights of term {term!r}",
            received=f"shape {shape}",
            expected=f"() for the whole term, or ({sizes[term]},), one for each of its points",
        )


def check_weight_range(
    name: str, scheme: WeightingScheme, term: str, least: float, largest: float, iteration: int
) -> None:
    """Refuse weights that are not finite, or negative where they multiply squares.

    Args:
        name: the scheme, as messages call it.
        scheme: the scheme.
        term: the term that is weighted.
        least: its smallest weight.
        largest: its largest weight.
        iteration: at which these are its weights.

    Raises:
        PluginError: naming scheme, term and iteration.

    Example:
        >>> from phasecore.weighting.rba import rba
        >>> check_weight_range("rba", rba(), "pde", 0.0, 1.0, iteration=10)
    """
    of_squares = scheme.multiplies == "squared_residual"
    if not (math.isfinite(least) and math.isfinite(largest)) or (of_squares and least < 0):
        raise PluginError(
            f"weighting {name!r}, weights of term {term!r} at iteration {iteration}",
            received=f"values from {least:g} to {largest:g}",
            expected="finite numbers" + (", 0 or more" if of_squares else ""),
            fix=_ADVICE if iteration > 1 else _FIRST_ADVICE,
        )


def _are_names(value: object, kind: type) -> bool:
    return isinstance(value, kind) and all(isinstance(item, str) for item in value)  # type: ignore[attr-defined]


def _check_array(where: str, value: Any, signals: Signals) -> None:
    """Refuse what is no array, or numpy's where the signals are another framework's."""
    if not hasattr(value, "shape") or (isinstance(value, _NUMPY) and signals.namespace is not np):
        raise PluginError(
            where,
            received=described(value),
            expected="an array of the signals' framework",
            fix="Compute with signals.namespace.",
        )


def _check_dtype(where: str, array: Array, signals: Signals, fix: str) -> None:
    """Refuse an array of a dtype that no signal has: what is computed of it would be rounded, or refused, elsewhere."""
    expected = _dtypes(signals.values)
    if _dtype(array) not in expected:
        raise PluginError(
            where, received=f"dtype {_dtype(array)}", expected=f"{' or '.join(expected)}, as the signals", fix=fix
        )


def _dtypes(values: Any) -> list[str]:
    own = map(_dtypes, values.values()) if isinstance(values, Mapping) else [[_dtype(values)]]
    return [*dict.fromkeys(itertools.chain.from_iterable(own))]


def _dtype(array: Array) -> str:
    return getattr(array.dtype, "name", None) or str(array.dtype).rpartition(".")[2]


def _structure(leaf: Any) -> str:
    if not hasattr(leaf, "shape"):
        return "nothing" if leaf is None else described(leaf)
    return f"shape {tuple(leaf.shape)} of {_dtype(leaf)}"
