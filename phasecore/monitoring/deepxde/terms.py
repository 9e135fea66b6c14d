"""The terms of a DeepXDE model's loss: their errors, points and weights, read without importing DeepXDE.

DeepXDE's compiled functions ask `model.data.losses_train` for the losses of the terms. What takes its place here gets
the errors from DeepXDE's own `losses` and hands them to the loss functions that the user compiled with. It is plain
indexing and multiplication, and so the same on every backend of DeepXDE, traced or not.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from phasecore.monitoring.deepxde.evaluation import Evaluation, Evaluator, is_table
from phasecore.signals import (
    CONDITION_RESIDUALS,
    COORDINATES,
    DOMAIN,
    RESIDUALS,
    TANGENT_KERNEL_TRACES,
    TERM_GRADIENTS,
    TERM_LOSSES,
    UNIT_COORDINATES,
    WEIGHTED_TERM_LOSSES,
    unit_coordinates,
)

Array = Any
"""A tensor of DeepXDE's backend."""

Arrays = NDArray[Any]

NAMES = {"IC": "initial", "Interface2DBC": "interface"}
"""What a condition's class is called as a term, where that is not its own name without "BC"."""


@final
class TermReader:
    """Takes the place of `data.losses_train`; weights enter as the targets, which equations have no use for.

    Args:
        data: a `deepxde.data.PDE`.
        equations_only: evaluate the equations at whatever points there are, and give conditions the loss zero.
        batches: number of equal batches that the points consist of; losses are summed over them.

    Attributes:
        errors: of each term, as evaluated last.
        weighted: the same, with the weights that the targets hold.
    """

    def __init__(self, data: Any, *, equations_only: bool = False, batches: int = 1) -> None:
        self._data = data
        self._only = equations_only
        self._batches = batches
        self.errors: list[Array] = []
        self.weighted: list[Array] = []

    def losses_train(
        self, targets: Any, outputs: Any, loss_fn: Any, inputs: Any, model: Any, aux: Any = None
    ) -> list[Any]:
        """Return the loss of each term, see `deepxde.data.Data.losses_train`."""
        data = _without_conditions(self._data) if self._only else self._data
        pairs: list[tuple[Array, Array]] = []

        def keep(true: Array, error: Array) -> Array:
            pairs.append((true, error))
            return error

        type(data).losses(data, targets, outputs, keep, inputs, model, aux=aux)
        self.errors, self.weighted = [error for _, error in pairs], []
        terms = len(pairs) + (len(self._data.bcs) if self._only else 0)
        functions = loss_fn if isinstance(loss_fn, (list, tuple)) else [loss_fn] * terms
        losses = []
        for place, (true, error) in enumerate(pairs):
            if is_table(targets):
                error = error * self._factor(targets, place, len(pairs), error)
            self.weighted.append(error)
            size = int(error.shape[0]) // self._batches
            parts = [slice(start * size, (start + 1) * size) for start in range(self._batches)]
            losses.append(sum(functions[place](true[part], error[part]) for part in parts))
        return losses + [0.0 * losses[0]] * (terms - len(pairs))

    def _factor(self, table: Array, place: int, terms: int, error: Array) -> Array:
        """What multiplies the error of the term at `place`, see `Terms.table`."""
        rows, column = slice(None), place
        if not self._only:
            condition = place - (terms - len(self._data.bcs))
            start = sum(self._data.num_bcs if condition < 0 else self._data.num_bcs[:condition])
            rows = slice(start, start + int(error.shape[0]))
            column = place if condition < 0 else 0
        return table[rows, column] if len(error.shape) > 1 else table[rows, column, 0]


@contextlib.contextmanager
def reading(model: Any, reader: TermReader) -> Iterator[None]:
    """Let a model's own functions ask a reader for the losses, while they are called or traced."""
    data, model.data = model.data, reader
    try:
        yield
    finally:
        model.data = data


