"""Trained coefficients in torch: autograd's gradient on every path, optimizers, states, resumed runs, and warnings."""

import copy
import dataclasses
import json
import math
import warnings
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from paths import EVALUATIONS, WAYS_BACK, Training, in_turn
from torch import nn
from torch_oracles import nested_conditions, nested_residuals

import phasecore
from phasecore.errors import InputError
from phasecore.problems import Burgers, Prescribed, Preset, Problem, trained
from phasecore.runs import execute, open_run, prepare, prepare_resumed
from phasecore_torch import PhaseMonitor, PhysicsLoss, coefficients

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:torch.compile does not go through nested autodiff"),
]


@dataclasses.dataclass(frozen=True)
class Exchange(Prescribed):
    """Heat is lost at a boundary in proportion to the temperature."""

    coefficient: Any = 1.0

    @property
    def partials(self):
        return ("u", "u_x")

    def residuals(self, partials, targets, xp):
        return partials["u_x"] + self.coefficient * partials["u"]


@dataclasses.dataclass(frozen=True)
class Rod(Problem):
    """u_t - conductivity u_xx + loss u^3 = 0, with heat exchanged at one end: a coefficient in each place there is."""

    conductivity: Any = 0.3
    loss: Any = 0.5
    exchange: Any = 1.0

    name: ClassVar[str] = "rod"
    coordinates: ClassVar[tuple[str, ...]] = ("x", "t")
    outputs: ClassVar[tuple[str, ...]] = ("u",)
    equations: ClassVar[Mapping[str, tuple[str, ...]]] = {"pde": ("u", "2*u_t - conductivity*u_xx + 0.5*u_x")}
    grid: ClassVar[tuple[int, ...]] = (3, 3)
    reference_accuracy: ClassVar[str] = "none"
    presets: ClassVar[Mapping[str, Any]] = {"quick": Preset(points=20, width=4, depth=1, iterations=10)}

    @property
    def domain(self):
        return {"x": (-1.0, 1.0), "t": (0.0, 1.0)}

    @property
    def conditions(self):
        return (
            Prescribed("initial", ("t", 0.0), {"u": lambda points: np.sin(np.pi * points["x"])}),
            Exchange("boundary", ("x", 1.0), {}, self.exchange),
        )

    def residuals(self, coordinates, partials, xp):
        u = partials["u"]
        return {"pde": partials["2*u_t - conductivity*u_xx + 0.5*u_x"] + self.loss * u * u * u}

    def reference(self, points):
        return {"u": np.ones(len(points))}


PROBLEM = Rod(trained(0.3, positive=True), trained(0.5), trained(1.0, bounds=(0.2, 4.0)))
FREE = {"conductivity": math.log(0.3), "loss": 0.5, "exchange": math.log((1.0 - 0.2) / (4.0 - 1.0))}
VALUE = {
    "conductivity": torch.exp,
    "loss": lambda free: free,
    "exchange": lambda free: 0.2 + 3.8 * torch.sigmoid(free),
}
"""The same written otherwise."""


def network(dtype=torch.float64):
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(2, 6), nn.Tanh(), nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 1)).to(dtype)


def loss_of(model, evaluation="plain", problem=PROBLEM, **options):
    points = problem.sample(23, seed=1, condition_points=6)
    return PhysicsLoss(problem, model, points, **EVALUATIONS[evaluation], **options)


def expected(model, loss, problem=PROBLEM):
    """The gradients of network and free numbers, by nested autodiff of the equations written with tensors."""
    points = problem.sample(23, seed=1, condition_points=6)
    free = {name: p.detach().double().requires_grad_() for name, p in loss.trained_coefficients.named_parameters()}
    now = problem.with_coefficients({name: VALUE[name](own) for name, own in free.items()})
    dtype = next(model.parameters()).dtype
    interior = torch.as_tensor(points.interior, dtype=dtype)
    terms = {**nested_residuals(now, model, interior), **nested_conditions(now, model, points.conditions)}
    total = sum(residual.square().mean() for residual in terms.values())
    return list(torch.autograd.grad(total, [*model.parameters(), *free.values()]))


