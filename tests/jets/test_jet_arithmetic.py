"""Arithmetic of jets: against nested autodiff, on every array library, with broadcasting."""

import functools
import itertools
import types

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from jets_oracle import differentiate

from phasecore.errors import InputError
from phasecore.jets import FUNCTIONS, algebra_of, concat, coordinates, power, read, stack
from phasecore.partials import parse_partial
from phasecore.testing.libraries import library

GENERATOR = np.random.default_rng(7)
WEIGHTS = GENERATOR.normal(size=(2, 5))
BIAS = GENERATOR.normal(size=(5,))
LAST = GENERATOR.normal(size=(5, 1))
POINTS = GENERATOR.uniform(-1, 1, size=(6, 2))
PARTIALS = (
    "u",
    "u_x",
    "u_y",
    "u_xx + u_yy",
    "u_xy",
    "u_xxy - 3*u_yyy",
    "u_xxxx + 2*u_xxyy + u_yyyy",
    "u_y - 0.25*u_xx",
    "u_xxx + 2*u_y - u",
)
OPERATORS = {name: parse_partial(name, ["u"], ["x", "y"]).operator for name in PARTIALS}
LIBRARIES = ("numpy", "array_api_strict", "torch")


class JetLanguage:
    """The vocabulary of the functions below, spoken by jets on an array library."""

    def __init__(self, name):
        self.library = library(name)
        self.xp = self.library.namespace
        self.constant = self.library.from_numpy

    def __getattr__(self, name):
        return lambda jet: jet.apply(FUNCTIONS[name], self.xp)

    def column(self, jet, axis):
        return jet.map(lambda coefficient: coefficient[:, axis : axis + 1])

    def linear(self, jet, weights):
        return jet.map(lambda coefficient: coefficient @ self.constant(weights))

    def concat(self, jets):
        return concat(jets, 1, self.xp)

    def stack(self, jets):
        return stack(jets, 1, self.xp)

    def sum(self, jet, axis):
        return jet.map(lambda coefficient: self.xp.sum(coefficient, axis=axis))


class TorchLanguage:
    """The same, spoken by torch: what autodiff differentiates."""

    constant = staticmethod(torch.tensor)

    def __getattr__(self, name):
        return getattr(torch, name, None) or getattr(torch.nn.functional, name)

    def column(self, tensor, axis):
        return tensor[:, axis : axis + 1]

    def linear(self, tensor, weights):
        return tensor @ torch.tensor(weights)

    def concat(self, tensors):
        return torch.cat(tensors, 1)

    def stack(self, tensors):
        return torch.stack(tensors, 1)

    def sum(self, tensor, axis):
        return tensor.sum(axis)


def network(points, to):
    return to.linear(to.tanh(to.linear(points, WEIGHTS) + to.constant(BIAS)), LAST)


def hard_constraint(points, to):
    x = to.column(points, 0)
    return x * (1 - x) * network(points, to) + x


def fourier_features(points, to):
    angles = to.linear(points, 2 * WEIGHTS)
    return to.linear(to.tanh(to.linear(to.concat([to.sin(angles), to.cos(angles)]), np.ones((10, 5)) / 5)), LAST)


def quotient(points, to):
    x, y = to.column(points, 0), to.column(points, 1)
    return (x - 2.0 * y) / (2.0 + to.exp(x) * to.cos(y)) + 1.0 / (3.0 - x) - x / 4.0


def powers(points, to):
    x, y = to.column(points, 0), to.column(points, 1)
    return x**3 * y**2 - (2.0 + x) ** -1.5 + (3.0 - y) ** 0.5 + x**0 + y**1 - x**5


def broadcast_sum(points, to):
    """A sum of shapes (n, 1) and (n, k), both ways, then over the last axis."""
    x, wide = to.column(points, 0), to.linear(points, WEIGHTS)
    return to.linear(to.silu(to.sin(x) + wide) * (wide - x * x) + x, LAST)


def gates(points, to):
    """The modified multilayer perceptron of Wang, Teng and Perdikaris."""
    u, v = to.sigmoid(to.linear(points, WEIGHTS)), to.gelu(to.linear(points, -WEIGHTS))
    hidden = to.tanh(to.linear(points, WEIGHTS[::-1].copy()))
    return to.linear(hidden * u + (1.0 - hidden) * v, LAST)


