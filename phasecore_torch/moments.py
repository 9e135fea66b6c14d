"""Mean and standard deviation of batch gradients, accumulated so that nothing cancels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

from torch import Tensor

from phasecore.signals import Moments


@final
class MomentAccumulator:
    """Accumulates mean and population standard deviation over samples that arrive in chunks, chunks in float64.

    Squared deviations are taken from the running mean, never as `E[g^2] - E[g]^2`, which cancels where the mean
    dominates.

    Source: Chan, Golub, LeVeque, "Algorithms for computing the sample variance" (1983).

    Example:
        >>> import torch
        >>> accumulator = MomentAccumulator()
        >>> accumulator.add([torch.tensor([[1.0], [3.0]])])
        >>> accumulator.result()[0].standard_deviation
        tensor([1.], dtype=torch.float64)
    """

    def __init__(self) -> None:
        self._count = 0
        self._means: list[Tensor] = []
        self._squares: list[Tensor] = []

    def add(self, chunk: Sequence[Tensor]) -> None:
        """Take one chunk: for each parameter its samples, shape (samples, *shape), the same number for all."""
        samples = [values.detach() for values in chunk]
        count = len(samples[0])
        centres = [values.mean(dim=0) for values in samples]
        squares = [_widened((v - centre).square_().sum(dim=0)) for v, centre in zip(samples, centres, strict=True)]
        means = [_widened(centre) for centre in centres]
        if not self._count:
            self._means, self._squares = means, squares
        else:
            total = self._count + count
            for k, (mean, square) in enumerate(zip(means, squares, strict=True)):
                difference = mean - self._means[k]
                self._means[k] = self._means[k] + difference * (count / total)
                self._squares[k] = self._squares[k] + square + difference.square() * (self._count * count / total)
        self._count += count

    def result(self, shift: Sequence[Tensor] = ()) -> list[Moments]:
        """Return the moments of each parameter; `shift` is a constant added to every sample, if given."""
        means = (
            [mean + _widened(extra) for mean, extra in zip(self._means, shift, strict=True)] if shift else self._means
        )
        deviations = [(square / self._count).sqrt() for square in self._squares]
        return [Moments(mean, deviation) for mean, deviation in zip(means, deviations, strict=True)]


def _widened(values: Tensor) -> Tensor:
    """In float64, which Apple's devices lack."""
    return values.cpu().double() if values.device.type == "mps" else values.double()
