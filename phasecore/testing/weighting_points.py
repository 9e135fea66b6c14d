"""Laws of weighting schemes about points: their order, batches of them, and replicas that hold a part of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from phasecore.signals import Reduction, Signals
from phasecore.testing.laws import NotApplicableError
from phasecore.testing.made_signals import Layout, rows_of
from phasecore.testing.trees import Tree, difference, leaves, structure
from phasecore.testing.weighting_subject import UPDATES, WeightingSubject
from phasecore.weighting.base import State, Weights

Rows = NDArray[np.int64]


_REDUCTIONS: Mapping[Reduction, Callable[[Any], Any]] = {"maximum": np.max, "minimum": np.min, "total": np.sum}


@final
class Reductions:
    """What an update reduces over the points, recorded on the full set and replayed where a part is at hand."""

    def __init__(self) -> None:
        self._recorded: list[tuple[Reduction, Any]] = []
        self._replayed = 0

    def record(self, kind: Reduction, points: Any) -> Any:
        """Reduce the full set, and keep the result."""
        result = _REDUCTIONS[kind](points)
        self._recorded.append((kind, result))
        return result

    def replay(self, kind: Reduction, points: Any) -> Any:
        """Return the full set's result of the same reduction."""
        assert self._replayed < len(self._recorded), "a part of the points makes more reductions than the full set"
        expected, result = self._recorded[self._replayed]
        assert kind == expected, f"a part of the points reduces a {kind} where the full set reduces a {expected}"
        self._replayed += 1
        return result


def per_point_state_has_a_row_for_each_point(subject: WeightingSubject) -> None:
    """Fields named in `per_point` hold one value for each point of their term, shape (n,), at all times."""
    sizes = sizes_of(subject.layout)
    state = subject.start(subject.values(0))
    for stage in ("after init", "after an update"):
        now = state if stage == "after init" else subject.update(subject.values(0), state)[1]
        for name in subject.scheme.per_point:
            for term, leaf in getattr(now, name).items():
                assert term in sizes, (
                    f"per-point state {name!r} has an entry {term!r}, which is no term; key it by the signals' terms"
                )
                assert tuple(leaf.shape) == (sizes[term],), (
                    f"per-point state {name!r} of term {term!r} has shape {tuple(leaf.shape)} {stage} with "
                    f"{sizes[term]} points; make it that of the residuals, or take it out of per_point"
                )


def weights_follow_their_points(subject: WeightingSubject) -> None:
    """Reordering the points reorders weights and per-point state alike: nothing depends on a point's position."""
    generator = np.random.default_rng(7)
    rows = {term: generator.permutation(size) for term, size in sizes_of(subject.layout).items()}
    order = rows[subject.layout.equations[0]]
    rows |= dict.fromkeys(subject.layout.equations, order)
    plain = shuffled = subject.start(subject.values(0))
    shuffled = _rows_of_state(subject, shuffled, rows)
    for seed in range(UPDATES):
        weights, plain = subject.update(subject.values(seed), plain)
        moved, shuffled = subject.update(_part(subject.values(seed), order, rows), shuffled)
        expected = (_rows_of_weights(weights, rows), _rows_of_state(subject, plain, rows))
        found = difference(expected, (dict(moved), shuffled), relative=1e-12)
        assert not found, f"reordering the points changes more than the order: (weights, state){found}"


def takes_batches(subject: WeightingSubject) -> None:
    """Handed some rows of the points, `update` returns weights and state for those rows, and keeps the rest's shape."""
    whole = subject.start(subject.values(0))
    for rows in (np.asarray([5, 2, 31]), np.asarray([17])):
        of_terms = dict.fromkeys(subject.layout.equations, rows)
        state = _rows_of_state(subject, whole, of_terms)
        try:
            weights, new = subject.update(rows_of(subject.values(1), rows), state)
        except Exception as error:
            raise AssertionError(
                f"update fails on a batch of {len(rows)} of {subject.layout.points} points: {type(error).__name__}: "
                f"{error}; name fields with a value for each point in per_point"
            ) from error
        expected, found = structure(state), structure(new)
        assert found == expected, (
            f"for a batch of {len(rows)} of {subject.layout.points} points the state is {found}, not {expected}; "
            "name fields with a value for each point in per_point"
        )
        for term in set(weights) & set(subject.layout.equations):
            assert tuple(weights[term].shape) in ((), (len(rows),)), (
                f"for a batch of {len(rows)} points the weight of term {term!r} has shape {weights[term].shape}"
            )


def a_batch_updates_as_its_rows(subject: WeightingSubject) -> None:
    """A point's state is updated alike in any batch: from its own row, and from others' through reductions alone.

    What `signals.maximum` and its siblings give for the full set is replayed to the batch.
    """
    if not subject.scheme.per_point:
        raise NotApplicableError("the scheme keeps no state of points")
    rows = dict.fromkeys(subject.layout.equations, np.asarray([11, 3, 38, 20]))
    for full, part in _updates_of_a_part(subject, rows):
        for name in subject.scheme.per_point:
            expected, found = getattr(full[1], name), getattr(part[1], name)
            wrong = difference(_rows(expected, rows), found, relative=1e-12)
            assert not wrong, (
                f"per-point state {name!r} of a batch differs from its rows in the full update: {wrong}; "
                "reduce over points with signals.maximum, minimum, total or mean"
            )


