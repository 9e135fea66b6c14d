"""Where torch computes, and what suits it there: dtype and device of a model, the cache of a CPU, its threads."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

CACHED_NUMBERS = 2**17
"""How many activations of a layer a block may have on a CPU: half a megabyte in float32."""


def placement(model: object, points: object) -> tuple[torch.dtype, torch.device]:
    """Return where the model computes: as its parameters say, else as points that are a tensor do, else by default."""
    owned = itertools.chain(model.parameters(), model.buffers()) if isinstance(model, nn.Module) else ()
    for tensor in (*owned, points):
        if isinstance(tensor, Tensor) and (tensor.is_floating_point() or tensor.is_complex()):
            return tensor.dtype.to_real(), tensor.device
    return torch.get_default_dtype(), torch.get_default_device()


def points_in_cache(points: Tensor, width: int) -> int:
    """Return how many points a block may have by default: all on an accelerator, else what suits the cache."""
    return max(len(points), 1) if points.device.type != "cpu" else max(256, CACHED_NUMBERS // width)


def threads_of(points: Tensor) -> int:
    """Return among how many threads torch shares work on points: 1 on an accelerator."""
    return torch.get_num_threads() if points.device.type == "cpu" else 1
