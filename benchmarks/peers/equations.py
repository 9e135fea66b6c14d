"""The problems written once more, for the peers: no formula of phasecore is used, so equal losses mean something.

The residuals take the fewest passes of reverse-mode autodiff that we know of, one for each `gradient`: the cavity's
viscous terms are the gradient of one Laplacian.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

Targets = Callable[[Any], Sequence[Any]]


class Calculus(ABC):
    """What a framework differentiates with. Values are of shape (n,) or (n, 1)."""

    @abstractmethod
    def gradient(self, values: Any) -> Sequence[Any]:
        """Return the derivative with respect to each coordinate, to be differentiated again."""

    @abstractmethod
    def sine(self, values: Any) -> Any:
        """Return the sine of coordinates."""

    def total(self, a: Any, b: Any) -> Any:
        """Return a sum that is to be differentiated again."""
        return a + b

    def value(self, values: Any) -> Any:
        """Return plain numbers, for arithmetic alone."""
        return values


class Condition(NamedTuple):
    """The partials that a term of conditions reads, and their targets at its points; no targets: they are periodic."""

    partials: tuple[str, ...]
    targets: Targets | None


class Equations(NamedTuple):
    """A problem: names of coordinates and outputs, `residuals(outputs, coordinates, calculus)`, conditions by term."""

    coordinates: tuple[str, ...]
    outputs: tuple[str, ...]
    residuals: Callable[[Sequence[Any], Sequence[Any], Calculus], dict[str, Any]]
    conditions: Mapping[str, Condition]


def _allen_cahn(outputs: Sequence[Any], at: Sequence[Any], calculus: Calculus) -> dict[str, Any]:
    u_x, u_t = calculus.gradient(outputs[0])
    u_xx, _ = calculus.gradient(u_x)
    u, u_t, u_xx = (calculus.value(part) for part in (outputs[0], u_t, u_xx))
    return {"pde": u_t - 1e-4 * u_xx + 5.0 * u * u * u - 5.0 * u}


def _burgers(outputs: Sequence[Any], at: Sequence[Any], calculus: Calculus) -> dict[str, Any]:
    u_x, u_t = calculus.gradient(outputs[0])
    u_xx, _ = calculus.gradient(u_x)
    u, u_x, u_t, u_xx = (calculus.value(part) for part in (outputs[0], u_x, u_t, u_xx))
    return {"pde": u_t + u * u_x - 0.01 / math.pi * u_xx}


def _helmholtz(outputs: Sequence[Any], at: Sequence[Any], calculus: Calculus) -> dict[str, Any]:
    u_x, u_y = calculus.gradient(outputs[0])
    u_xx, u_yy = calculus.gradient(u_x)[0], calculus.gradient(u_y)[1]
    u, u_xx, u_yy = (calculus.value(part) for part in (outputs[0], u_xx, u_yy))
    exact = calculus.sine(math.pi * at[0]) * calculus.sine(4 * math.pi * at[1])
    return {"pde": u_xx + u_yy + u - (1 - 17 * math.pi**2) * exact}


def _lid_driven_cavity(outputs: Sequence[Any], at: Sequence[Any], calculus: Calculus) -> dict[str, Any]:
    stream, pressure = outputs
    stream_x, stream_y = calculus.gradient(stream)
    stream_xx, stream_xy = calculus.gradient(stream_x)
    _, stream_yy = calculus.gradient(stream_y)
    vorticity_x, vorticity_y = map(calculus.value, calculus.gradient(calculus.total(stream_xx, stream_yy)))
    p_x, p_y = map(calculus.value, calculus.gradient(pressure))
    u, v = calculus.value(stream_y), -calculus.value(stream_x)
    u_x, u_y = calculus.value(stream_xy), calculus.value(stream_yy)
    v_x, v_y = -calculus.value(stream_xx), -calculus.value(stream_xy)
    return {
        "momentum_x": u * u_x + v * u_y + p_x - vorticity_y / 100.0,
        "momentum_y": u * v_x + v * v_y + p_y + vorticity_x / 100.0,
    }


def _of_order(order: int) -> Equations:
    def residuals(outputs: Sequence[Any], at: Sequence[Any], calculus: Calculus) -> dict[str, Any]:
        derivative = outputs[0]
        for _ in range(order):
            (derivative,) = calculus.gradient(derivative)
        return {"pde": calculus.value(derivative)}

    return Equations(("x",), ("u",), residuals, {"boundary": _fixed("u", 0.0)})


def _fixed(partial: str, value: float) -> Condition:
    return Condition((partial,), lambda points: [np.full(len(points), value)])


EQUATIONS = {
    "allen_cahn": Equations(
        ("x", "t"),
        ("u",),
        _allen_cahn,
        {
            "initial": Condition(("u",), lambda points: [points[:, 0] ** 2 * np.cos(np.pi * points[:, 0])]),
            "boundary": Condition(("u", "u_x"), None),
        },
    ),
    "burgers": Equations(
        ("x", "t"),
        ("u",),
        _burgers,
        {
            "initial": Condition(("u",), lambda points: [-np.sin(np.pi * points[:, 0])]),
            "boundary": _fixed("u", 0.0),
        },
    ),
    "helmholtz": Equations(("x", "y"), ("u",), _helmholtz, {"boundary": _fixed("u", 0.0)}),
    "lid_driven_cavity": Equations(
        ("x", "y"),
        ("psi", "p"),
        _lid_driven_cavity,
        {
            "boundary": Condition(
                ("psi_y", "psi_x"), lambda points: [np.where(points[:, 1] == 1.0, 1.0, 0.0), np.zeros(len(points))]
            )
        },
    ),
    **{f"order_{order}": _of_order(order) for order in (1, 2, 3, 4)},
}


def condition_values(
    condition: Condition, outputs: Sequence[Any], equations: Equations, calculus: Calculus
) -> list[Any]:
    """Return the partials that a condition reads, at all the points that the outputs were evaluated at."""
    values = []
    gradients: dict[str, Sequence[Any]] = {}
    for name in condition.partials:
        output, _, axis = name.partition("_")
        value = outputs[equations.outputs.index(output)]
        if axis:
            gradients[output] = gradients.get(output) or calculus.gradient(value)
            value = gradients[output][equations.coordinates.index(axis)]
        values.append(calculus.value(value))
    return values


def deviations(condition: Condition, values: Sequence[Any], targets: Sequence[Any]) -> list[Any]:
    """Return what the condition's partials lack, given their values at its own points."""
    if condition.targets is None:
        return [value[: len(value) // 2] - value[len(value) // 2 :] for value in values]
    return [value - target for value, target in zip(values, targets, strict=True)]
