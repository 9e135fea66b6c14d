"""PINA's PINN, trained by its Trainer as a user does; without attention, which it has and which would take longer."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import lightning
import numpy as np
import torch
from pina import Condition, LabelTensor, Trainer
from pina.equation import Equation
from pina.model import FeedForward
from pina.operator import grad
from pina.problem import BaseProblem
from pina.solver import PhysicsInformedSingleModelSolver
from pina.weighting import ScalarWeighting

from benchmarks.peers import equations
from benchmarks.peers.contender import Arrays, Contender, points_of_terms, sizes
from benchmarks.peers.equations import EQUATIONS, Calculus, condition_values, deviations
from benchmarks.peers.torch_network import load, wait

SYSTEM = "system"


class Operators(Calculus):
    """`pina.operator.grad`, of columns that carry their names."""

    def __init__(self, points: LabelTensor) -> None:
        self.points = points

    def gradient(self, values: LabelTensor) -> Sequence[LabelTensor]:
        """See `Calculus`."""
        found = grad(values, self.points)
        return [found.extract([label]) for label in found.labels]

    def total(self, a: LabelTensor, b: LabelTensor) -> LabelTensor:
        """See `Calculus`."""
        return LabelTensor(a.tensor + b.tensor, ["total"])

    def value(self, values: LabelTensor) -> torch.Tensor:
        """See `Calculus`."""
        return values.tensor

    def sine(self, values: LabelTensor) -> torch.Tensor:
        """See `Calculus`."""
        return torch.sin(values.tensor)


class EpochClock(lightning.pytorch.Callback):
    """Notes when each epoch, which is one step, ends."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
        """Note the time."""
        wait()
        self.ends.append(time.perf_counter())


class Pina(Contender):
    """See the module. The equations of a system are one condition of PINA's, since each is a pass of its own."""

    def __init__(self, problem: str, arrays: Arrays) -> None:
        warnings.simplefilter("ignore")
        logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
        self.equations = EQUATIONS[problem]
        self.terms: list[str] = []
        own = points_of_terms(arrays)
        conditions = {SYSTEM: Condition(input=self._labelled(arrays["interior"]), equation=Equation(self._residuals))}
        for term, condition in self.equations.conditions.items():
            equation = Equation(self._condition(condition, own[term]))
            conditions[term] = Condition(input=self._labelled(own[term]), equation=equation)
        declared = {
            "input_variables": list(self.equations.coordinates),
            "output_variables": list(self.equations.outputs),
            "conditions": conditions,
        }
        inputs, *hidden, outputs = sizes(arrays)
        model = FeedForward(inputs, outputs, inner_size=hidden[0], n_layers=len(hidden), func=torch.nn.Tanh)
        load(model, arrays)
        self.solver = PhysicsInformedSingleModelSolver(
            problem=type(problem, (BaseProblem,), declared)(),
            model=model,
            weighting=ScalarWeighting({SYSTEM: float(2 if problem == "lid_driven_cavity" else 1)}),
        )

    def _labelled(self, points: Any) -> LabelTensor:
        return LabelTensor(torch.as_tensor(points, dtype=torch.float32), list(self.equations.coordinates))

    def _residuals(self, points: LabelTensor, outputs: LabelTensor) -> torch.Tensor:
        columns = [outputs.extract([name]) for name in self.equations.outputs]
        at = [points.extract([name]) for name in self.equations.coordinates]
        residuals = self.equations.residuals(columns, at, Operators(points))
        self.terms = list(residuals)
        return torch.cat([getattr(residual, "tensor", residual) for residual in residuals.values()], dim=1)

    def _condition(self, condition: equations.Condition, points: Any) -> Callable[..., torch.Tensor]:
        given = condition.targets(points) if condition.targets else []
        targets = [torch.as_tensor(np.asarray(target), dtype=torch.float32)[:, None] for target in given]

        def residual(inputs: LabelTensor, outputs: LabelTensor) -> torch.Tensor:
            columns = [outputs.extract([name]) for name in self.equations.outputs]
            values = condition_values(condition, columns, self.equations, Operators(inputs))
            placed = [target.to(values[0].device) for target in targets]
            return torch.cat(deviations(condition, values, placed), dim=1)

        return residual

    def losses(self) -> dict[str, float]:
        """See `Contender`."""
        found: dict[str, float] = {}
        for name, condition in self.solver.problem.conditions.items():
            points = condition.input.clone().to(next(self.solver.model.parameters()).device)
            residual = condition.evaluate({"input": points}, self.solver)
            means = residual.as_subclass(torch.Tensor).detach().square().mean(dim=0)
            if name == SYSTEM:
                found |= dict(zip(self.terms, means.tolist(), strict=True))
            else:
                found[name] = means.mean().item()
        return found

    def train(self, steps: int) -> float:
        """See `Contender`; the Trainer sets itself up in its first epoch, which is not counted if there are more."""
        clock = EpochClock()
        trainer = Trainer(
            self.solver,
            max_epochs=steps,
            accelerator="gpu" if torch.cuda.is_available() else "cpu",
            shuffle=False,
            callbacks=[clock],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        began = time.perf_counter()
        trainer.train()
        began, *ends = clock.ends if steps > 1 else [began, *clock.ends]
        return (ends[-1] - began) / len(ends)
