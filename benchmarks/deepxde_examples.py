"""Equations that DeepXDE ships as examples, as problems here: the loss of each term beside DeepXDE's own.

    .venv/integrations/bin/python -m benchmarks.deepxde_examples           # seconds; makes docs/deepxde_examples.md
    .venv/integrations/bin/python -m benchmarks.deepxde_examples --print   # writes nothing

Ideas and numbers are theirs, the lines are not. For each, DeepXDE draws the points, its network's parameters are copied
into one of torch's, and both say the loss of each term, and the gradient of their sum by all that is trained.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

os.environ.setdefault("DDE_BACKEND", "pytorch")
with warnings.catch_warnings():
    # what DeepXDE imports is its own
    warnings.simplefilter("ignore")
    import deepxde as dde

import numpy as np
import torch

import phasecore
import phasecore_torch
from benchmarks import deepxde_problems as ours
from phasecore.problems import CollocationPoints
from phasecore.problems.lorenz import START, Lorenz
from phasecore.problems.poisson_l_shape import PoissonLShape
from phasecore.problems.references.l_shape import VERTICES

RESULTS = Path(__file__).parent / "results" / "deepxde_examples.json"
PAGE = Path(__file__).parents[1] / "docs" / "deepxde_examples.md"
PRECISIONS = ("float32", "float64")
AIM = 1e-5


@final
@dataclass(frozen=True)
class Case:
    """One example, twice.

    Attributes:
        title: what it is.
        problem: ours.
        data: `dde.data.Data` of DeepXDE's, with points and conditions in the order of ours.
        layers: sizes of the network.
        unknown: DeepXDE's variables for the trained coefficients of ours, by name.
        together: how many of DeepXDE's conditions, one per output, are one of ours, whose loss is the mean of theirs.
    """

    title: str
    problem: phasecore.Problem
    data: Any
    layers: list[int]
    unknown: Mapping[str, Any] = field(default_factory=dict)
    together: int = 1


def everywhere(_: Any, on_boundary: bool) -> bool:
    """Choose the whole boundary."""
    return on_boundary


def constant(value: float) -> Callable[[Any], float]:
    """Return a function of that value."""
    return lambda _: value


def laplacian(x: Any, u: Any) -> Any:
    """Return `u_xx + u_yy`."""
    return dde.grad.hessian(u, x, i=0, j=0) + dde.grad.hessian(u, x, i=1, j=1)


def poisson_on_an_ell() -> Case:
    """Return `-u_xx - u_yy = 1` on an L, zero on its boundary."""
    shape = dde.geometry.Polygon(VERTICES)
    wall = dde.icbc.DirichletBC(shape, lambda x: 0, everywhere)
    data = dde.data.PDE(shape, lambda x, u: -laplacian(x, u) - 1, wall, num_domain=300, num_boundary=60)
    return Case("Poisson on an L-shape", PoissonLShape(), data, [2, 20, 20, 1])


def helmholtz_with_a_hole() -> Case:
    """Return the Helmholtz equation around a hole: values outside, the flux on the hole."""
    k, hole = ours.WAVENUMBER, dde.geometry.Disk([0, 0], 0.25)
    outer = dde.geometry.Rectangle([-0.5, -0.5], [0.5, 0.5])
    shape = outer - hole

    def equation(x: Any, u: Any) -> Any:
        source = k**2 * torch.sin(k * x[:, 0:1]) * torch.sin(k * x[:, 1:2])
        return -laplacian(x, u) - k**2 * u - source

    def solution(x: Any) -> Any:
        return np.sin(k * x[:, 0:1]) * np.sin(k * x[:, 1:2])

    def flux(x: Any) -> Any:
        slopes = k * np.stack(
            [np.cos(k * x[:, 0]) * np.sin(k * x[:, 1]), np.sin(k * x[:, 0]) * np.cos(k * x[:, 1])], axis=1
        )
        return np.sum(slopes * shape.boundary_normal(x), axis=1, keepdims=True)

    def on_hole(x: Any, on_boundary: bool) -> bool:
        return on_boundary and bool(hole.on_boundary(x[None])[0])

    def on_outer(x: Any, on_boundary: bool) -> bool:
        return on_boundary and bool(outer.on_boundary(x[None])[0])

    conditions = [dde.icbc.DirichletBC(shape, solution, on_outer), dde.icbc.NeumannBC(shape, flux, on_hole)]
    data = dde.data.PDE(shape, equation, conditions, num_domain=300, num_boundary=80)
    return Case("Helmholtz with a hole", ours.HelmholtzWithAHole(), data, [2, 24, 24, 1])


def diffusion_on_a_disk() -> Case:
    """Return diffusion on a disk, cooled along its boundary: a Robin condition."""
    shape = dde.geometry.GeometryXTime(dde.geometry.Disk([0.2, -0.1], 0.8), dde.geometry.TimeDomain(0, 1))

    def equation(x: Any, u: Any) -> Any:
        return dde.grad.jacobian(u, x, i=0, j=2) - 0.3 * laplacian(x, u)

    conditions = [
        dde.icbc.RobinBC(shape, lambda x, u: 2.0 * (0.5 - u), everywhere),
        dde.icbc.IC(shape, lambda x: np.exp(-(x[:, 0:1] ** 2) - x[:, 1:2] ** 2), lambda _, on_initial: on_initial),
    ]
    data = dde.data.TimePDE(shape, equation, conditions, num_domain=300, num_boundary=60, num_initial=40)
    return Case("diffusion on a disk, Robin", ours.DiffusionOnADisk(), data, [3, 20, 20, 1])


def lorenz_inverse() -> Case:
    """Return the Lorenz system with three unknown coefficients, found from measured values."""
    unknown = {name: dde.Variable(1.0) for name in ("sigma", "rho", "beta")}
    sigma, rho, beta = unknown.values()
    problem = Lorenz(**{name: phasecore.trained(1.0) for name in unknown})
    span = dde.geometry.TimeDomain(0, problem.end)

    def equations(t: Any, outputs: Any) -> list[Any]:
        x, y, z = outputs[:, 0:1], outputs[:, 1:2], outputs[:, 2:3]
        slopes = [dde.grad.jacobian(outputs, t, i=k, j=0) for k in range(3)]
        return [slopes[0] - sigma * (y - x), slopes[1] - x * (rho - z) + y, slopes[2] - x * y + beta * z]

    starts = [
        dde.icbc.IC(span, constant(value), lambda _, on_initial: on_initial, component=k)
        for k, value in enumerate(START.values())
    ]
    (given,) = [condition for condition in problem.conditions if isinstance(condition, phasecore.Data)]
    measured = [
        dde.icbc.PointSetBC(given.points, np.asarray(values)[:, None], component=k)
        for k, values in enumerate(given.values.values())
    ]
    data = dde.data.PDE(span, equations, starts + measured, num_domain=100, num_boundary=2, anchors=given.points)
    return Case("Lorenz inverse", problem, data, [1, 20, 20, 3], unknown, together=3)


def heat_with_a_source() -> Case:
    """Return heat conduction in a rod with a source."""
    shape = dde.geometry.GeometryXTime(dde.geometry.Interval(-1, 1), dde.geometry.TimeDomain(0, 1))

    def equation(x: Any, u: Any) -> Any:
        source = torch.exp(-x[:, 1:2]) * (np.pi**2 - 1) * torch.sin(np.pi * x[:, 0:1])
        return dde.grad.jacobian(u, x, i=0, j=1) - dde.grad.hessian(u, x, i=0, j=0) - source

    conditions = [
        dde.icbc.DirichletBC(shape, lambda x: 0, everywhere),
        dde.icbc.IC(shape, lambda x: np.sin(np.pi * x[:, 0:1]), lambda _, on_initial: on_initial),
    ]
    data = dde.data.TimePDE(shape, equation, conditions, num_domain=200, num_boundary=40, num_initial=20)
    return Case("heat with a source", ours.HeatWithASource(), data, [2, 20, 20, 1])


CASES = {
    "poisson_on_an_ell": poisson_on_an_ell,
    "helmholtz_with_a_hole": helmholtz_with_a_hole,
    "diffusion_on_a_disk": diffusion_on_a_disk,
    "lorenz_inverse": lorenz_inverse,
    "heat_with_a_source": heat_with_a_source,
}


@contextmanager
def precision(name: str) -> Iterator[None]:
    """Let DeepXDE and torch compute in float32 or float64 for a while."""
    before = dde.config.default_float()
    dde.config.set_default_float(name)
    try:
        yield
    finally:
        dde.config.set_default_float(before)


def points_of(data: Any, together: int = 1) -> CollocationPoints:
    """Return the points that DeepXDE drew: those of each condition come first, then those of the equations."""
    *ends, first = np.cumsum([0, *data.num_bcs])
    slices = [data.train_x[begin:end] for begin, end in zip([*ends, first], [*ends[1:], first, None], strict=False)]
    return CollocationPoints(
        slices[-1].astype(np.float64), tuple(part.astype(np.float64) for part in slices[:-1:together])
    )


def same_network(net: Any) -> torch.nn.Sequential:
    """Return torch's own layers with the parameters of DeepXDE's network."""
    modules: list[torch.nn.Module] = []
    for linear in net.linears:
        modules += [copy.deepcopy(linear), torch.nn.Tanh()]
    return torch.nn.Sequential(*modules[:-1])


def compared(case: Case) -> dict[str, Any]:
    """Return the loss of each term from both, and how much the gradients of their sum differ.

    Returns:
        "points" of the equations; "terms", by name the two losses and their relative difference; "gradient", the
        relative difference of the gradients by all parameters of the network and the unknown coefficients.
    """
    dde.config.set_random_seed(0)
    net = dde.nn.FNN(case.layers, "tanh", "Glorot normal")
    # a polygon of DeepXDE's draws points in float64, whatever the network computes in
    case.data.train_x = case.data.train_x.astype(dde.config.real(np))
    model = dde.Model(case.data, net)
    model.compile("adam", lr=1e-3, verbose=0, external_trainable_variables=list(case.unknown.values()))
    _, losses = model.outputs_losses_train(case.data.train_x, case.data.train_y, case.data.train_aux_vars)
    conditions = losses[len(losses) - len(case.data.bcs) :]
    losses = torch.cat([losses[: len(losses) - len(conditions)], conditions.reshape(-1, case.together).mean(1)])
    theirs = losses.tolist()
    network, points = same_network(net), points_of(case.data, case.together)
    loss_fn = phasecore_torch.PhysicsLoss(case.problem, network, points)
    total = loss_fn()
    own = {term: float(loss) for term, loss in loss_fn.losses.unweighted.items()}
    free = dict(loss_fn.trained_coefficients.named_parameters())
    gradients = [
        torch.autograd.grad(total, [*network.parameters(), *(free[name] for name in case.unknown)]),
        torch.autograd.grad(losses.sum(), [*net.parameters(), *case.unknown.values()]),
    ]
    mine, reference = (torch.cat([part.detach().double().flatten() for part in each]) for each in gradients)
    return {
        "points": len(points.interior),
        "terms": {
            term: {"phasecore": loss, "deepxde": other, "difference": abs(loss / other - 1)}
            for (term, loss), other in zip(own.items(), theirs, strict=True)
        },
        "gradient": float((mine - reference).norm() / reference.norm()),
    }


def measured() -> dict[str, Any]:
    """Return all comparisons by example and precision."""
    found: dict[str, Any] = {}
    for name, make in CASES.items():
        for kind in PRECISIONS:
            with precision(kind):
                case = make()
                found.setdefault(name, {"title": case.title, "problem": type(case.problem).__name__})
                found[name][kind] = compared(case)
    return {"deepxde": dde.__version__, "torch": torch.__version__, "examples": found}


HEADING = """# Beside DeepXDE's examples

