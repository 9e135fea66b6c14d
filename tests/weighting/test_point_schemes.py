"""Schemes that weight points against loops over their papers' formulas, in full batch and in mini-batches."""

import math

import numpy as np
import pytest
from weighting_oracles import (
    Brdr,
    adam_ascent,
    causal_weights,
    residuals_at,
    rows_of_state,
    signals_of,
    train_in_batches,
)

from phasecore import InputError
from phasecore.signals import Signals
from phasecore.weighting.brdr import brdr
from phasecore.weighting.causal import causal
from phasecore.weighting.self_adaptive import self_adaptive
from phasecore.weighting.vrba import vrba

EQUATIONS = {"equation_mass": 13, "equation_energy": 13}
CONDITIONS = {"wall": 5}
BATCHES = [13, 4]
"""All points, and batches of four with a short last one."""


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("mask", ["square", "linear", "sigmoid"])
def test_self_adaptive_weights_are_adams_ascent_of_each_point(mask, batch):
    scheme = self_adaptive(learning_rate=0.05, start=0.7, start_conditions=2.0, mask=mask)
    history, used = {}, {}
    for rows, residuals, conditions, weights in train_in_batches(scheme, EQUATIONS, CONDITIONS, batch, epochs=50):
        for term, values in {**residuals, **conditions}.items():
            for position, value in enumerate(values):
                point = (term, rows[position] if term in EQUATIONS else position)
                history.setdefault(point, []).append((float(value), len(values)))
                used.setdefault(point, []).append(float(weights[term][position]))
    assert len(history) == 31
    for point, seen in history.items():
        start = 0.7 if point[0] in EQUATIONS else 2.0
        np.testing.assert_allclose(used[point], adam_ascent(start, seen, 0.05, mask), rtol=1e-11)


def test_a_self_adaptive_step_is_the_learning_rate_while_the_gradient_stays_the_same():
    """Adam's step does not depend on the gradient's size, so constant residuals raise every weight about alike."""
    scheme = self_adaptive(learning_rate=1e-3, start=1.0)
    signals = signals_of({"pde": np.asarray([5.0, -0.5])})
    state = scheme.init(signals)
    for step in range(5):
        weights, state = scheme.update(signals, state)
        np.testing.assert_allclose(weights["pde"], 1 + step * 1e-3, rtol=2e-5)


def test_epsilon_decides_how_self_adaptive_weights_grow_where_residuals_are_small():
    """A gradient g at the first step: learning_rate g / (g + epsilon / sqrt(1 - beta2)), g = 2 r^2 of one point."""
    for epsilon in (1e-7, 1e-8, 1e-12):
        scheme = self_adaptive(learning_rate=1.0, start=1.0, epsilon=epsilon)
        signals = signals_of({"pde": np.asarray([1e-4])})
        _, state = scheme.update(signals, scheme.init(signals))
        grown = 2e-8 / (2e-8 + epsilon / math.sqrt(0.001))
        assert state.weights["pde"][0] - 1 == pytest.approx(grown, rel=1e-9)


def test_first_weights_are_spread_evenly_and_those_of_the_initial_condition_reach_further():
    signals = signals_of({"pde": np.zeros(1000)}, {"initial": np.zeros(1000), "wall": np.zeros(1000)})
    for term, largest in (("pde", 1.0), ("wall", 1.0), ("initial", 100.0)):
        weights = self_adaptive().init(signals).weights[term] / largest
        assert 0 < weights.min() < weights.max() < 1
        assert np.abs(np.sort(weights) - (np.arange(1000) + 0.5) / 1000).max() < 2e-3
    far = self_adaptive(initial="wall", largest_initial=7.0).init(signals).weights
    assert [round(float(values.max())) for values in far.values()] == [1, 1, 7]