@final
class Terms:
    """Names, points and signals of the terms.

    Args:
        data: a `deepxde.data.PDE`.
        errors: of each term.

    Attributes:
        equations: names of the equations: "pde", or "pde_1", "pde_2", ...
        conditions: names of the conditions: "initial", "dirichlet", "periodic", ..., numbered where there are several.
        start: first row of the training points that belongs to the equations.
    """

    def __init__(self, data: Any, errors: Sequence[Arrays]) -> None:
        self._data = data
        count = len(errors) - len(data.bcs)
        kinds = [type(condition).__name__ for condition in data.bcs]
        self.equations = _numbered(["pde"] * count)
        self.conditions = _numbered([NAMES.get(kind) or _snake(kind.removesuffix("BC")) for kind in kinds])
        self.start = int(sum(data.num_bcs))

    @property
    def points(self) -> Arrays:
        """The collocation points of the equations, shape (n, dimension)."""
        return self._data.train_x[self.start :]  # type: ignore[no-any-return]

    def by_name(self, values: Iterable[Any]) -> dict[str, Any]:
        """Return values in DeepXDE's order by the names of their terms; a regularizer's loss comes last."""
        return dict(zip([*self.equations, *self.conditions, "regularization"], values, strict=False))

    def signals(self, evaluation: Evaluation) -> dict[str, Any]:
        """Return what follows from errors and points alone."""
        residuals = self.by_name([_as_residual(error) for error in evaluation.errors])
        domain, names = _domain(self._data)
        return {
            RESIDUALS: {term: residuals[term] for term in self.equations},
            CONDITION_RESIDUALS: {term: residuals[term] for term in self.conditions},
            TERM_LOSSES: {term: np.mean(np.square(residual)) for term, residual in residuals.items()},
            WEIGHTED_TERM_LOSSES: self.by_name(evaluation.losses),
            COORDINATES: self.points,
            DOMAIN: domain,
            UNIT_COORDINATES: unit_coordinates(self.points, domain, names),
        }

    def further(self, evaluator: Evaluator, required: frozenset[str], table: Arrays | None = None) -> dict[str, Any]:
        """Return the required signals that cost backward passes, with the weights of a `table`, or without."""
        values: dict[str, Any] = {}
        if TERM_GRADIENTS in required:
            values[TERM_GRADIENTS] = self.by_name(evaluator.term_gradients(table))
        if TANGENT_KERNEL_TRACES in required:
            values[TANGENT_KERNEL_TRACES] = self.by_name(evaluator.tangent_kernel_traces(len(self.equations), table))
        return values

    def table(self, factors: Mapping[str, Arrays], sizes: Mapping[str, int]) -> Arrays:
        """Return what multiplies each error, shape (training points, equations, 1); a condition's is in column 0."""
        table = np.ones((len(self._data.train_x), len(self.equations), 1), dtype=self._data.train_x.dtype)
        for column, term in enumerate(self.equations):
            table[self.start :, column, 0] = factors[term]
        row = 0
        for term, count in zip(self.conditions, self._data.num_bcs, strict=True):
            table[row : row + sizes[term], 0, 0] = factors[term]
            row += count
        return table


def _without_conditions(data: Any) -> Any:
    alone = copy.copy(data)
    alone.bcs, alone.num_bcs = [], []
    return alone


def _as_residual(error: Arrays) -> Arrays:
    """One number for each point: the error, or the root mean square of several components."""
    flat = np.asarray(error, dtype=np.float64).reshape(len(error), -1)
    return flat[:, 0] if flat.shape[1] == 1 else np.sqrt(np.mean(np.square(flat), axis=1))


def _domain(data: Any) -> tuple[Arrays, list[str]]:
    """Lower and upper bounds, shape (2, dimension), and names of the coordinates; time is "t", the last."""
    space = getattr(data.geom, "geometry", data.geom)
    bounds = np.reshape(np.asarray(space.bbox, dtype=np.float64), (2, -1))
    dimension = bounds.shape[1]
    names = list("xyz"[:dimension]) if dimension <= 3 else [f"x{axis + 1}" for axis in range(dimension)]
    if hasattr(space, "t0"):  # a TimeDomain by itself
        names = ["t"]
    time = getattr(data.geom, "timedomain", None)
    if time is not None:
        bounds, names = np.column_stack([bounds, [time.t0, time.t1]]), [*names, "t"]
    return bounds, names


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).strip("_")


def _numbered(kinds: Sequence[str]) -> list[str]:
    seen: dict[str, int] = {}
    names = []
    for kind in kinds:
        seen[kind] = seen.get(kind, 0) + 1
        names.append(f"{kind}_{seen[kind]}" if kinds.count(kind) > 1 else kind)
    return names
