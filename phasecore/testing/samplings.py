"""What every sampling must satisfy, and `check_sampling`, which runs it all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from phasecore.sampling.base import Floats, Region, Sampling, Situation
from phasecore.sampling.checks import check_declaration, drawing, drawn, moved, repeats
from phasecore.testing.laws import NotApplicableError, Report, run_laws

COUNT = 200
"""Points of a set, enough to see how they are spread."""

SEED = 5


def _half_disk(points: Floats) -> NDArray[np.bool_]:
    return np.asarray((np.square(points[:, 0]) + np.square(points[:, 1] - 2.0) < 1.0) & (points[:, 0] > 0.0))


REGIONS: Mapping[str, Region] = {
    "an interval": Region(np.asarray([[-3.0], [-1.0]])),
    "a box in the plane": Region(np.asarray([[-1.0, 0.0], [1.0, 10.0]])),
    "a box in space": Region(np.asarray([[0.0, 0.0, 0.0], [1.0, 0.1, 5.0]])),
    "half a disk": Region(np.asarray([[-1.0, 1.0], [1.0, 3.0]]), _half_disk),
}
"""Where the laws draw and move points."""


@final
@dataclass(frozen=True)
class SamplingSubject:
    """A sampling under test.

    Attributes:
        sampling: what is checked.
        name: what to call it in messages.
    """

    sampling: Sampling
    name: str = "sampling"

    def drawn(self, region: Region, count: int = COUNT, seed: int = SEED) -> Floats:
        """Return points inside a region."""
        return drawn(self.name, self.sampling, count, region, np.random.default_rng(seed))

    def moved(self, region: Region, points: Floats, scale: float = 1.0, seed: int = SEED) -> Floats:
        """Return where points go, of a network whose residuals are `scale` times those made up here.

        Raises:
            NotApplicableError: for a sampling whose points stay.
        """
        if self.sampling.move is None:
            raise NotApplicableError("the points stay where they are")
        generator = np.random.default_rng(seed)
        low, high = region.bounds

        def residuals(at: Floats) -> dict[str, Floats]:
            is_right = isinstance(at, np.ndarray) and at.dtype == np.float64 and at.shape[1:] == low.shape
            assert is_right, (
                "move asks for residuals at something else than float64 points of shape (m, dimension); ask at "
                "situation.points, or at what situation.draw returns"
            )
            inside = (at >= low).all() and (at <= high).all() and (region.inside is None or region.inside(at).all())
            assert inside, "move asks for residuals outside the domain; take candidates from situation.draw"
            share = (at - low) / (high - low)
            return {"first": scale * share.prod(axis=1) ** 2, "second": -scale * share.mean(axis=1)}

        there = points.copy()
        there.flags.writeable = False
        shifts = repeats(self.sampling, points.shape[1])
        draw = drawing(self.name, self.sampling, points, region, generator, shifts=shifts)
        return moved(self.name, self.sampling, Situation(there, residuals, draw, generator), region)


def check_sampling(
    sampling: Sampling | Callable[[], Sampling], *, known_failures: Mapping[str, str] | None = None
) -> Report:
    """Check that a sampling keeps its contract.

    Args:
        sampling: the sampling, or a factory that is called without options.
        known_failures: {law: reason} for laws that the sampling is known to break; an error if it does not.

    Raises:
        AssertionError: listing every broken law and what to change.

    Example:
        >>> from phasecore.sampling import sobol
        >>> sorted(check_sampling(sobol).skipped)[0]
        'a_move_is_deterministic'
    """
    subject = sampling_subject(sampling)
    return run_laws(f"sampling {subject.name!r}", SAMPLING_LAWS, subject, known_failures)


def sampling_subject(sampling: Sampling | Callable[[], Sampling]) -> SamplingSubject:
    """Return what the laws take, from a sampling or a factory."""
    made: Any = sampling if isinstance(sampling, Sampling) else sampling()
    name = getattr(sampling, "__name__", None)
    function = getattr(made, "move", None) or getattr(made, "draw", None)
    return SamplingSubject(made, name or getattr(function, "__qualname__", "sampling").partition(".")[0])


def declares_a_sampling(subject: SamplingSubject) -> None:
    """A sampling is a `Sampling`; one that moves points says after how many iterations, and no other does."""
    assert isinstance(subject.sampling, Sampling), f"the factory returned {subject.sampling!r}; return a Sampling"
    check_declaration(subject.name, subject.sampling)


def draws_as_many_points_as_asked(subject: SamplingSubject) -> None:
    """`draw` returns float64 points of the unit box, of shape (count, dimension), for any of both."""
    for region in REGIONS.values():
        for count in (1, 2, 7, 64, 101):
            subject.drawn(region, count)


def the_same_seed_draws_the_same_points(subject: SamplingSubject) -> None:
    """All that is random comes from the generator: one seed gives one set of points, whatever was drawn between."""
    for region in REGIONS.values():
        first = subject.drawn(region)
        subject.drawn(region, 31, seed=8)
        assert np.array_equal(first, subject.drawn(region)), (
            "a second draw with the same seed differs; take random numbers from the generator that is handed over"
        )


def another_seed_draws_other_points(subject: SamplingSubject) -> None:
    """Another seed gives other points, or at least another order: runs with several seeds are to differ."""
    for where, region in REGIONS.items():
        assert not np.array_equal(subject.drawn(region), subject.drawn(region, seed=6)), (
            f"two seeds draw the same points in the same order in {where}; shuffle them with the generator"
        )


def points_are_spread_over_the_domain(subject: SamplingSubject) -> None:
    """Of the points of a box, between a third and two thirds lie in each half of each coordinate."""
    for where, region in REGIONS.items():
        if region.inside is None:
            shares = (subject.drawn(region) < region.bounds.mean(axis=0)).mean(axis=0)
            assert ((shares > 1 / 3) & (shares < 2 / 3)).all(), (
                f"in {where} the lower halves of the coordinates hold {shares.round(2).tolist()} of the points; draw "
                "the first points evenly over the unit box, and gather them in a move"
            )


def points_come_in_random_order(subject: SamplingSubject) -> None:
    """Any contiguous block of points is spread over the box, as the batches of the SNR are such blocks."""
    for where, region in REGIONS.items():
        if region.inside is None:
            for block in np.array_split(subject.drawn(region), 4):
                shares = (block < region.bounds.mean(axis=0)).mean(axis=0)
                assert ((shares > 0.15) & (shares < 0.85)).all(), (
                    f"a quarter of the points of {where}, in order, has {shares.round(2).tolist()} in the lower halves "
                    "of the coordinates; shuffle them: generator.permutation(points)"
                )


def moves_stay_inside(subject: SamplingSubject) -> None:
    """A move returns float64 points inside the domain, at least as many as there were, whatever the residuals."""
    for region in REGIONS.values():
        points = subject.drawn(region)
        for scale in (1.0, 0.0, 1e-200, 1e200):
            subject.moved(region, points, scale)


def a_move_is_deterministic(subject: SamplingSubject) -> None:
    """A move follows from points, residuals and generator: nothing is remembered but the points."""
    for where, region in REGIONS.items():
        points = subject.drawn(region)
        first = subject.moved(region, points)
        subject.moved(region, subject.drawn(region, 31), seed=8)
        assert np.array_equal(first, subject.moved(region, points)), (
            f"a second move of the same points differs in {where}; take random numbers from situation.generator, and "
            "remember nothing between moves"
        )


def moves_change_no_argument(subject: SamplingSubject) -> None:
    """The points that a move is handed stay as they are, and what it returns is an array of its own."""
    for region in REGIONS.values():
        points = subject.drawn(region)
        before = points.copy()
        found = subject.moved(region, points)
        assert np.array_equal(points, before), "move changes situation.points in place; return a new array"
        assert found.flags.writeable, "move returns situation.points itself; return a copy"


def moves_go_on(subject: SamplingSubject) -> None:
    """Points that a move returned can be moved again, in any number of moves, and keep a random order."""
    region = REGIONS["a box in the plane"]
    points = subject.drawn(region)
    for seed in range(5):
        points = subject.moved(region, points, seed=seed)
    for block in np.array_split(points, 4):
        shares = (block < np.median(points, axis=0)).mean(axis=0)
        assert ((shares > 0.2) & (shares < 0.8)).all(), (
            "after five moves a quarter of the points, in order, lies together; keep points in their places, or "
            "shuffle all: situation.generator.permutation(points)"
        )


SAMPLING_LAWS = (
    declares_a_sampling,
    draws_as_many_points_as_asked,
    the_same_seed_draws_the_same_points,
    another_seed_draws_other_points,
    points_are_spread_over_the_domain,
    points_come_in_random_order,
    moves_stay_inside,
    a_move_is_deterministic,
    moves_change_no_argument,
    moves_go_on,
)
"""Every law of samplings; each takes a `SamplingSubject`."""
