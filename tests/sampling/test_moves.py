"""Moves: each against its formula, and where points come from."""

from typing import ClassVar

import numpy as np
import pytest

import phasecore
from phasecore import InputError, PluginError, TrainingError
from phasecore.problems import CollocationPoints
from phasecore.registry import as_sampling
from phasecore.sampling import Resampler, Sampling, Situation, sample
from phasecore.sampling.checks import drawing, drawn, repeats
from phasecore.sampling.densities import probabilities
from phasecore.sampling.moving import region_of
from phasecore.sampling.places import Places, places_of, places_of_terms

BURGERS = phasecore.problem("burgers")


def uniformly(generator, dimension=1):
    return lambda count: generator.uniform(size=(count, dimension))


def situation_of(points, residual, seed=0):
    generator = np.random.default_rng(seed)
    return Situation(points, lambda at: {"pde": residual(at)}, uniformly(generator, points.shape[1]), generator)


def oracle(sizes, k, c):
    """Line by line."""
    powers = [float(size) ** k for size in sizes]
    mean = sum(powers) / len(powers)
    density = [power / mean + c for power in powers]
    return [value / sum(density) for value in density]


@pytest.mark.parametrize("k", [0.0, 0.5, 1.0, 2.0, 4.0])
@pytest.mark.parametrize("c", [0.0, 0.5, 1.0, 10.0])
def test_probabilities_are_those_of_the_formula(k, c):
    sizes = np.abs(np.random.default_rng(0).normal(size=500)) * 1e-3
    assert probabilities(sizes, k, c) == pytest.approx(oracle(sizes, k, c), rel=1e-12)


@pytest.mark.parametrize("scale", [0.0, 1e-300, 1e300])
def test_probabilities_are_finite_for_any_residuals(scale):
    found = probabilities(scale * np.asarray([1.0, 2.0, 3.0]), 4.0, 1.0)
    assert found.sum() == pytest.approx(1.0)
    assert found == pytest.approx([1 / 3] * 3 if scale == 0 else oracle([1.0, 2.0, 3.0], 4.0, 1.0))


@pytest.mark.parametrize(("k", "c"), [(1.0, 1.0), (2.0, 0.0), (1.0, 0.0), (0.0, 1.0), (3.0, 0.5)])
def test_rad_draws_with_its_density(k, c):
    """A chi-square test over twenty cells; few of many candidates are chosen: so the draw is as with replacement."""
    from scipy.stats import chisquare

    def residual(at):
        return 0.2 - at[:, 0]

    drawing = phasecore.sampling.rad(k=k, c=c, candidates=40_000)
    parts = [drawing.move(situation_of(np.zeros((1000, 1)), residual, seed)) for seed in range(20)]
    points = np.concatenate(parts)[:, 0]
    fine = (np.arange(20_000) + 0.5) / 20_000
    density = np.abs(residual(fine[:, None])) ** k
    expected = (density / density.mean() + c).reshape(20, -1).mean(axis=1)
    counts = np.bincount((points * 20).astype(int), minlength=20)
    assert chisquare(counts, expected / expected.sum() * len(points)).pvalue > 1e-3
    if k:
        even = np.full(20, len(points) / 20)
        assert chisquare(counts, even).pvalue < 1e-6, "the test would notice another density"


def test_rad_chooses_different_candidates_in_random_order():
    points = phasecore.sampling.rad(k=4, candidates=500).move(situation_of(np.zeros((400, 1)), lambda at: at[:, 0]))
    assert len(np.unique(points)) == 400
    halves = points[:200].mean(), points[200:].mean()
    assert abs(halves[0] - halves[1]) < 0.1


@pytest.mark.parametrize("every_candidate", [True, False])
def test_rad_goes_on_where_most_residuals_are_zero(every_candidate):
    """With c = 0 fewer candidates have a probability than points are wanted: all of those, and some others."""
    spike = phasecore.sampling.rad(k=1, c=0, candidates=1000)
    points = spike.move(
        situation_of(np.zeros((300, 1)), lambda at: np.where(at[:, 0] < 0.1 * every_candidate, 1.0, 0.0))
    )
    assert points.shape == (300, 1)
    assert len(np.unique(points)) == 300
    if every_candidate:
        assert 60 < (points < 0.1).sum() < 150


@pytest.mark.parametrize("added", [1, 10, 55])
def test_rar_d_adds_its_number_where_the_residual_is_large_and_keeps_the_others(added):
    before = np.random.default_rng(1).uniform(size=(50, 2))
    sampling = phasecore.sampling.rar_d(added=added, k=8, c=0, candidates=2000)
    points = sampling.move(situation_of(before, lambda at: at[:, 0]))
    assert points.shape == (50 + added, 2)
    old = {tuple(row) for row in before}
    assert old <= {tuple(row) for row in points}
    joined = np.asarray([row for row in points.tolist() if tuple(row) not in old])
    assert joined[:, 0].mean() > 0.75
    places = np.asarray([tuple(row) not in old for row in points])
    assert added < 10 or places[:50].any(), "new points are not all at the end: batches are contiguous blocks"


