"""Schemes that weight whole terms against loops over their papers' formulas."""

import math

import numpy as np
import pytest
from weighting_oracles import signals_of, softmax_of

from phasecore import InputError
from phasecore.weighting.fixed import fixed
from phasecore.weighting.grad_norm import grad_norm
from phasecore.weighting.learning_rate_annealing import learning_rate_annealing
from phasecore.weighting.ntk import ntk
from phasecore.weighting.relobralo import relobralo
from phasecore.weighting.soft_adapt import soft_adapt

TERMS = ("mass", "energy", "wall")


def losses_of_a_training(updates):
    generator = np.random.default_rng(1)
    for step in range(updates):
        yield [float(generator.uniform(0.5, 1.5) * math.exp(-0.2 * step * rate)) for rate in (1.0, 0.3, 0.0)]


def run(scheme, sequences, signal):
    state = None
    for values in sequences:
        signals = signals_of(**{signal: {t: np.asarray(v) for t, v in zip(TERMS, values, strict=True)}})
        state = scheme.init(signals) if state is None else state
        weights, state = scheme.update(signals, state)
        yield [float(weights[term]) for term in TERMS]


@pytest.mark.parametrize("normalized", [False, True])
@pytest.mark.parametrize("loss_weighted", [False, True])
def test_soft_adapt_is_its_formula(normalized, loss_weighted):
    scheme = soft_adapt(beta=2.0, normalized=normalized, loss_weighted=loss_weighted)
    before = None
    losses = list(losses_of_a_training(50))
    for now, weights in zip(losses, run(scheme, losses, "term_losses"), strict=True):
        change = [0.0] * 3 if before is None else [a - b for a, b in zip(now, before, strict=True)]
        if normalized:
            change = [s / (sum(abs(value) for value in change) + 1e-8) for s in change]
        powers = [math.exp(2.0 * s) * (loss if loss_weighted else 1.0) for s, loss in zip(change, now, strict=True)]
        np.testing.assert_allclose(weights, [power / sum(powers) for power in powers], rtol=1e-12)
        before = now


@pytest.mark.parametrize(("loss_weighted", "expected"), [(False, [1 / 3] * 3), (True, [0.5, 0.3, 0.2])])
def test_the_first_weights_of_soft_adapt_know_no_change(loss_weighted, expected):
    (weights,) = run(soft_adapt(loss_weighted=loss_weighted), [[5.0, 3.0, 2.0]], "term_losses")
    np.testing.assert_allclose(weights, expected, rtol=1e-12)


def test_soft_adapt_of_two_steady_slopes():
    """Losses that change by 0 and by -1 in each update: the shares are those of a logistic function of beta."""
    steady = [[1.0, 10.0 - step, 1.0] for step in range(4)]
    *_, weights = run(soft_adapt(beta=3.0), steady, "term_losses")
    np.testing.assert_allclose(weights[1] / weights[0], math.exp(-3.0), rtol=1e-12)


def draws(count):
    """The quasi-random sequence in whole numbers."""
    return [(648055 * step % 2**20) / 2**20 for step in range(1, count + 1)]


@pytest.mark.parametrize("lookback", ["draws", "expected"])
def test_relobralo_is_its_formula(lookback):
    temperature, rho = 0.7, 0.6
    scheme = relobralo(0.9, temperature, rho, lookback)
    losses = list(losses_of_a_training(50))
    weights, looked_back = [1.0] * 3, 0

    def balance(now, past):
        shares = softmax_of([a / (temperature * b) for a, b in zip(now, past, strict=True)])
        return [3 * share for share in shares]

    for step, found in enumerate(run(scheme, losses, "term_losses")):
        alpha = {0: 1.0, 1: 0.0}.get(step, 0.9)
        z = rho if lookback == "expected" else float(draws(step + 1)[-1] < rho)
        looked_back += z == 0
        since_reference = balance(losses[step], losses[min(step, 1)])
        since_last = balance(losses[step], losses[max(step - 1, 0)])
        weights = [
            alpha * (z * old + (1 - z) * reference) + (1 - alpha) * last
            for old, reference, last in zip(weights, since_reference, since_last, strict=True)
        ]
        np.testing.assert_allclose(found, weights, rtol=1e-12)
        assert sum(found) == pytest.approx(3)
    assert lookback == "expected" or 15 <= looked_back <= 25


