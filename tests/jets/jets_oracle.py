"""Derivatives by nested autodiff in float64, one axis after the other: slow, and nothing in common with jets."""

import torch


def differentiate(values, points, operator):
    """Apply an operator of `phasecore.partials` to values of shape (n,) that depend on points row by row."""
    total = torch.zeros_like(values)
    for exponents, factor in operator:
        derivative = values
        for axis, count in enumerate(exponents):
            for _ in range(count):
                derivative = gradient(derivative, points)[:, axis]
        total = total + factor * derivative
    return total


def gradient(values, points):
    if not values.requires_grad:
        return torch.zeros_like(points)
    (result,) = torch.autograd.grad(values.sum(), points, create_graph=True, allow_unused=True)
    return torch.zeros_like(points) if result is None else result