@pytest.mark.parametrize("seed", range(5))
def test_r3_retains_exactly_the_points_above_the_mean_in_their_places(seed):
    before = np.random.default_rng(100 + seed).uniform(size=(80, 2))

    def residual(at):
        return np.sin(7 * at[:, 0]) * at[:, 1] ** 2

    points = phasecore.sampling.r3().move(situation_of(before, residual, seed))
    sizes = [abs(float(value)) for value in residual(before)]
    above = np.asarray([size > sum(sizes) / len(sizes) for size in sizes])
    assert 0 < above.sum() < 80
    assert (points == before).all(axis=1).tolist() == above.tolist()


def test_r3_of_a_system_takes_the_root_of_the_sum_of_squares():
    before = np.asarray([[0.1], [0.5], [0.9]])
    residuals = {"a": np.asarray([3.0, 0.0, 1.0]), "b": np.asarray([4.0, 2.0, 0.0])}
    generator = np.random.default_rng(0)
    situation = Situation(before, lambda at: residuals, uniformly(generator), generator)
    assert situation.sizes(before).tolist() == [5.0, 2.0, 1.0]
    kept = (phasecore.sampling.r3().move(situation) == before)[:, 0]
    assert kept.tolist() == [True, False, False]


def test_uniform_draws_all_anew():
    before = np.random.default_rng(9).uniform(size=(30, 1))
    points = phasecore.sampling.uniform().move(situation_of(before, lambda at: at[:, 0]))
    assert points.shape == (30, 1)
    assert not np.isin(points, before).any()


# where points come from


def nearest_by_hand(points, before, extents):
    return [int(np.argmin([np.linalg.norm((row - old) / extents) for old in before])) for row in points]


@pytest.mark.parametrize("count", [40, 30, 55])
def test_places_are_those_of_the_nearest_points_relative_to_the_domain(count):
    generator = np.random.default_rng(count)
    bounds = np.asarray([[0.0, -5.0], [0.01, 5.0]])
    low, high = bounds
    before, points = (low + generator.uniform(size=(n, 2)) * (high - low) for n in (40, count))
    points[3] = before[7]
    places = places_of(points, before, bounds)
    assert places.nearest.tolist() == nearest_by_hand(points, before, high - low)
    assert np.flatnonzero(places.stayed).tolist() == [3]


def test_points_in_their_places_keep_them_even_where_two_are_one():
    before = np.asarray([[0.5], [0.5], [0.1]])
    places = places_of(np.asarray([[0.5], [0.5], [0.2]]), before, [[0.0], [1.0]])
    assert places.nearest.tolist() == [0, 1, 2]
    assert places.stayed.tolist() == [True, True, False]


def test_points_from_arrays_of_single_precision_are_the_same_points():
    before = BURGERS.sample(20).interior
    places = places_of(before.astype(np.float32)[::-1], before, BURGERS.bounds)
    assert places.stayed.all()
    assert places.nearest.tolist() == list(range(20))[::-1]


def test_only_the_terms_whose_points_moved_have_places():
    before = BURGERS.sample(20, seed=0, condition_points=6)
    other = BURGERS.sample(20, seed=1, condition_points=6)
    sizes = {"pde": 20, "initial": 6, "boundary": 12}
    assert places_of_terms(BURGERS, before, before, sizes, sizes) == {}
    only = CollocationPoints(before.interior, (other.conditions[0], *before.conditions[1:]))
    assert list(places_of_terms(BURGERS, only, before, sizes, sizes)) == ["initial"]
    shuffled = CollocationPoints(
        before.interior, (*before.conditions[:1], *(own[::-1] for own in before.conditions[1:]))
    )
    found = places_of_terms(BURGERS, shuffled, before, sizes, sizes)["boundary"]
    assert found.nearest.tolist() == [5, 4, 3, 2, 1, 0, 11, 10, 9, 8, 7, 6]


