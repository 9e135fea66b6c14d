"""Gradients as statistics take them: dense, of real numbers, and only where there are some."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakTensorKeyDictionary

_COORDINATES = WeakTensorKeyDictionary()


def plain(values: Tensor) -> Tensor:
    """Return values as dense real numbers; complex ones as pairs along a last axis, as torch's optimizers see them.

    Example:
        >>> plain(torch.tensor([1 + 2j])), plain(torch.tensor([3.0]).to_sparse())
        (tensor([[1., 2.]]), tensor([3.]))
    """
    dense = values.detach()
    dense = dense if dense.layout == torch.strided else dense.to_dense()
    return torch.view_as_real(dense.resolve_conj()) if dense.is_complex() else dense


def widened(values: Tensor) -> Tensor:
    """Return values in float64, which Apple's devices lack."""
    return values.cpu().double() if values.device.type == "mps" else values.double()


def gradients(loss: Tensor, parameters: Iterable[Tensor], *, retain_graph: bool = False) -> list[Tensor | None]:
    """Return the gradient of a scalar, see `plain`, for each parameter; None for one that it does not depend on.

    The gradients that the parameters hold stay as they are.

    Example:
        >>> weight, spare = torch.ones(2, requires_grad=True), torch.ones(2, requires_grad=True)
        >>> gradients(weight.sum(), [weight, spare])
        [tensor([1., 1.]), None]
    """
    wanted = list(parameters)
    if not loss.requires_grad or not wanted:
        return [None] * len(wanted)
    found = torch.autograd.grad(loss, wanted, retain_graph=retain_graph, allow_unused=True)
    return [None if gradient is None else plain(gradient) for gradient in found]


def filled(found: Iterable[Tensor | None], parameters: Iterable[Tensor]) -> list[Tensor]:
    """Return gradients, see `plain`, with zeros for each parameter that has none.

    Example:
        >>> filled([None, torch.ones(1)], [torch.zeros(2), torch.zeros(1)])
        [tensor([0., 0.]), tensor([1.])]
    """
    return [
        plain(torch.zeros_like(parameter, layout=torch.strided)) if gradient is None else gradient
        for gradient, parameter in zip(found, parameters, strict=True)
    ]


def coordinates_of(points: Tensor) -> Tensor:
    """Return points as coordinates that derivatives can be taken with respect to."""
    coordinates = points.detach().requires_grad_(True)
    _COORDINATES[coordinates] = None
    return coordinates


def leaves(values: Tensor | Sequence[Tensor]) -> list[Tensor]:
    """Return the tensors that autograd would give gradients to: all that is trained of what values were computed from.

    Coordinates that nested derivatives are taken with respect to are none, see `coordinates_of`.
    """
    found: dict[int, Tensor] = {}
    nodes: list[Any] = [own.grad_fn for own in ([values] if isinstance(values, Tensor) else values)]
    seen: set[Any] = {None}
    while nodes:
        node = nodes.pop()
        if node not in seen:
            seen.add(node)
            variable = getattr(node, "variable", None)
            if variable is None:
                nodes += [following for following, _ in node.next_functions]
            elif variable not in _COORDINATES:
                found[id(variable)] = variable
    return list(found.values())


def trained(
    model: object, values: Sequence[Tensor], again: Callable[[], Sequence[Tensor]] | None = None
) -> dict[str, Tensor]:
    """Return all that is trained of a model, by its names, and what else values depend on, such as a coefficient.

    Args:
        model: any; only a module has names.
        values: with their graph.
        again: evaluates them once more: what they then do not depend on was made for one evaluation, such as
            coordinates that derivatives were taken with respect to, and is not trained.
    """
    named: Mapping[str, Tensor] = dict(model.named_parameters()) if isinstance(model, nn.Module) else {}
    found = {name: parameter for name, parameter in named.items() if parameter.requires_grad}
    known = {id(parameter) for parameter in named.values()}
    others = [leaf for leaf in leaves(values) if id(leaf) not in known]
    if others and again is not None:
        lasting = {id(leaf) for leaf in leaves(again())}
        others = [leaf for leaf in others if id(leaf) in lasting]
    return found | {f"parameter_{place}": leaf for place, leaf in enumerate(others)}
