"""Mean and standard deviation of batch gradients, accumulated so that nothing cancels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import final

import torch
from torch import Tensor

from phasecore.signals import Moments
from phasecore_torch.arrays import lasting
from phasecore_torch.gradients import plain, widened

ENTRIES = 2**17
"""Most numbers that are squared at once on a CPU: more leave the cache, as widened they take a megabyte."""

Merge = Callable[[list[Tensor], list[Tensor], list[Tensor], Tensor], tuple[list[Tensor], list[Tensor], list[Tensor]]]


@final
class MomentAccumulator:
    """Accumulates mean and population standard deviation over samples that arrive in chunks, chunks in float64.

    Squared deviations are taken from the running mean, never as `E[g^2] - E[g]^2`, which cancels where the mean
    dominates, and in float64, whose range holds the square of any gradient in float32.

    Source: Chan, Golub, LeVeque, "Algorithms for computing the sample variance" (1983).

    Args:
        merge: `MomentAccumulator.merge`, or that compiled.

    Attributes:
        means: of the samples so far, for each parameter.
        centres: means of the samples of the last chunk, in their dtype.

    Example:
        >>> import torch
        >>> accumulator = MomentAccumulator()
        >>> accumulator.add([torch.tensor([[1.0], [3.0]])])
        >>> accumulator.result()[0].standard_deviation
        tensor([1.], dtype=torch.float64)
    """

    def __init__(self, merge: Merge | None = None) -> None:
        self._merge = merge or self.merge
        self._count = 0
        self.means: list[Tensor] = []
        self.centres: list[Tensor] = []
        self._squares: list[Tensor] = []

    def add(self, chunk: Sequence[Tensor]) -> None:
        """Take one chunk.

        Args:
            chunk: for each parameter its samples, shape (samples, *shape), the same number for all; complex numbers
                count as pairs of real ones, along a last axis.
        """
        if not chunk:
            return
        samples = [plain(values) for values in chunk]
        if not self._count:
            self.means = [widened(torch.zeros_like(values[0])) for values in samples]
            self._squares = [torch.zeros_like(mean) for mean in self.means]
        # a tensor, so that what is compiled serves every count
        before = widened(samples[0].new_tensor(float(self._count)))
        self.means, self._squares, self.centres = self._merge(samples, self.means, self._squares, before)
        self._count += len(samples[0])

    @staticmethod
    def merge(
        samples: list[Tensor], means: list[Tensor], squares: list[Tensor], before: Tensor
    ) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """Return means and sums of squared deviations with a chunk merged into those of `before` samples, and its own.

        The chunk's own means come last.
        """
        new_means, new_squares, centres = [], [], []
        for values, mean, square in zip(samples, means, squares, strict=True):
            count, own = len(values), lasting(values)
            centre = own.mean(dim=0)
            centres.append(centre.to(values.dtype))
            within = _squared_deviations(own, centre)
            difference = widened(centre) - mean
            new_means.append(mean + difference * (count / (before + count)))
            new_squares.append(square + within + difference.square() * (before * count / (before + count)))
        return new_means, new_squares, centres

    def result(self, shift: Sequence[Tensor] = ()) -> list[Moments]:
        """Return the moments of each parameter; `shift` is a constant added to every sample, if given."""
        means = (
            [mean + widened(plain(extra)) for mean, extra in zip(self.means, shift, strict=True)]
            if shift
            else self.means
        )
        deviations = [(square / self._count).sqrt() for square in self._squares]
        return [Moments(mean, deviation) for mean, deviation in zip(means, deviations, strict=True)]


def _squared_deviations(samples: Tensor, centre: Tensor) -> Tensor:
    """The sums of squared deviations in float64: squares of what float32 holds may be beyond what it holds."""
    whole = torch.compiler.is_compiling() or samples.device.type != "cpu"
    rows = len(samples) if whole else max(1, ENTRIES // max(1, centre.numel()))
    total = torch.zeros_like(widened(centre))
    for block in torch.split(samples, rows):
        total += widened(block - centre).square_().sum(dim=0)
    return total