Made by `.venv/integrations/bin/python -m benchmarks.deepxde_examples`: equations that DeepXDE {deepxde} ships as
examples. The L-shape and Lorenz are the built-in `poisson_l_shape` and `lorenz`, the others are written in short
(`benchmarks/deepxde_problems.py`, the way of [problems of your own](problems.md)). DeepXDE draws the points, the
parameters of its network are copied, and both compute the loss of each term, the mean square over its points; of
Lorenz's three outputs, which are one term here, the mean of DeepXDE's three. The last two columns are relative
differences. In float32, in which both train by default, they are rounding.

| example | term | DeepXDE | phasecore | difference, float32 | float64 |
|---|---|---|---|---|---|
"""

ENDING = """
"gradient" is that of the sum of all terms by the parameters of the network and the unknown coefficients: the norm of
the difference over the norm. The largest difference of a loss is {largest:.1e} in float32 and {exact:.1e} in float64;
the aim was {aim:.0e}.
"""


def largest(found: Mapping[str, Any], kind: str) -> float:
    """Return the largest relative difference of a loss in a precision."""
    return max(term["difference"] for case in found["examples"].values() for term in case[kind]["terms"].values())


def page(found: Mapping[str, Any]) -> str:
    """Return the comparison as a page in Markdown."""
    lines = []
    for case in found["examples"].values():
        single, double = (case[kind] for kind in PRECISIONS)
        for place, (term, kept) in enumerate(double["terms"].items()):
            first = f"{case['title']} (`{case['problem']}`)" if place == 0 else ""
            lines.append(
                f"| {first} | {term} | {kept['deepxde']:.10g} | {kept['phasecore']:.10g} | "
                f"{single['terms'][term]['difference']:.1g} | {kept['difference']:.1g} |"
            )
        lines.append(f"| | gradient | | | {single['gradient']:.1g} | {double['gradient']:.1g} |")
    ending = ENDING.format(largest=largest(found, "float32"), exact=largest(found, "float64"), aim=AIM)
    return HEADING.format(deepxde=found["deepxde"]) + "\n".join(lines) + "\n" + ending


def main() -> None:
    """Compare, print the table, and write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--print", action="store_true", help="write nothing")
    given = parser.parse_args()
    found = measured()
    print(page(found))
    if not given.print:
        RESULTS.write_text(json.dumps(found, indent=2) + "\n")
        PAGE.write_text(page(found))
    if max(largest(found, kind) for kind in PRECISIONS) > AIM:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
