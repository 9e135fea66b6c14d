"""Made-up but consistent signals, as numpy arrays, for checking schemes and probes without a training."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import DTypeLike

from phasecore import signals as names
from phasecore.signals import AdamMoments, Moments
from phasecore.testing.trees import Tree, map_leaves

SignalMaker = Callable[[np.random.Generator, "Layout"], Tree]
"""Makes the value of a signal that is not in the core vocabulary: a tree of float64 numpy arrays."""

GIVEN = frozenset({names.COORDINATES, names.DOMAIN, names.REFERENCE_FIELDS})
"""Signals that the problem gives; training changes the others."""

PER_POINT = frozenset({names.RESIDUALS, names.POINT_WEIGHTS, names.RESIDUAL_ATTENTION, names.COORDINATES})
"""Signals with a row for each collocation point."""


@final
@dataclass(frozen=True)
class Layout:
    """Names and sizes of the made-up training; they differ from any real problem's, so nothing can rely on those."""

    points: int = 40
    condition_points: int = 7
    grid_points: int = 11
    dimension: int = 2
    equations: tuple[str, ...] = ("continuity", "energy")
    conditions: tuple[str, ...] = ("inlet",)
    layers: tuple[str, ...] = ("layer0", "layer1")
    fields: tuple[str, ...] = ("density", "speed")

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
    gradients = {layer: generator.standard_normal((6, 3, index + 2)) for index, layer in enumerate(layout.layers)}
    reference = random(layout.fields, layout.grid_points)
    return {
        names.RESIDUALS: residuals,
        names.CONDITION_RESIDUALS: condition_residuals,
        names.RESIDUAL_MAXIMUM: {term: np.max(np.abs(values)) for term, values in residuals.items()},
        names.RESIDUAL_MINIMUM: {term: np.min(np.abs(values)) for term, values in residuals.items()},
        names.TERM_LOSSES: {term: np.mean(values) for term, values in squares.items()},
        names.WEIGHTED_TERM_LOSSES: {
            term: np.mean(attention[term] ** 2 * values if term in attention else values)
            for term, values in squares.items()
        },
        names.POINT_WEIGHTS: attention,
        names.RESIDUAL_ATTENTION: attention,
        names.COORDINATES: generator.uniform(low, high, (layout.points, layout.dimension)),
        names.DOMAIN: np.stack([low, high]),
        names.BATCH_GRADIENT_MOMENTS: {
            layer: Moments(values.mean(axis=0), values.std(axis=0)) for layer, values in gradients.items()
        },
        names.ADAM_MOMENTS: {
            layer: AdamMoments(values.mean(axis=0), (values**2).mean(axis=0)) for layer, values in gradients.items()
        },
        names.FIELDS: {
            field: values + 0.1 * generator.standard_normal(values.shape) for field, values in reference.items()
        },
        names.REFERENCE_FIELDS: reference,
    }


def zeroed(values: Mapping[str, Tree], keep: Iterable[str] = ()) -> dict[str, Tree]:
    """Return the same signals with every value zero, but for those to keep."""
    kept = set(keep)
    return {name: tree if name in kept else map_leaves(np.zeros_like, tree) for name, tree in values.items()}


def rows_of(values: Mapping[str, Tree], rows: Any) -> dict[str, Tree]:
    """Return what a batch with the given rows sees: rows of per-point signals, the others whole."""
    return {
        name: map_leaves(lambda leaf: leaf[rows], tree) if name in PER_POINT else tree for name, tree in values.items()
    }
