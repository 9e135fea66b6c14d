"""The ways in which a loss goes forward and back: a law about them runs over all, so that a new one has to keep it."""

import itertools

import torch
from campaigns import campaign

from phasecore_torch import PhaseMonitor

EVALUATIONS = {
    "plain": {},
    "blocks": {"block": 7},
    "recomputed": {"block": 7, "recompute": True},
    "compiled": {"compiled": True},
    "compiled, recomputed": {"compiled": True, "recompute": True},
    "autodiff": {"derivatives": "autodiff"},
    "autodiff, recomputed": {"derivatives": "autodiff", "recompute": True},
}
WAYS_BACK = ("loss.backward", "monitor.backward", "autograd.grad")
UNCOMPILED = [path for path in itertools.product(EVALUATIONS, WAYS_BACK) if "compiled" not in path[0]]
"""The quick ones; compiling takes seconds for each loss."""


def in_turn(cases=(None,), first=0):
    """Return parameters for a law about each case on each uncompiled path: `(case, evaluation, way back)`.

    In the suite each case goes through every evaluation, the ways back in turn, so that every two of the three meet
    (where there are three cases or more); the whole product is a campaign. Without cases: `(evaluation, way back)`.
    """
    evaluations = [name for name in EVALUATIONS if "compiled" not in name]
    suite, others = [], []
    for (place, case), (row, evaluation), (column, way) in itertools.product(
        enumerate(cases, first), enumerate(evaluations), enumerate(WAYS_BACK)
    ):
        taken = (place + row) % len(WAYS_BACK) == column
        (suite if taken else others).append((evaluation, way) if case is None else (case, evaluation, way))
    return [*suite, *campaign(*others)]


class Training:
    """Steps of a training that goes one of these ways; a capture is due at each.

    Args:
        loss: a `PhysicsLoss`.
        trained: all that is trained.
        way_back: one of `WAYS_BACK`.
    """

    def __init__(self, loss, trained, way_back, optimizer=None, **options):
        self.loss, self.trained, self.way_back = loss, list(trained), way_back
        self.optimizer = optimizer or torch.optim.SGD(self.trained, lr=0.0)
        self.monitor = PhaseMonitor(loss, self.optimizer, every=1, **{"batches": 5, **options})

    def gradients(self):
        """Go on by one iteration, and return the gradient of each trained parameter."""
        for parameter in self.trained:
            parameter.grad = None
        loss = self.loss()
        if self.way_back == "autograd.grad":
            wanted = [parameter for parameter in self.trained if parameter.requires_grad]
            found = torch.autograd.grad(loss, wanted, allow_unused=True)
            for parameter, gradient in zip(wanted, found, strict=True):
                parameter.grad = gradient
        elif self.way_back == "monitor.backward":
            self.monitor.backward(loss)
        else:
            loss.backward()
        found = [None if p.grad is None else p.grad.clone() for p in self.trained]
        self.optimizer.step()
        self.monitor.step()
        return found
