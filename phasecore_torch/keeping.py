"""Finding what a callable holds or reads, and putting it back as it was."""

from __future__ import annotations

import contextlib
import functools
import random
import sys
import sysconfig
import types
from collections import deque
from collections.abc import Callable, Iterable, MutableMapping, Set
from typing import Any, final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.lazy import LazyModuleMixin
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.nn.parallel import DistributedDataParallel

from phasecore_torch.wrapped import passed_by

LARGEST = 2**22
"""Most numbers of a tensor or array that is put back; of a module's own tensors any number."""

LONGEST = 100_000
"""Most entries of a container that is put back, and a hundredth of it the most that are looked into."""

VALUES = (bool, int, float, complex, str, bytes, type(None))
CONTAINERS = (list, dict, set, deque)
DATA = (*VALUES, *CONTAINERS, tuple, frozenset, Tensor, np.ndarray)
"""What an evaluation leaves behind as its state; functions and objects that it makes are left where they are."""

GENERATORS = (torch.Generator, np.random.Generator, np.random.RandomState, random.Random)
OF_MODULES = frozenset(vars(nn.Module())) - {"training"}
OWN = frozenset({"phasecore", "phasecore_torch"})


@final
class Keeper:
    """Keeps the state of what can be reached from an object: modules, tensors, arrays, generators, counters.

    Looked into are modules, functions with their closures, defaults and the globals that they name, methods, partial
    functions, containers, and objects of classes that no installed package defines.

    Example:
        >>> def counting():
        ...     running, calls = torch.zeros(1), []
        ...     return running, calls, lambda: calls.append(running.add_(1.0).item())
        >>> running, calls, evaluate = counting()
        >>> keeper = Keeper()
        >>> keeper.keep(evaluate)
        >>> evaluate()
        >>> running, calls
        (tensor([1.]), [1.0])
        >>> keeper.restore()
        >>> running, calls
        (tensor([0.]), [])
    """

    def __init__(self) -> None:
        self._seen: dict[int, Any] = {}
        self._undo: list[Callable[[], None]] = []

    def restore(self) -> None:
        """Put everything back."""
        with torch.no_grad():
            for undo in reversed(self._undo):
                undo()
        self._undo.clear()
        self._seen.clear()

    def keep(self, owner: Any) -> None:
        """Keep what can be reached from an object."""
        waiting = [owner]
        while waiting:
            found = waiting.pop()
            if not isinstance(found, (*VALUES, type)) and id(found) not in self._seen:
                self._seen[id(found)] = found
                waiting += self._enter(found)

    def _enter(self, found: Any) -> Iterable[Any]:
        """Keep what an object holds itself; return what is to be looked into."""
        if isinstance(found, Tensor):
            self._tensor(found, LARGEST)
        elif isinstance(found, np.ndarray):
            self._array(found)
        elif isinstance(found, GENERATORS):
            self._undo.append(_restored(found))
        elif isinstance(found, nn.Module):
            return self._module(found)
        elif isinstance(found, types.FunctionType):
            return self._function(found)
        elif isinstance(found, types.CellType):
            return self._cell(found)
        elif isinstance(found, types.MethodType):
            return (found.__self__, found.__func__)
        elif isinstance(found, functools.partial):
            return (found.func, *found.args, *found.keywords.values())
        elif isinstance(found, CONTAINERS):
            return self._container(found)
        elif isinstance(found, (tuple, frozenset)):
            return list(found)[: LONGEST // 100]
        elif hasattr(found, "__dict__") and not isinstance(found, types.ModuleType):
            package = type(found).__module__.partition(".")[0]
            if package in OWN:
                return list(vars(found).values())
            if not _is_installed(package):
                return self._namespace(vars(found))
        return ()

    def _tensor(self, tensor: Tensor, largest: float) -> None:
        if tensor.numel() > largest or tensor.layout != torch.strided or tensor.device.type == "meta":
            return
        # a subclass, such as one with labels, may want more of its methods than values
        before = tensor.as_subclass(Tensor).detach().clone()

        def undo() -> None:
            if tensor.shape == before.shape and not torch.equal(tensor.as_subclass(Tensor).detach(), before):
                # by way of `data`, as this is no change that a backward pass would have to mind
                tensor.as_subclass(Tensor).data.copy_(before)

        self._undo.append(undo)

    def _array(self, array: np.ndarray[Any, Any]) -> None:
        if array.size <= LARGEST and array.flags.writeable and array.dtype.kind in "biufc":
            before = array.copy()
            self._undo.append(lambda: np.copyto(array, before))

    def _module(self, module: nn.Module) -> Iterable[Any]:
        if isinstance(module, DistributedDataParallel):
            self._wrapper(module)
        inner = [*module.children(), *(hook for hooks in _hooks(module) for hook in hooks.values())]
        is_torch = type(module).__module__.startswith("torch.")
        buffers = list(module.buffers(recurse=False))
        # of torch's own layers embeddings alone change their weights as they are evaluated
        changing = not is_torch or getattr(module, "max_norm", None) is not None
        for tensor in [*buffers, *(module.parameters(recurse=False) if changing else ())]:
            if id(tensor) not in self._seen and not nn.parameter.is_lazy(tensor):
                self._seen[id(tensor)] = tensor
                self._tensor(tensor, float("inf"))
        if buffers and not isinstance(module, torch.jit.ScriptModule):
            self._namespace(module._buffers)
        if is_torch or (isinstance(module, LazyModuleMixin) and module.has_uninitialized_params()):
            return [*inner, getattr(module, "_orig_mod", None)]
        return [*inner, *self._namespace(vars(module), without=OF_MODULES)]

    def _wrapper(self, wrapper: DistributedDataParallel) -> None:
        """Have a wrapper take part in one evaluation at most, and no more in what it is to do in the next one."""
        hands_out = wrapper.require_forward_param_sync
        self._undo += [functools.partial(setattr, wrapper, "require_forward_param_sync", hands_out), passed_by(wrapper)]

    def _function(self, function: types.FunctionType) -> Iterable[Any]:
        defaults = (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values())
        within = [*(function.__closure__ or ()), *defaults, getattr(function, "__wrapped__", None)]
        if _is_installed((function.__module__ or "").partition(".")[0]):
            return within
        names = _names(function.__code__)
        reached = self._namespace(function.__globals__, names)
        files = [value for value in reached if isinstance(value, types.ModuleType)]
        own = [vars(file) for file in files if not _is_installed(file.__name__.partition(".")[0])]
        return [*within, *reached, *(value for file in own for value in self._namespace(file, names))]

    def _cell(self, cell: types.CellType) -> Iterable[Any]:
        try:
            before = cell.cell_contents
        except ValueError:
            return ()

        def undo() -> None:
            if cell.cell_contents is not before and isinstance(cell.cell_contents, DATA):
                cell.cell_contents = before

        self._undo.append(undo)
        return (before,)

    def _container(self, container: Any) -> Iterable[Any]:
        if len(container) > LONGEST:
            return ()
        before = _entries(container)

        def undo() -> None:
            now = _entries(container)
            if len(now) != len(before) or any(one is not other for one, other in zip(now, before, strict=True)):
                container.clear()
                if isinstance(container, dict):
                    container.update(zip(before[::2], before[1::2], strict=True))
                else:
                    (container.update if isinstance(container, set) else container.extend)(before)

        self._undo.append(undo)
        return before[: LONGEST // 100]

    def _namespace(
        self,
        namespace: MutableMapping[str, Any],
        names: Iterable[str] | None = None,
        without: Set[str] = frozenset(),
    ) -> list[Any]:
        """Keep what names stand for; of all names, if none are given, also that there are no others."""
        chosen = [name for name in namespace if name not in without] if names is None else names
        before = {name: namespace[name] for name in chosen if name in namespace}

        def undo() -> None:
            for name in list(namespace) if names is None else before:
                now = namespace.get(name)
                if name in before:
                    if now is not before[name] and isinstance(now, DATA):
                        namespace[name] = before[name]
                elif name not in without and isinstance(now, DATA):
                    del namespace[name]

        self._undo.append(undo)
        return list(before.values())


def modules_called(keeper: Keeper, function: Callable[..., Any], *args: Any) -> tuple[list[nn.Module], Any]:
    """Return the modules that a function calls, wherever they hide, and what it returns.

    What is compiled within runs as it is, so that it is seen.

    Args:
        keeper: keeps the modules before they run.
        function: that is called.
        args: with these arguments.
    """
    called: dict[int, nn.Module] = {}

    def entered(module: nn.Module, inputs: Any) -> None:
        called[id(module)] = module
        keeper.keep(module)

    handle = register_module_forward_pre_hook(entered)
    set_stance = getattr(torch.compiler, "set_stance", None)
    try:
        with contextlib.nullcontext() if set_stance is None else set_stance("force_eager"):
            returned = function(*args)
    finally:
        handle.remove()
    return list(called.values()), returned


def _hooks(module: nn.Module) -> list[Any]:
    """The hooks of a module that has some, by kind."""
    found = (vars(module).get(name) for name in ("_forward_pre_hooks", "_forward_hooks"))
    return [hooks for hooks in found if hooks]


def _restored(generator: Any) -> Callable[[], None]:
    """What puts a generator of random numbers back."""
    if isinstance(generator, np.random.Generator):
        return functools.partial(setattr, generator.bit_generator, "state", generator.bit_generator.state)
    if isinstance(generator, random.Random):
        return functools.partial(generator.setstate, generator.getstate())
    return functools.partial(generator.set_state, generator.get_state())


def _entries(container: Any) -> list[Any]:
    """What a container holds; of a dictionary keys and values in turn."""
    return [part for item in container.items() for part in item] if isinstance(container, dict) else list(container)


def _names(code: types.CodeType) -> set[str]:
    """The names that a function's code reads, with those of the functions within."""
    names = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names |= _names(constant)
    return names


@functools.cache
def _is_installed(package: str) -> bool:
    """Whether a package is the standard library's or an installed one, as opposed to a file of the user's."""
    if package in sys.stdlib_module_names or package in OWN:
        return True
    where = getattr(sys.modules.get(package), "__file__", None) or ""
    return where.startswith((sysconfig.get_path("purelib"), sysconfig.get_path("platlib")))
