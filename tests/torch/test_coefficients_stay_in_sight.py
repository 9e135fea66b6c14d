"""What becomes of a trained coefficient is seen: near bounds, where a class refuses it, and where it stands still."""

import dataclasses
import math
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import phasecore
from phasecore.errors import InputError
from phasecore.problems import Burgers, Data, Helmholtz, Prescribed, ResidualCondition, trained
from phasecore.runs import execute, prepare, prepare_resumed
from phasecore_torch import PhaseMonitor, PhysicsLoss
from phasecore_torch.namespace import namespace

SETTINGS = {"backend": "torch", "points": 30, "width": 4, "depth": 1, "iterations": 3, "every": 3}


def network(inputs=1):
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(inputs, 4), nn.Tanh(), nn.Linear(4, 1))


@pytest.mark.parametrize("bounds", [(0, 10), (-10, 0), (0.5, 4.0)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_slope_is_as_exact_as_the_value(bounds, dtype):
    low, high = bounds
    coefficient = trained((low + high) / 2, bounds=bounds)
    for number in (-1000.0, -80.0, -16.0, -1.0, -1e-3, 0.0, 1e-3, 1.0, 16.0, 80.0, 1000.0):
        free = torch.tensor(number, dtype=dtype, requires_grad=True)
        (slope,) = torch.autograd.grad(coefficient.value(free, namespace), free)
        away = math.exp(-abs(float(free.detach())))
        expected = (high - low) * away / (1 + away) ** 2
        # in single precision exp(-80) still is a number, and exp(-1000) none in either
        assert slope.item() == pytest.approx(expected, rel=8 * torch.finfo(dtype).eps)


@pytest.mark.parametrize(("start", "bounds"), [(1e-6, (0, 10)), (-1e-6, (-10, 0)), (2e-8, (0, 1)), (1e-4, (1e-6, 100))])
def test_a_bounded_coefficient_begins_where_it_is_told_to(start, bounds):
    problem = Burgers(trained(start, bounds=bounds)) if start > 0 else Helmholtz(k=trained(start, bounds=bounds))
    loss = PhysicsLoss(problem, network(2), problem.sample(20))
    (value,) = loss.coefficients().values()
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(start, rel=1e-5)


class Own(phasecore.Problem):
    domain = {"t": (0.0, 2.0)}  # noqa: RUF012
    outputs = ("u",)

    def residuals(self, x, u, xp):
        return {"ode": u["u_t"] + self.rate * u["u"]}


def refusing(error):
    def check(self):
        if not self.rate > 0:
            raise error

    return type("Refusing", (Own,), {"rate": trained(0.2), "__post_init__": check})()


def check_twice(loss):
    loss.check_weights(1)
    loss.check_weights(2)


ERRORS = [
    ValueError("rate must be positive"),
    AssertionError("rate must be positive"),
    RuntimeError("rate must be positive."),
    InputError("rate", received="a rate that must be positive"),
]


def left_range(problem):
    loss = PhysicsLoss(problem, network(), problem.sample(20))
    with torch.no_grad():
        next(loss.parameters()).fill_(-0.5)
    return loss


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_a_value_is_refused_by_whatever_a_class_raises(error):
    loss = left_range(refusing(error))
    with pytest.warns(UserWarning, match=r"'rate' is out of range\. .*must be positive\. Keep it there") as caught:
        check_twice(loss)
    assert len(caught) == 1


RATE = trained(0.2)


@dataclasses.dataclass(frozen=True)
class Given(Own):
    path: dataclasses.InitVar[str]
    rate: Any = RATE

    def __post_init__(self, path):
        object.__setattr__(self, "file", path)


@dataclasses.dataclass(frozen=True)
class Derived(Own):
    rate: Any = dataclasses.field(default=RATE, init=False)


@dataclasses.dataclass(frozen=True, init=False)
class Other(Own):
    rate: Any = RATE

    def __init__(self, times):
        pass


@pytest.mark.parametrize("make", [lambda: Given("x"), Derived, lambda: Other(3)], ids=["InitVar", "field", "init"])
def test_a_class_that_cannot_be_made_again_says_nothing(make):
    loss = left_range(make())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loss.check_weights(1)


def told(caught):
    return [str(item.message) for item in caught if "has not moved" in str(item.message)]


STARTS = {0.0: 1, 0.3: 0}


@pytest.mark.filterwarnings("always")
@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("way", ["run", "monitor", "loop", "frozen"])
def test_one_that_never_moves_is_told_once(way, start, recwarn):
    problem = Helmholtz(k=trained(start))
    if way == "run":
        rows = execute(prepare(problem, **{**SETTINGS, "iterations": 230, "every": 50})).rows
        assert (rows[0]["coefficient_k"] == rows[-1]["coefficient_k"]) == (start == 0)
    else:
        model = network(2)
        loss = PhysicsLoss(problem, model, problem.sample(12, condition_points=3))
        optimizer = torch.optim.Adam(loss.parameter_groups(), lr=1e-3)
        loss.requires_grad_(way != "frozen")
        monitor = PhaseMonitor(loss, optimizer, every=50, batches=5) if way == "monitor" else None
        for _ in range(230):
            optimizer.zero_grad()
            loss().backward()
            optimizer.step()
            if monitor is not None:
                monitor.step()
    messages = told(recwarn)
    assert len(messages) == (0 if way == "frozen" else STARTS[start])
    assert all("gradient is zero" in message for message in messages)


@pytest.mark.filterwarnings("always")
def test_a_step_below_the_rounding_of_a_value_is_told(recwarn):
    problem = type("Stiff", (Own,), {"rate": trained(4000.0)})()
    execute(prepare(problem, **{**SETTINGS, "iterations": 120, "every": 20}, learning_rate=1e-5))
    (message,) = told(recwarn)
    assert "below the rounding" in message


class Exchanged(phasecore.Problem):
    domain = {"x": (0.0, 1.0), "t": (0.0, 1.0)}  # noqa: RUF012
    outputs = ("u",)
    exchange = trained(0.5)

    def conditions(self):
        return [
            Prescribed("start", ("t", 0.0), {"u": 1.0}),
            ResidualCondition("end", ("x", 1.0), lambda x, u, xp: u["u_x"] + self.exchange * u["u"]),
        ]

    def residuals(self, x, u, xp):
        return {"pde": u["u_t"] - u["u_xx"]}


class Measured(Own):
    rate = trained(0.2)

    def __init__(self, times, values):
        self.times, self.values = times, values

    def conditions(self):
        return [Data("data", self.times, {"u": self.values})]


TIMES = np.linspace(0, 2, 20)[:, None]


@pytest.mark.parametrize("make", [Exchanged, lambda: Measured(TIMES, np.exp(-TIMES[:, 0]))], ids=["closure", "init"])
def test_a_run_trains_a_coefficient_wherever_residuals_read_it(make, tmp_path, monkeypatch):
    problem = make()
    (name,) = problem.trained_coefficients
    rows = execute(prepare(problem, output=tmp_path / "run", **SETTINGS)).rows
    assert rows[0][f"coefficient_{name}"] != rows[-1][f"coefficient_{name}"]
    monkeypatch.setattr(
        type(problem), "residuals", lambda self, x, u, xp: {next(iter(problem.equations)): 2 * u["u_t"]}
    )
    with pytest.raises(InputError, match="has changed since"):
        prepare_resumed(tmp_path / "run", problem=make(), iterations=6)


def test_a_run_on_numbers_of_numpy_is_gone_on_with_by_its_folder(tmp_path):
    coefficient = trained(np.float64(2.0), positive=True, true=np.sqrt(25.0), learning_rate=np.float32(0.5))
    problem = phasecore.problem("convection", beta=coefficient)
    whole = execute(prepare(problem, output=tmp_path / "run", **SETTINGS))
    rest = execute(prepare_resumed(tmp_path / "run", iterations=6), resume=True)
    assert whole.rows[-1]["coefficient_beta"] != rest.rows[-1]["coefficient_beta"]
