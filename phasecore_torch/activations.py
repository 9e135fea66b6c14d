"""Outputs of a model's activation functions, seen from outside while it runs: the model stays untouched."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.overrides import TorchFunctionMode

FUNCTIONS = frozenset(
    {
        *("atan", "celu", "cos", "elu", "erf", "gelu", "hardshrink", "hardsigmoid", "hardswish", "hardtanh"),
        *("leaky_relu", "logsigmoid", "mish", "prelu", "relu", "relu6", "rrelu", "selu", "sigmoid", "silu", "sin"),
        *("softplus", "softshrink", "softsign", "tanh", "tanhshrink", "threshold"),
    }
)
"""Names of torch's elementwise activation functions, as functions, as methods of tensors or in place (`tanh_`)."""


@final
class HiddenActivations:
    """The outputs of each hidden layer's activation function, in the order in which the model computes them.

    They are recorded as torch calls them, whether from a module (`nn.Tanh`) or from the model's own `forward`
    (`torch.tanh(...)`), where the argument has a row for each point and depends on trainable parameters: a fixed
    embedding of the inputs is no hidden layer. A module without parameters of its own that calls them, such as a
    user's `Swish` computing `x * torch.sigmoid(x)`, counts as one activation function. What a `forward` makes of an
    activation afterwards (a residual connection) is not part of it, and what the model returns is not hidden. Compiled
    graphs (`torch.jit`) hide what they call.

    Args:
        model: any callable; evaluated with gradients enabled.

    Example:
        >>> model = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 4), nn.SiLU(), nn.Linear(4, 1))
        >>> [tuple(values.shape) for values in HiddenActivations(model)(torch.zeros(5, 2))]
        [(5, 8), (5, 4)]
    """

    def __init__(self, model: Callable[..., Any]) -> None:
        self._model = model

    def __call__(self, *points: Tensor) -> list[Tensor]:
        """Return copies of the activations at the points, shape (n, neurons) each, without graph."""
        recorder = _Recorder(len(points[0]))
        handles = [register_module_forward_pre_hook(recorder.entered), register_module_forward_hook(recorder.left)]
        try:
            with torch.enable_grad(), recorder:
                returned = self._model(*points)
        finally:
            for handle in handles:
                handle.remove()
        return [copied for own, copied in recorder.recorded if own is not returned]

    def count(self, *points: Tensor) -> int:
        """Return the number of hidden layers that are found, 0 if the model cannot be watched."""
        try:
            return len(self(*points))
        except Exception:
            return 0


class _Recorder(TorchFunctionMode):
    """Records the results of activation functions, or of the parameterless modules around them."""

    def __init__(self, rows: int) -> None:
        super().__init__()
        self.recorded: list[tuple[Tensor, Tensor]] = []
        self._rows = rows
        self._starts: list[int] = []

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given = (*args, *(kwargs or {}).values())
        name = getattr(func, "__name__", "").rstrip("_")
        learned = name in FUNCTIONS and bool(given) and isinstance(given[0], Tensor) and given[0].requires_grad
        result = func(*args, **(kwargs or {}))
        if learned:
            self._record(result)
        return result

    def entered(self, module: nn.Module, inputs: Any) -> None:
        """Note how much was recorded before a module was called."""
        self._starts.append(len(self.recorded))

    def left(self, module: nn.Module, inputs: Any, output: Any) -> None:
        """Put the output of a parameterless module in place of what was recorded inside it."""
        start = self._starts.pop()
        elementwise = not any(True for _ in module.parameters()) and not any(True for _ in module.children())
        alike = bool(inputs) and self._fits(output) and getattr(inputs[0], "shape", None) == output.shape
        if elementwise and alike and len(self.recorded) > start:
            del self.recorded[start:]
            self._record(output)

    def _record(self, values: Any) -> None:
        if self._fits(values):
            # a copy: what comes next may change the activations in place
            self.recorded.append((values, values.detach().clone()))

    def _fits(self, values: Any) -> bool:
        return (
            isinstance(values, Tensor) and values.is_floating_point() and values.ndim == 2 and len(values) == self._rows
        )
