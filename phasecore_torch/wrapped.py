"""Models in `DistributedDataParallel`, which hands out their buffers each time that they are evaluated.

All processes would have to evaluate a model equally often. Where points are cut into blocks or batches they do not: so
the first evaluation goes through the wrapper, and the others past it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel


@contextlib.contextmanager
def passing_by(model: object, *, from_the_first: bool = False) -> Iterator[None]:
    """Let the wrappers of a model take part in its first evaluation within, and in no other one.

    Args:
        model: any; only in a module are wrappers found.
        from_the_first: let them take part in none.
    """
    with contextlib.ExitStack() as stack:
        for wrapper in _wrappers_of(model):
            stack.callback(passed_by(wrapper, from_the_first=from_the_first))
        yield


def passed_by(wrapper: DistributedDataParallel, *, from_the_first: bool = False) -> Callable[[], None]:
    """Have what is in a wrapper evaluated past it, once it has been evaluated through it.

    Nothing is done where it has no buffers, or where this was done before and has not ended.

    Args:
        wrapper: around a module.
        from_the_first: past it the first time, too.

    Returns:
        What ends it.
    """
    own = vars(wrapper)
    if "forward" in own or next(wrapper.module.buffers(), None) is None:
        return lambda: None
    through: Callable[..., Any] = wrapper.forward
    # a method, so that it is no second place of the module
    beside = wrapper.module.__call__

    def first(*args: Any, **kwargs: Any) -> Any:
        own["forward"] = beside
        return through(*args, **kwargs)

    own["forward"] = beside if from_the_first else first

    def leave() -> None:
        del own["forward"]

    return leave


def _wrappers_of(model: object) -> list[DistributedDataParallel]:
    can_be = distributed.is_available() and distributed.is_initialized()
    modules = model.modules() if can_be and isinstance(model, nn.Module) else ()
    return [module for module in modules if isinstance(module, DistributedDataParallel)]
