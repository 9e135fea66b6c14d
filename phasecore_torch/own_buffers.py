"""What each process has of its own stays so where `DistributedDataParallel` is put around a module that holds a loss.

It hands out the buffers of the first process as it is made, and each time that the module is called. Those of a loss
are its points, what conditions prescribe there and the weights: where processes have parts of the points, other ones
in each.
"""

from __future__ import annotations

import functools
from typing import Any

from torch import nn
from torch.nn.modules.module import register_module_module_registration_hook
from torch.nn.parallel import DistributedDataParallel

from phasecore_torch.layout import digest_of_points
from phasecore_torch.processes import of_all


@functools.cache
def spare_own_buffers(of: type[nn.Module]) -> None:
    """Have every wrapper that is made from now on pass over the buffers of losses whose points differ by process.

    Args:
        of: the class of the losses.
    """
    register_module_module_registration_hook(functools.partial(_spare, of))


def _spare(of: type[nn.Module], wrapper: nn.Module, name: str, held: nn.Module | None) -> None:
    if not isinstance(wrapper, DistributedDataParallel) or held is None:
        return
    for path, loss in held.named_modules():
        if isinstance(loss, of) and _in_parts(loss, wrapper.process_group):
            # the wrapper reads this once it has what it holds
            wrapper.parameters_to_ignore |= {f"{path}.{name}".lstrip(".") for name, _ in loss.named_buffers()}


def _in_parts(loss: Any, group: Any) -> bool:
    return len(set(of_all(digest_of_points(loss), group))) > 1