def agree(found, oracle, tolerance=1e-9):
    for own, other in zip(found, oracle, strict=True):
        torch.testing.assert_close(own.double(), other.double(), rtol=tolerance, atol=tolerance * 1e-2)


def test_the_free_numbers_are_parameters_of_the_loss():
    loss = loss_of(network())
    free = dict(loss.named_parameters())
    assert list(free) == [f"trained_coefficients.{name}" for name in FREE]
    assert [own.item() for own in free.values()] == pytest.approx(list(FREE.values()), rel=1e-12)
    values = {name: value.item() for name, value in loss.coefficients().items()}
    assert values == pytest.approx({"conductivity": 0.3, "loss": 0.5, "exchange": 1.0}, rel=1e-12)
    assert not any(value.requires_grad for value in loss.coefficients().values())


@pytest.mark.parametrize(("evaluation", "way_back"), in_turn())
def test_the_gradient_is_that_of_autograd(evaluation, way_back):
    model = network()
    loss = loss_of(model, evaluation)
    training = Training(loss, [*model.parameters(), *loss.parameters()], way_back)
    for _ in range(3):
        agree(training.gradients(), expected(model, loss))
        with torch.no_grad():
            for parameter in training.trained:
                parameter.mul_(0.9)
    rows = training.monitor.history
    assert rows[-1].keys() >= {"coefficient_conductivity", "coefficient_loss", "coefficient_exchange", "snr"}


def test_the_gradient_is_that_of_autograd_compiled():
    """Compiling takes seconds, so the ways back take turns with one loss."""
    model = network()
    loss = loss_of(model, "compiled, recomputed")
    training = Training(loss, [*model.parameters(), *loss.parameters()], WAYS_BACK[0])
    for training.way_back in WAYS_BACK:
        agree(training.gradients(), expected(model, loss))
        with torch.no_grad():
            for parameter in training.trained:
                parameter.mul_(0.9)
    assert training.loss.blocks.compiled


def test_a_compiled_evaluation_is_one_graph():
    loss = loss_of(network(), "compiled")
    evaluate = torch.compile(loss.blocks._evaluate_stack, dynamic=False, fullgraph=True)
    points = loss.points[:22].view(2, 11, 2)
    torch.testing.assert_close(evaluate(points)["pde"].flatten(), loss.residuals_at(loss.points[:22])["pde"])


@pytest.mark.parametrize("evaluation", ["plain", "recomputed", "autodiff"])
def test_the_gradient_is_that_of_finite_differences(evaluation):
    loss = loss_of(network(), evaluation)
    loss().backward()
    for free in loss.parameters():
        with torch.no_grad():
            free += 1e-6
            above = loss()
            free -= 2e-6
            below = loss()
            free += 1e-6
        assert free.grad.item() == pytest.approx((above - below).item() / 2e-6, rel=1e-6)


@pytest.mark.parametrize("evaluation", ["plain", "recomputed"])
def test_float32(evaluation):
    model = network(torch.float32)
    loss = loss_of(model, evaluation)
    loss().backward()
    assert {own.dtype for own in loss.parameters()} == {torch.float32}
    agree([p.grad for p in (*model.parameters(), *loss.parameters())], expected(model, loss), 1e-4)


def test_mini_batches():
    model = network()
    loss = loss_of(model)
    indices = torch.tensor([3, 5, 20, 7])
    loss(indices).backward()
    values = {name: VALUE[name](torch.tensor(free, dtype=torch.float64)) for name, free in FREE.items()}
    residual = nested_residuals(PROBLEM.with_coefficients(values), model, loss.points[indices])["pde"]
    torch.testing.assert_close(loss.losses.unweighted["pde"], residual.square().mean().detach(), rtol=1e-9, atol=0)
    assert all(own.grad is not None and own.grad != 0 for own in loss.parameters())


