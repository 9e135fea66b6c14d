"""Signals: what a backend can supply at an iteration, by name, for weighting schemes and probes.

A scheme or probe declares the names that it requires; `check_requirements` compares them with what the backend
supplies, once, before the first iteration.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, final

from phasecore.arrays import Array, ArrayNamespace
from phasecore.errors import InputError, PluginError

RESIDUALS = "residuals"
CONDITION_RESIDUALS = "condition_residuals"
TERM_LOSSES = "term_losses"
TERM_GRADIENTS = "term_gradients"
TANGENT_KERNEL_TRACES = "tangent_kernel_traces"
WEIGHTED_TERM_LOSSES = "weighted_term_losses"
POINT_WEIGHTS = "point_weights"
RESIDUAL_ATTENTION = "residual_attention"
COORDINATES = "coordinates"
UNIT_COORDINATES = "unit_coordinates"
DOMAIN = "domain"
BATCH_GRADIENT_MOMENTS = "batch_gradient_moments"
BATCH_SIZES = "batch_sizes"
ADAM_MOMENTS = "adam_moments"
ADAM_LEARNING_RATES = "adam_learning_rates"
ACTIVATIONS = "activations"
TARGETS = "targets"
FIELDS = "fields"
REFERENCE_FIELDS = "reference_fields"

OF_REFERENCE = frozenset({TARGETS, REFERENCE_FIELDS})
"""Those that are made of a problem's reference solution."""

DESCRIPTIONS: Mapping[str, str] = MappingProxyType(
    {
        RESIDUALS: "{equation term: residual at each collocation point, shape (n,)}",
        CONDITION_RESIDUALS: "{condition term: residual at each condition point, shape (m,)}",
        TERM_LOSSES: "{term: mean squared residual, unweighted, scalar}",
        TERM_GRADIENTS: "{term: {parameter: gradient of the term's mean squared residual, of the parameter's shape}}, "
        "for every trainable parameter; for probes without weights, for schemes with the weights of its points",
        TANGENT_KERNEL_TRACES: "{term: trace of the term's neural tangent kernel: the sum over its points of the "
        "squared norm of the residual's gradient with respect to all trainable parameters, scalar}; for schemes "
        "each point's gradient is that of its residual as its point's weights multiply it",
        WEIGHTED_TERM_LOSSES: "{term: the same as it entered the training loss, scalar}",
        POINT_WEIGHTS: "{term: weight of each point, shape (n,)}; terms without per-point weights are absent",
        RESIDUAL_ATTENTION: "{equation term: residual-based attention of each collocation point, shape (n,)}, "
        "the weights in use where the scheme is rba, else tracked beside the training with rba's defaults",
        COORDINATES: "coordinates of the collocation points, shape (n, dimension)",
        UNIT_COORDINATES: "{coordinate: its value at each collocation point as a share of the domain, from 0 at the "
        "lower bound to 1 at the upper, shape (n,)}",
        DOMAIN: "lower and upper bound of each coordinate, two rows, shape (2, dimension)",
        BATCH_GRADIENT_MOMENTS: "{layer: Moments(mean, standard_deviation) of the batch gradients}",
        BATCH_SIZES: "number of points in each of the batches of the gradient moments, shape (batches,)",
        ADAM_MOMENTS: "{parameter: AdamMoments(first, second), bias-corrected}, for every trained parameter: a weight "
        "matrix by the name of its layer, as in the gradient moments, any other by its own",
        ADAM_LEARNING_RATES: "{parameter: Adam's effective learning rate of each entry, `lr / (sqrt(v) + epsilon)`, v "
        "being the bias-corrected second moment, under AMSGrad the largest so far}, for the same parameters",
        ACTIVATIONS: "{hidden layer: outputs of its activation function at the collocation points, shape (n, neurons)}",
        TARGETS: "{field: the reference solution at the collocation points, shape (n,)}",
        FIELDS: "{field: the network's prediction on the evaluation grid, shape (m,)}",
        REFERENCE_FIELDS: "{field: the reference solution on the evaluation grid, shape (m,)}",
    }
)
"""Every signal of the core vocabulary and its meaning; a backend may supply others under names of its own."""


class Moments(NamedTuple):
    """Mean and population standard deviation over the batches of one layer's gradient, each of its shape."""

    mean: Array
    standard_deviation: Array


class AdamMoments(NamedTuple):
    """Adam's bias-corrected first and second moment of one parameter's gradient, each of its shape."""

    first: Array
    second: Array


Reduction = Literal["maximum", "minimum", "total"]
Reduce = Callable[[Reduction, Array], Array]