@pytest.mark.parametrize(
    ("adapts", "terms"),
    [
        ("all", ["pde", "initial", "wall"]),
        ("equations", ["pde"]),
        ("conditions", ["initial", "wall"]),
        ("wall", ["wall"]),
        ("pde/wall", ["pde", "wall"]),
    ],
)
def test_which_terms_have_self_adaptive_weights(adapts, terms):
    signals, scheme = (
        signals_of({"pde": np.ones(3)}, {"initial": np.ones(2), "wall": np.ones(2)}),
        self_adaptive(adapts=adapts),
    )
    weights, state = scheme.update(signals, scheme.init(signals))
    assert list(weights) == list(state.weights) == terms


def test_terms_that_are_not_there_cannot_adapt():
    with pytest.raises(InputError, match=r"'adapts': received 'pde/top'; expected one of all, .*: pde/wall"):
        self_adaptive(adapts="pde/top").init(signals_of({"pde": np.ones(3)}, {"wall": np.ones(2)}))


@pytest.mark.parametrize("batch", BATCHES)
def test_brdr_is_its_formula(batch):
    oracle = Brdr(decay=0.9, weight_decay=0.8, epsilon=1e-14)
    scheme = brdr(decay=0.9, weight_decay=0.8)
    for rows, residuals, conditions, weights in train_in_batches(scheme, EQUATIONS, CONDITIONS, batch, epochs=50):
        points = {
            (term, rows[position] if term in EQUATIONS else position): float(value)
            for term, values in {**residuals, **conditions}.items()
            for position, value in enumerate(values)
        }
        expected = oracle.update(points)
        for (term, index), weight in expected.items():
            position = list(rows).index(index) if term in EQUATIONS else index
            assert weights[term][position] == pytest.approx(weight, rel=1e-11)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_brdr_balances_small_residuals_as_large_ones(dtype):
    """A constant residual has a rate of one, whatever its size: epsilon stands beside the root, not below it."""
    signals = signals_of({"pde": np.asarray([1e-3, 1e-5], dtype)})
    scheme = brdr(weight_decay=0.0)
    state = scheme.init(signals)
    for _ in range(5):
        weights, state = scheme.update(signals, state)
        np.testing.assert_allclose(weights["pde"], 1.0, rtol=1e-3)


def test_brdr_forgets_with_every_update_whether_a_point_was_in_it_or_not():
    """Two batches of two points in turn, 400 updates; in each a residual that decays beside one that does not."""
    scheme = brdr()
    state = scheme.init(signals_of({"pde": np.zeros(4)}))
    for step in range(1, 401):
        rows = [0, 1] if step % 2 else [2, 3]
        residuals = np.asarray([math.exp(-0.01 * step), 1.0])
        _, new = scheme.update(signals_of({"pde": residuals}), rows_of_state(scheme, state, rows, ["pde"]))
        for name in scheme.per_point:
            getattr(state, name)["pde"][rows] = getattr(new, name)["pde"]
        state = state._replace(updates=new.updates)
    np.testing.assert_allclose(state.weights["pde"], [0.745, 1.255, 0.745, 1.255], atol=1e-3)


def test_brdr_weights_of_constant_residuals_stay_one_and_a_stubborn_point_gains():
    scheme = brdr(decay=0.9, weight_decay=0.9)
    state = scheme.init(signals_of({"pde": np.zeros(2)}))
    for _ in range(60):
        weights, state = scheme.update(signals_of({"pde": np.asarray([3.0, -7.0])}), state)
        np.testing.assert_allclose(weights["pde"], 1.0, rtol=1e-12)
    for step in range(60):
        fast = 7.0 * math.exp(-0.3 * step)
        weights, state = scheme.update(signals_of({"pde": np.asarray([3.0, fast])}), state)
    assert weights["pde"][0] > 1.5 > 0.5 > weights["pde"][1]
    assert np.mean(weights["pde"]) == pytest.approx(1.0)


