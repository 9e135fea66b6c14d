"""Each row is of one state of the parameters, whichever optimizers step in the block, and none goes missing."""

from __future__ import annotations

import pytest
import torch

import phasecore
import phasecore_torch
from phasecore_torch import PhaseMonitor, PhysicsLoss

PROBLEM = phasecore.problem("burgers")


class Several:
    """A training with optimizers of the whole model and of its halves; `truth` is what each state measures."""

    def __init__(self, monitored, **monitoring):
        torch.manual_seed(0)
        layers = [torch.nn.Linear(2, 8), torch.nn.Tanh(), torch.nn.Linear(8, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1)]
        self.model = torch.nn.Sequential(*layers).double()
        parameters = list(self.model.parameters())
        self.optimizers = {
            "adam": torch.optim.Adam(parameters, 5e-2),
            "sgd": torch.optim.SGD(parameters, 1e-1),
            "first": torch.optim.Adam(parameters[:2], 5e-2),
            "rest": torch.optim.SGD(parameters[2:], 1e-1),
            "lbfgs": torch.optim.LBFGS(parameters, max_iter=1),
            "ours": phasecore_torch.LBFGS(parameters),
            "others": torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], 1.0),
        }
        self.loss = PhysicsLoss(PROBLEM, self.model, PROBLEM.sample(50, seed=0))
        self.monitor = PhaseMonitor(self.loss, self.optimizers[monitored], batches=10, **monitoring)
        self.truth = {}

    def closure(self):
        self.model.zero_grad()
        loss = self.loss()
        loss.backward()
        return loss

    def remember(self):
        capture = phasecore_torch.Capture(self.loss, self.optimizers["adam"], probes=PROBES, batches=10)
        self.truth[self.monitor.iteration] = capture.measure()

    def iterate(self, *names):
        self.remember()
        with self.monitor:
            self.closure()
            for name in names:
                closure = self.closure if name in ("lbfgs", "ours") else None
                self.optimizers[name].step(closure)

    def check(self, iterations):
        self.remember()
        rows = self.monitor.history
        assert [row["iteration"] for row in rows] == iterations
        for row in rows:
            truth = self.truth[row["iteration"]]
            for name in ("snr", "unweighted_loss"):
                assert row[name] == pytest.approx(truth[name], rel=1e-6), (row["iteration"], name)


PROBES = ["gradient_snr", "term_losses"]


@pytest.mark.parametrize(
    "steps",
    [
        lambda k: ("adam",),
        lambda k: ("adam",) if k < 3 else ("sgd",),
        lambda k: ("adam",) if k % 2 else ("sgd",),
        lambda k: ("adam", "sgd"),
        lambda k: ("sgd", "adam"),
        lambda k: ("others", "adam"),
        lambda k: ("adam",) if k < 3 else ("lbfgs",),
        lambda k: ("adam",) if k < 3 else ("ours",),
    ],
    ids=["one", "another one", "in turn", "both", "the other first", "of nothing here", "torch's L-BFGS", "ours"],
)
def test_rows_are_of_one_state_whichever_optimizer_steps(steps):
    several = Several("adam", every=1, probes=PROBES)
    for k in range(7):
        several.iterate(*steps(k))
    several.check([*range(1, 8)])


@pytest.mark.parametrize("monitored", ["first", "rest"])
@pytest.mark.parametrize("order", [("first", "rest"), ("rest", "first")])
def test_optimizers_of_parts_of_a_model_may_step_in_any_order(monitored, order):
    several = Several(monitored, every=1, probes=PROBES)
    for _ in range(5):
        several.iterate(*order)
    several.check([*range(1, 6)])


def test_parameters_that_are_changed_by_hand_give_rows_of_one_state_too():
    several = Several("adam", every=1, probes=PROBES)
    for _ in range(4):
        several.remember()
        with several.monitor:
            several.closure()
            with torch.no_grad():
                for parameter in several.model.parameters():
                    parameter -= 0.1 * parameter.grad
    several.remember()
    for row in several.monitor.history:
        truth = several.truth[row["iteration"]]
        assert row["snr"] == pytest.approx(truth["snr"], rel=1e-6)
        assert row["unweighted_loss"] == pytest.approx(truth["unweighted_loss"], rel=1e-6)
