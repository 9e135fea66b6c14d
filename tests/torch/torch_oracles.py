"""Slow, plain ways to compute what the adapter computes, in any dtype, for comparison."""

import copy
import itertools
import math

import torch
from torch import nn

from phasecore.partials import parse_partial
from phasecore_torch.namespace import namespace


def mlp(inputs=2, outputs=1, activation=nn.Tanh, width=16, depth=2, dtype=torch.float32, seed=0):
    """A fully connected network that is the same for the same seed, whatever the dtype."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        sizes = [inputs, *[width] * depth, outputs]
        layers = []
        for a, b in itertools.pairwise(sizes):
            layers += [nn.Linear(a, b), activation()]
        return nn.Sequential(*layers[:-1]).to(dtype)


def double(model):
    """The same model in float64."""
    return copy.deepcopy(model).double()


def nested_partial(values, points, operator):
    """Apply an operator to values of shape (n,), one axis after the other."""
    total = torch.zeros_like(values)
    for exponents, factor in operator:
        derivative = values
        for axis, count in enumerate(exponents):
            for _ in range(count):
                if derivative.requires_grad:
                    (gradient,) = torch.autograd.grad(derivative.sum(), points, create_graph=True, allow_unused=True)
                    derivative = torch.zeros_like(derivative) if gradient is None else gradient[:, axis]
                else:
                    derivative = torch.zeros_like(derivative)
        total = total + factor * derivative
    return total


def nested_partials(model, points, outputs, coordinates, names, factors=None):
    points = points.detach().clone().requires_grad_()
    values = model(points)
    parsed = {name: parse_partial(name, outputs, coordinates, factors) for name in names}
    return {
        name: sum(
            math.prod((factors[factor] for factor in summand.factors), start=1.0)
            * nested_partial(values[:, outputs.index(partial.output)], points, summand.operator)
            for summand in partial.summands
        )
        for name, partial in parsed.items()
    }


def nested_residuals(problem, model, points):
    """Residuals of a problem's equations at a tensor of points, by nested autodiff."""
    names = problem.all_partials()
    partials = nested_partials(model, points, problem.outputs, problem.coordinates, names, problem.parameters)
    columns = {name: points[:, axis] for axis, name in enumerate(problem.coordinates)}
    return problem.residuals(columns, partials, namespace)


def nested_conditions(problem, model, condition_points):
    """Residuals of the condition terms, condition by condition."""
    terms = {}
    for condition, array in zip(problem.conditions, condition_points, strict=True):
        points = torch.as_tensor(array, dtype=next(model.parameters()).dtype)
        partials = nested_partials(model, points, problem.outputs, problem.coordinates, condition.partials)
        columns = {name: array[:, axis] for axis, name in enumerate(problem.coordinates)}
        targets = {
            name: torch.tensor(values.tolist(), dtype=points.dtype)
            for name, values in condition.targets(columns).items()
        }
        terms.setdefault(condition.term, []).append(condition.residuals(partials, targets, namespace))
    return {term: torch.cat(parts) for term, parts in terms.items()}


def batch_gradients(model, losses):
    """For each batch loss the gradients of the weight matrices, as float64."""
    weights = [parameter for parameter in model.parameters() if parameter.ndim >= 2]
    rows = []
    for loss in losses:
        gradients = torch.autograd.grad(loss, weights, retain_graph=True, allow_unused=True)
        rows.append(
            [(torch.zeros_like(w) if g is None else g).double() for g, w in zip(gradients, weights, strict=True)]
        )
    return rows


def gradient_statistics(rows):
    """SNR, gradient order and the norms per layer of float64 batch gradients, by the definitions, two passes."""
    row, means, deviations, squares = {}, [], [], []
    for k, layer in enumerate(zip(*rows, strict=True)):
        gradients = torch.stack(layer)
        mean = gradients.mean(0)
        deviation = (gradients - mean).square().mean(0).sqrt()
        row[f"layer{k}_mean_norm"], row[f"layer{k}_std_norm"] = float(mean.norm()), float(deviation.norm())
        means.append(row[f"layer{k}_mean_norm"])
        deviations.append(row[f"layer{k}_std_norm"])
        squares.append(float(gradients.square().mean(0).sqrt().norm()))
    row["gradient_mean_norm"], row["gradient_std_norm"] = math.hypot(*means), math.hypot(*deviations)
    row["snr"] = row["gradient_mean_norm"] / row["gradient_std_norm"]
    row["gradient_order"] = row["gradient_mean_norm"] / math.hypot(*squares)
    return row


def relative(got, expected):
    """Norm of the difference over the norm, as float."""
    got, expected = got.detach().double(), expected.detach().double()
    return float((got - expected).norm() / expected.norm())