@pytest.mark.parametrize("weighting", ["grad_norm", "ntk"])
def test_schemes_that_balance_gradients_count_what_is_trained(weighting):
    model = network()
    loss = loss_of(model, weighting=weighting)
    gradients = loss.term_gradients()
    # of the exchange coefficient the equation knows nothing
    sizes = {term: [float(g.abs().sum()) for g in own.values() if g.ndim == 0] for term, own in gradients.items()}
    assert [size > 0 for size in sizes["pde"]].count(True) == 2
    assert [size > 0 for size in sizes["boundary"]].count(True) == 1
    assert math.isfinite(loss().item())


@pytest.mark.parametrize(("problem", "known"), [(PROBLEM, Rod(0.3, 0.5, 1.0)), (Burgers(trained(0.1)), Burgers(0.1))])
def test_a_trained_factor_costs_one_jet_coefficient(problem, known):
    """Its partial is carried by itself, and the rest of the operator as one."""
    split, whole = (loss_of(network(), problem=own)._equations._algebra.operators for own in (problem, known))
    assert len(split) == len(whole) + 1
    assert (((2, 0), 1.0),) in split


def test_the_optimizer_gets_groups_with_rates_of_their_own():
    problem = Rod(trained(0.3, learning_rate=0.05), 0.5, trained(1.0))
    model = network()
    loss = loss_of(model, problem=problem)
    optimizer = torch.optim.SGD(loss.parameter_groups(), lr=0.01)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)
    before = {name: value.item() for name, value in loss.coefficients().items()}
    loss().backward()
    gradients = {name: own.grad.item() for name, own in loss.trained_coefficients.named_parameters()}
    optimizer.step()
    scheduler.step()
    after = {name: value.item() for name, value in loss.coefficients().items()}
    rates = {"conductivity": 0.05, "exchange": 0.01}
    for name, rate in rates.items():
        assert before[name] - after[name] == pytest.approx(rate * gradients[name], rel=1e-9)
    assert [group["lr"] for group in optimizer.param_groups] == [0.005, 0.025, 0.005]


def test_bounds_hold_whatever_the_steps_are():
    model = network()
    loss = loss_of(model)
    optimizer = torch.optim.SGD(loss.parameter_groups(), lr=30.0)
    for _ in range(5):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
        values = {name: value.item() for name, value in loss.coefficients().items()}
        assert values["conductivity"] >= 0
        assert 0.2 <= values["exchange"] <= 4.0
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.clamp_(-1, 1)


@pytest.mark.parametrize("monitored", [True, False])
def test_a_coefficient_that_no_optimizer_has_is_warned_of_once(monitored):
    model = network()
    loss = loss_of(model)
    known = next(loss.parameters())
    optimizer = torch.optim.Adam([*model.parameters(), known], lr=1e-3)
    monitor = PhaseMonitor(loss, optimizer, every=5, batches=5)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(20 if monitored else 210):
            optimizer.zero_grad()
            loss().backward()
            optimizer.step()
            if monitored:
                monitor.step()
    told = [str(item.message) for item in caught if "has not moved" in str(item.message)]
    assert [message.split("'")[1] for message in told] == ["loss", "exchange"]
    assert all("parameter_groups()" in message for message in told)