DERIVATIVES = {
    "exponential": lambda s, t: math.exp(s / t),
    "quadratic": lambda s, t: s,
    "cosh": lambda s, t: math.sinh(s / t),
    "superexponential": lambda s, t: s * math.exp(s * s / t),
    "logarithmic": lambda s, t: math.log(1 + s / t),
    "power": lambda s, t: s**3,
}
ANNEALED = [(name, {}) for name in DERIVATIVES] + [("exponential", {"c_log": 0.5}), ("cosh", {"temperature": 0.3})]


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize(("potential", "options"), ANNEALED)
def test_vrba_is_its_formula(potential, options, batch):
    scheme = vrba(potential, smoothing=0.8, **options)
    weight_of = {}
    training = train_in_batches(scheme, EQUATIONS, {}, batch, epochs=50)
    for k, (rows, residuals, _, weights) in enumerate(training):
        temperature = options.get("temperature", options.get("c_log", 1.0) / math.log(k + 2))
        for term, values in residuals.items():
            sizes = [abs(float(value)) for value in values]
            q = [DERIVATIVES[potential](size / max(sizes), temperature) for size in sizes]
            for position, point in enumerate(rows):
                old = weight_of.get((term, point), 0.1)
                weight_of[term, point] = 0.999 * old + 0.01 * (0.8 * q[position] / max(q) + 0.2)
                assert weights[term][position] == pytest.approx(weight_of[term, point], rel=1e-12)
    assert len(weight_of) == 26


@pytest.mark.parametrize(("k", "share"), [(0, 1 / 2), (8, 1 / 10), (146, 1 / 148)])
def test_the_temperature_of_vrba_anneals(k, share):
    """A point without residual has `exp(-ln(k + 2))` of the weight of the worst."""
    scheme, signals = vrba(gamma=0.0, eta=1.0), signals_of({"pde": np.asarray([1.0, 0.0])})
    state = scheme.init(signals)
    for _ in range(k + 1):
        weights, state = scheme.update(signals, state)
    np.testing.assert_allclose(weights["pde"], [1.0, share], rtol=1e-12)


def test_vrba_weights_tend_to_ten_times_the_share_of_the_worst_point():
    scheme = vrba(gamma=0.99, eta=0.1, temperature=0.25)
    signals = signals_of({"pde": np.asarray([1.0, -2.0, 0.0])})
    state = scheme.init(signals)
    for _ in range(4000):
        weights, state = scheme.update(signals, state)
    np.testing.assert_allclose(weights["pde"], 10 * np.exp([-2.0, 0.0, -4.0]), rtol=1e-12)


@pytest.mark.parametrize("potential", DERIVATIVES)
def test_cold_potentials_stay_finite_in_float32(potential):
    scheme = vrba(potential, **({} if potential in ("quadratic", "power") else {"temperature": 1e-3}))
    signals = signals_of({"pde": np.asarray([1.0, -2.0, 0.0], np.float32)})
    weights, _ = scheme.update(signals, scheme.init(signals))
    assert np.all(np.isfinite(weights["pde"]))
    assert weights["pde"][1] == pytest.approx(0.999 * 0.1 + 0.01)


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("options", [{}, {"equations": "minimum"}, {"equations": "minimum", "initial_factor": 30.0}])
def test_causal_weights_are_their_formula_with_annealing(options, batch):
    generator = np.random.default_rng(5)
    times = generator.uniform(size=13)
    scheme = causal(slabs=4, epsilon=0.1, growth=10.0, largest=10.0, threshold=0.9, **options)
    epsilon, grown = 0.1, []
    state = scheme.init(
        signals_of(
            {t: np.zeros(13) for t in EQUATIONS},
            unit_coordinates={"t": times},
            term_losses={"initial": np.asarray(0.0)},
        )
    )
    for step in range(60):
        rows = generator.permutation(13)[:batch]
        residuals = {term: 3.0 * values for term, values in residuals_at(step, dict.fromkeys(EQUATIONS, batch)).items()}
        initial = math.exp(-0.2 * step)
        signals = signals_of(
            residuals,
            unit_coordinates={"x": times[rows][::-1], "t": times[rows]},
            term_losses={"initial": np.asarray(initial)},
        )
        weights, state = scheme.update(signals, state)
        expected, smallest = causal_weights(
            times[rows],
            list(residuals.values()),
            4,
            epsilon,
            minimum="equations" in options,
            initial=options.get("initial_factor", 0.0) * initial,
        )
        for term in EQUATIONS:
            np.testing.assert_allclose(weights[term], expected, rtol=1e-12)
        epsilon = min(10.0, 10 * epsilon) if smallest > 0.9 else epsilon
        grown.append(epsilon)
        assert state.epsilon["equations"] == pytest.approx(epsilon)
    assert sorted({round(value, 6) for value in grown}) == [0.1, 1.0, 10.0]
    assert grown[-1] == pytest.approx(10.0)


