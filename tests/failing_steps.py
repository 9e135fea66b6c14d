"""L-BFGS of each framework made to fail, as a training does whose loss is no number any more."""

import math

import pytest
from plans import plan

from phasecore.policies import SwitchOptimizer
from phasecore.runs import execute


def spoil_evaluations(monkeypatch, lbfgs, after):
    """Have the loss be NaN after some evaluations of the class that Keras trainings use."""
    own, count = lbfgs._at, [0]

    def spoilt(self, point):
        count[0] += 1
        evaluate = self._evaluate
        if count[0] > after:
            self._evaluate = lambda: (math.nan, evaluate()[1])
        try:
            return own(self, point)
        finally:
            self._evaluate = evaluate

    monkeypatch.setattr(lbfgs, "_at", spoilt)


def spoil_steps(monkeypatch, lbfgs, after):
    """Have the loss be NaN after some steps of the class that torch trainings use."""
    own, count = lbfgs.step, [0]

    def step(self, closure):
        count[0] += 1
        return own(self, (lambda: closure() * math.nan) if count[0] > after else closure)

    monkeypatch.setattr(lbfgs, "step", step)


def losses_around_a_failure(make):
    """The losses at the switch to L-BFGS, and at the captures from there to its failure and after it, made by Adam.

    Adam's steps are as long as its learning rate, and what L-BFGS leaves is sharper than that.
    """
    options = {"learning_rate": 0.05, "every": 5, "iterations": 160, "weighting": "uniform", "width": 32, "points": 200}
    with pytest.warns(RuntimeWarning, match="the learning rate is .* of what it was"):
        outcome = execute(make(plan((20, SwitchOptimizer("lbfgs"))), **options))
    failed = outcome.actions[-1].iteration
    losses = {row["iteration"]: row["unweighted_loss"] for row in outcome.rows}
    before = [loss for iteration, loss in losses.items() if iteration < failed]
    return losses[20], before, [loss for iteration, loss in losses.items() if iteration >= failed]


def rates_around_an_early_failure(make):
    """Adam's learning rates before the switch to L-BFGS and after it failed, where that had won nothing yet."""
    options = {"every": 2, "iterations": 16, "weighting": "uniform", "learning_rate": 1e-3}
    with pytest.warns(RuntimeWarning, match="L-BFGS failed: [^;]*$"):
        outcome = execute(make(plan((6, SwitchOptimizer("lbfgs"))), **options))
    failed = outcome.actions[-1].iteration
    assert failed > 6
    rates = {row["iteration"]: row["learning_rate"] for row in outcome.rows if "learning_rate" in row}
    return [rates[6]], [rate for iteration, rate in rates.items() if iteration >= failed]
