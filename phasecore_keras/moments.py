"""Mean and standard deviation of batch gradients, accumulated so that nothing cancels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from phasecore.signals import Moments
from phasecore_keras.autodiff import as_real

Floats = NDArray[np.float64]


@final
class MomentAccumulator:
    """Accumulates mean and population standard deviation over samples that arrive in chunks, in float64.

    Squared deviations are taken from the running mean, never as `E[g^2] - E[g]^2`, which cancels where the mean
    dominates. A complex number counts as two real ones, on an axis of its own at the end.

    Source: Chan, Golub, LeVeque, "Algorithms for computing the sample variance" (1983).

    Example:
        >>> accumulator = MomentAccumulator()
        >>> accumulator.add([np.asarray([[1.0], [3.0]])])
        >>> accumulator.result()[0].standard_deviation.tolist()
        [1.0]
    """

    def __init__(self) -> None:
        self._count = 0
        self._means: list[Floats] = []
        self._squares: list[Floats] = []

    def add(self, chunk: Sequence[NDArray[Any]]) -> None:
        """Take one chunk: for each variable its samples, shape (samples, *shape), the same number for all."""
        samples = [as_real(values).astype(np.float64) for values in chunk]
        count = len(samples[0])
        means = [values.mean(axis=0) for values in samples]
        squares = [np.square(values - mean).sum(axis=0) for values, mean in zip(samples, means, strict=True)]
        if not self._count:
            self._means, self._squares = means, squares
        else:
            total = self._count + count
            for k, (mean, square) in enumerate(zip(means, squares, strict=True)):
                difference = mean - self._means[k]
                self._means[k] = self._means[k] + difference * (count / total)
                self._squares[k] = self._squares[k] + square + np.square(difference) * (self._count * count / total)
        self._count += count

    def result(self, shift: Sequence[NDArray[Any]] = ()) -> list[Moments]:
        """Return the moments of each variable; `shift` is a constant added to every sample, if given."""
        shifts = [as_real(extra) for extra in shift]
        means = [mean + extra for mean, extra in zip(self._means, shifts, strict=True)] if shifts else self._means
        deviations = [np.sqrt(square / self._count) for square in self._squares]
        return [Moments(mean, deviation) for mean, deviation in zip(means, deviations, strict=True)]
