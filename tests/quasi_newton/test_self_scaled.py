"""Self-scaled L-BFGS against the formula written out with the whole matrix, and what it is for."""

import numpy as np
import pytest
from scipy.optimize import minimize

from phasecore.quasi_newton.inverse_hessian import InverseHessian, memory_for, numpy_arrays
from phasecore.quasi_newton.steps import Evaluated, MadeOfSteps, NotFiniteError, SelfScaledLBFGS

SIZE = 12


def pairs(count, seed=0):
    """Steps, changes of a quadratic's gradient, and curvatures assumed, some too large, some too small."""
    random = np.random.default_rng(seed)
    root = random.normal(size=(SIZE, SIZE))
    hessian = root @ root.T + 0.1 * np.eye(SIZE)
    for _ in range(count):
        step = random.normal(size=SIZE)
        change = hessian @ step
        yield step, change, float(step @ change) * random.choice([0.3, 1.0, 2.5, 40.0])


def whole_matrix(first, known):
    """The inverse Hessian after some pairs: (1 / tau) (I - rho s y') H (I - rho y s') + rho s s'."""
    matrix, identity = first * np.eye(SIZE), np.eye(SIZE)
    for place, (step, change, assumed) in enumerate(known):
        curvature = step @ change
        tau = min(1.0, curvature / assumed) if place or first != step @ change / (change @ change) else 1.0
        left = identity - np.outer(step, change) / curvature
        matrix = left @ matrix @ left.T / tau + np.outer(step, step) / curvature
    return matrix


@pytest.mark.parametrize("count", [1, 2, 7, 30])
def test_products_are_those_of_the_formula(count):
    known, made = list(pairs(count)), InverseHessian(numpy_arrays(), memory=count)
    assert all(made.add(*pair) for pair in known)
    step, change, _ = known[0]
    matrix = whole_matrix(step @ change / (change @ change), known)
    vector = np.random.default_rng(1).normal(size=SIZE)
    assert np.allclose(made @ vector, matrix @ vector, rtol=1e-8, atol=1e-8 * np.linalg.norm(matrix @ vector))


def test_where_the_memory_is_full_the_oldest_pairs_are_forgotten_and_their_growth_is_kept():
    known, made = list(pairs(9)), InverseHessian(numpy_arrays(), memory=8)
    for pair in known:
        made.add(*pair)
    step, change, _ = known[0]
    grown = [max(1.0, assumed / (step @ change)) for step, change, assumed in known[1:2]]
    first = step @ change / (change @ change) * np.prod(grown)
    vector = np.random.default_rng(1).normal(size=SIZE)
    assert len(made) == 7
    assert np.allclose(made @ vector, whole_matrix(first, known[2:]) @ vector, rtol=1e-8)


def test_a_pair_without_curvature_is_of_no_use():
    made = InverseHessian(numpy_arrays(), memory=4)
    step = np.ones(SIZE)
    assert not made.add(step, -step)
    assert not made.add(step, 0 * step)
    assert not made.add(0 * step, step)
    assert not made.add(step, step * np.nan)
    assert len(made) == 0


def test_what_is_restored_goes_on_alike():
    known, made = list(pairs(9)), InverseHessian(numpy_arrays(), memory=8)
    for pair in known[:6]:
        made.add(*pair)
    restored = InverseHessian(numpy_arrays(), memory=8)
    restored.restore(made.state())
    for pair in known[6:]:
        made.add(*pair)
        restored.add(*pair)
    vector = np.random.default_rng(1).normal(size=SIZE)
    assert np.array_equal(made @ vector, restored @ vector)


def evaluations_until(loss, gradient, start, least):
    def evaluate(point):
        return Evaluated(point, float(loss(point)), gradient(point))

    steps = SelfScaledLBFGS(evaluate, 2.0**-52, numpy_arrays(), memory_for(len(start), 8))
    point = start
    while loss(point) > least:
        point = steps.step(point, is_fixed=True)
        assert steps.failure is None
    return steps.evaluations


def test_it_takes_half_the_evaluations_of_scipys_own_where_the_loss_is_ill_conditioned():
    curvatures = np.logspace(0, 5, 40)

    def loss(point):
        return 0.5 * float(curvatures @ point**2) + 0.25 * float(np.sum(point**4))

    def gradient(point):
        return curvatures * point + point**3

    start, seen = np.ones(40), []

    def counted(point):
        seen.append(loss(point))
        return loss(point)

    minimize(
        counted, start, jac=gradient, method="L-BFGS-B",
        options={"maxcor": 40, "ftol": 0, "gtol": 0, "maxiter": 5000, "maxfun": 5000},
    )  # fmt: skip
    theirs = next(place for place, value in enumerate(seen) if value < 1e-8)
    assert evaluations_until(loss, gradient, start, 1e-8) < 0.5 * theirs


