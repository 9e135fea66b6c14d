"""The parts of several processes have together the points and the residuals of one process."""

import numpy as np
import pytest

import phasecore
from phasecore.problems import CollocationPoints, Condition, Data, Integral, Periodic, ResidualCondition, part_of
from phasecore.problems.checks import targets_of

NUMBERS = np.random.default_rng(0).uniform(0, 1, (7, 2))


class Slopes(Condition):
    """A condition of one's own whose points belong together in threes."""

    term = "slopes"
    partials = ("u",)
    group_size = 3

    def sample(self, count, coordinates, bounds, generator):
        return generator.uniform(*bounds, (3 * count, len(coordinates)))

    def residuals(self, partials, targets, xp):
        first, second, third = (partials["u"][k::3] for k in range(3))
        return first - 2 * second + third


class Together(phasecore.Problem):
    """Conditions of whose points some belong together; measurements repeated at two places, in turn."""

    domain = {"x": (0, 1), "t": (0, 1)}  # noqa: RUF012
    outputs = ("u",)

    def conditions(self):
        return [
            Integral("mass", {"x": (0, 1)}, lambda x, u, xp: u["u"] * x["t"], lambda x: x["t"], nodes=5),
            Periodic("wrap", "t", ("u", "u_x")),
            Data("seen", np.concatenate([NUMBERS, NUMBERS[[0, 3, 0]]]), {"u": np.arange(10.0), "u_t": np.ones(10)}),
            Slopes(),
            ResidualCondition("flux", "boundary", lambda x, u, n, xp: (u["u_x"] * n["x"], u["u_t"] * n["t"])),
        ]

    def residuals(self, x, u, xp):
        return u["u_t"]


def residuals(problem, points):
    """Residuals of each condition, sorted, where each partial is some function of the place."""
    found = []
    for condition, own in zip(problem.conditions, points.conditions, strict=True):
        waves = {name: np.sin(own @ np.arange(1.0, own.shape[1] + 1) + len(name)) for name in condition.partials}
        targets = targets_of(condition, own, problem.coordinates, problem.normals)
        found.append(condition.residuals(waves, targets, np))
    return found


@pytest.mark.parametrize("processes", [2, 3])
@pytest.mark.parametrize("batches", [None, 7])
@pytest.mark.parametrize("problem", [*phasecore.names("problem"), Together()], ids=lambda given: str(given)[:20])
def test_parts_have_together_the_points_and_the_residuals_of_all(problem, batches, processes):
    problem = phasecore.problem(problem) if isinstance(problem, str) else problem
    every = problem.sample(41, seed=1, condition_points=13)
    parts = [part_of(problem, every, rank, processes, batches=batches) for rank in range(processes)]
    np.testing.assert_array_equal(np.concatenate([part.interior for part in parts]), every.interior)
    expected, found = residuals(problem, every), [residuals(problem, part) for part in parts]
    for place, whole in enumerate(expected):
        together = np.concatenate([own[place] for own in found])
        np.testing.assert_allclose(np.sort(together), np.sort(whole), rtol=1e-12, atol=1e-12)


def test_batches_of_the_statistics_stay_whole():
    problem = phasecore.problem("helmholtz")
    every = problem.sample(10, condition_points=4)
    sizes = [len(part_of(problem, every, rank, 2, batches=5).interior) for rank in (0, 1)]
    assert sizes == [6, 4]


def pairs(change=lambda points: points):
    problem = phasecore.problem("convection")
    start, ring, *others = problem.sample(9, condition_points=4).conditions
    return problem, (start, change(ring.copy()), *others)


CHANGES = {
    "one face": lambda ring: ring[:4],
    "an odd number": lambda ring: ring[1:],
    "partners in another order": lambda ring: np.concatenate([ring[:4], ring[4:][::-1]]),
    "in pairs": lambda ring: ring.reshape(2, 4, 2).swapaxes(0, 1).reshape(8, 2),
    "one face twice": lambda ring: np.concatenate([ring[:4], ring[:4]]),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_periodic_points_that_are_no_partners_are_refused(change):
    problem, conditions = pairs(change)
    with pytest.raises(phasecore.InputError, match=r"points of a periodic condition in term 'boundary'.*part_of"):
        targets_of(problem.conditions[1], conditions[1], problem.coordinates)


def test_partners_may_be_rounded_and_begin_with_either_face():
    for change in (lambda ring: ring.astype(np.float32), lambda ring: np.concatenate([ring[4:], ring[:4]])):
        problem, conditions = pairs(change)
        assert targets_of(problem.conditions[1], conditions[1], problem.coordinates) == {}


def test_measurements_at_one_place_are_taken_all_or_not_at_all():
    condition = Together().conditions[2]
    places = condition.points

    def values(rows):
        return condition.targets(dict(zip("xt", places[rows].T, strict=True)))["u"].tolist()

    assert values([1, 2]) == [1, 2]
    # which of a place is which it does not tell: they come in their order
    assert values([9, 7, 4, 0]) == [0, 7, 4, 9]
    for rows in ([0, 1], [3], [0, 7, 9, 9]):
        with pytest.raises(phasecore.InputError, match=r"1 places with a part of what was measured there.*part_of"):
            values(rows)
    with pytest.raises(phasecore.InputError, match=r"1 of 2 that are none of its points"):
        condition.targets({"x": places[:2, 0], "t": np.asarray([places[0, 1], 0.5])})


class OneValue(Together):
    def conditions(self):
        return [ResidualCondition("mean", ("t", 0), lambda x, u, xp: xp.reshape(xp.mean(u["u"]) - 1, (1,)))]


@pytest.mark.parametrize(
    ("problem", "points", "rank", "processes", "told"),
    [
        (OneValue(), OneValue().sample(9), 0, 2, "received condition mean, of whose points each process"),
        (Together(), Together().sample(9, condition_points=2), 0, 3, "received a condition of 5 points"),
        (OneValue(), OneValue().sample(3), 0, 4, "received 3 points of the equations"),
        (OneValue(), OneValue().sample(9), 2, 2, "received process 2 of 2"),
        (OneValue(), CollocationPoints(np.zeros((9, 2)), ()), 0, 2, "points for 0 conditions"),
    ],
)
def test_what_cannot_be_cut_is_refused(problem, points, rank, processes, told):
    with pytest.raises(phasecore.InputError, match=told):
        part_of(problem, points, rank, processes)
