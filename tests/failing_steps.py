"""L-BFGS of each framework made to fail, as a training does whose loss is no number any more."""

import math


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