def test_pairs_are_of_one_loss_though_it_changes_between_steps():
    # between its steps the loss is moved; its curvature, which is all that pairs tell of, stays
    random, centre = np.random.default_rng(0), np.zeros(3)
    curvatures = np.asarray([1.0, 10.0, 100.0])

    def evaluate(point):
        loss = 1000 + 0.5 * float(curvatures @ (point - centre) ** 2)
        return Evaluated(point, loss, curvatures * (point - centre))

    steps = SelfScaledLBFGS(evaluate, 2.0**-52, numpy_arrays(), memory=50)
    point = np.ones(3)
    for _ in range(40):
        centre[:] = random.normal(size=3)
        point = steps.step(point, is_fixed=False)
    known = steps.inverse_hessian.state()
    assert len(known["steps"]) == 40
    assert np.allclose(known["changes"], curvatures * known["steps"], rtol=1e-8)


@pytest.mark.parametrize(("factor", "remembered"), [(1.9, 6), (2.1, 1)])
def test_a_loss_that_has_become_another_one_is_begun_anew(factor, remembered):
    curvatures, weight = np.logspace(0, 2, 8), [1.0]

    def evaluate(point):
        return Evaluated(point, weight[0] * (1 + float(curvatures @ point**2)), weight[0] * 2 * curvatures * point)

    steps = SelfScaledLBFGS(evaluate, 2.0**-52, numpy_arrays(), memory=50)
    point = np.ones(8)
    for _ in range(5):
        point = steps.step(point, is_fixed=True)
    weight[0] = factor
    steps.step(point, is_fixed=False)
    assert len(steps.inverse_hessian) == remembered


def test_a_loss_that_is_not_finite_at_the_first_step_leaves_the_parameters():
    def evaluate(point):
        raise NotFiniteError

    steps = SelfScaledLBFGS(evaluate, 2.0**-52, numpy_arrays(), memory=5)
    assert np.array_equal(steps.step(np.ones(2), is_fixed=True), np.ones(2))
    assert steps.failure == "the loss was not finite"


@pytest.mark.parametrize("by_others", [0.0, 1e-3, 5.0], ids=["not moved", "moved a little", "moved far"])
@pytest.mark.parametrize("before", [0, 1, 4])
@pytest.mark.parametrize("failure", ["the loss was not finite", "left the finite numbers", "found nothing better"])
def test_a_step_that_fails_ends_where_it_began_whatever_was_before(failure, before, by_others):
    curvatures, fails, start = np.logspace(0, 2, 8), [False], [None]

    def evaluate(point):
        further_on = bool((point != start[0]).any())
        if fails[0] and (failure == "the loss was not finite" or (failure == "left the finite numbers" and further_on)):
            raise NotFiniteError
        flat = fails[0] and failure == "found nothing better"
        return Evaluated(point, float(curvatures @ point**2), 0 * point if flat else 2 * curvatures * point)

    steps = SelfScaledLBFGS(evaluate, 2.0**-52, numpy_arrays(), memory=50)
    point = np.ones(8)
    for _ in range(before):
        point = steps.step(point, is_fixed=False)
    fails[0], start[0] = True, point + by_others
    ended = steps.step(start[0].copy(), is_fixed=False)
    assert failure in steps.failure
    assert np.array_equal(ended, start[0])
    assert (steps.good is None) == (failure == "the loss was not finite"), "what it began with, where that is known"


class Steps(MadeOfSteps):
    """Steps on a loss of numpy, as an optimizer of a framework has them."""

    def __init__(self, loss, gradient, start):
        self.loss, self.gradient, self.point = loss, gradient, start
        self._steps = SelfScaledLBFGS(self._at, 2.0**-52, numpy_arrays(), memory=50)

    def _at(self, point):
        return Evaluated(point, self.loss(point), self.gradient(point))

    def make(self, count):
        for _ in range(count):
            self.point = self._steps.step(self.point, is_fixed=True)
        return self


def quadratic(floor, size=60):
    curvatures = np.logspace(0, 2, size)
    return Steps(lambda x: floor + 0.5 * curvatures @ x**2, lambda x: curvatures * x, np.ones(size) / curvatures)


def test_steps_that_have_halved_the_loss_have_won_something():
    assert not quadratic(0.0).make(0).has_won
    assert quadratic(0.0).make(10).has_won


def test_many_steps_have_won_something_however_high_the_loss_ends():
    # as where noise of the data is most of it
    assert not quadratic(1e3).make(10).has_won
    assert quadratic(1e3).make(50).has_won


def test_a_loss_below_zero_has_no_half():
    assert quadratic(-5.0).make(1).has_won


def test_at_a_place_where_the_gradient_is_all_but_zero_nothing_is_won():
    flat = Steps(lambda x: 1.0 + 1e-30 * x @ x, lambda x: 2e-30 * x, np.ones(4)).make(3)
    assert flat.failure == "the line search found nothing better"
    assert not flat.has_won


def test_what_was_won_is_counted_anew_after_a_failure():
    steps = quadratic(0.0).make(10)
    steps.gradient = lambda x: np.zeros_like(x)
    steps._steps.last = steps._steps.last._replace(gradient=np.zeros_like(steps.point))
    assert steps.make(1).failure is not None
    assert steps.has_won, "until the next step, for those who ask why it failed"
    assert not steps.make(1).has_won


def test_what_was_won_goes_into_a_checkpoint():
    numbers = quadratic(0.0).make(10)._numbers()
    other = quadratic(0.0)
    other._count_on(numbers)
    assert other.has_won
    other._count_on({"evaluations": 3})
    assert (other.has_won, other.length, other.evaluations) == (False, None, 3)
