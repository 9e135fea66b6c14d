"""DeepXDE on torch, TensorFlow or JAX (DDE_BACKEND), with the step that its `train` repeats; it has no attention.

The function of the equations returns the conditions too: DeepXDE hands its boundary conditions no derivatives on JAX.
This costs nothing, since it evaluates all points in one pass either way.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import deepxde as dde
import numpy as np
from deepxde import backend

from benchmarks.peers.contender import Arrays, Contender, layers, points_of_terms, sizes, timed
from benchmarks.peers.equations import EQUATIONS, Calculus, condition_values, deviations

NAME = backend.backend_name


class Jacobians(Calculus):
    """`dde.grad.jacobian`. On JAX, values to be differentiated are pairs of numbers and a function of one point."""

    def __init__(self, inputs: Any) -> None:
        self.inputs = inputs

    def gradient(self, values: Any) -> Sequence[Any]:
        """See `Calculus`."""
        return [dde.grad.jacobian(values, self.inputs, i=0, j=axis) for axis in range(self.inputs.shape[1])]

    def total(self, a: Any, b: Any) -> Any:
        """See `Calculus`."""
        return (a[0] + b[0], lambda point: a[1](point) + b[1](point)) if NAME == "jax" else a + b

    def value(self, values: Any) -> Any:
        """See `Calculus`."""
        return values[0] if NAME == "jax" else values

    def sine(self, values: Any) -> Any:
        """See `Calculus`."""
        return dde.backend.sin(values)


class DeepXDE(Contender):
    """See the module."""

    def __init__(self, problem: str, arrays: Arrays) -> None:
        self.equations = EQUATIONS[problem]
        own = points_of_terms(arrays)
        self.targets = {
            term: [target[:, None].astype(np.float32) for target in condition.targets(own[term])]
            if condition.targets
            else []
            for term, condition in self.equations.conditions.items()
        }
        ends = np.cumsum([len(arrays["interior"]), *map(len, own.values())])
        self.rows = [slice(begin, end) for begin, end in itertools.pairwise([0, *map(int, ends)])]
        anchors = np.concatenate([arrays["interior"], *own.values()])
        low, high = anchors.min(axis=0), anchors.max(axis=0)
        domain = dde.geometry.Interval(low[0], high[0]) if len(low) == 1 else dde.geometry.Rectangle(low, high)
        data = dde.data.PDE(domain, self._errors, [], anchors=anchors)
        net = dde.nn.FNN(sizes(arrays), "tanh", "Glorot normal")
        self.model = dde.Model(data, net)
        self.model.compile("adam", lr=1e-3, verbose=0)
        self._load(arrays)
        self.batch = data.train_next_batch()

    def _load(self, arrays: Arrays) -> None:
        net = self.model.net
        if NAME == "pytorch":
            from benchmarks.peers.torch_network import load

            load(net, arrays)
        elif NAME == "tensorflow":
            net(self.model.data.train_x[:1])
            for dense, (matrix, bias) in zip(net.denses, layers(arrays), strict=True):
                dense.set_weights([matrix, bias])
        else:
            import jax.numpy as jnp

            loaded = {
                f"denses_{k}": {"kernel": jnp.asarray(matrix), "bias": jnp.asarray(bias)}
                for k, (matrix, bias) in enumerate(layers(arrays))
            }
            net.params = {"params": loaded}
            self.model.params = [net.params, self.model.params[1]]
            self.model.opt_state = self.model.opt.init(self.model.params)

    def _errors(self, inputs: Any, outputs: Any) -> list[Any]:
        """Residuals and deviations of each term, each reduced to its own mean square by DeepXDE."""
        calculus = Jacobians(inputs)
        columns = [self._column(outputs, k) for k in range(len(self.equations.outputs))]
        at = [inputs[:, k : k + 1] for k in range(len(self.equations.coordinates))]
        interior, *others = self.rows
        residuals = self.equations.residuals(columns, at, calculus)
        errors = [residual[interior] for residual in residuals.values()]
        for rows, (term, condition) in zip(others, self.equations.conditions.items(), strict=True):
            values = [value[rows] for value in condition_values(condition, columns, self.equations, calculus)]
            targets = [dde.backend.as_tensor(target) for target in self.targets[term]]
            errors.append(self._joined(deviations(condition, values, targets)))
        self.terms = [*residuals, *self.equations.conditions]
        return errors

    @staticmethod
    def _column(outputs: Any, k: int) -> Any:
        if NAME != "jax":
            return outputs[:, k : k + 1]
        values, function = outputs
        return values[:, k : k + 1], lambda point: function(point)[k : k + 1]

    @staticmethod
    def _joined(parts: list[Any]) -> Any:
        if len(parts) == 1:
            return parts[0]
        if NAME == "pytorch":
            return backend.lib.cat(parts)
        return backend.lib.concat(parts, 0) if NAME == "tensorflow" else backend.lib.numpy.concatenate(parts)

    def losses(self) -> dict[str, float]:
        """See `Contender`."""
        _, losses = self.model._outputs_losses(True, *self.batch)
        return dict(zip(self.terms, map(float, losses), strict=True))

    def train(self, steps: int) -> float:
        """See `Contender`."""
        return timed(lambda: self.model._train_step(*self.batch), steps, self._wait)

    def _wait(self) -> None:
        if NAME == "pytorch":
            from benchmarks.peers.torch_network import wait

            wait()
        elif NAME == "tensorflow":
            self.model.net.trainable_variables[0].numpy()
        else:
            backend.lib.block_until_ready(self.model.params)
