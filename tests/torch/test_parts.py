"""Batches are shared out, their moments merged, and points that move given back, whatever the parts are."""

import numpy as np
import pytest

from phasecore import InputError
from phasecore.signals import Moments
from phasecore_torch.layout import Layout
from phasecore_torch.parts import batches_of_parts, merged, parts_after, sizes_together

PARTS = [[200, 200], [134, 133, 133], [340, 60], [370, 30], [398, 2], [100] * 8, [1, 1, 1, 397], [7]]


def cut(part, batches):
    return [np.mean(batch, axis=0) for batch in np.array_split(part, batches)]


def moments_of(batches):
    return Moments(np.mean(batches, axis=0), np.std(batches, axis=0))


@pytest.mark.parametrize("points", PARTS)
@pytest.mark.parametrize("batches", [2, 5, 16, 100, "all"])
def test_each_part_has_a_batch_and_as_many_as_its_points_ask_for(points, batches):
    batches = sum(points) if batches == "all" else min(max(batches, len(points)), sum(points))
    found = batches_of_parts(batches, points)
    assert sum(found) == batches
    assert all(1 <= own <= count for own, count in zip(found, points, strict=True))
    if batches >= 100:
        for own, count in zip(found, points, strict=True):
            assert own == 1 or abs(own - batches * count / sum(points)) < 2 + sum(part < 5 for part in points)


@pytest.mark.parametrize(("points", "batches"), [([150], 100), ([41], 41), ([400], 100), ([103], 8)])
@pytest.mark.parametrize("processes", [1, 2, 3, 8])
def test_parts_of_whole_batches_have_the_batches_and_the_moments_of_one_process(points, batches, processes):
    gradients = np.random.default_rng(0).normal(size=(*points, 2))
    whole = np.array_split(np.array_split(gradients, batches), processes) if points[0] % batches == 0 else None
    places = np.array_split(np.arange(batches), processes)
    blocks = np.array_split(gradients, batches)
    parts = [np.concatenate([blocks[place] for place in own]) for own in places]
    found = batches_of_parts(batches, [len(part) for part in parts])
    assert found == [len(own) for own in places]
    assert whole is None or [len(own) for own in whole] == found
    means = [cut(part, count) for part, count in zip(parts, found, strict=True)]
    sizes = [np.asarray([len(b) for b in np.array_split(p, n)]) for p, n in zip(parts, found, strict=True)]
    expected, together = moments_of(cut(gradients, batches)), merged([moments_of(own) for own in means], sizes)
    np.testing.assert_allclose(together.mean, expected.mean, rtol=1e-12)
    np.testing.assert_allclose(together.standard_deviation, expected.standard_deviation, rtol=1e-12)
    assert sorted(sizes_together(sizes)) == sorted(map(len, blocks))


@pytest.mark.parametrize("points", [part for part in PARTS if sum(part) >= 400])
@pytest.mark.parametrize("batches", [20, 100])
def test_moments_have_the_mean_of_all_points_and_the_variance_of_equal_batches(points, batches):
    """Of independent gradients the variance over batches is that of one point, times batches by points."""
    gradients = 1.0 + np.random.default_rng(0).normal(size=(sum(points), 4000))
    parts, counts = np.split(gradients, np.cumsum(points)[:-1]), batches_of_parts(batches, points)
    sizes = [np.asarray([len(b) for b in np.array_split(p, n)]) for p, n in zip(parts, counts, strict=True)]
    found = merged([moments_of(cut(p, n)) for p, n in zip(parts, counts, strict=True)], sizes)
    assert np.abs(found.mean - gradients.mean(axis=0)).max() < 0.02
    one, own = (np.square(own.standard_deviation).mean() for own in (moments_of(cut(gradients, batches)), found))
    assert own == pytest.approx(one, rel=0.02)


def test_fewer_batches_than_processes_are_refused():
    with pytest.raises(
        InputError, match=r"a training in 4 processes: the batches .*: received 3 of them; expected one"
    ):
        Layout(4, True, {}, [5] * 4).own_batches(3, 5)


@pytest.mark.parametrize("sizes", [[5, 5], [6, 1, 4], [9]])
@pytest.mark.parametrize("stay", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("joined", [0, 1, 7])
@pytest.mark.parametrize("shuffled", [True, False])
def test_points_that_stay_stay_in_their_part(sizes, stay, joined, shuffled):
    generator = np.random.default_rng(3)
    every = generator.uniform(size=(sum(sizes), 2))
    parts = np.split(every, np.cumsum(sizes)[:-1])
    moved = np.where(generator.uniform(size=(len(every), 1)) < stay, every, generator.uniform(size=every.shape))
    moved = np.concatenate([moved, generator.uniform(size=(joined, 2))])
    moved = generator.permutation(moved) if shuffled else moved
    found = parts_after(moved, parts)
    assert sorted(map(tuple, np.concatenate(found))) == sorted(map(tuple, moved))
    before = [set(map(tuple, part.tolist())) for part in parts]
    for own, old, size in zip(found, before, sizes, strict=True):
        assert not any(tuple(point) in set().union(*before) - old for point in own.tolist())
        assert len(own) == size if not joined else size <= len(own) <= max(size, -(-len(moved) // len(sizes)))
    if not (joined or shuffled):
        assert all(map(np.array_equal, found, np.split(moved, np.cumsum(sizes)[:-1])))
