"""Weighting and phases in PINA's own Trainer, on problems and networks that PINA ships."""

import copy
import doctest
import itertools
from typing import NamedTuple

import lightning
import numpy as np
import pytest
import torch
from campaigns import campaign
from captures import due
from pina import Condition, Trainer
from pina.callback import SwitchOptimizer
from pina.domain import CartesianDomain
from pina.equation import Equation
from pina.equation.zoo import FixedValue
from pina.loss import LpLoss
from pina.model import FeedForward
from pina.operator import laplacian
from pina.optim import TorchOptimizer
from pina.problem import InverseProblem, SpatialProblem
from pina.problem.zoo import HelmholtzProblem, Poisson2DSquareProblem
from pina.solver import (
    PhysicsInformedSingleModelSolver,
    RBAPhysicsInformedSingleModelSolver,
    SelfAdaptivePhysicsInformedSolver,
)

import phasecore_torch.pina
from phasecore import weighting_scheme
from phasecore.errors import InputError, PluginError
from phasecore.signals import TERM_GRADIENTS, TERM_LOSSES, Signals
from phasecore.weighting import WeightingScheme
from phasecore_torch.lightning import PhaseCallback
from phasecore_torch.pina import SolverLoss, TermWeighting

QUIET = {
    "accelerator": "cpu",
    "logger": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "enable_checkpointing": False,
}