def test_the_second_update_of_relobralo_takes_over_the_balance_at_hand():
    """Losses (1, 1), then (1, 2): twice the softmax of (1, 2), (0.538, 1.462); only then is alpha 0.999."""
    scheme = relobralo()
    losses = [{"a": np.asarray(a), "b": np.asarray(b)} for a, b in [(1.0, 1.0), (1.0, 2.0), (1.0, 2.0)]]
    state = scheme.init(signals_of(term_losses=losses[0]))
    found = []
    for loss in losses:
        weights, state = scheme.update(signals_of(term_losses=loss), state)
        found.append([float(weight) for weight in weights.values()])
    second = [2 / (1 + math.e), 2 * math.e / (1 + math.e)]
    third = [0.999 * old + 0.001 for old in second]
    np.testing.assert_allclose(found, [[1.0, 1.0], second, third], rtol=1e-12)


def test_relobralo_looks_back_as_often_as_it_should_and_exactly_alike_in_float32():
    scheme = relobralo(rho=0.99)
    shares = []
    for dtype in (np.float32, np.float64):
        signals = signals_of(term_losses={"pde": np.asarray(1.0, dtype), "wall": np.asarray(2.0, dtype)})
        state, seen = scheme.init(signals), []
        for _ in range(5000):
            _, state = scheme.update(signals, state)
            seen.append(float(state.draw["uniform"]))
        assert seen == draws(5000)
        shares.append(np.mean(np.asarray(seen) >= 0.99))
    assert shares == pytest.approx([0.01, 0.01], rel=0.1)


def gradients_at(seed):
    generator = np.random.default_rng(seed)
    return {
        term: {
            "first.weight": scale * generator.standard_normal((3, 2)),
            "first.bias": 9 * scale * generator.standard_normal(2),
            "last.weight": 3 * scale * generator.standard_normal((2, 2)),
        }
        for term, scale in zip(TERMS, (5.0, 1.0, 0.01), strict=True)
    }


def entries(gradients):
    return [float(value) for gradient in gradients.values() for value in gradient.ravel()]


@pytest.mark.parametrize("of", ["weighted", "unweighted"])
def test_learning_rate_annealing_is_its_formula(of):
    """The code: matrices alone, a mean of their means, of the weighted loss. The paper: entries of all parameters."""
    scheme = learning_rate_annealing(alpha=0.3, of=of)
    equations = {"mass": np.zeros(4), "energy": np.zeros(4)}
    expected, state = 1.0, None
    for step in range(50):
        gradients = gradients_at(step)
        signals = signals_of(equations, term_gradients=gradients)
        state = scheme.init(signals) if state is None else state
        weights, state = scheme.update(signals, state)
        layers = ["first.weight", "last.weight"] if of == "weighted" else [*gradients["mass"]]
        both = [
            abs(a + b)
            for layer in layers
            for a, b in zip(gradients["mass"][layer].ravel(), gradients["energy"][layer].ravel(), strict=True)
        ]
        own = {layer: [abs(float(value)) for value in gradients["wall"][layer].ravel()] for layer in layers}
        if of == "weighted":
            mean = expected * sum(sum(sizes) / len(sizes) for sizes in own.values()) / len(own)
        else:
            mean = sum(sum(sizes) for sizes in own.values()) / sum(len(sizes) for sizes in own.values())
        expected = 0.7 * expected + 0.3 * max(both) / mean
        assert set(weights) == {"wall"}
        assert float(weights["wall"]) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("options", "limit"), [({}, 2.0), ({"of": "weighted"}, 2.0), ({"of": "unweighted"}, 4.0)])
