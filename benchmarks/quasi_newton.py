"""Self-scaled L-BFGS against other optimizers, from the same network on, at equal processor time.

    .venv/integrations/bin/python -m benchmarks.quasi_newton    # trains what is missing, minutes for each of eight
    python -m benchmarks.quasi_newton --tables                  # trains nothing: the table of docs/policies.md

For each problem and seed: its quick preset with residual-based attention, Adam for a tenth of the preset's iterations,
then the weights averaged over the points of each term and held, and each method from there on, for as much processor
time as nine times the Adam steps took. Torch's L-BFGS searches for the strong Wolfe conditions and remembers 150 pairs;
it is called with 20 steps at once, until a call moves nothing. Scipy's is `minimize(method="L-BFGS-B")` with 150 pairs,
in double precision around the same loss in float32. Adam goes on at its own rate, or begins anew with a rate that falls
to zero by half a cosine, as those of SOAP and Muon do, which are `pytorch-optimizer`'s. Their options were chosen with
seed 10 on Helmholtz and Burgers, of three rates each and, for SOAP, of two frequencies: see `soap` and `muon`. Muon is
for weights from layer to layer; all others have its Adam. The error is the one at the end.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import Linear

from benchmarks.policy_study import geometric
from benchmarks.pool import machine_of_now, written
from phasecore.policies import AverageWeighting
from phasecore.problems import relative_l2_error
from phasecore.runs import prepare
from phasecore_torch import LBFGS, PhysicsLoss
from phasecore_torch.training import network

RESULTS = Path(__file__).parent / "results" / "quasi_newton"
PROBLEMS = ("helmholtz", "burgers", "allen_cahn", "kdv")
"""Whose fields are the outputs of the network."""

SEEDS = (0, 1)
PAIRS = 150


class Trained:
    """A network after its steps of Adam, with the loss that all methods go on with."""

    def __init__(self, problem: str, seed: int) -> None:
        training = prepare(problem, weighting="rba", backend="torch", seed=seed)
        settings, self.problem = training.settings, training.problem
        torch.manual_seed(seed)
        self.model = network(len(self.problem.coordinates), len(self.problem.outputs), settings)
        self.loss = PhysicsLoss(self.problem, self.model, training.points, weighting=training.schemes)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=settings.learning_rate)
        began = time.process_time()
        for _ in range(settings.iterations // 10):
            self.adam()
        self.seconds = 9 * (time.process_time() - began)
        self.loss.hold_weighting(AverageWeighting())
        self.begin = [parameter.detach().clone() for parameter in self.model.parameters()]
        self.state = self.optimizer.state_dict()

    def evaluated(self) -> Tensor:
        """Evaluate the loss and its gradient."""
        self.model.zero_grad()
        loss: Tensor = self.loss()
        torch.autograd.backward(loss)
        return loss

    def adam(self) -> None:
        """Make a step with Adam."""
        self.evaluated()
        self.optimizer.step()

    def error(self) -> float:
        """The relative L2 error on the problem's grid."""
        points = self.problem.evaluation_points()
        with torch.no_grad():
            values = self.model(torch.as_tensor(points, dtype=torch.float32)).numpy()
        found = {name: values[:, place] for place, name in enumerate(self.problem.outputs)}
        return float(relative_l2_error(found, self.problem.reference(points)))


def by_adam(trained: Trained) -> Callable[[], bool]:
    """Go on with Adam."""
    trained.optimizer.load_state_dict(trained.state)

    def step() -> bool:
        trained.adam()
        return True

    return step


def falling(make: Callable[[Trained], torch.optim.Optimizer]) -> Callable[[Trained], Callable[[], bool]]:
    """Go on with an optimizer whose learning rates fall to zero by half a cosine, over the time that there is."""

    def method(trained: Trained) -> Callable[[], bool]:
        optimizer, began = make(trained), time.process_time()
        rates = [group["lr"] for group in optimizer.param_groups]

        def step() -> bool:
            share = min((time.process_time() - began) / trained.seconds, 1.0)
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * 0.5 * (1.0 + math.cos(math.pi * share))
            trained.evaluated()
            optimizer.step()
            return True

        return step

    return method


def adam(trained: Trained) -> torch.optim.Optimizer:
    """Adam at its own rate."""
    return torch.optim.Adam(trained.model.parameters(), lr=trained.optimizer.defaults["lr"])


def soap(trained: Trained) -> torch.optim.Optimizer:
    """SOAP: Adam in the eigenbasis of Shampoo's preconditioner (arXiv 2409.11321), as in arXiv 2502.00604."""
    from pytorch_optimizer import SOAP

    parameters = trained.model.parameters()
    return SOAP(parameters, lr=3e-3, betas=(0.99, 0.99), weight_decay=0.0, precondition_frequency=2)  # type: ignore[no-any-return]


def muon(trained: Trained) -> torch.optim.Optimizer:
    """Muon: momentum made orthogonal."""
    from pytorch_optimizer import Muon

    first, *layers, last = [list(part.parameters()) for part in trained.model.modules() if isinstance(part, Linear)]
    hidden = [weight for weight, _ in layers]
    others = [*first, *(bias for _, bias in layers), *last]
    groups = [{"params": hidden, "lr": 0.05, "use_muon": True}, {"params": others, "lr": 0.005, "use_muon": False}]
    return Muon(groups)  # type: ignore[no-any-return]


