"""Law: what is trained gets autograd's gradient on every path, whatever was known of it when the loss was made."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from campaigns import campaign
from paths import EVALUATIONS, UNCOMPILED, WAYS_BACK, Training, in_turn
from torch import nn
from torch_oracles import nested_conditions, nested_residuals

from phasecore.problems import Prescribed, Problem
from phasecore_torch import PhysicsLoss

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:torch.compile does not go through nested autodiff"),
]


@dataclasses.dataclass(frozen=True, eq=False)
class Diffusion(Problem):
    """u_t = D u_xx + s, with whatever the test holds as D and s, and a condition that may read something too."""

    D: Any = 0.3
    source: Any = None
    shift: Any = None

    name: ClassVar[str] = "diffusion"
    coordinates: ClassVar[tuple[str, ...]] = ("x", "t")
    outputs: ClassVar[tuple[str, ...]] = ("u",)
    equations: ClassVar[Mapping[str, tuple[str, ...]]] = {"pde": ("u", "u_t", "u_xx")}
    grid: ClassVar[tuple[int, ...]] = (3, 3)
    reference_accuracy: ClassVar[str] = "none"
    presets: ClassVar[Mapping[str, Any]] = {}

    @property
    def domain(self):
        return {"x": (-1.0, 1.0), "t": (0.0, 1.0)}

    @property
    def conditions(self):
        return (Shifted("initial", ("t", 0.0), {"u": lambda points: np.sin(np.pi * points["x"])}, owner=self),)

    def coefficient(self):
        return self.D() if callable(self.D) else self.D

    def residuals(self, coordinates, partials, xp):
        residual = partials["u_t"] - self.coefficient() * partials["u_xx"]
        if self.source is not None:
            points = torch.stack([coordinates["x"], coordinates["t"]], -1)
            residual = residual - self.source(points)[..., 0]
        return {"pde": residual}

    def reference(self, points):
        return {"u": np.ones(len(points))}


@dataclasses.dataclass(frozen=True, eq=False)
class InOperator(Diffusion):
    equations: ClassVar[Mapping[str, tuple[str, ...]]] = {"pde": ("u_t - D*u_xx",)}

    def residuals(self, coordinates, partials, xp):
        return {"pde": partials["u_t - D*u_xx"]}


@dataclasses.dataclass(frozen=True)
class Shifted(Prescribed):
    owner: Any = None

    def residuals(self, partials, targets, xp):
        residual = super().residuals(partials, targets, xp)
        return residual if self.owner.shift is None else residual + self.owner.shift


def number(value):
    return nn.Parameter(torch.tensor(value, dtype=torch.float64))


def network(inputs=2, width=6):
    torch.manual_seed(3)
    layers = nn.Linear(inputs, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 1)
    return nn.Sequential(*layers).double()


def in_residuals(model):
    coefficient = number(0.3)
    return Diffusion(D=coefficient), [coefficient]


def of_shape_one(model):
    coefficient = nn.Parameter(torch.tensor([0.3], dtype=torch.float64))
    return Diffusion(D=coefficient), [coefficient]


def in_operator(model):
    coefficient = number(0.3)
    return InOperator(D=coefficient), [coefficient]


def registered_on_the_model(model):
    model.coefficient = number(0.3)
    model.forward = lambda points: nn.Sequential.forward(nn.Sequential(*list(model)[:5]), points)
    return Diffusion(D=model.coefficient), []


def transformed(model):
    raw = number(-1.0)
    return Diffusion(D=lambda: nn.functional.softplus(raw)), [raw]


def in_conditions(model):
    shift = number(0.2)
    return Diffusion(shift=shift), [shift]


def in_both(model):
    coefficient = number(0.3)
    return Diffusion(D=coefficient, shift=coefficient), [coefficient]


def a_network_of_its_own(model):
    source = network(width=4)
    return Diffusion(source=source), list(source.parameters())


def the_model_itself(model):
    return Diffusion(source=model), []


CASES = {
    case.__name__: case
    for case in (
        in_residuals,
        of_shape_one,
        in_operator,
        registered_on_the_model,
        transformed,
        in_conditions,
        in_both,
        a_network_of_its_own,
        the_model_itself,
    )
}


def loss_of(problem, model, evaluation, **options):
    points = problem.sample(23, seed=1, condition_points=6)
    return PhysicsLoss(problem, model, points, **EVALUATIONS[evaluation], **options)


def expected(problem, model, trained):
    """The gradients of the loss with equal weights, by nested autodiff."""
    points = problem.sample(23, seed=1, condition_points=6)
    interior = torch.as_tensor(points.interior, dtype=torch.float64)
    terms = {**nested_residuals(problem, model, interior), **nested_conditions(problem, model, points.conditions)}
    loss = sum(residual.square().mean() for residual in terms.values())
    wanted = [parameter for parameter in trained if parameter.requires_grad]
    found = dict(zip(wanted, torch.autograd.grad(loss, wanted, allow_unused=True), strict=True))
    return [found.get(parameter) for parameter in trained]


def agree(found, oracle):
    for own, other in zip(found, oracle, strict=True):
        assert (own is None) == (other is None)
        if own is not None:
            torch.testing.assert_close(own, other, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("case", "evaluation", "way_back"), in_turn(CASES))
def test_whatever_holds_it(case, evaluation, way_back):
    model = network()
    problem, others = CASES[case](model)
    training = Training(loss_of(problem, model, evaluation), [*model.parameters(), *others], way_back)
    for _ in range(3):
        agree(training.gradients(), expected(problem, model, training.trained))
        with torch.no_grad():
            for parameter in training.trained:
                parameter.mul_(0.9)
    assert len(training.monitor.history) >= 2


@pytest.mark.parametrize(
    ("case", "evaluation"),
    [
        ("a_network_of_its_own", "compiled"),
        *campaign(("in_residuals", "compiled"), ("in_operator", "compiled, recomputed")),
    ],
)
def test_whatever_holds_it_compiled(case, evaluation):
    """Compiling takes seconds, so the ways back take turns with one loss."""
    model = network()
    problem, others = CASES[case](model)
    training = Training(loss_of(problem, model, evaluation), [*model.parameters(), *others], WAYS_BACK[0])
    for training.way_back in WAYS_BACK * 2:
        agree(training.gradients(), expected(problem, model, training.trained))
        with torch.no_grad():
            for parameter in training.trained:
                parameter.mul_(0.9)
    assert training.loss.blocks.compiled


@pytest.mark.parametrize(("evaluation", "way_back"), [*in_turn(), ("compiled", "monitor.backward")])
def test_frozen_and_thawed_in_mid_training(evaluation, way_back):
    model = network()
    coefficient = number(0.3)
    problem = Diffusion(D=coefficient)
    model[0].requires_grad_(False)
    training = Training(loss_of(problem, model, evaluation), [*model.parameters(), coefficient], way_back)
    for changed, trains in [(model[0], True), (model[2], False), (coefficient, False), (model[2], True)]:
        agree(training.gradients(), expected(problem, model, training.trained))
        changed.requires_grad_(trains)
        agree(training.gradients(), expected(problem, model, training.trained))
    layers = [{name for name in row if name.startswith("layer")} for row in training.monitor.history]
    assert len({frozenset(names) for names in layers}) > 1


@pytest.mark.parametrize(("evaluation", "way_back"), in_turn(first=1))
def test_added_later_and_replaced(evaluation, way_back):
    model, problem = network(), Diffusion()
    training = Training(loss_of(problem, model, evaluation), model.parameters(), way_back)
    training.gradients()
    model[2] = nn.Linear(6, 6).double()
    model.append(nn.Tanh()).append(nn.Linear(1, 1).double())
    training.trained = list(model.parameters())
    training.optimizer.add_param_group({"params": [*model[2].parameters(), *model[6].parameters()]})
    for _ in range(3):
        agree(training.gradients(), expected(problem, model, training.trained))


@pytest.mark.parametrize(("evaluation", "way_back"), in_turn(first=2))
def test_shared_between_models(evaluation, way_back):
    first, second = network(), network()
    second[2] = first[2]
    problem = Diffusion(D=number(0.3))
    trained = list(dict.fromkeys([*first.parameters(), *second.parameters(), problem.D]))
    trainings = [Training(loss_of(problem, model, evaluation), trained, way_back) for model in (first, second)]
    for _ in range(2):
        for training, model in zip(trainings, (first, second), strict=True):
            agree(training.gradients(), expected(problem, model, trained))


@pytest.mark.parametrize(("evaluation", "way_back"), in_turn())
def test_computed_once_for_all_blocks(evaluation, way_back):
    """What the user computes of a parameter once in an iteration is a part of the graph of every block."""
    model, raw, held = network(), number(-1.0), []
    problem = Diffusion(D=lambda: held[0])
    held.append(nn.functional.softplus(raw))
    training = Training(loss_of(problem, model, evaluation), [*model.parameters(), raw], way_back)
    for _ in range(3):
        held[0] = nn.functional.softplus(raw)
        oracle = expected(problem, model, training.trained)
        held[0] = nn.functional.softplus(raw)
        agree(training.gradients(), oracle)


@pytest.mark.parametrize(("evaluation", "way_back"), in_turn(first=1))
def test_read_by_nothing_that_is_registered(evaluation, way_back):
    """A layer that a model holds in a plain list, beside registered ones that it reads by another name."""

    class Hidden(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = nn.Linear(2, 5).double(), nn.Linear(5, 1).double()
            self.unregistered = [nn.Linear(5, 5).double()]
            self.weights = [self.first.weight]

        def forward(self, points):
            hidden = torch.tanh(nn.functional.linear(points, self.weights[0], self.first.bias))
            return self.last(torch.tanh(self.unregistered[0](hidden)))

    torch.manual_seed(0)
    model, problem = Hidden(), Diffusion(D=number(0.3))
    trained = [*model.parameters(), *model.unregistered[0].parameters(), problem.D]
    training = Training(loss_of(problem, model, evaluation), trained, way_back)
    for _ in range(3):
        agree(training.gradients(), expected(problem, model, trained))


def test_an_inverse_problem_finds_the_same_coefficient_on_every_path():
    found = {}
    for evaluation, way_back in UNCOMPILED:
        model, coefficient = network(), number(0.3)
        problem = Diffusion(D=coefficient)
        trained = [*model.parameters(), coefficient]
        optimizer = torch.optim.Adam(trained, lr=1e-2)
        training = Training(loss_of(problem, model, evaluation, weighting="rba"), trained, way_back, optimizer)
        for _ in range(12):
            training.gradients()
        found[evaluation, way_back] = coefficient.item()
    assert list(found.values()) == pytest.approx([found["plain", "loss.backward"]] * len(found), rel=1e-9)
    assert abs(found["plain", "loss.backward"] - 0.3) > 1e-2


@pytest.mark.parametrize("weighting", ["grad_norm", "ntk"])
@pytest.mark.parametrize("recompute", [False, True])
def test_schemes_that_balance_gradients_see_what_is_trained_now(weighting, recompute):
    model, coefficient = network(), number(0.3)
    problem = Diffusion(D=coefficient)
    model[2].requires_grad_(False)
    loss = PhysicsLoss(
        problem, model, problem.sample(23, seed=1, condition_points=6), weighting=weighting, recompute=recompute
    )
    found = loss.term_gradients()["pde"]
    assert "2.weight" not in found
    model[2].requires_grad_(True)
    found = loss.term_gradients()["pde"]
    trained = [*model.parameters(), coefficient]
    residual = nested_residuals(problem, model, loss.points)["pde"]
    loss_of_term = residual.square().mean()
    oracle = torch.autograd.grad(loss_of_term, trained, retain_graph=True, allow_unused=True, materialize_grads=True)
    assert len(found) == len(trained)
    for own, other in zip(found.values(), oracle, strict=True):
        torch.testing.assert_close(own, other, rtol=1e-9, atol=1e-12)
    rows = [torch.autograd.grad(r, trained, retain_graph=True, allow_unused=True) for r in residual]
    trace = sum(float(g.square().sum()) for row in rows for g in row if g is not None)
    assert float(loss.tangent_kernel_traces()["pde"]) == pytest.approx(trace, rel=1e-9)