def made(problem=HelmholtzProblem, solver=PhysicsInformedSingleModelSolver, seed=0, points=90, **options):
    lightning.seed_everything(seed, verbose=False)
    posed = problem()
    posed.discretise_domain(points, mode="random", domains="D")
    posed.discretise_domain(points // 3, mode="random", domains="boundary")
    network = FeedForward(input_dimensions=2, output_dimensions=1, layers=[12, 12])
    optimizer = TorchOptimizer(torch.optim.Adam, lr=1e-2)
    return solver(posed, network, optimizer=optimizer, **options)


def train(solver, *callbacks, epochs=6, ckpt_path=None, **options):
    trainer = Trainer(solver, **{**QUIET, "max_epochs": epochs, "callbacks": list(callbacks), **options})
    trainer.train(ckpt_path=ckpt_path)
    return trainer


def without_seconds(rows):
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


def in_double(solver):
    return copy.deepcopy(solver.model).double()


def train_points(solver, trainer, name):
    """The points of a condition that the solver trains with, in float64, as plain tensors."""
    chosen = trainer.data_module.split_idxs[name]["train"]
    return solver.problem.discretised_domains[name].tensor[chosen].double()


def residual(model, points, problem):
    """Of PINA's Helmholtz or Poisson problem, by hand."""
    points = points.detach().clone().requires_grad_()
    u = model(points)
    (slopes,) = torch.autograd.grad(u.sum(), points, create_graph=True)
    curvature = sum(torch.autograd.grad(slopes[:, k].sum(), points, create_graph=True)[0][:, k] for k in (0, 1))
    x, y = points.detach().T
    pi = torch.pi
    if problem is Poisson2DSquareProblem:
        return curvature - 2 * pi**2 * torch.sin(pi * x) * torch.sin(pi * y)
    return curvature + u[:, 0] - (1 - 17 * pi**2) * torch.sin(pi * x) * torch.sin(4 * pi * y)


def weight_matrices(model):
    return [parameter for parameter in model.parameters() if parameter.ndim >= 2]


class Kept:
    """What is true at each capture: the network in float64, and the weights of conditions and points."""

    def __init__(self, solver):
        self.solver = solver
        self.moments = []

    def __call__(self, row):
        weights = {name: float(weight) for name, weight in self.solver.weighting.last_saved_weights().items()}
        attention = {name: value.double().flatten().clone() for name, value in self.solver.named_buffers()}
        self.moments.append((row, in_double(self.solver), weights, attention))


SPLITS = [{}, {"batch_size": 25}, {"train_size": 0.8, "val_size": 0.2}]
CAPTURED = list(itertools.product([HelmholtzProblem, Poisson2DSquareProblem], SPLITS, [None, "grad_norm:every=2"]))
IN_SHORT = [CAPTURED[place] for place in (1, 3, 5, 6)]
"""Weighted ones of one problem, and a plain one of the other."""


@pytest.mark.parametrize(
    ("problem", "options", "weighting"), [*IN_SHORT, *campaign(*(case for case in CAPTURED if case not in IN_SHORT))]
)
def test_the_snr_is_that_of_stacked_gradients(problem, options, weighting, snr_of):
    solver = made(problem, weighting=None if weighting is None else TermWeighting(weighting))
    kept = Kept(solver)
    phases = PhaseCallback(SolverLoss("D"), every=3, batches=9, on_capture=kept)
    trainer = train(solver, phases, **options)
    assert trainer.global_step == phases.iteration
    assert [row["iteration"] for row in phases.history] == due(3, phases.iteration)
    for row, model, weights, _ in kept.moments:
        whole = weights["boundary"] * model(train_points(solver, trainer, "boundary")).square().mean()
        of_equation = residual(model, train_points(solver, trainer, "D"), problem)
        losses = [weights["D"] * part.square().mean() + whole for part in of_equation.tensor_split(9)]
        assert row["snr"] == pytest.approx(snr_of(losses, weight_matrices(model)), rel=1e-3)
        assert row["training_loss"] == pytest.approx(float(sum(losses).detach() / 9), rel=1e-4)


def test_the_snr_of_pinas_own_attention_has_the_weights_of_its_points(snr_of):
    solver = made(solver=RBAPhysicsInformedSingleModelSolver)
    kept = Kept(solver)
    phases = PhaseCallback(SolverLoss("D"), every=3, batches=9, on_capture=kept)
    trainer = train(solver, phases)
    assert len(kept.moments) == len(due(3, phases.iteration))
    for row, model, _, attention in kept.moments:
        assert attention["weight_D"].std() > 0
        on_boundary = model(train_points(solver, trainer, "boundary"))[:, 0]
        whole = (attention["weight_boundary"] * on_boundary.square()).mean()
        squares = attention["weight_D"] * residual(model, train_points(solver, trainer, "D"), HelmholtzProblem).square()
        losses = [part.mean() + whole for part in squares.tensor_split(9)]
        assert row["snr"] == pytest.approx(snr_of(losses, weight_matrices(model)), rel=1e-3)


class Watch(lightning.pytorch.Callback):
    """Keeps the conditions' losses and the gradients of each, before every step, and what came of them."""

    def __init__(self):
        self.steps = []

    def on_train_batch_start(self, trainer, solver, batch, batch_idx):
        losses, gradients = {}, {}
        for name, data in batch:
            condition = solver.problem.conditions[name]
            square = condition.evaluate({"input": data["input"].clone()}, solver).square()
            losses[name] = square.mean().as_subclass(torch.Tensor)
            found = torch.autograd.grad(losses[name], list(solver.model.parameters()), allow_unused=True)
            gradients[name] = {
                str(k): np.float64(g.as_subclass(torch.Tensor)) for k, g in enumerate(found) if g is not None
            }
        self.steps.append([{name: np.float64(loss.detach()) for name, loss in losses.items()}, gradients])

    def on_train_batch_end(self, trainer, solver, outputs, *unused):
        weights = {name: float(weight) for name, weight in solver.weighting.last_saved_weights().items()}
        self.steps[-1] += [weights, float(outputs["loss"])]


@pytest.mark.parametrize(
    ("name", "options", "every"),
    [
        ("fixed", {"boundary": 3.0}, 1),
        ("soft_adapt", {"beta": 0.5, "normalized": True}, 1),
        ("relobralo", {"alpha": 0.9, "temperature": 1.0, "rho": 0.5}, 1),
        ("grad_norm", {"alpha": 0.5, "every": 3}, 3),
    ],
)
@pytest.mark.parametrize("batch_size", [None, 30])
def test_weights_are_those_of_the_scheme_on_the_conditions_losses(name, options, every, batch_size):
    text = ",".join(f"{key}={value}" for key, value in options.items())
    watch = Watch()
    solver = made(weighting=TermWeighting(f"{name}:{text}"))
    train(solver, watch, epochs=7, batch_size=batch_size)
    scheme = weighting_scheme(name, **options)
    signals = [Signals({TERM_LOSSES: step[0], TERM_GRADIENTS: step[1]}, np) for step in watch.steps]
    state = scheme.init(signals[0])
    seen = set()
    for number, (step, values) in enumerate(zip(watch.steps, signals, strict=True)):
        if number % every == 0:
            expected, state = scheme.update(values, state)
        losses, _, weights, trained = step
        own = {term: float(weight) for term, weight in expected.items()}
        assert weights == pytest.approx(dict.fromkeys(losses, 1.0) | own, rel=2e-3)
        assert trained == pytest.approx(sum(weights[term] * loss for term, loss in losses.items()), rel=1e-4)
        seen.add(weights["boundary"])
    assert len(seen) > 2 or name == "fixed"


def test_the_loss_is_the_one_that_is_trained_with_whatever_makes_a_scalar_of_it():
    watch, phases = Watch(), PhaseCallback(SolverLoss("D"), every=1, batches=9)
    train(made(weighting=TermWeighting("uniform", aggregator="mean")), watch, phases)
    captured = [row["training_loss"] for row in phases.history]
    trained = [step[3] for step in watch.steps]
    assert captured[:-1] == pytest.approx(trained[1:], rel=1e-4)


def test_schemes_are_multiplied():
    watch = Watch()
    train(made(weighting=TermWeighting("soft_adapt+grad_norm:every=1")), watch, epochs=1)
    _, gradients, weights, _ = watch.steps[0]
    norms = {term: np.sqrt(sum((g**2).sum() for g in own.values())) for term, own in gradients.items()}
    for term, weight in weights.items():
        assert weight == pytest.approx(0.5 * (0.9 + 0.1 * np.mean([*norms.values()]) / norms[term]), rel=1e-4)


def test_validation_uses_the_weights_and_leaves_them():
    def weights(**options):
        solver = made(weighting=TermWeighting("grad_norm:every=2"))
        train(solver, epochs=5, train_size=0.8, **options)
        return solver.state_dict()

    validated = weights(val_size=0.2)
    without = weights(test_size=0.2)
    name = "phasecore_weighting.grad_norm."
    assert int(validated[name + "calls"]) == 5
    assert validated.keys() == without.keys()
    assert all(torch.equal(value, without[key]) for key, value in validated.items())


@pytest.mark.parametrize("weighting", ["grad_norm:every=2", *campaign("relobralo")])
def test_a_checkpoint_file_carries_weighting_and_history(weighting, tmp_path):
    def run(epochs, ckpt_path=None):
        solver = made(weighting=TermWeighting(weighting))
        phases = PhaseCallback(SolverLoss("D"), every=2, batches=9)
        trainer = train(solver, phases, epochs=epochs, ckpt_path=ckpt_path, shuffle=False)
        return solver, phases, trainer

    whole, expected, _ = run(10)
    _, _, trainer = run(5)
    trainer.save_checkpoint(tmp_path / "half.ckpt")
    saved = torch.load(tmp_path / "half.ckpt", weights_only=False)["state_dict"]
    assert any(name.startswith("phasecore_weighting.") for name in saved)
    resumed, phases, _ = run(10, ckpt_path=tmp_path / "half.ckpt")
    assert without_seconds(phases.history) == without_seconds(expected.history)
    for name, value in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value), name
    loaded = PhysicsInformedSingleModelSolver.load_from_checkpoint(
        tmp_path / "half.ckpt",
        problem=whole.problem,
        model=FeedForward(input_dimensions=2, output_dimensions=1, layers=[12, 12]),
        weighting=TermWeighting(weighting),
        weights_only=False,
    )
    assert all(torch.equal(value, saved[name]) for name, value in loaded.state_dict().items())