def test_a_condition_with_several_partials_keeps_the_order_of_its_residuals():
    cavity = phasecore.problem("lid_driven_cavity")
    before = cavity.sample(9, seed=0, condition_points=4)
    conditions = tuple(own[::-1].copy() for own in before.conditions)
    after = CollocationPoints(before.interior, conditions)
    for term in dict.fromkeys(condition.term for condition in cavity.conditions):
        pairs = [(c, len(own)) for c, own in zip(cavity.conditions, before.conditions, strict=True) if c.term == term]
        sizes = dict.fromkeys(cavity.terms, 0) | {term: sum(count * len(c.partials) for c, count in pairs)}
        sizes |= {t: len(before.conditions[0]) for t in sizes if not sizes[t]}
        expected, start = [], 0
        for condition, count in pairs:
            for _ in condition.partials:
                expected += [start + count - 1 - k for k in range(count)]
                start += count
        found = places_of_terms(cavity, after, before, sizes, sizes)[term]
        assert found.nearest.tolist() == expected


class Mixed(phasecore.Problem):
    """One term of conditions with unlike numbers of residuals of a point."""

    domain: ClassVar = {"x": (0, 1), "t": (0, 1)}
    outputs = ("u",)

    def conditions(self):
        return [
            phasecore.Prescribed("edges", ("x", 0), {"u": 0}),
            phasecore.Prescribed("edges", ("x", 1), {"u": 0, "u_x": 0, "u_t": 0}),
            phasecore.ResidualCondition("edges", ("t", 0), lambda x, u, xp: (u["u"], u["u_t"])),
        ]

    def residuals(self, x, u, xp):
        return u["u_t"] - u["u_xx"]


@pytest.mark.parametrize("moved", [(0,), (1,), (2,), (0, 2), (0, 1, 2)])
def test_conditions_of_one_term_may_have_unlike_numbers_of_residuals(moved):
    problem = Mixed()
    before = problem.sample(9, seed=0, condition_points=5)
    conditions = tuple(own[::-1].copy() if k in moved else own for k, own in enumerate(before.conditions))
    counts, expected, start = (1, 3, 2), [], 0
    for place, count in enumerate(counts):
        for _ in range(count):
            block = range(start, start + 5)
            expected += [*reversed(block)] if place in moved else [*block]
            start += 5
    sizes = {"pde": 9, "edges": 5 * sum(counts)}
    found = places_of_terms(problem, CollocationPoints(before.interior, conditions), before, sizes, sizes)
    assert found["edges"].nearest.tolist() == expected
    assert found["edges"].stayed.all()


def test_residuals_that_no_point_owns_begin_anew():
    before, other = BURGERS.sample(5, seed=0), BURGERS.sample(5, seed=1)
    sizes = {"pde": 5, "initial": 1, "boundary": 3}
    found = places_of_terms(BURGERS, other, before, sizes, sizes)
    assert found["initial"] is None
    assert isinstance(found["pde"], Places)


# when, and with what random numbers


def residuals(at):
    return {"pde": at[:, 0]}


def test_moves_are_due_at_multiples_however_many_steps_are_made_at_once():
    resampler = Resampler(as_sampling("uniform:every=10")[1], BURGERS)
    points, moved = BURGERS.sample(6).interior, []
    for iteration in [*range(25), 41, 42, 59, 60, 61]:
        if resampler.is_due(iteration):
            moved.append(iteration)
            resampler.move(points, residuals, iteration)
    assert moved == [10, 20, 41, 59, 60]


def test_a_resumed_training_has_the_move_at_its_iteration_still_to_make():
    for iteration, due in ((9, False), (10, True), (11, False), (20, True)):
        resampler = Resampler(as_sampling("uniform:every=10")[1], BURGERS)
        resampler.go_on(iteration)
        assert resampler.is_due(iteration) is due


def test_moves_follow_from_seed_and_iteration_alone():
    points = BURGERS.sample(30).interior

    def moved(seed, iteration, earlier=()):
        resampler = Resampler(as_sampling("rad:every=1,candidates=100")[1], BURGERS, seed=seed)
        for other in earlier:
            resampler.move(points, residuals, other)
        return resampler.move(points, residuals, iteration)

    assert np.array_equal(moved(0, 5), moved(0, 5, earlier=(1, 2, 3)))
    assert not np.array_equal(moved(0, 5), moved(1, 5))
    assert not np.array_equal(moved(0, 5), moved(0, 6))


@pytest.mark.parametrize("name", ["rad", "r3", "rar_d", "uniform"])
def test_a_move_draws_from_numbers_of_its_own(name):
    """None that the first points or those of conditions were drawn from."""
    first = BURGERS.sample(50, seed=0)
    sampling = phasecore.sampling_scheme(name, **({"candidates": 200} if "ra" in name else {}))
    points = Resampler(sampling, BURGERS, seed=0).move(first.interior, residuals, 1000)
    fresh = [row for row in points.tolist() if row not in first.interior.tolist()]
    assert fresh
    again = BURGERS.sample(len(fresh), seed=0).interior.tolist()
    assert not [row for row in fresh if row in again]