def stacked(points, to):
    x, y = to.column(points, 0), to.column(points, 1)
    return to.sum(to.stack([x * y, to.softplus(x), -to.sin(y), y - 1.0]), 1)


def constants(points, to):
    """Constant arrays in sums, products, concatenations and stacks."""
    x = to.column(points, 0)
    ones = to.constant(np.full((len(POINTS), 1), 1.5))
    joined = to.concat([ones, x * ones, x + ones, x - ones, x / ones])
    return to.linear(joined, np.arange(1.0, 6.0)[:, None]) + to.sum(to.stack([ones, x * x]), 1)


def constants_on_the_left(points, to):
    x = to.column(points, 0)
    ones = to.constant(np.full((len(POINTS), 1), 1.5))
    return ones * x * x - (ones - x * x) + (ones + x * x) + ones / (3.0 + x)


def logarithm(points, to):
    x, y = to.column(points, 0), to.column(points, 1)
    return to.log(2.5 + x * y) * to.sqrt(3.0 + x + y)


FIELDS = [
    network,
    hard_constraint,
    fourier_features,
    quotient,
    powers,
    broadcast_sum,
    gates,
    stacked,
    constants,
    constants_on_the_left,
    logarithm,
]


def by_jets(field, name, operators=OPERATORS):
    to = JetLanguage(name)
    algebra = algebra_of(2, operators.values())
    jet = field(coordinates(to.constant(POINTS), algebra, to.xp), to)
    return {partial: to.library.to_numpy(read(jet, op, to.xp))[:, 0] for partial, op in operators.items()}


@functools.cache
def by_autodiff(field):
    points = torch.tensor(POINTS, requires_grad=True)
    values = field(points, TorchLanguage())[:, 0]
    return types.MappingProxyType(
        {name: differentiate(values, points, op).detach().numpy() for name, op in OPERATORS.items()}
    )


@pytest.mark.parametrize("name", LIBRARIES)
@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.__name__)
def test_partials_equal_autodiff(field, name):
    if (field, name) == (constants_on_the_left, "array_api_strict"):
        pytest.skip("arrays of array-api-strict leave mixed arithmetic to nobody")
    got = by_jets(field, name)
    for partial, expected in by_autodiff(field).items():
        np.testing.assert_allclose(got[partial], expected, rtol=1e-10, atol=1e-11 * np.abs(expected).max() + 1e-13)


@pytest.mark.parametrize("wanted", list(itertools.combinations(PARTIALS, 2)), ids=" | ".join)
def test_what_else_is_carried_does_not_matter(wanted):
    got = by_jets(gates, "numpy", {name: OPERATORS[name] for name in wanted})
    for partial in wanted:
        expected = by_autodiff(gates)[partial]
        np.testing.assert_allclose(got[partial], expected, rtol=1e-10, atol=1e-12 * np.abs(expected).max())


@st.composite
def operators_up_to_order_four(draw):
    dimension = draw(st.integers(1, 3))
    operators = []
    for _ in range(draw(st.integers(1, 2))):
        order = draw(st.integers(1, 4))
        every = [e for e in itertools.product(range(order + 1), repeat=dimension) if sum(e) == order]
        exponents = draw(st.lists(st.sampled_from(every), min_size=1, max_size=3, unique=True))
        operators.append(tuple((e, draw(st.sampled_from([1.0, -2.0, 0.7, 1e-3]))) for e in sorted(exponents)))
    return dimension, operators


@settings(max_examples=60, deadline=None)
@given(operators_up_to_order_four(), st.integers(0, 2**32 - 1))
def test_random_operators_of_a_random_network(case, seed):
    dimension, operators = case
    generator = np.random.default_rng(seed)
    first, second = generator.normal(size=(dimension, 4)), generator.normal(size=(4, 1))
    to = JetLanguage("numpy")
    algebra = algebra_of(dimension, operators)
    values = generator.uniform(-1, 1, (3, dimension))

    def field(points, to):
        x = to.column(points, 0)
        return to.linear(to.tanh(to.linear(points, first)), second) * to.sin(x) / (2.0 + x * x)

    jet = field(coordinates(values, algebra, np), to)
    points = torch.tensor(values, requires_grad=True)
    exact = field(points, TorchLanguage())[:, 0]
    for operator in operators:
        expected = differentiate(exact, points, operator).detach().numpy()
        size = sum(np.abs(differentiate(exact, points, (term,)).detach().numpy()).max() for term in operator)
        np.testing.assert_allclose(read(jet, operator, np)[:, 0], expected, rtol=1e-10, atol=1e-11 * size)


