"""Which operators a jet carries: as few as Leibniz' rule allows, and enough."""

import itertools
import math
from fractions import Fraction

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from phasecore.jets import algebra_of
from phasecore.partials import parse_partial

NAMES = "xyzw"


def operator(text, dimension):
    return parse_partial(text, ["u"], NAMES[:dimension]).operator


def laplacian(dimension):
    return operator(" + ".join(f"u_{name}{name}" for name in NAMES[:dimension]), dimension)


@pytest.mark.parametrize("dimension", [1, 2, 3, 4])
def test_a_laplacian_costs_one_coefficient_beside_the_gradient(dimension):
    assert len(algebra_of(dimension, [laplacian(dimension)]).operators) == 1 + dimension + 1


@pytest.mark.parametrize(
    ("wanted", "dimension", "carried"),
    [
        (["u"], 3, 1),
        (["u_x"], 3, 2),
        (["u", "u_x", "u_y"], 2, 3),
        (["u_xx"], 2, 3),
        (["u_xy"], 2, 4),
        (["u_t", "u_xx"], 2, 4),
        (["u_xxx"], 1, 4),
        (["u_xxxx + 2*u_xxyy + u_yyyy"], 2, 9),
        (["u_xx", "u_xx", "2*u_xx"], 1, 3),
        (["u_xx + u_yy", "u_xx - u_yy"], 2, 5),
        (["u_t - 0.01*u_xx"], 2, 3),
        (["u", "u_x", "u_t - 1e-9*u_xx"], 2, 3),
        (["u_t", "u_t - 0.01*u_xx"], 2, 4),
        (["u_tt - u_xx + 3*u_t + u"], 2, 4),
        (["u_t + 6*u_x + u_xxx"], 2, 4),
        (["u_xx + u"], 1, 3),
    ],
)
def test_number_of_carried_operators(wanted, dimension, carried):
    names = "xt" if any("t" in name for name in wanted) else NAMES[:dimension]
    operators = [parse_partial(name, ["u"], names).operator for name in wanted]
    assert len(algebra_of(dimension, operators).operators) == carried


def test_the_cavity_carries_eight():
    wanted = ["psi_x", "psi_y", "psi_xx", "psi_xy", "psi_yy", "psi_xxy + psi_yyy", "psi_xxx + psi_xyy", "p_x", "p_y"]
    operators = [parse_partial(name, ["psi", "p"], ["x", "y"]).operator for name in wanted]
    assert len(algebra_of(2, operators).operators) == 8


def monomials(dimension, order):
    return [e for e in itertools.product(range(order + 1), repeat=dimension) if sum(e) == order]


MODERATE = (1.0, -1.0, 2.0, 0.3, -7.5)
EXTREME = (*MODERATE, 1e-4, 1e5)


@st.composite
def wanted_operators(draw, factors=EXTREME):
    dimension = draw(st.integers(1, 3))
    operators = []
    for _ in range(draw(st.integers(1, 3))):
        orders = draw(st.lists(st.integers(0, 4), min_size=1, max_size=2))
        possible = sorted({e for order in orders for e in monomials(dimension, order)})
        exponents = draw(st.lists(st.sampled_from(possible), min_size=1, max_size=4, unique=True))
        operators.append(tuple((e, draw(st.sampled_from(factors))) for e in sorted(exponents)))
    return dimension, operators


@settings(max_examples=80, deadline=None)
@given(wanted_operators(MODERATE))
def test_as_many_as_the_span_of_the_symbols_derivatives(case):
    """Leibniz' rule for D with symbol P needs exactly the derivatives of P, so no algebra can carry fewer."""
    dimension, wanted = case
    algebra = algebra_of(dimension, wanted)
    every = [e for order in range(5) for e in monomials(dimension, order)]
    needed = [symbol_derivative(symbol, by) for symbol in wanted for by in every]
    rank = exact_rank([[derivative.get(e, 0.0) for e in every if any(e)] for derivative in needed])
    assert len(algebra.operators) == 1 + rank
    assert algebra.order == max(sum(exponents) for symbol in wanted for exponents, _ in symbol)
    if all(len({sum(exponents) for exponents, _ in symbol}) == 1 for symbol in wanted):
        for order in range(1, algebra.order + 1):
            of_order = monomials(dimension, order)
            rank = exact_rank([[derivative.get(e, 0.0) for e in of_order] for derivative in needed])
            assert algebra.orders.count(order) == rank
    assert algebra.orders[0] == 0
    assert algebra.orders == tuple(sorted(algebra.orders))


