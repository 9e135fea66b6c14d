"""Trainings in several processes, which is not supported yet."""

from __future__ import annotations

import warnings

import torch.distributed


def warn_of_processes(what: str) -> None:
    """Say so where a training has several processes, each of which sees its own points alone."""
    available = torch.distributed.is_available() and torch.distributed.is_initialized()
    processes = torch.distributed.get_world_size() if available else 1
    if processes > 1:
        warnings.warn(
            f"{what}: this training has {processes} processes. Weights and statistics are made of the points of each "
            "process alone: they differ from those of one process with all points.",
            stacklevel=4,
        )
