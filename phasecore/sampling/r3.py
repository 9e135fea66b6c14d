"""Retain, resample, release (R3): points with large residuals stay, the others are drawn anew."""

from __future__ import annotations

from phasecore.sampling.base import Floats, Sampling, Situation
from phasecore.sampling.options import check_count


def r3(every: int = 100) -> Sampling:
    """Return R3 sampling: points whose residual exceeds the mean are retained, all others drawn anew.

    Retained are exactly the points with `|r_i| > mean_j |r_j|`, in their places; points that fall below are released,
    and the places filled with points drawn evenly over the domain. So points gather where the residual stays large, and
    leave as it falls. Of a system, `|r|` is the root of the sum of the equations' squares, which is ours.

    Source: Daw, Bu, Wang, Perdikaris, Karpatne, "Mitigating propagation failures in physics-informed neural networks
    using retain-resample-release (R3) sampling" (arXiv 2207.02338), with the mean as the threshold. The authors
    move at every iteration, `every=1`, which costs one more evaluation of the residual in each; 100 is ours.

    Args:
        every: iterations between moves, positive.

    Raises:
        InputError: if it is not.

    Example:
        >>> import numpy
        >>> from phasecore.sampling import Situation
        >>> points = numpy.asarray([[0.1], [0.2], [0.9]])
        >>> draw, generator = lambda count: numpy.full((count, 1), 0.5), numpy.random.default_rng(0)
        >>> r3().move(Situation(points, lambda points: {"pde": points[:, 0]}, draw, generator)).ravel().tolist()
        [0.5, 0.5, 0.9]
    """
    check_count("r3", "every", every)

    def move(situation: Situation) -> Floats:
        sizes = situation.sizes(situation.points)
        released = ~(sizes > sizes.mean())
        points = situation.points.copy()
        points[released] = situation.draw(int(released.sum()))
        return points

    return Sampling(move=move, every=every)