def by_torch(trained: Trained) -> Callable[[], bool]:
    """Go on with torch's L-BFGS."""
    optimizer = torch.optim.LBFGS(
        trained.model.parameters(), max_iter=20, history_size=PAIRS, line_search_fn="strong_wolfe",
        tolerance_grad=0.0, tolerance_change=0.0,
    )  # fmt: skip

    def step() -> bool:
        before = [parameter.detach().clone() for parameter in trained.model.parameters()]
        optimizer.step(trained.evaluated)
        now = trained.model.parameters()
        return any(not torch.equal(one, other) for one, other in zip(before, now, strict=True))

    return step


def by_phasecore(trained: Trained) -> Callable[[], bool]:
    """Go on with self-scaled L-BFGS."""
    optimizer = LBFGS(trained.model.parameters(), is_fixed=lambda: True)

    def step() -> bool:
        optimizer.step(trained.evaluated)
        return optimizer.failure is None

    return step


class OutOfTimeError(Exception):
    """Ends scipy's loop."""


def by_scipy(trained: Trained) -> Callable[[], bool]:
    """Go on with scipy's L-BFGS-B, which stops itself."""
    from scipy.optimize import minimize

    parameters = list(trained.model.parameters())
    until = time.process_time() + trained.seconds

    def put(point: Any) -> None:
        torch.nn.utils.vector_to_parameters(torch.as_tensor(point, dtype=torch.float32), parameters)

    def evaluate(point: Any) -> tuple[float, Any]:
        if time.process_time() > until:
            raise OutOfTimeError
        put(point)
        loss = float(trained.evaluated().detach())
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        return loss, torch.nn.utils.parameters_to_vector(gradients).numpy().astype(np.float64)

    def step() -> bool:
        start = torch.nn.utils.parameters_to_vector(parameters).detach().numpy().astype(np.float64)
        best = [start]
        with contextlib.suppress(OutOfTimeError):
            minimize(
                evaluate, start, jac=True, method="L-BFGS-B", callback=lambda point: best.append(point.copy()),
                options={"maxcor": PAIRS, "ftol": 0.0, "gtol": 0.0, "maxiter": 10**6, "maxfun": 10**6},
            )  # fmt: skip
        put(best[-1])
        return len(best) > 1

    return step


METHODS: dict[str, Callable[[Trained], Callable[[], bool]]] = {
    "Adam": by_adam,
    "Adam, falling rate": falling(adam),
    "Muon": falling(muon),
    "SOAP": falling(soap),
    "L-BFGS of torch": by_torch,
    "L-BFGS-B of scipy": by_scipy,
    "phasecore_torch.LBFGS": by_phasecore,
}


def measured(problem: str, seed: int) -> dict[str, Any]:
    """Train one network by all methods."""
    trained = Trained(problem, seed)
    errors, losses, took = {}, {}, {}
    for name, method in METHODS.items():
        with torch.no_grad():
            for parameter, value in zip(trained.model.parameters(), trained.begin, strict=True):
                parameter.copy_(value)
        began = time.process_time()
        step = method(trained)
        while step() and time.process_time() - began < trained.seconds:
            pass
        took[name] = round(time.process_time() - began, 1)
        errors[name], losses[name] = trained.error(), float(trained.evaluated().detach())
        print(problem, seed, name, f"{errors[name]:.2g}, loss {losses[name]:.2g}, {took[name]} s", flush=True)
    return {
        "problem": problem, "seed": seed, "seconds": trained.seconds, "took": took, "errors": errors,
        "losses": losses, "machine": machine_of_now(),
    }  # fmt: skip


def kept() -> list[dict[str, Any]]:
    """Return the results that are there."""
    found = [json.loads(file.read_text()) for file in RESULTS.glob("*.json")]
    return sorted(found, key=lambda one: (PROBLEMS.index(one["problem"]), one["seed"]))


def table() -> str:
    """Return the table of what is there."""
    lines = [f"| problem | seed | {' | '.join(METHODS)} |", f"|---|---|{'---|' * len(METHODS)}"]
    results = kept()
    for one in results:
        cells = " | ".join(f"{one['errors'][name]:.2g}" for name in METHODS)
        lines.append(f"| {one['problem']} | {one['seed']} | {cells} |")
    ratios = [" | ".join(f"{_mean(results, name):.2g}" for name in METHODS)] if results else []
    return "\n".join([*lines, *(f"| over phasecore's, geometric mean | | {cells} |" for cells in ratios)])


def _mean(results: Sequence[dict[str, Any]], name: str) -> float:
    return geometric([one["errors"][name] / one["errors"]["phasecore_torch.LBFGS"] for one in results])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", default=",".join(PROBLEMS))
    parser.add_argument("--seeds", default=",".join(map(str, SEEDS)))
    parser.add_argument("--tables", action="store_true", help="train nothing")
    given = parser.parse_args()
    for seed in given.seeds.split(",") if not given.tables else ():
        for problem in given.problems.split(","):
            file = RESULTS / f"{problem}-seed{seed}.json"
            if not file.exists():
                written(file, measured(problem, int(seed)), ())
    print(table())


if __name__ == "__main__":
    main()
