"""Made-up but consistent signals, as numpy arrays, for checking schemes and probes without a training."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import DTypeLike

from phasecore import signals as names
from phasecore.problems.base import Problem
from phasecore.signals import AdamMoments, Moments, unit_coordinates
from phasecore.testing.trees import Tree, map_leaves

SignalMaker = Callable[[np.random.Generator, "Layout"], Tree]
"""Makes the value of a signal that is not in the core vocabulary: a tree of float64 numpy arrays."""

GIVEN = frozenset(
    {
        names.COORDINATES,
        names.UNIT_COORDINATES,
        names.DOMAIN,
        names.REFERENCE_FIELDS,
        names.TARGETS,
        names.BATCH_SIZES,
    }
)
"""Signals that the problem or the set-up gives; training changes the others."""

PER_POINT = frozenset(
    {
        names.RESIDUALS,
        names.POINT_WEIGHTS,
        names.RESIDUAL_ATTENTION,
        names.COORDINATES,
        names.UNIT_COORDINATES,
        names.ACTIVATIONS,
        names.TARGETS,
    }
)
"""Signals with a row for each collocation point."""


@final
@dataclass(frozen=True)
class Layout:
    """Names and sizes of the made-up training; they differ from any real problem's, so nothing can rely on those.

    Example:
        >>> from phasecore.problems.helmholtz import Helmholtz
        >>> Layout().terms, Layout.of(Helmholtz()).terms
        (('continuity', 'energy', 'inlet'), ('pde', 'boundary'))
    """

    points: int = 40
    condition_points: int = 7
    grid_points: int = 11
    coordinates: tuple[str, ...] = ("r", "t")
    equations: tuple[str, ...] = ("continuity", "energy")
    conditions: tuple[str, ...] = ("inlet",)
    layers: tuple[str, ...] = ("layer0", "layer1")
    batches: int = 6
    fields: tuple[str, ...] = ("density", "speed")

    @classmethod
    def of(cls, problem: Problem) -> Layout:
        """Return the layout of a training on a problem: its coordinates, equations, conditions and fields."""
        columns = dict(zip(problem.coordinates, problem.sample(3).interior.T, strict=True))
        fields = problem.fields(columns, {name: np.zeros(3) for name in problem.fields_read}, np)
        return cls(
            coordinates=tuple(problem.coordinates),
            equations=tuple(problem.equations),
            conditions=tuple(term for term in problem.terms if term not in problem.equations),
            fields=tuple(fields),
        )

    @property
    def dimension(self) -> int:
        """Number of coordinates."""
        return len(self.coordinates)

    @property
    def terms(self) -> tuple[str, ...]:
        """Names of all loss terms."""
        return self.equations + self.conditions


def make_signals(
    required: Iterable[str],
    layout: Layout,
    seed: int,
    dtype: DTypeLike = np.float64,
    extra: Mapping[str, SignalMaker] | None = None,
) -> dict[str, Tree]:
    """Return the required signals with random values that fit together: the maximum is the residuals', and so on.

    Raises:
        AssertionError: for a signal that is neither in the core vocabulary nor in `extra`.

    Example:
        >>> sorted(make_signals(["residuals"], Layout(), seed=0)["residuals"])
        ['continuity', 'energy']
    """
    generator = np.random.default_rng(seed)
    makers = dict(extra or {})
    values = {**_core(layout, generator), **{name: make(generator, layout) for name, make in makers.items()}}
    unknown = sorted(set(required) - set(values))
    assert not unknown, (
        f"signal {unknown[0]!r} is not in phasecore.signals.DESCRIPTIONS, so its values cannot be made up; "
        f"correct the name in 'requires', or pass signals={{{unknown[0]!r}: function(generator, layout) -> arrays}}"
    )
    return {name: map_leaves(lambda leaf: np.asarray(leaf, dtype=dtype), values[name]) for name in required}


def _core(layout: Layout, generator: np.random.Generator) -> dict[str, Tree]:
    def random(keys: Iterable[str], *shape: int) -> dict[str, Any]:
        return {key: generator.standard_normal(shape) for key in keys}

    def positive(keys: Iterable[str], *shape: int) -> dict[str, Any]:
        return {key: generator.uniform(0.1, 1.0, shape) for key in keys}

    residuals = random(layout.equations, layout.points)
    condition_residuals = random(layout.conditions, layout.condition_points)
    attention = positive(layout.equations, layout.points)
    squares = {term: values**2 for term, values in {**residuals, **condition_residuals}.items()}
    low = generator.uniform(-2.0, -1.0, layout.dimension)
    high = generator.uniform(1.0, 2.0, layout.dimension)
    reference = random(layout.fields, layout.grid_points)
    domain, coordinates = np.stack([low, high]), generator.uniform(low, high, (layout.points, layout.dimension))
    tangents = _tangents(layout, generator)
    batches = np.array_split(np.arange(layout.points), layout.batches)
    gradients = _batch_gradients(residuals, condition_residuals, attention, tangents, batches)
    # of a bias there is a row of the matrix
    adam = {
        name: AdamMoments(values.mean(axis=0), (values**2).mean(axis=0))
        for layer, matrices in gradients.items()
        for name, values in ((layer, matrices), (f"{layer}.bias", matrices[:, 0]))
    }
    return {
        names.RESIDUALS: residuals,
        names.CONDITION_RESIDUALS: condition_residuals,
        names.TERM_LOSSES: {term: np.mean(values) for term, values in squares.items()},
        names.TERM_GRADIENTS: {
            term: {f"{layer}.weight": _gradient(values, rows) for layer, rows in tangents[term].items()}
            for term, values in {**residuals, **condition_residuals}.items()
        },
        names.TANGENT_KERNEL_TRACES: {
            term: np.sum([np.sum(rows**2) for rows in of_layers.values()]) for term, of_layers in tangents.items()
        },
        names.WEIGHTED_TERM_LOSSES: {
            term: np.mean(attention[term] ** 2 * values if term in attention else values)
            for term, values in squares.items()
        },
        names.POINT_WEIGHTS: attention,
        names.RESIDUAL_ATTENTION: attention,
        names.COORDINATES: coordinates,
        names.UNIT_COORDINATES: unit_coordinates(coordinates, domain, layout.coordinates),
        names.DOMAIN: domain,
        names.BATCH_GRADIENT_MOMENTS: {
            layer: Moments(values.mean(axis=0), values.std(axis=0)) for layer, values in gradients.items()
        },
        names.BATCH_SIZES: np.asarray([len(batch) for batch in batches]),
        names.ADAM_MOMENTS: adam,
        names.ADAM_LEARNING_RATES: {name: 1e-3 / (np.sqrt(second) + 1e-8) for name, (_, second) in adam.items()},
        names.ACTIVATIONS: _activations(layout, generator),
        names.TARGETS: random(layout.fields, layout.points),
        names.FIELDS: {
            field: values + 0.1 * generator.standard_normal(values.shape) for field, values in reference.items()
        },
        names.REFERENCE_FIELDS: reference,
    }


def _tangents(layout: Layout, generator: np.random.Generator) -> dict[str, dict[str, Any]]:
    """For each term and layer, the gradient of the residual at each point with respect to the layer's weights."""
    sizes = dict.fromkeys(layout.equations, layout.points) | dict.fromkeys(layout.conditions, layout.condition_points)
    return {
        term: {layer: generator.standard_normal((size, 3, index + 2)) for index, layer in enumerate(layout.layers)}
        for term, size in sizes.items()
    }


