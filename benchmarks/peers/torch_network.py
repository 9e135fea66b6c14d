"""The same network in torch, for every contender that is built on it."""

from __future__ import annotations

import itertools

import torch
from torch import nn

from benchmarks.peers.contender import Arrays, layers, sizes


def device() -> torch.device:
    """Return the accelerator that the worker may see, or the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def wait() -> None:
    """Let all that was started be done."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def network(arrays: Arrays) -> nn.Sequential:
    """Return a fully connected tanh network with the given parameters."""
    modules: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(sizes(arrays)):
        modules += [nn.Linear(inputs, outputs), nn.Tanh()]
    model = nn.Sequential(*modules[:-1])
    load(model, arrays)
    return model.to(device())


def load(model: nn.Module, arrays: Arrays) -> None:
    """Give the linear layers of a model, in order, the given parameters."""
    linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
    with torch.no_grad():
        for module, (matrix, bias) in zip(linear, layers(arrays), strict=True):
            module.weight.copy_(torch.as_tensor(matrix.T))
            module.bias.copy_(torch.as_tensor(bias))