def test_a_polynomial_in_closed_form():
    points = coordinates(np.asarray([[2.0, 3.0]]), algebra_of(2, OPERATORS.values()), np)
    x, y = (points.map(lambda c, axis=axis: c[:, axis]) for axis in (0, 1))
    jet = x**4 * y - 2.0 * x * y**3 + y**4
    got = {name: read(jet, op, np).item() for name, op in OPERATORS.items()}
    assert got == {
        "u": 16 * 3 - 4 * 27 + 81,
        "u_x": 4 * 8 * 3 - 2 * 27,
        "u_y": 16 - 6 * 2 * 9 + 4 * 27,
        "u_xx + u_yy": 12 * 4 * 3 - 12 * 2 * 3 + 12 * 9,
        "u_xy": 32 - 6 * 9,
        "u_xxy - 3*u_yyy": 48 - 3 * (-24 + 72),
        "u_xxxx + 2*u_xxyy + u_yyyy": 24 * 3 + 24,
        "u_y - 0.25*u_xx": 16 - 6 * 2 * 9 + 4 * 27 - 0.25 * 12 * 4 * 3,
        "u_xxx + 2*u_y - u": 24 * 2 * 3 + 2 * (16 - 6 * 2 * 9 + 4 * 27) - (16 * 3 - 4 * 27 + 81),
    }


def test_coefficients_that_are_zero_are_not_computed():
    algebra = algebra_of(2, [OPERATORS["u_xx + u_yy"]])
    points = coordinates(POINTS, algebra, np)
    assert points.coefficients[-1] is None
    assert points.map(lambda c: c @ WEIGHTS).coefficients[-1] is None
    assert read(points, OPERATORS["u_xx + u_yy"], np).tolist() == np.zeros_like(POINTS).tolist()


def test_every_coefficient_of_a_broadcast_sum_has_the_shape_of_the_value():
    algebra = algebra_of(2, OPERATORS.values())
    points = coordinates(POINTS, algebra, np)
    x = points.map(lambda c: c[:, :1])
    for jet in (x * x + points, points + x * x, x + np.ones((6, 4)), np.ones(4) * (x * x), x * np.ones((3, 1, 2))):
        assert {c.shape for c in jet.coefficients if c is not None} == {jet.value.shape}


def test_an_operator_that_was_not_wanted_is_refused():
    algebra = algebra_of(2, [OPERATORS["u_xx + u_yy"]])
    with pytest.raises(InputError, match="does not carry"):
        read(coordinates(POINTS, algebra, np), OPERATORS["u_xxxx + 2*u_xxyy + u_yyyy"], np)


def test_gradients_with_respect_to_the_parameters():
    """What training needs: d/dW of the partials, against autodiff of autodiff."""
    to = JetLanguage("torch")
    gradients = []
    for method in ("jets", "autodiff"):
        weights = torch.tensor(WEIGHTS, requires_grad=True)
        last = torch.tensor(LAST, requires_grad=True)
        exponent_base = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
        points = torch.tensor(POINTS, requires_grad=True)
        if method == "jets":
            jet = coordinates(points.detach(), algebra_of(2, OPERATORS.values()), to.xp)
            hidden = to.tanh(jet.map(lambda c, w=weights, slope=exponent_base: slope * (c @ w)))
            field = (hidden * hidden + hidden.apply(power(3.0))).map(lambda c, w=last: c @ w)
            partials = [read(field, operator, to.xp)[:, 0] for operator in OPERATORS.values()]
        else:
            hidden = torch.tanh(exponent_base * (points @ weights))
            values = ((hidden * hidden + hidden**3) @ last)[:, 0]
            partials = [differentiate(values, points, operator) for operator in OPERATORS.values()]
        loss = sum(partial.square().mean() for partial in partials)
        gradients.append(torch.autograd.grad(loss, [weights, last, exponent_base]))
    for got, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-10)