def exact_rank(matrix):
    """Rank by elimination in fractions."""
    rows, rank = [[Fraction(value).limit_denominator(1000) for value in row] for row in matrix], 0
    for column in range(len(rows[0]) if rows else 0):
        pivot = next((k for k in range(rank, len(rows)) if rows[k][column]), None)
        if pivot is not None:
            rows[rank], rows[pivot] = rows[pivot], rows[rank]
            for k in range(rank + 1, len(rows)):
                ratio = rows[k][column] / rows[rank][column]
                rows[k] = [a - ratio * b for a, b in zip(rows[k], rows[rank], strict=True)]
            rank += 1
    return rank


def symbol_derivative(symbol, by):
    """The derivative of a polynomial, {exponents: factor}."""
    result = {}
    for exponents, factor in symbol:
        if all(e >= b for e, b in zip(exponents, by, strict=True)):
            ways = math.prod(math.perm(e, b) for e, b in zip(exponents, by, strict=True))
            result[tuple(e - b for e, b in zip(exponents, by, strict=True))] = factor * ways
    return result


@settings(max_examples=80, deadline=None)
@given(wanted_operators(), st.integers(0, 2**32 - 1))
def test_leibniz_rule_on_exponentials(case, seed):
    """On exp(a x) exp(b x) an operator of symbol P gives P(a + b): Leibniz' rule must give that too."""
    dimension, wanted = case
    algebra = algebra_of(dimension, wanted)
    a, b = np.random.default_rng(seed).uniform(-1, 1, (2, dimension))
    left = [symbol_value(carried, a) for carried in algebra.operators]
    right = [symbol_value(carried, b) for carried in algebra.operators]
    for index, carried in enumerate(algebra.operators):
        mixed = sum(p.factor * left[p.left] * right[p.right] for p in algebra.products[index])
        got = left[index] + right[index] + mixed if index else 1.0
        size = sum(abs(factor) * 2 ** sum(exponents) for exponents, factor in carried)
        assert got == pytest.approx(symbol_value(carried, a + b), abs=1e-12 * size)
    for symbol in wanted:
        combined = sum(factor * left[index] for factor, index in algebra.combinations[symbol])
        assert combined == pytest.approx(symbol_value(symbol, a), abs=1e-12 * sum(abs(f) for _, f in symbol))


def symbol_value(symbol, a):
    return sum(factor * math.prod(a**exponents) for exponents, factor in symbol)


def test_factors_far_apart_are_kept():
    """A small viscosity along one axis is part of the operator, not noise."""
    symbol = operator("u_xx + 1e-10*u_yy", 2)
    algebra = algebra_of(2, [symbol])
    (products,) = [p for p, order in zip(algebra.products, algebra.orders, strict=True) if order == 2]
    assert sorted(product.factor for product in products) == pytest.approx([2e-10, 2.0], rel=1e-12)


def test_a_small_viscosity_is_not_divided_by():
    """Its reciprocal as a factor would drown what it multiplies, in single precision."""
    algebra = algebra_of(2, [operator("u_y - 1e-8*u_xx", 2), laplacian(2)])
    assert max(abs(factor) for carried in algebra.operators for _, factor in carried) <= 1.0


def test_operators_far_apart_are_independent():
    wanted = [operator("1e18*u_x", 2), operator("u_y", 2)]
    assert len(algebra_of(2, wanted).operators) == 3


def test_equal_algebras_are_equal_and_hashable():
    assert algebra_of(2, [laplacian(2)]) == algebra_of(2, [laplacian(2)])
    assert len({algebra_of(2, [laplacian(2)]), algebra_of(2, [laplacian(2)])}) == 1
