"""Elementwise functions and their derivatives: autodiff and closed forms say the same."""

import itertools
import math

import numpy as np
import pytest
import torch
from jets_oracle import gradient

from phasecore.jets import FUNCTIONS, power
from phasecore.testing.libraries import library

ORDER = 4
TORCH = {
    "cos": torch.cos,
    "exp": torch.exp,
    "gelu": torch.nn.functional.gelu,
    "log": torch.log,
    "sigmoid": torch.sigmoid,
    "silu": torch.nn.functional.silu,
    "sin": torch.sin,
    "softplus": torch.nn.functional.softplus,
    "sqrt": torch.sqrt,
    "tanh": torch.tanh,
}
POSITIVE = ("log", "sqrt")
LIBRARIES = ("numpy", "array_api_strict", "torch", "guarded")


def arguments(name):
    return np.linspace(0.1, 6.0, 41) if name in POSITIVE else np.linspace(-6.0, 6.0, 49)


def test_every_function_has_an_oracle():
    assert set(FUNCTIONS) == set(TORCH)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_derivatives_equal_autodiff(name):
    points = torch.tensor(arguments(name))[:, None].requires_grad_()
    derivatives = FUNCTIONS[name](arguments(name), ORDER, np)
    assert len(derivatives) == ORDER + 1
    expected = TORCH[name](points[:, 0])
    for derivative in derivatives:
        np.testing.assert_allclose(derivative, expected.detach(), rtol=1e-11, atol=1e-13)
        expected = gradient(expected, points)[:, 0]


def closed_forms(x):
    t, s, e = np.tanh(x), 1 / (1 + np.exp(-x)), np.exp(x)
    density = np.exp(-x * x / 2) / math.sqrt(2 * math.pi)
    distribution = np.vectorize(lambda value: 0.5 * math.erfc(-value / math.sqrt(2)))(x)
    slope = 1 - t * t
    return {
        "cos": [np.cos(x), -np.sin(x), -np.cos(x), np.sin(x), np.cos(x)],
        "sin": [np.sin(x), np.cos(x), -np.sin(x), -np.cos(x), np.sin(x)],
        "exp": [e] * 5,
        "tanh": [
            t,
            slope,
            -2 * t * slope,
            slope * (6 * t**2 - 2),
            slope * (16 * t - 24 * t**3),
        ],
        "sigmoid": [
            s,
            s * (1 - s),
            s * (1 - s) * (1 - 2 * s),
            s * (1 - s) * (1 - 6 * s + 6 * s**2),
            s * (1 - s) * (1 - 2 * s) * (1 - 12 * s + 12 * s**2),
        ],
        "softplus": [
            np.logaddexp(x, 0),
            s,
            s * (1 - s),
            s * (1 - s) * (1 - 2 * s),
            s * (1 - s) * (1 - 6 * s + 6 * s**2),
        ],
        "silu": [
            x * s,
            s + x * s * (1 - s),
            s * (1 - s) * (2 + x * (1 - 2 * s)),
            s * (1 - s) * (3 * (1 - 2 * s) + x * (1 - 6 * s + 6 * s**2)),
        ],
        "gelu": [
            x * distribution,
            distribution + x * density,
            (2 - x**2) * density,
            (x**3 - 4 * x) * density,
            (-(x**4) + 7 * x**2 - 4) * density,
        ],
        "log": [np.log(x), 1 / x, -1 / x**2, 2 / x**3, -6 / x**4] if x.min() > 0 else [],
        "sqrt": [x**0.5, 0.5 * x**-0.5, -0.25 * x**-1.5, 0.375 * x**-2.5] if x.min() > 0 else [],
    }


@pytest.mark.parametrize("name", FUNCTIONS)
def test_derivatives_equal_closed_forms(name):
    expected = closed_forms(arguments(name))[name]
    assert len(expected) >= 4
    for derivative, closed in zip(FUNCTIONS[name](arguments(name), len(expected) - 1, np), expected, strict=True):
        np.testing.assert_allclose(derivative, closed, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_lower_orders_are_the_first_of_the_higher(name):
    full = FUNCTIONS[name](arguments(name), ORDER, np)
    for order in range(ORDER):
        part = FUNCTIONS[name](arguments(name), order, np)
        assert len(part) == order + 1
        for got, expected in zip(part, full, strict=False):
            np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("library_name", LIBRARIES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_libraries_agree(name, library_name):
    chosen = library(library_name)
    got = FUNCTIONS[name](chosen.from_numpy(arguments(name)), ORDER, chosen.namespace)
    for derivative, expected in zip(got, FUNCTIONS[name](arguments(name), ORDER, np), strict=True):
        np.testing.assert_allclose(chosen.to_numpy(derivative), expected, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("name", ["gelu", "sigmoid", "silu", "softplus", "tanh"])
def test_saturated_activations_stay_finite(name):
    ends = np.asarray([-1e4, -100.0, 100.0, 1e4], dtype=np.float32)
    with np.errstate(under="ignore"):
        value, *derivatives = FUNCTIONS[name](ends, ORDER, np)
    assert np.isfinite(value).all()
    assert all(np.isfinite(derivative).all() for derivative in derivatives)
    assert all((derivative[[0, 1]] == 0).all() for derivative in derivatives)
    assert all(abs(derivative[-1]) <= 1 for derivative in derivatives)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_gradients_flow_through_each_derivative(name):
    """The gradient of f^(k), also at zero, where a careless formula of softplus or abs has none."""
    x = arguments(name) if name in POSITIVE else np.append(arguments(name), 0.0)
    points = torch.tensor(x)[:, None].requires_grad_()
    torch_library = library("torch")
    derivatives = FUNCTIONS[name](points[:, 0], ORDER, torch_library.namespace)
    for derivative, following in itertools.pairwise(derivatives):
        np.testing.assert_allclose(
            gradient(derivative, points)[:, 0].detach(), following.detach(), rtol=1e-10, atol=1e-12
        )


@pytest.mark.parametrize("exponent", [0.0, 1.0, 2.0, 3.0, 5.0])
def test_whole_powers_of_any_sign(exponent):
    x = np.asarray([-2.0, 0.0, 1.5])
    expected = np.polynomial.Polynomial([0.0] * int(exponent) + [1.0])
    for derivative in power(exponent)(x, ORDER, np):
        np.testing.assert_allclose(derivative, expected(x), atol=1e-14)
        expected = expected.deriv()


@pytest.mark.parametrize("exponent", [-2.0, -1.0, -0.5, 0.5, 1.7])
def test_other_powers_of_positive_numbers(exponent):
    x = np.asarray([0.3, 1.0, 2.5])
    factor = 1.0
    for k, derivative in enumerate(power(exponent)(x, ORDER, np)):
        np.testing.assert_allclose(derivative, factor * x ** (exponent - k), rtol=1e-13)
        factor *= exponent - k