def test_a_training_with_the_callback_is_bitwise_one_without():
    def run(*callbacks):
        solver = made(weighting=TermWeighting("relobralo"))
        train(solver, *callbacks, batch_size=25)
        gradients = [parameter.grad for parameter in solver.parameters()]
        return [*solver.state_dict().values(), *gradients, torch.random.get_rng_state()]

    followed, alone = run(PhaseCallback(SolverLoss("D"), every=1, batches=9)), run()
    assert all(torch.equal(a, b) for a, b in zip(followed, alone, strict=True))


def test_the_optimizer_may_be_exchanged_on_the_way():
    later = TorchOptimizer(torch.optim.LBFGS, lr=0.1, max_iter=3)
    phases = PhaseCallback(SolverLoss("D"), every=2, batches=9)
    trainer = train(made(), SwitchOptimizer(later, epoch_switch=5), phases, epochs=10)
    assert [row["iteration"] for row in phases.history] == due(2, 10)
    assert trainer.global_step == phases.iteration == 10
    assert ["adam_snr" in row for row in phases.history] == [row["iteration"] <= 5 for row in phases.history]


class UnknownSource(SpatialProblem, InverseProblem):
    """Find mu in laplacian(u) = mu, u = 0 on the boundary."""

    output_variables = ["u"]  # noqa: RUF012
    spatial_domain = CartesianDomain({"x": [0, 1], "y": [0, 1]})
    unknown_parameter_domain = CartesianDomain({"mu": [-1, 1]})
    domains = {"D": spatial_domain, "boundary": spatial_domain.partial()}  # noqa: RUF012
    conditions = {  # noqa: RUF012
        "D": Condition(domain="D", equation=Equation(lambda points, u, unknown: laplacian(u, points) - unknown["mu"])),
        "boundary": Condition(domain="boundary", equation=FixedValue(0.0)),
    }


