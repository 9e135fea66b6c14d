"""What every weighting scheme must satisfy, and `check_weighting`, which runs it all."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping
from typing import Any, get_args, get_type_hints

import numpy as np

from phasecore.arguments import is_whole
from phasecore.signals import DESCRIPTIONS, Signals
from phasecore.testing.laws import NotApplicableError, Report, run_laws
from phasecore.testing.libraries import GUARDED, ArrayLibrary, libraries
from phasecore.testing.made_signals import GIVEN, SignalMaker, zeroed
from phasecore.testing.trees import RecordingMapping, difference, leaves, map_leaves, structure
from phasecore.testing.weighting_composition import COMPOSITION_LAWS
from phasecore.testing.weighting_points import POINT_LAWS, sizes_of
from phasecore.testing.weighting_subject import NUMPY, UPDATES, WeightingSubject, signals_on
from phasecore.weighting.base import State, WeightingScheme


def check_weighting(
    scheme: WeightingScheme | Callable[[], WeightingScheme],
    namespaces: Iterable[str | ArrayLibrary] | None = None,
    *,
    signals: Mapping[str, SignalMaker] | None = None,
    known_failures: Mapping[str, str] | None = None,
) -> Report:
    """Check that a weighting scheme keeps its contract, on every array library.

    Args:
        scheme: the scheme, or a factory that is called without options.
        namespaces: array libraries by name ("numpy", "array_api_strict", "torch") or as `ArrayLibrary`; by default
            all that are installed.
        signals: for required signals outside the core vocabulary, functions that make up values.
        known_failures: {law: reason} for laws that the scheme is known to break; an error if it does not.

    Raises:
        AssertionError: listing every broken law and what to change.

    Example:
        >>> from phasecore.weighting.rba import rba
        >>> sorted(check_weighting(rba, ["numpy"]).skipped)
        ['composes_with_weights_of_points', 'weights_of_squares_are_not_negative']
    """
    made = scheme if isinstance(scheme, WeightingScheme) else scheme()
    name = getattr(scheme, "__name__", None) or getattr(made.update, "__qualname__", "scheme").partition(".")[0]
    subject = WeightingSubject(made, libraries(namespaces), signals or {})
    return run_laws(f"weighting scheme {name!r}", WEIGHTING_LAWS, subject, known_failures)


def declares_itself(subject: WeightingSubject) -> None:
    """A scheme is a `WeightingScheme` whose declarations are of the right kind and use known names."""
    scheme: Any = subject.scheme
    assert isinstance(scheme, WeightingScheme), f"the factory returned {scheme!r}; return a WeightingScheme"
    kinds = get_args(get_type_hints(WeightingScheme)["multiplies"])
    assert scheme.multiplies in kinds, f"multiplies is {scheme.multiplies!r}; use one of {kinds}"
    assert isinstance(scheme.requires, frozenset), f"requires is {scheme.requires!r}; use a frozenset of names"
    unknown = sorted(scheme.requires - set(DESCRIPTIONS) - set(subject.extra))
    assert not unknown, f"requires names unknown signals {unknown}; phasecore.signals.DESCRIPTIONS lists what there is"
    assert isinstance(scheme.per_point, tuple), f"per_point is {scheme.per_point!r}; use a tuple of field names"
    moves = get_args(get_type_hints(WeightingScheme)["on_move"])
    assert scheme.on_move in moves, f"on_move is {scheme.on_move!r}; use one of {moves}"
    assert is_whole(scheme.every), f"every is {scheme.every!r}; use a positive integer, 1 to update at every iteration"


def state_is_a_named_tuple_of_arrays(subject: WeightingSubject) -> None:
    """The state is a NamedTuple whose fields are arrays or map names to arrays, so that adapters can save it."""
    state = subject.start(subject.values(0))
    is_named_tuple = isinstance(state, tuple) and hasattr(state, "_fields")
    assert is_named_tuple, f"init returned {state!r}; return a NamedTuple"
    for name, value in zip(state._fields, state, strict=True):
        assert isinstance(value, Mapping) or hasattr(value, "shape"), (
            f"state field {name!r} is {value!r}; use a mapping of term to array, or an array"
        )
        for key, leaf in value.items() if isinstance(value, Mapping) else ():
            assert hasattr(leaf, "shape"), f"state field {name!r}, {key!r} is {leaf!r}; use an array"
    unknown = sorted(set(subject.scheme.per_point) - set(state._fields))
    assert not unknown, f"per_point names {unknown}, which the state lacks; its fields are {state._fields}"


def state_arrays_are_separate(subject: WeightingSubject) -> None:
    """No array of the state is there twice: adapters write rows of batches into it, and would change both."""
    for stage, state in _stages(subject):
        found = leaves(state)
        for path, leaf in found.items():
            twins = [other for other in found if other != path and np.shares_memory(found[other], leaf)]
            assert not twins, f"state{path} and state{twins[0]} are one array {stage}; make an array for each"


def init_reads_only_shapes(subject: WeightingSubject) -> None:
    """`init` does not depend on the values of its signals, which are zero when a training starts."""
    values = subject.values(3)
    first = subject.start(values)
    second = subject.scheme.init(signals_on(values, NUMPY))
    found = difference(first, second)
    assert not found, f"init depends on the values of its signals: {found}; move this into the first update"


def reads_what_it_requires(subject: WeightingSubject) -> None:
    """`init` and `update` read every required signal and no other."""
    read: set[str] = set()
    signals = Signals(RecordingMapping(subject.values(0), read), np, reader=f"weighting {subject.name!r}")
    subject.scheme.update(signals, subject.scheme.init(signals))
    unread = sorted(subject.scheme.requires - read)
    assert not unread, f"requires {unread} and never reads them; drop them, each costs the training something"


def state_and_signals_are_not_mutated(subject: WeightingSubject) -> None:
    """`update` leaves the state and the signals that it received as they were."""
    for array_library in subject.libraries:
        state = subject.start(subject.values(0), array_library)
        for seed in range(UPDATES):
            signals = signals_on(subject.values(seed), array_library)
            before = map_leaves(array_library.to_numpy, (dict(signals.values), state))
            _, new = subject.scheme.update(signals, state)
            found = difference(before, map_leaves(array_library.to_numpy, (dict(signals.values), state)))
            assert not found, (
                f"update changed its arguments in place ({array_library.name}): {found}; return new arrays"
            )
            state = new


def state_structure_is_stable(subject: WeightingSubject) -> None:
    """Entries, shapes and dtypes of the state stay those of `init`, and follow the dtype of the signals."""
    for array_library in subject.libraries:
        for dtype in ("float32", "float64"):
            state = subject.start(subject.values(0, dtype), array_library)
            first = structure(state)
            wrong = [path for path, kind in first.items() if not kind.endswith(dtype)]
            assert not wrong, (
                f"with {dtype} signals state{wrong[0]} is {first[wrong[0]]} ({array_library.name}); "
                "make it with xp.zeros_like or xp.ones_like of a signal"
            )
            for seed in range(UPDATES):
                _, new = subject.update(subject.values(seed, dtype), state, array_library)
                assert type(new) is type(state), f"update returned {type(new)}, init {type(state)}; return one kind"
                now = structure(new)
                changed = [
                    f"state{path} is {now.get(path)}, not {first.get(path)}"
                    for path in dict.fromkeys([*first, *now])
                    if first.get(path) != now.get(path)
                ]
                assert not changed, f"the state changes ({array_library.name}): {changed[0]}; keep what init made"
                state = new


def is_deterministic(subject: WeightingSubject) -> None:
    """The same signals and state give the same result, whatever the scheme was used for in between."""
    first = subject.history()
    other = subject.start(subject.values(99))
    subject.update(subject.values(98), other)
    found = difference(first, subject.history())
    assert not found, (
        f"a second run with the same signals differs: {found}; keep everything that is remembered in the state"
    )


def weights_have_the_right_shape(subject: WeightingSubject) -> None:
    """Weights are a mapping of known terms to an array of shape (n,) or a scalar array."""
    sizes = sizes_of(subject.layout)
    for array_library in subject.libraries:
        for dtype in ("float32", "float64"):
            state = subject.start(subject.values(0, dtype), array_library)
            weights, _ = subject.update(subject.values(0, dtype), state, array_library)
            assert isinstance(weights, Mapping), f"update returned weights {weights!r}; return a mapping by term"
            unknown = sorted(set(weights) - set(sizes))
            assert not unknown, f"weights name {unknown}, which are not terms; the terms are those of the signals"
            for term, weight in weights.items():
                shape = getattr(weight, "shape", None)
                assert shape is not None, f"the weight of term {term!r} is {weight!r}; return an array"
                assert tuple(shape) in ((), (sizes[term],)), (
                    f"the weight of term {term!r} has shape {tuple(shape)} ({array_library.name}); "
                    f"return a scalar array, or shape ({sizes[term]},) with a weight for each point"
                )
                kind = str(weight.dtype).rpartition(".")[2]
                assert kind == dtype, (
                    f"the weight of term {term!r} is {kind} where the signals are {dtype} ({array_library.name}); "
                    "mix in Python numbers only, they keep the dtype"
                )


def the_same_terms_are_always_weighted(subject: WeightingSubject) -> None:
    """Every update returns weights of the same terms, so that an adapter can make room for them beforehand."""
    state = subject.start(subject.values(0))
    usual, _ = subject.update(subject.values(0), state)
    dead, _ = subject.update(zeroed(subject.values(0), GIVEN), state)
    for weights in (dead, *(weights for weights, _ in subject.history())):
        assert weights.keys() == usual.keys(), (
            f"weights are sometimes of {list(usual)} and sometimes of {list(weights)}"
        )


def weights_are_finite(subject: WeightingSubject) -> None:
    """Weights and state are finite, also where all residuals and losses are zero, and nearly so."""
    usual = subject.values(0)
    faint = {
        name: tree if name in GIVEN else map_leaves(lambda leaf: 1e-30 * leaf, tree) for name, tree in usual.items()
    }
    for dtype in ("float32", "float64"):
        cases = {"zero": zeroed(usual, GIVEN), "1e-30 of the usual": faint, "the usual": usual}
        cases = {name: map_leaves(operator.methodcaller("astype", dtype), tree) for name, tree in cases.items()}
        for first, one in cases.items():
            for second, two in cases.items():
                state = subject.start(one)
                for signals in (one, two, one):
                    result = subject.update(signals, state)
                    wrong = [path for path, leaf in leaves(result).items() if not np.all(np.isfinite(leaf))]
                    assert not wrong, (
                        f"with signals that are {first}, then {second} ({dtype}), (weights, state){wrong[0]} is "
                        "not finite; guard divisions: xp.where(d > 0, x / xp.where(d > 0, d, xp.ones_like(d)), 0 * x)"
                    )
                    state = result[1]


def weights_of_squares_are_not_negative(subject: WeightingSubject) -> None:
    """A weight of the squared residual is at least zero: a negative one would reward large residuals."""
    if subject.scheme.multiplies != "squared_residual":
        raise NotApplicableError("the weights multiply the residual; their sign does not matter")
    for weights, _ in subject.history():
        for term, weight in weights.items():
            assert np.all(weight >= 0), f"a weight of term {term!r} is {np.min(weight)}; weights are at least zero"


def runs_compiled(subject: WeightingSubject) -> None:
    """Schemes call only `phasecore.arrays.NAMES`, never branch on a value or write in place; compilers trace them."""
    found = difference(subject.history(), subject.history(GUARDED))
    assert not found, f"on arrays that forbid everything else the numbers differ: {found}"


def agrees_across_libraries(subject: WeightingSubject) -> None:
    """Every array library gives the same numbers, to rounding."""
    expected = subject.history()
    for array_library in subject.libraries:
        found = difference(expected, subject.history(array_library), relative=1e-12)
        assert not found, f"{array_library.name} and numpy disagree: {found}"


WEIGHTING_LAWS = (
    declares_itself,
    state_is_a_named_tuple_of_arrays,
    state_arrays_are_separate,
    init_reads_only_shapes,
    reads_what_it_requires,
    state_and_signals_are_not_mutated,
    state_structure_is_stable,
    is_deterministic,
    weights_have_the_right_shape,
    the_same_terms_are_always_weighted,
    weights_are_finite,
    weights_of_squares_are_not_negative,
    runs_compiled,
    agrees_across_libraries,
    *POINT_LAWS,
    *COMPOSITION_LAWS,
)
"""Every law of weighting schemes; each takes a `WeightingSubject`."""


def _stages(subject: WeightingSubject) -> list[tuple[str, State]]:
    state = subject.start(subject.values(0))
    return [("after init", state), ("after an update", subject.update(subject.values(0), state)[1])]