def _gradient(residual: Any, tangents: Any) -> Any:
    """The gradient of the mean squared residual."""
    return 2 * np.mean(residual[:, None, None] * tangents, axis=0)


def _batch_gradients(
    residuals: Mapping[str, Any],
    condition_residuals: Mapping[str, Any],
    attention: Mapping[str, Any],
    tangents: Mapping[str, Mapping[str, Any]],
    batches: Iterable[Any],
) -> dict[str, Any]:
    """For each layer, the gradient of each batch's loss: weighted equations on the batch, conditions in full."""
    gradients: dict[str, list[Any]] = {}
    for batch in batches:
        for layer in next(iter(tangents.values())):
            equations = [
                _gradient((attention[term] ** 2 * values)[batch], tangents[term][layer][batch])
                for term, values in residuals.items()
            ]
            conditions = [_gradient(values, tangents[term][layer]) for term, values in condition_residuals.items()]
            gradients.setdefault(layer, []).append(np.sum(equations + conditions, axis=0))
    return {layer: np.stack(values) for layer, values in gradients.items()}


def _activations(layout: Layout, generator: np.random.Generator) -> dict[str, Any]:
    """A few patterns that recur, as where neurons saturate, so that their distribution differs between trainings."""
    patterns = np.tanh(2 * generator.standard_normal((8, len(layout.layers), 5)))
    chosen = patterns[generator.integers(len(patterns), size=layout.points)]
    return {layer: chosen[:, index, : index + 4] for index, layer in enumerate(layout.layers)}


def zeroed(values: Mapping[str, Tree], keep: Iterable[str] = ()) -> dict[str, Tree]:
    """Return the same signals with every value zero, but for those to keep."""
    kept = set(keep)
    return {name: tree if name in kept else map_leaves(np.zeros_like, tree) for name, tree in values.items()}


def rows_of(values: Mapping[str, Tree], rows: Any) -> dict[str, Tree]:
    """Return what a batch with the given rows sees: rows of per-point signals, the others whole."""
    return {
        name: map_leaves(lambda leaf: leaf[rows], tree) if name in PER_POINT else tree for name, tree in values.items()
    }