def test_the_gradients_of_an_inverse_problem_count_what_it_looks_for():
    solver = made(UnknownSource, weighting=TermWeighting("grad_norm:every=1,alpha=0.0"))
    found = {}

    class Norms(lightning.pytorch.Callback):
        def on_train_batch_start(self, trainer, solver, batch, batch_idx):
            trained = [*solver.model.parameters(), solver.problem.unknown_parameters["mu"]]
            for name, data in batch:
                values = solver.problem.conditions[name].evaluate({"input": data["input"].clone()}, solver)
                gradients = torch.autograd.grad(values.square().mean(), trained, allow_unused=True)
                flat = torch.cat([g.flatten() for g in gradients if g is not None]).as_subclass(torch.Tensor)
                found[name] = float(flat.norm())

    train(solver, Norms(), epochs=1)
    weights = {name: float(weight) for name, weight in solver.weighting.last_saved_weights().items()}
    mean = sum(found.values()) / len(found)
    assert weights == pytest.approx({name: mean / norm for name, norm in found.items()}, rel=1e-4)


@pytest.mark.parametrize(
    ("weighting", "signals"),
    [
        ("rba", "residual"),
        ("vrba", "residuals"),
        ("self_adaptive", "residual"),
        ("causal", "residuals"),
        ("ntk", "tangent_kernel_traces"),
        ("learning_rate_annealing", "residuals"),
        ("grad_norm+rba", "residual"),
    ],
)
def test_schemes_that_read_more_than_losses_are_refused_with_the_reason(weighting, signals):
    with pytest.raises(InputError, match=rf"requires signals? .*{signals}.*backend 'pina'") as caught:
        TermWeighting(weighting)
    assert "the loss of each condition, nothing of its points" in str(caught.value)


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (made, {"equations": "E"}, r"received 'E'; expected names of conditions .*: boundary, D"),
        (made, {"equations": ()}, "received no name"),
        (made, {"equations": ("D", "boundary")}, r"tensors of lengths \[90, 30\]"),
        (lambda: made(loss=LpLoss(p=2, reduction="sum")), {}, "reduction='sum'"),
        (lambda: made(loss=torch.nn.MSELoss(reduction="sum")), {}, "reduction='sum'"),
        (
            lambda: made(solver=RBAPhysicsInformedSingleModelSolver),
            {"batch_size": 30},
            "RBAPhysicsInformedSingleModelSolver with batch_size=30",
        ),
    ],
)
def test_losses_that_have_no_batches_are_refused(make, options, message):
    equations = options.pop("equations", "D")
    solver = make()
    with pytest.raises(InputError, match=message):
        train(solver, PhaseCallback(SolverLoss(equations), batches=9), **options)


def test_a_solver_with_several_optimizers_is_refused():
    problem = Poisson2DSquareProblem()
    problem.discretise_domain(40, mode="random")
    solver = SelfAdaptivePhysicsInformedSolver(problem, FeedForward(input_dimensions=2, output_dimensions=1))
    with pytest.raises(InputError, match="received 2 optimizers"):
        train(solver, PhaseCallback(SolverLoss("D"), batches=9))


class Nothing(NamedTuple):
    """The state of a scheme that has none."""


def of_ones_own(power):
    """Weights that are a power of the conditions' losses, times -1 if it is negative."""

    def update(signals, state):
        sign = 1.0 if power >= 0 else -1.0
        return {term: sign * loss ** abs(power) for term, loss in signals[TERM_LOSSES].items()}, state

    return WeightingScheme(
        lambda signals: Nothing(), update, requires=frozenset({TERM_LOSSES}), multiplies="squared_residual"
    )


def test_a_scheme_of_ones_own_weights_the_conditions():
    watch = Watch()
    train(made(weighting=TermWeighting(of_ones_own(0.5))), watch, epochs=2)
    for losses, _, weights, trained in watch.steps:
        assert weights == pytest.approx({term: loss**0.5 for term, loss in losses.items()}, rel=1e-4)
        assert trained == pytest.approx(sum(loss**1.5 for loss in losses.values()), rel=1e-4)


def test_weights_that_no_scheme_may_have_are_refused():
    with pytest.raises(PluginError, match="weights of term 'boundary' at iteration 1: received values from -"):
        train(made(weighting=TermWeighting(of_ones_own(-1.0))))


def test_the_examples_run(run_section):
    report = []
    runner = doctest.DocTestRunner(verbose=False)
    for example in doctest.DocTestFinder(exclude_empty=True).find(phasecore_torch.pina):
        runner.run(example, out=report.append)
    assert runner.tries > 0
    assert not report, "".join(report)
    phases = run_section("PINA", max_epochs=12).phases
    assert [row["iteration"] for row in phases.history] == due(10, 12)