@final
@dataclass(frozen=True)
class Signals:
    """Signal values at one iteration, with the namespace of their arrays.

    Reductions over points (`maximum`, `minimum`, `total`, `mean`) go through the signals: what is reduced here is
    reduced over the points of all replicas of a data-parallel training, where the namespace's own functions see one
    replica's.

    Attributes:
        values: by name.
        namespace: functions of the arrays (`phasecore.arrays`).
        reduce: how points are reduced, to a scalar; None where this process holds them all.
        reader: whom they were handed to, such as "probe 'gradient_snr'", by `declared_by`.

    Example:
        >>> import numpy
        >>> signals = Signals({RESIDUALS: {"pde": numpy.asarray([0.5, -1.0])}}, numpy)
        >>> sorted(signals[RESIDUALS])
        ['pde']
    """

    values: Mapping[str, Any]
    namespace: ArrayNamespace
    reduce: Reduce | None = None
    reader: str = ""

    def __getitem__(self, name: str) -> Any:
        if name not in self.values:
            if self.reader:
                raise PluginError(
                    f"signal {name!r} is not available to {self.reader}, which does not declare it",
                    received=f"requires {sorted(self.values)}",
                    fix=f"Name {name!r} in 'requires', so that it is supplied or refused before training.",
                )
            raise InputError(
                f"signal {name!r} is not available at this iteration",
                expected=f"one of {sorted(self.values)}",
                fix="Name the signal in 'requires', so that it is supplied or refused before training.",
            )
        return self.values[name]

    def declared_by(self, reader: str, requires: Iterable[str]) -> Signals:
        """Return what a scheme or probe may see: the signals that it declared, which must be there, and no other.

        Args:
            reader: the scheme or probe in words, such as "probe 'gradient_snr'".
            requires: names of the signals that it declared.

        Example:
            >>> import numpy
            >>> signals = Signals({RESIDUALS: {}, TERM_LOSSES: {}}, numpy)
            >>> sorted(signals.declared_by("probe 'mine'", [RESIDUALS]).values)
            ['residuals']
        """
        return Signals({name: self[name] for name in requires}, self.namespace, self.reduce, reader)

    def maximum(self, points: Array) -> Array:
        """Return the largest value, a scalar."""
        return self.namespace.max(points) if self.reduce is None else self.reduce("maximum", points)

    def minimum(self, points: Array) -> Array:
        """Return the smallest value, a scalar."""
        return self.namespace.min(points) if self.reduce is None else self.reduce("minimum", points)

    def total(self, points: Array) -> Array:
        """Return the sum, a scalar."""
        return self.namespace.sum(points) if self.reduce is None else self.reduce("total", points)

    def mean(self, points: Array) -> Array:
        """Return the mean, a scalar.

        Example:
            >>> import numpy
            >>> float(Signals({}, numpy).mean(numpy.asarray([1.0, 3.0])))
            2.0
        """
        return self.total(points) / self.total(self.namespace.ones_like(points))


def unit_coordinates(points: Array, domain: Array, names: Iterable[str]) -> dict[str, Array]:
    """Return the signal UNIT_COORDINATES, {coordinate: shape (n,)}.

    Args:
        points: the signal COORDINATES, shape (n, dimension).
        domain: the signal DOMAIN, shape (2, dimension).
        names: of the coordinates, in order.

    Example:
        >>> import numpy
        >>> unit_coordinates(numpy.asarray([[0.0, 3.0]]), numpy.asarray([[-1.0, 0.0], [1.0, 4.0]]), ["x", "t"])
        {'x': array([0.5]), 't': array([0.75])}
    """
    return {
        name: (points[:, axis] - domain[0, axis]) / (domain[1, axis] - domain[0, axis])
        for axis, name in enumerate(names)
    }


def check_requirements(
    consumer: str, requires: Iterable[str], backend: str, supplies: Iterable[str], *, fix: str
) -> None:
    """Refuse a scheme or probe whose signals the backend cannot supply, before the first iteration.

    Args:
        consumer: the scheme or probe in words, such as "probe 'gradient_snr'".
        requires: names of the signals that it needs.
        backend: name of the backend, for the message.
        supplies: names of the signals that the backend supplies.
        fix: what to do instead.

    Raises:
        InputError: naming the consumer, the missing signals and what is supplied.
    """
    supplies = sorted(supplies)
    missing = sorted(set(requires) - set(supplies))
    if missing:
        names = " and ".join(repr(name) for name in missing)
        raise InputError(
            f"{consumer} requires signal{'s' if len(missing) > 1 else ''} {names}",
            received=f"backend {backend!r}, which supplies {supplies}",
            fix=fix,
        )
