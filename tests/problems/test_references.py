"""The reference solutions of Allen-Cahn and Burgers: accuracy, agreement with independent results, bad input."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import trapezoid

from phasecore.errors import InputError
from phasecore.problems.references import allen_cahn, burgers

VISCOSITY = 0.01 / np.pi

# Central differences of eighth order, on nine points.
OFFSETS = np.arange(-4, 5)
FIRST = np.array([1 / 280, -4 / 105, 1 / 5, -4 / 5, 0, 4 / 5, -1 / 5, 4 / 105, -1 / 280])
SECOND = np.array([-1 / 560, 8 / 315, -1 / 5, 8 / 5, -205 / 72, 8 / 5, -1 / 5, 8 / 315, -1 / 560])


# Allen-Cahn


@pytest.fixture(scope="module")
def allen_cahn_solution():
    return allen_cahn.solve(modes=1024)


def test_allen_cahn_agrees_with_its_twice_refined_solution():
    solution = allen_cahn.solve()
    refined = allen_cahn.solve(modes=1024, internal_modes=8192, steps_per_interval=8)
    assert solution.x.shape == (512,)
    assert solution.t.shape == (201,)
    assert solution.u.shape == (201, 512)
    np.testing.assert_array_equal(solution.x, refined.x[::2])
    assert np.abs(solution.u - refined.u[:, ::2]).max() < 1e-8


def test_allen_cahn_converges_at_fourth_order_in_time():
    def at(steps):
        return allen_cahn.solve(modes=64, internal_modes=1024, time_points=51, steps_per_interval=steps).u[-1]

    exact = at(16)
    errors = [np.abs(at(steps) - exact).max() for steps in (1, 2, 4)]
    orders = np.log2(errors[:-1]) - np.log2(errors[1:])
    assert (orders > 3.7).all()


def test_sampling_the_initial_condition_would_spoil_the_solution(monkeypatch, allen_cahn_solution):
    """The finding that the module's docstring states: the kink's aliasing dominates every other error."""

    def sampled(modes):
        x = -1 + 2 * np.arange(modes) / modes
        return np.fft.rfft(x**2 * np.cos(np.pi * x))

    monkeypatch.setattr(allen_cahn, "_initial_spectrum", sampled)
    naive = allen_cahn.solve(internal_modes=512).u
    error = np.abs(naive - allen_cahn_solution.u[:, ::2]).max(axis=1)
    assert 5e-4 < error.max() < 2e-3
    assert 1e-5 < error[40:].max() < 1e-4


def test_allen_cahn_without_reaction_is_the_heat_equation():
    solution = allen_cahn.solve(diffusion=1e-3, reaction=0.0, modes=128, time_points=11)
    x = np.linspace(-1, 1, 200_001)  # coefficients of the series by the trapezoidal rule
    initial = x**2 * np.cos(np.pi * x)
    series = np.full_like(solution.x, trapezoid(initial, x) / 2)
    for k in range(1, 60):
        coefficient = trapezoid(initial * np.cos(k * np.pi * x), x)
        series += coefficient * np.exp(-1e-3 * (k * np.pi) ** 2) * np.cos(k * np.pi * solution.x)
    np.testing.assert_allclose(solution.u[-1], series, rtol=0, atol=1e-8)


def test_allen_cahn_is_even_and_bounded(allen_cahn_solution):
    u = allen_cahn_solution.u
    np.testing.assert_allclose(u[:, 1:], u[:, :0:-1], rtol=0, atol=1e-12)
    assert np.abs(u).max() <= 1 + 1e-9


@pytest.mark.parametrize("time_points", [101, 201])
def test_allen_cahn_between_grid_points(time_points):
    fine = allen_cahn.solve(modes=4096, time_points=1001)
    random = np.random.default_rng(0)
    column = np.concatenate([random.integers(0, 4096, 4000), random.integers(-40, 41, 2000) % 4096])
    row = np.concatenate([random.integers(0, 1001, 4000), random.integers(0, 20, 2000)])  # near the kink, early
    solution = allen_cahn.solve(modes=1024, time_points=time_points)
    values = allen_cahn.interpolate(solution, np.stack([fine.x[column], fine.t[row]], axis=1))
    assert np.abs(values - fine.u[row, column]).max() < 5e-8


def test_allen_cahn_residual_by_finite_differences(allen_cahn_solution):
    random = np.random.default_rng(1)
    x, t = random.uniform(-0.9, 0.9, 300), random.uniform(0.05, 0.95, 300)
    step = 2e-3

    def at(x, t):
        return allen_cahn.interpolate(allen_cahn_solution, np.stack(np.broadcast_arrays(x, t), axis=-1).reshape(-1, 2))

    along_x = at(x[:, None] + 0.5 * step * OFFSETS, t[:, None]).reshape(-1, 9)
    along_t = at(x[:, None], t[:, None] + 2 * step * OFFSETS).reshape(-1, 9)
    u = along_x[:, 4]
    u_t, u_xx = along_t @ FIRST / (2 * step), along_x @ SECOND / (0.5 * step) ** 2
    reaction = 5 * (u**3 - u)
    assert np.abs(u_t - 1e-4 * u_xx + reaction).max() < 1e-5 * np.abs(reaction).max()


def test_allen_cahn_at_the_initial_time_and_the_periodic_boundary(allen_cahn_solution):
    x = np.linspace(-1, 1, 777)
    initial = allen_cahn.interpolate(allen_cahn_solution, np.stack([x, np.zeros_like(x)], axis=1))
    np.testing.assert_allclose(initial, x**2 * np.cos(np.pi * x), rtol=0, atol=1e-8)
    t = np.linspace(0, 1, 77)
    left, right = (
        allen_cahn.interpolate(allen_cahn_solution, np.stack([np.full_like(t, end), t], axis=1)) for end in (-1, 1)
    )
    np.testing.assert_allclose(left, right, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "options",
    [
        {"diffusion": 0.0},
        {"diffusion": float("nan")},
        {"diffusion": "small"},
        {"reaction": -1.0},
        {"modes": 511},
        {"modes": 2},
        {"time_points": 1},
        {"internal_modes": 700},
        {"steps_per_interval": 0},
        {"diffusion": 1e-9},
    ],
)
def test_allen_cahn_refuses_bad_input(options):
    with pytest.raises(InputError, match=r"Allen-Cahn reference.*received.*expected"):
        allen_cahn.solve(**options)


@pytest.mark.parametrize("points", [[[0.0, 1.5]], [[2.0, 0.5]], [[np.nan, 0.5]], [0.0, 0.5], [[0.0, 0.5, 0.5]]])
def test_allen_cahn_refuses_points_outside(points, allen_cahn_solution):
    with pytest.raises(InputError, match=r"points \(x, t\).*received.*expected"):
        allen_cahn.interpolate(allen_cahn_solution, points)


# Burgers


def test_burgers_is_converged_in_its_nodes():
    random = np.random.default_rng(0)
    x = np.concatenate([random.uniform(-1, 1, 1500), random.uniform(-0.02, 0.02, 1500)])
    t = random.uniform(0, 1, 3000)
    difference = burgers.cole_hopf(x, t) - burgers.cole_hopf(x, t, spacing=0.125 / 2)
    assert np.abs(difference).max() < 1e-13


@pytest.mark.parametrize("viscosity", [1e-3, 0.1, 1.0])
@pytest.mark.parametrize("time", [1e-9, 1e-3, 0.3, 10.0])
def test_burgers_is_converged_for_other_viscosities_and_times(viscosity, time):
    x = np.linspace(-1, 1, 301)
    coarse = burgers.cole_hopf(x, time, viscosity)
    assert np.abs(coarse - burgers.cole_hopf(x, time, viscosity, spacing=0.125 / 2)).max() < 1e-12


def test_burgers_against_forty_digits():
    mpmath = pytest.importorskip("mpmath")
    with mpmath.workdps(40):
        viscosity = mpmath.mpf(VISCOSITY)
        for x, t in [(0.002, 0.5), (-0.01, 0.9), (0.3, 0.2), (0.999, 1.0)]:
            scale, reach, above, below = 2 * mpmath.sqrt(viscosity * t), mpmath.mpf(16), 0, 0
            for k in range(-600, 601):
                s = reach * k / 600
                y = mpmath.pi * (mpmath.mpf(x) - scale * s)
                weight = mpmath.exp(-mpmath.cos(y) / (2 * mpmath.pi * viscosity) - s**2)
                above, below = above + mpmath.sin(y) * weight, below + weight
            assert abs(float(-above / below) - burgers.cole_hopf(x, t)) < 1e-13


@pytest.mark.parametrize(
    ("low", "high", "step", "tolerance"),
    [(0.1, 0.9, 2e-3, 1e-10), (-0.01, 0.01, 2.5e-4, 1e-8)],
    ids=["smooth", "shock"],
)
def test_burgers_residual_by_finite_differences(low, high, step, tolerance):
    random = np.random.default_rng(2)
    x, t = random.uniform(low, high, 200), random.uniform(0.1, 0.9, 200)
    along_x = burgers.cole_hopf(x[:, None] + step * OFFSETS, t[:, None])
    along_t = burgers.cole_hopf(x[:, None], t[:, None] + step * OFFSETS)
    u_t, u_x, u_xx = along_t @ FIRST / step, along_x @ FIRST / step, along_x @ SECOND / step**2
    convection = along_x[:, 4] * u_x
    assert np.abs(convection).max() > 2.0
    assert np.abs(u_t + convection - VISCOSITY * u_xx).max() < tolerance * np.abs(convection).max()


def test_burgers_initial_condition_boundary_and_symmetry():
    x, t = np.linspace(-1, 1, 101), np.linspace(0, 1, 21)[:, None]
    u = burgers.cole_hopf(x, t)
    assert u.shape == (21, 101)
    np.testing.assert_array_equal(u[0], -np.sin(np.pi * x))
    np.testing.assert_allclose(u[:, [0, -1]], 0, atol=1e-14)
    np.testing.assert_allclose(u, -burgers.cole_hopf(-x, t), rtol=0, atol=1e-13)
    soon = burgers.cole_hopf(x, 1e-10)
    np.testing.assert_allclose(soon, u[0], rtol=0, atol=1e-8)


@pytest.mark.parametrize(
    ("x", "t", "options"),
    [
        (0.0, -0.1, {}),
        (np.nan, 0.1, {}),
        (np.zeros(2), np.zeros(3), {}),
        (0.0, 0.1, {"viscosity": 0.0}),
        (0.0, 0.1, {"spacing": -1.0}),
    ],
)
def test_burgers_refuses_bad_input(x, t, options):
    with pytest.raises(InputError, match=r"Burgers reference.*expected"):
        burgers.cole_hopf(x, t, **options)
