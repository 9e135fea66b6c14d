"""Where a capture's signals come from, as far as it needs no framework: the half that the adapters' sources share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from phasecore.problems import Problem
from phasecore.signals import (
    ACTIVATIONS,
    BATCH_GRADIENT_MOMENTS,
    BATCH_SIZES,
    CONDITION_RESIDUALS,
    COORDINATES,
    DOMAIN,
    FIELDS,
    OF_REFERENCE,
    POINT_WEIGHTS,
    REFERENCE_FIELDS,
    RESIDUAL_ATTENTION,
    RESIDUALS,
    TANGENT_KERNEL_TRACES,
    TARGETS,
    TERM_GRADIENTS,
    TERM_LOSSES,
    WEIGHTED_TERM_LOSSES,
    Moments,
)

OF_ANY_LOSS = frozenset({BATCH_GRADIENT_MOMENTS, BATCH_SIZES, TERM_LOSSES, WEIGHTED_TERM_LOSSES, ACTIVATIONS})
"""What can be supplied of any loss."""

OF_PHYSICS = OF_ANY_LOSS | {
    RESIDUALS,
    CONDITION_RESIDUALS,
    POINT_WEIGHTS,
    RESIDUAL_ATTENTION,
    COORDINATES,
    DOMAIN,
    FIELDS,
    REFERENCE_FIELDS,
    TERM_GRADIENTS,
    TANGENT_KERNEL_TRACES,
    TARGETS,
}
"""What can be supplied of a physics-informed one."""


def of_problem(signals: frozenset[str], problem: Problem) -> frozenset[str]:
    """Return those of a physics-informed loss's signals that a problem leaves: without a reference fewer.

    Example:
        >>> from phasecore.problems.helmholtz import Helmholtz
        >>> of_problem(OF_PHYSICS, Helmholtz()) == OF_PHYSICS
        True
    """
    return signals if problem.has_reference else signals - OF_REFERENCE


class Source(ABC):
    """Where signals come from: a loss with its points. Base class of those of the adapters.

    Class attributes:
        can_supply: names of the signals that such a source can supply (`phasecore.signals`).

    Attributes:
        supplies: names of those that this one supplies.
    """

    can_supply: ClassVar[frozenset[str]]
    supplies: frozenset[str]

    @property
    @abstractmethod
    def batched_points(self) -> int:
        """How many points the batches of the gradient statistics hold together."""

    @abstractmethod
    def prepare(self, required: frozenset[str]) -> None:
        """Set up what the required signals need, once."""

    @abstractmethod
    def signals(self, required: frozenset[str]) -> dict[str, Any]:
        """Return the required signals, all but the gradient moments, as numpy arrays."""

    @abstractmethod
    def gradient_moments(self) -> dict[str, Moments]:
        """Return the moments of the batch gradients by the parameter's name, of those that the loss depends on."""


def by_layer(blocks: Iterable[Sequence[Any]], as_numpy: Callable[[Any], NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Join the activations of blocks of points: {layer0: shape (n, neurons), ...}.

    Args:
        blocks: of each, tensors of shape (points, neurons).
        as_numpy: returns a tensor's values.

    Example:
        >>> by_layer([[np.zeros((2, 8))], [np.zeros((3, 8))]], np.asarray)["layer0"].shape
        (5, 8)
    """
    columns = zip(*(list(map(as_numpy, block)) for block in blocks), strict=True)
    return {f"layer{place}": np.concatenate(parts) for place, parts in enumerate(columns)}