@pytest.mark.parametrize("draws", ["latin_hypercube", "halton", "sobol", "grid"])
@pytest.mark.parametrize("moves", ["uniform", "rad:candidates=200", "rar_d:added=30,candidates=200", "r3"])
def test_no_move_puts_a_point_where_there_is_one(draws, moves):
    _, sampling = as_sampling(f"{draws}+{moves}")
    points, resampler = sample(BURGERS, 100, sampling).interior, Resampler(sampling, BURGERS)
    for iteration in range(1, 11):
        before, points = points, resampler.move(points, residuals, iteration)
        new = set(map(tuple, points.tolist())) - set(map(tuple, before.tolist()))
        assert len(np.unique(points, axis=0)) == len(points) == 100 + 30 * iteration * ("added" in moves)
        assert len(new) == {"uniform": 100, "rad": 100, "rar_d": 30}.get(moves.partition(":")[0], len(new)) > 0


def test_draws_that_meet_no_other_point_are_the_samplings_own():
    generators = np.random.default_rng(0), np.random.default_rng(0)
    _, sampling = as_sampling("sobol+r3")
    there, shifts = BURGERS.sample(100).interior, repeats(sampling, 2)
    draw = drawing("sobol+r3", sampling, there, region_of(BURGERS), generators[0], shifts=shifts)
    for count in (64, 0, 5):
        assert np.array_equal(draw(count), drawn("sobol+r3", sampling, count, region_of(BURGERS), generators[1]))


@pytest.mark.parametrize("seed", [-1, 1.5, "a", None, True])
def test_a_seed_is_a_whole_number(seed):
    with pytest.raises(InputError, match=f"seed of the moves: received {seed!r}; expected a whole number, 0 or more"):
        Resampler(as_sampling("uniform")[1], BURGERS, seed=seed)


def test_residuals_that_are_not_finite_end_the_training_by_name():
    resampler = Resampler(as_sampling("r3")[1], BURGERS, name="r3")
    with pytest.raises(
        TrainingError, match=r"moving the points of 'burgers' at iteration 300.*'pde'.* not finite at 4 of"
    ):
        resampler.move(BURGERS.sample(4).interior, lambda at: {"pde": np.full(len(at), np.nan)}, 300)


def test_a_sampling_that_does_not_suit_the_points_is_refused_before_the_training():
    resampler = Resampler(as_sampling("rad:candidates=10")[1], BURGERS)
    resampler.check(BURGERS.sample(10).interior)
    with pytest.raises(InputError, match="sampling 'rad', option 'candidates': received 10; expected 11 or more"):
        resampler.check(BURGERS.sample(11).interior)
    with pytest.raises(InputError, match="sampling 'sobol', which moves none"):
        Resampler(as_sampling("sobol")[1], BURGERS, name="sobol")


@pytest.mark.parametrize(
    ("move", "told"),
    [
        (lambda s: s.points[:-1].copy(), r"shape \(5, 2\)"),
        (lambda s: s.points + 9.0, "6 points outside"),
        (lambda s: s.points.astype(np.float32), "float32"),
        (lambda s: np.full((6, 2), np.inf), "6 points outside"),
        (lambda s: s.points.__iadd__(1.0), "ValueError"),
        (lambda s: None, "None"),
    ],
)
def test_what_a_move_returns_is_checked(move, told):
    resampler = Resampler(Sampling(move=move, every=5), BURGERS, name="mine")
    with pytest.raises(PluginError, match=rf"sampling 'mine', move.*{told}"):
        resampler.move(BURGERS.sample(6).interior, residuals, 5)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("uniform", {"every": 0}),
        ("r3", {"every": -1}),
        ("r3", {"every": 1.5}),
        ("rad", {"every": "often"}),
        ("rad", {"k": -1}),
        ("rad", {"c": float("nan")}),
        ("rad", {"c": "one"}),
        ("rad", {"candidates": 0}),
        ("rar_d", {"added": 0}),
        ("rar_d", {"k": float("inf")}),
        ("rar_d", {"candidates": True}),
    ],
)
def test_options_out_of_range_are_refused(name, options):
    with pytest.raises(InputError, match=rf"sampling '{name}', option '{next(iter(options))}'"):
        phasecore.sampling_scheme(name, **options)


def test_unknown_names_and_options_are_refused_with_near_ones():
    with pytest.raises(InputError, match=r"unknown sampling: received 'sobel'.*Did you mean 'sobol'"):
        phasecore.sampling_scheme("sobel")
    with pytest.raises(InputError, match=r"option of sampling 'rad'.*'evry'.*Did you mean 'every'"):
        phasecore.sampling_scheme("rad", evry=5)