@pytest.mark.parametrize("way", ["groups", "parameters", "two optimizers", "frozen"])
def test_no_warning_where_all_is_well(way):
    model = network()
    loss = loss_of(model)
    optimizers = {
        "groups": lambda: [torch.optim.Adam(loss.parameter_groups(), lr=1e-3)],
        "parameters": lambda: [torch.optim.Adam([*model.parameters(), *loss.parameters()], lr=1e-3)],
        "two optimizers": lambda: [torch.optim.Adam(model.parameters()), torch.optim.SGD(loss.parameters(), lr=1e-3)],
        "frozen": lambda: [torch.optim.Adam(model.parameters())],
    }[way]()
    if way == "frozen":
        loss.requires_grad_(False)
    monitor = PhaseMonitor(loss, optimizers[0], every=5, batches=5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(105):
            with monitor:
                for optimizer in optimizers:
                    optimizer.zero_grad()
                loss().backward()
                for optimizer in optimizers:
                    optimizer.step()


def test_a_value_that_the_problem_would_refuse_is_warned_of_once():
    problem = Burgers(trained(0.01), data_points=5)
    loss = loss_of(network(), problem=problem)
    with torch.no_grad():
        next(loss.parameters()).fill_(-0.5)
    with pytest.warns(UserWarning, match=r"'viscosity' is out of range.*-0.5.*a positive number.*positive=True"):
        loss()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(101):
            loss()


def test_a_training_goes_on_from_its_states():
    def parts():
        model = network()
        loss = loss_of(model, weighting="rba")
        return model, loss, torch.optim.Adam(loss.parameter_groups(), lr=1e-2)

    def train(parts, steps):
        _, loss, optimizer = parts
        for _ in range(steps):
            optimizer.zero_grad()
            loss().backward()
            optimizer.step()
        return {name: value.item() for name, value in loss.coefficients().items()}

    whole, first, second = parts(), parts(), parts()
    train(whole, 6)
    train(first, 3)
    for old, new in zip(first, second, strict=True):
        new.load_state_dict(old.state_dict())
    assert train(second, 3) == {name: value.item() for name, value in whole[1].coefficients().items()}


def test_a_value_is_restored_into_a_loss_with_another_initial_value():
    saved = loss_of(network()).state_dict()
    other = loss_of(network(), problem=Rod(trained(9.0, positive=True), trained(9.0), trained(3.0, bounds=(0.2, 4.0))))
    other.load_state_dict(saved)
    assert other.coefficients()["conductivity"].item() == pytest.approx(0.3)


class Fixed(Rod):
    """Its prescribed values depend on a coefficient, which they cannot follow."""

    @property
    def conditions(self):
        return (Prescribed("initial", ("t", 0.0), {"u": lambda points: self.loss * points["x"]}),)


def test_targets_that_depend_on_a_coefficient_are_refused():
    with pytest.raises(InputError, match=r"arithmetic with trained\(0.5\).*computed once"):
        loss_of(network(), problem=Fixed(loss=trained(0.5)))


SETTINGS = {"points": 60, "width": 6, "depth": 2, "every": 5}
TEXT = "burgers:viscosity=trained(0.1,positive=True,learning_rate=0.02),data_points=30"


def test_a_run_is_resumed_as_if_it_had_not_stopped(tmp_path):
    whole = execute(prepare(TEXT, iterations=20, **SETTINGS))
    execute(prepare(TEXT, iterations=10, output=tmp_path / "run", **SETTINGS))
    rest = execute(prepare_resumed(tmp_path / "run", iterations=20), resume=True)
    column = "coefficient_viscosity"
    assert [row[column] for row in rest.rows] == [row[column] for row in whole.rows]
    assert len({row[column] for row in whole.rows}) == len(whole.rows)
    history = open_run(tmp_path / "run").history[column]
    assert history[-1] == whole.rows[-1][column]
    document = json.loads((tmp_path / "run" / "outcome.json").read_text())
    assert document["coefficients"] == {"viscosity": whole.rows[-1][column]}
    written = json.loads((tmp_path / "run" / "run.json").read_text())["problem_parameters"]
    assert phasecore.problem("burgers", **written) == prepare(TEXT, **SETTINGS).problem
    with pytest.raises(InputError, match="problem_parameters"):
        prepare_resumed(tmp_path / "run", problem=TEXT.replace("0.1", "0.2"))


def test_processes_average_the_gradients_of_coefficients_in_copies_of_a_loss_too(monkeypatch):
    heard = []
    monkeypatch.setattr(coefficients, "average_gradient", heard.append)
    problem = phasecore.problem("burgers", viscosity=trained(0.1))
    loss_fn = PhysicsLoss(problem, torch.nn.Linear(2, 1), problem.sample(20, seed=0, condition_points=4))
    for loss in (loss_fn, copy.deepcopy(loss_fn)):
        loss.term_gradients()
        assert not heard
        loss().backward()
        assert [id(parameter) for parameter in heard] == [id(parameter) for parameter in loss.parameters()]
        heard.clear()