def reductions_go_through_the_signals(subject: WeightingSubject) -> None:
    """A replica that holds some points of each term gets the full set's weights and state, if reductions are its own.

    A scheme that keeps this law is right under data parallelism without knowing of it.
    """
    rows = dict.fromkeys(subject.layout.equations, np.asarray([11, 3, 38, 20]))
    rows |= dict.fromkeys(subject.layout.conditions, np.asarray([4, 1]))
    for full, part in _updates_of_a_part(subject, rows):
        expected = (_rows_of_weights(full[0], rows), _rows_of_state(subject, full[1], rows))
        found = difference(expected, (dict(part[0]), part[1]), relative=1e-12)
        assert not found, (
            f"with a part of the points at hand (weights, state){found}; reduce over points with signals.maximum, "
            "minimum, total or mean, which know the others, not with functions of the namespace"
        )


def takes_any_number_of_terms(subject: WeightingSubject) -> None:
    """Problems have one equation or several, and no condition or several; the scheme takes them all."""
    for equations, conditions in ((("energy",), ()), (("energy",), ("inlet", "wall")), (("a", "b", "c"), ("wall",))):
        layout = Layout(equations=equations, conditions=conditions)
        other = WeightingSubject(subject.scheme, subject.libraries, subject.extra, layout)
        what = f"{len(equations)} equations and {len(conditions)} conditions"
        try:
            history = other.history()
        except Exception as error:
            raise AssertionError(
                f"with {what} it raises {type(error).__name__}: {error}; loop over the terms of the signals"
            ) from error
        wrong = [path for path, leaf in leaves(history).items() if not np.all(np.isfinite(leaf))]
        assert not wrong, f"with {what} (weights, state){wrong[0]} is not finite"


def takes_points_that_moved(subject: WeightingSubject) -> None:
    """Handed the rows of other points, as many as before or not, `update` goes on: the state knows no number of points.

    As where points move in training: each new point has the rows of the nearest old one, or those of `init`.
    """
    if subject.scheme.on_move == "refused":
        raise NotApplicableError("the scheme forbids points to move")
    generator = np.random.default_rng(11)
    state = subject.update(subject.values(0), subject.start(subject.values(0)))[1]
    sizes = sizes_of(subject.layout)
    for factor in (1.0, 1.4, 0.7):
        counts = {term: max(1, round(factor * size)) for term, size in sizes.items()}
        layout = replace(
            subject.layout,
            points=counts[subject.layout.equations[0]],
            condition_points=counts[subject.layout.conditions[0]],
        )
        other = replace(subject, layout=layout)
        fresh = other.start(other.values(0))
        carried = _rows_of_state(
            subject, state, {term: generator.integers(sizes[term], size=n) for term, n in counts.items()}
        )
        for started in (carried, carried._replace(**{name: getattr(fresh, name) for name in subject.scheme.per_point})):
            now = started
            for seed in range(UPDATES):
                try:
                    weights, now = other.update(other.values(seed), now)
                except Exception as error:
                    raise AssertionError(
                        f"update fails after {sizes} points became {counts}: {type(error).__name__}: {error}; name "
                        "fields with a value for each point in per_point, and remember no number of points elsewhere"
                    ) from error
            expected, found = structure(fresh), structure(now)
            assert found == expected, (
                f"after {sizes} points became {counts} the state is {found}, not {expected}; name fields with a value "
                "for each point in per_point, and remember no number of points elsewhere"
            )
            wrong = [path for path, leaf in leaves((dict(weights), now)).items() if not np.all(np.isfinite(leaf))]
            assert not wrong, f"after points moved (weights, state){wrong[0]} is not finite"
            for term, weight in weights.items():
                assert tuple(weight.shape) in ((), (counts[term],)), (
                    f"after {sizes[term]} points became {counts[term]} the weight of term {term!r} has shape "
                    f"{tuple(weight.shape)}; compute it from the signals at hand"
                )


POINT_LAWS = (
    per_point_state_has_a_row_for_each_point,
    weights_follow_their_points,
    takes_batches,
    a_batch_updates_as_its_rows,
    reductions_go_through_the_signals,
    takes_any_number_of_terms,
    takes_points_that_moved,
)
"""The laws of this module."""


def sizes_of(layout: Layout) -> dict[str, int]:
    """Return the number of points of each term."""
    return dict.fromkeys(layout.equations, layout.points) | dict.fromkeys(layout.conditions, layout.condition_points)


def _updates_of_a_part(
    subject: WeightingSubject, rows: Mapping[str, Rows]
) -> list[tuple[tuple[Weights, State], tuple[Weights, State]]]:
    """Return (weights, state) of the full set and of the given rows, after each of a few updates of the full set."""
    found = []
    state = subject.start(subject.values(0))
    for seed in range(UPDATES):
        values, reductions = subject.values(seed), Reductions()
        full = subject.scheme.update(Signals(values, np, reductions.record), state)
        seen = _part(values, rows[subject.layout.equations[0]], rows)
        part = subject.scheme.update(Signals(seen, np, reductions.replay), _rows_of_state(subject, state, rows))
        found.append((full, part))
        state = full[1]
    return found


def _part(values: Mapping[str, Tree], equation_rows: Rows, rows: Mapping[str, Rows]) -> dict[str, Tree]:
    """Return the signals with the given rows of the collocation points, and of the conditions where given."""
    part = rows_of(values, equation_rows)
    if "condition_residuals" in part:
        part["condition_residuals"] = _rows(part["condition_residuals"], rows)
    return part


def _rows(mapping: Mapping[str, Any], rows: Mapping[str, Rows]) -> dict[str, Any]:
    return {term: values[rows[term]] if term in rows else values for term, values in mapping.items()}


def _rows_of_state(subject: WeightingSubject, state: State, rows: Mapping[str, Rows]) -> State:
    return state._replace(**{name: _rows(getattr(state, name), rows) for name in subject.scheme.per_point})


def _rows_of_weights(weights: Weights, rows: Mapping[str, Rows]) -> dict[str, Any]:
    return {term: weight[rows[term]] if term in rows and weight.shape else weight for term, weight in weights.items()}