def test_causal_options_of_systems_and_of_the_initial_condition():
    """Two slabs whose first has losses 1 and 4: together 5, or the larger alone; the initial loss holds both back."""
    residuals = {"x": np.asarray([1.0, 9.0]), "y": np.asarray([2.0, 9.0])}
    signals = signals_of(
        residuals,
        unit_coordinates={"t": np.asarray([0.2, 0.8])},
        term_losses={"initial": np.asarray(0.003), "wall": np.asarray(7.0)},
    )
    for options, exponents in (
        ({}, [0, 5]),
        ({"equations": "minimum"}, [0, 4]),
        ({"initial_factor": 1000}, [3, 8]),
        ({"equations": "minimum", "initial_factor": 1000}, [3, 7]),
        ({"initial_factor": 1, "initial": "wall"}, [7, 12]),
    ):
        scheme = causal(slabs=2, epsilon=0.1, **options)
        weights, _ = scheme.update(signals, scheme.init(signals))
        for term in residuals:
            np.testing.assert_allclose(weights[term], np.exp(-0.1 * np.asarray(exponents)), rtol=1e-12)


@pytest.mark.parametrize("reduce", [None, lambda kind, points: {"maximum": np.max, "total": np.sum}[kind](points)])
@pytest.mark.parametrize(("slabs", "count"), [(1, 7), (3, 12), (4, 13), (5, 3)])
def test_slabs_by_count_hold_equally_many_points_wherever_these_are(slabs, count, reduce):
    times = np.random.default_rng(slabs).uniform(size=count) ** 4
    scheme = causal(slabs=slabs, epsilon=0.5, growth=1, cut="count")
    signals = Signals({"residuals": {"pde": np.ones(count)}, "unit_coordinates": {"t": times}}, np, reduce)
    weights, _ = scheme.update(signals, scheme.init(signals))
    slab_of = np.rint(-2.0 * np.log(weights["pde"])).astype(int)
    held = np.bincount(slab_of[np.argsort(times)])
    assert (np.diff(slab_of[np.argsort(times)]) >= 0).all()
    assert set(held) <= {count // slabs, -(-count // slabs), 1}
    assert len(held) == min(slabs, count)


def test_points_of_one_moment_are_in_one_slab():
    times = np.asarray([0.0, 0.0, 0.0, 0.0, 0.5, 1.0])
    signals = signals_of({"pde": np.full(6, 1.0)}, unit_coordinates={"t": times})
    scheme = causal(slabs=2, epsilon=1.0, growth=1, cut="count")
    weights, _ = scheme.update(signals, scheme.init(signals))
    np.testing.assert_allclose(weights["pde"], np.exp(-np.asarray([0.0, 0, 0, 0, 1, 1])), rtol=1e-12)


def test_an_initial_condition_of_another_name_is_refused():
    signals = signals_of(
        {"pde": np.zeros(2)},
        unit_coordinates={"t": np.zeros(2)},
        term_losses={"pde": np.zeros(()), "start": np.zeros(())},
    )
    with pytest.raises(InputError, match=r"'causal', option 'initial': received 'initial', and.*one of pde, start"):
        causal(initial_factor=1.0).init(signals)
    causal(initial_factor=1.0, initial="start").init(signals)


def test_causal_weights_of_a_uniform_residual_decay_slab_by_slab_from_one():
    scheme = causal(slabs=5, epsilon=0.5, growth=1)
    times = np.asarray([0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0])
    signals = signals_of({"pde": np.full(7, 2.0)}, unit_coordinates={"t": times})
    weights, _ = scheme.update(signals, scheme.init(signals))
    np.testing.assert_allclose(weights["pde"], np.exp(-0.5 * 4.0 * np.asarray([0, 0, 1, 2, 3, 4, 4])), rtol=1e-14)


def test_a_problem_without_time_is_refused_and_another_name_for_time_is_an_option():
    signals = signals_of({"pde": np.zeros(3)}, unit_coordinates={"x": np.zeros(3), "tau": np.zeros(3)})
    with pytest.raises(InputError, match=r"'causal', option 'time': received 't', and a problem without.*x, tau"):
        causal().init(signals)
    causal(time="tau").init(signals)


@pytest.mark.parametrize(
    ("scheme", "options", "message"),
    [
        (self_adaptive, {"learning_rate": 0}, "'learning_rate'.*positive"),
        (self_adaptive, {"start": -1.0}, "'start'"),
        (self_adaptive, {"start_conditions": "random"}, "'start_conditions': received 'random'; .*number, or 'drawn'"),
        (self_adaptive, {"mask": "cubic"}, "'mask'.*one of square, linear, sigmoid"),
        (self_adaptive, {"epsilon": 0.0}, "'epsilon'.*positive"),
        (
            self_adaptive,
            {"start_conditions": 2.0, "largest_initial": 7.0},
            "'largest_initial': received 7.0; expected none: 'start_conditions' is a number",
        ),
        (self_adaptive, {"beta1": 1.0}, r"'beta1'.*\(0, 1\)"),
        (brdr, {"decay": 0.0}, "'decay'"),
        (brdr, {"weight_decay": "much"}, "'weight_decay'.*'much'"),
        (brdr, {"epsilon": math.nan}, "'epsilon'.*nan"),
        (vrba, {"potential": "cubic"}, "'potential'.*one of exponential, quadratic"),
        (vrba, {"temperature": 0.0}, "'temperature'"),
        (vrba, {"smoothing": 0.0}, r"'smoothing'.*received 0.0; expected a number in \(0, 1\]"),
        (vrba, {"start": -1}, "'start'.*non-negative"),
        (vrba, {"c_log": 2.0, "temperature": 0.2}, "'c_log': received 2.0; expected none: 'temperature' replaces"),
        (vrba, {"potential": "power", "power": 1.0}, "'power'.*received 1.0"),
        (vrba, {"power": 3.0}, "'power': received 3.0; expected none: the potential is 'exponential'"),
        (vrba, {"potential": "quadratic", "temperature": 0.2}, "'temperature': received 0.2; expected none"),
        (causal, {"slabs": 2.5}, "'slabs'.*positive integer"),
        (causal, {"growth": 0.5}, "'growth'"),
        (causal, {"epsilon": 1.0, "largest": 0.5}, "'largest'"),
        (causal, {"threshold": True}, "'threshold'"),
        (causal, {"equations": "product"}, "'equations'.*one of sum, minimum"),
        (causal, {"cut": "points"}, "'cut'.*one of duration, count"),
        (causal, {"initial_factor": -1.0}, "'initial_factor'.*non-negative"),
        (causal, {"initial": "start"}, "'initial': received 'start'; expected none: 'initial_factor' is 0"),
    ],
)
def test_options_out_of_range_are_refused(scheme, options, message):
    with pytest.raises(InputError, match=message):
        scheme(**options)