def test_where_learning_rate_annealing_tends_to(options, limit):
    """Largest gradient of the equation 8, mean of the condition's 2: the root of their ratio, or the ratio."""
    gradients = {"pde": {"w": np.asarray([[8.0, -2.0]])}, "wall": {"w": np.asarray([[1.0, 3.0]])}}
    signals, scheme = signals_of({"pde": np.zeros(3)}, term_gradients=gradients), learning_rate_annealing(**options)
    state = scheme.init(signals)
    for _ in range(500):
        weights, state = scheme.update(signals, state)
    assert float(weights["wall"]) == pytest.approx(limit, rel=1e-12)


@pytest.mark.parametrize("numerator", ["mean", "sum"])
def test_grad_norm_is_its_formula(numerator):
    scheme = grad_norm(alpha=0.6, numerator=numerator)
    expected, state = dict.fromkeys(TERMS, 1.0), None
    for step in range(50):
        gradients = gradients_at(step)
        signals = signals_of(term_gradients=gradients)
        state = scheme.init(signals) if state is None else state
        weights, state = scheme.update(signals, state)
        norms = {term: math.sqrt(sum(value**2 for value in entries(own))) for term, own in gradients.items()}
        common = sum(norms.values()) / (len(norms) if numerator == "mean" else 1)
        for term in TERMS:
            expected[term] = 0.6 * expected[term] + 0.4 * common / norms[term]
            assert float(weights[term]) == pytest.approx(expected[term], rel=1e-12)


@pytest.mark.parametrize(
    ("options", "expected"),
    [({}, [2 / 3, 2.0]), ({"numerator": "mean"}, [2 / 3, 2.0]), ({"numerator": "sum"}, [4 / 3, 4.0])],
)
def test_grad_norm_of_gradients_of_lengths_three_and_one(options, expected):
    gradients = {"pde": {"w": np.asarray([[3.0], [0.0]])}, "wall": {"w": np.asarray([[0.0], [1.0]])}}
    signals, scheme = signals_of(term_gradients=gradients), grad_norm(alpha=0.0, **options)
    weights, _ = scheme.update(signals, scheme.init(signals))
    assert [float(weight) for weight in weights.values()] == pytest.approx(expected, rel=1e-12)


def test_grad_norm_without_memory_makes_the_weighted_gradients_equally_long():
    gradients = gradients_at(0)
    signals, scheme = signals_of(term_gradients=gradients), grad_norm(alpha=0.0)
    weights, _ = scheme.update(signals, scheme.init(signals))
    lengths = [float(weights[term]) * math.hypot(*entries(gradients[term])) for term in TERMS]
    np.testing.assert_allclose(lengths, lengths[0], rtol=1e-12)


@pytest.mark.parametrize("alpha", [0.0, 0.5])
def test_ntk_is_total_trace_over_own_trace(alpha):
    traces = list(losses_of_a_training(8))
    expected = [1.0] * 3
    for now, weights in zip(traces, run(ntk(kernel="sum", alpha=alpha), traces, "tangent_kernel_traces"), strict=True):
        expected = [alpha * old + (1 - alpha) * sum(now) / own for old, own in zip(expected, now, strict=True)]
        np.testing.assert_allclose(weights, expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [10 / 9, 10]),
        ({"alpha": 0.9}, [0.9 + 1 / 9, 1.9]),
        ({"kernel": "sum"}, [9010 / 9000, 901]),
    ],
)
def test_ntk_gives_the_slow_term_the_large_weight(options, expected):
    """Traces 9000 of 1000 points and 10 of 10: 9 and 1 per point, and so 10/9 and 10, not the other way round."""
    traces = {"fast": np.asarray(9000.0), "slow": np.asarray(10.0)}
    signals = signals_of({"fast": np.zeros(1000)}, {"slow": np.zeros(10)}, tangent_kernel_traces=traces)
    scheme = ntk(**options)
    weights, _ = scheme.update(signals, scheme.init(signals))
    assert [float(weights[term]) for term in ("fast", "slow")] == pytest.approx(expected)


