"""Learning rates that policies set, whatever the optimizer has them in."""

from types import SimpleNamespace

import pytest
import torch
from plans import plan
from torch.optim import lr_scheduler

from phasecore.policies import ScaleLearningRate, SetLearningRate
from phasecore_torch import PhaseMonitor
from phasecore_torch.acting import slow_down
from phasecore_torch.deepxde_evaluation import TorchEvaluator
from phasecore_torch.quasi_newton import LBFGS
from phasecore_torch.rates import change_rates

RATES = {
    "floats": (1e-3, 1e-3),
    "floats apart": (1e-3, 1e-2),
    "one tensor": (torch.tensor(1e-3),) * 2,
    "tensors": (torch.tensor(1e-3), torch.tensor(1e-2, dtype=torch.float64)),
    "a tensor and a float": (torch.tensor(1e-3), 1e-2),
}


def optimizer_with(rates):
    taken = {id(rate): rate.clone() if isinstance(rate, torch.Tensor) else rate for rate in rates}
    groups = [{"params": [torch.zeros(2, requires_grad=True)], "lr": taken[id(rate)]} for rate in rates]
    return torch.optim.Adam(groups, foreach=False)


def failed():
    """An L-BFGS that has won something and made a short step."""
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    optimizer = LBFGS([x])

    def closure():
        optimizer.zero_grad()
        loss = x.square().sum()
        loss.backward()
        return loss

    while not optimizer.has_won:
        optimizer.step(closure)
    optimizer._steps.length = 1e-3
    return optimizer


def in_deepxde(optimizer):
    evaluator = object.__new__(TorchEvaluator)
    evaluator.model = SimpleNamespace(opt=optimizer)
    evaluator.set_learning_rate(0.1 * evaluator.learning_rate)


CHANGES = {
    "scaled": lambda optimizer: change_rates(optimizer, ScaleLearningRate(0.1)),
    "set": lambda optimizer: change_rates(optimizer, SetLearningRate(1e-4)),
    "slowed down": lambda optimizer: slow_down(optimizer, failed()),
    "in DeepXDE": in_deepxde,
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("kind", RATES)
def test_each_group_has_its_rate_changed_once_and_a_tensor_stays_that_tensor(kind, change):
    optimizer = optimizer_with(RATES[kind])
    before = [(float(rate), rate) for rate in (group["lr"] for group in optimizer.param_groups)]
    CHANGES[change](optimizer)
    for group, (number, rate) in zip(optimizer.param_groups, before, strict=True):
        assert float(group["lr"]) == pytest.approx(0.1 * number, rel=1e-6)
        assert (group["lr"] is rate) == isinstance(rate, torch.Tensor), "compiled steps read the tensor"


KEPT = {
    "none": lambda optimizer: lr_scheduler.ConstantLR(optimizer, 1.0),
    "exponential": lambda optimizer: lr_scheduler.ExponentialLR(optimizer, 0.99),
    "steps": lambda optimizer: lr_scheduler.StepLR(optimizer, 3, 0.1),
    "cosine": lambda optimizer: lr_scheduler.CosineAnnealingLR(optimizer, 100),
    "warm up": lambda optimizer: lr_scheduler.SequentialLR(
        optimizer,
        [lr_scheduler.LinearLR(optimizer, 0.1, 1.0, 5), lr_scheduler.ExponentialLR(optimizer, 0.99)],
        milestones=[5],
    ),
}
UNDONE = {
    "lambda": lambda optimizer: lr_scheduler.LambdaLR(optimizer, lambda k: 0.99**k),
    "one cycle": lambda optimizer: lr_scheduler.OneCycleLR(optimizer, 1e-3, total_steps=100),
    "restarts": lambda optimizer: lr_scheduler.CosineAnnealingWarmRestarts(optimizer, 50),
}


def warnings_beside(schedule, action, way, recwarn):
    weight = torch.ones(1, requires_grad=True)
    optimizer = torch.optim.Adam([weight], lr=1e-3)
    scheduler = schedule(optimizer)
    monitor = PhaseMonitor(
        lambda batch: (weight * batch).square().mean(), optimizer, every=1, points=torch.rand(50, 1), batches=5,
        probes=[], biases=True, policy=plan((8, action)),
    )  # fmt: skip

    def closure():
        optimizer.zero_grad()
        loss = weight.square().sum()
        loss.backward()
        return loss

    for _ in range(20):
        if way == "optimize":
            monitor.optimize(closure)
        else:
            optimizer.step(closure)
            monitor.step()
        scheduler.step()
    return [str(item.message) for item in recwarn if "a schedule sets it anew" in str(item.message)]


@pytest.mark.parametrize("way", ["optimize", "step"])
@pytest.mark.parametrize("action", [ScaleLearningRate(0.1), ScaleLearningRate(5.0), SetLearningRate(2e-5)], ids=str)
@pytest.mark.parametrize("name", [*KEPT, *UNDONE])
def test_it_is_said_once_where_a_schedule_undoes_what_a_policy_did_to_the_rate(name, action, way, recwarn):
    told = warnings_beside({**KEPT, **UNDONE}[name], action, way, recwarn)
    # a rate that was raised comes down again by any schedule
    assert len(told) == (name in UNDONE and action != ScaleLearningRate(5.0))