@pytest.mark.parametrize("alpha", [0.0, 0.9])
def test_ntk_per_point_over_fifty_updates_in_full_and_in_batches(alpha):
    """As jaxpi has it, with the sum over terms of arXiv 2308.08468: mean diagonals, and a moving average."""
    scheme, state, expected = ntk(alpha=alpha), None, {"pde": 1.0, "wall": 1.0}
    generator = np.random.default_rng(0)
    for update in range(50):
        count = 64 if update % 2 else 17
        diagonals = {"pde": generator.lognormal(3, 1, count), "wall": generator.lognormal(0, 1, 9)}
        signals = signals_of(
            {"pde": np.ones(count)},
            {"wall": np.ones(9)},
            tangent_kernel_traces={term: own.sum() for term, own in diagonals.items()},
        )
        weights, state = scheme.update(signals, scheme.init(signals) if state is None else state)
        means = {term: own.mean() for term, own in diagonals.items()}
        for term, mean in means.items():
            expected[term] = alpha * expected[term] + (1 - alpha) * sum(means.values()) / mean
        assert {term: float(weight) for term, weight in weights.items()} == pytest.approx(expected, rel=1e-12)


def test_fixed_weights_are_those_given_and_stay():
    scheme = fixed(wall=10, pde=0.5)
    for losses in ([1.0, 2.0, 3.0], [5.0, 0.0, 1.0]):
        signals = signals_of(
            {}, {}, term_losses=dict(zip(("pde", "wall", "data"), map(np.asarray, losses), strict=True))
        )
        weights, _ = scheme.update(signals, scheme.init(signals))
        assert {term: float(weight) for term, weight in weights.items()} == {"wall": 10.0, "pde": 0.5}
    assert scheme.multiplies == "squared_residual"


def test_a_term_that_is_not_there_is_refused_with_those_that_are():
    signals = signals_of({}, {}, term_losses={"pde": np.asarray(1.0), "boundary": np.asarray(1.0)})
    with pytest.raises(InputError, match=r"(?s)unknown term of weighting 'fixed': received 'bounday'.*mean 'boundary'"):
        fixed(bounday=3).init(signals)


def test_costly_signals_are_read_now_and_then_by_default():
    assert [scheme().every for scheme in (learning_rate_annealing, grad_norm, ntk)] == [10, 1000, 1000]
    assert [scheme(every=7).every for scheme in (soft_adapt, relobralo, grad_norm)] == [7, 7, 7]


@pytest.mark.parametrize(
    ("scheme", "options", "message"),
    [
        (fixed, {}, "received no weights; expected some, by term"),
        (fixed, {"pde": -1}, "option 'pde'.*non-negative"),
        (fixed, {"pde": math.nan}, "option 'pde'.*non-negative"),
        (soft_adapt, {"beta": math.inf}, "'beta'.*finite"),
        (soft_adapt, {"normalized": "yes"}, "'normalized'.*one of True, False"),
        (relobralo, {"alpha": 1.5}, r"'alpha'.*\[0, 1\]"),
        (relobralo, {"lookback": "coin"}, "'lookback'.*one of draws, expected"),
        (learning_rate_annealing, {"alpha": 0}, r"'alpha'.*\(0, 1\]"),
        (learning_rate_annealing, {"of": "both"}, "'of'.*one of weighted, unweighted"),
        (grad_norm, {"numerator": "max"}, "'numerator'.*one of mean, sum"),
        (grad_norm, {"every": 0}, "'every'.*positive integer"),
        (ntk, {"kernel": "max"}, "'kernel'.*one of sum, mean"),
    ],
)
def test_options_out_of_range_are_refused(scheme, options, message):
    with pytest.raises(InputError, match=message):
        scheme(**options)
