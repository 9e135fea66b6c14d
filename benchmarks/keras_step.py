"""Time of one iteration of `PINN.fit` against a hand-written compiled step of the same backend with the same jets.

Burgers, 10 000 points in one batch, residual-based attention, Adam. Run once per backend of Keras:

    KERAS_BACKEND=jax python benchmarks/keras_step.py

The hand-written step is `tf.function(jit_compile=True)` with TensorFlow, `jax.jit` with JAX, eager with torch; it needs
neither indices nor metrics nor Keras' training loop. Both are timed in turn, in one process, and the median of the
ratios is printed. `--capture` times one capture of all probes too; `--deepxde` the same problem in DeepXDE on the same
backend, where it is installed.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

import phasecore
import phasecore_keras

GAMMA, ETA = 0.999, 0.001


class EpochClock(keras.callbacks.Callback):
    """Notes when each epoch ends."""

    def __init__(self) -> None:
        super().__init__()
        self.ends: list[float] = []

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Note the time."""
        self.ends.append(time.perf_counter())

    def per_epoch(self) -> float:
        """Return the mean time of an epoch, without the first, in which `fit` sets itself up."""
        return (self.ends[-1] - self.ends[0]) / (len(self.ends) - 1)


def network(depth: int, width: int) -> keras.Sequential:
    hidden = [keras.layers.Dense(width, activation="tanh") for _ in range(depth)]
    return keras.Sequential([keras.Input((2,)), *hidden, keras.layers.Dense(1)])


def made(depth: int, width: int, points: int, **compile_options: Any) -> tuple[Any, dict[str, Any]]:
    pinn = phasecore_keras.PINN(network(depth, width), phasecore.problem("burgers"), weighting="rba")
    pinn.compile(optimizer=keras.optimizers.Adam(1e-3), **compile_options)
    return pinn, pinn.points(points, seed=0)


def hand_written(depth: int, width: int, points: int) -> Callable[[], Any]:
    """A step with the same jets and nothing else."""
    pinn, data = made(depth, width, points)
    physics, optimizer = pinn.physics, keras.optimizers.Adam(1e-3)
    variables = pinn.trainable_variables
    optimizer.build(variables)
    coordinates = ops.convert_to_tensor(data["coordinates"])

    def loss_of(weights: Any) -> tuple[Any, Any]:
        residual = physics.residuals_at(coordinates)["pde"]
        size = ops.abs(ops.stop_gradient(residual))
        weights = GAMMA * weights + ETA * size / ops.max(size)
        return ops.mean(ops.square(weights * residual)) + physics.shared_loss({}), weights

    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        state = tf.Variable(tf.zeros(points))

        @tf.function(jit_compile=True)
        def tf_step() -> Any:
            with tf.GradientTape() as tape:
                loss, weights = loss_of(state)
            gradients = tape.gradient(loss, [v.value for v in variables])
            optimizer.apply(gradients, variables)
            state.assign(weights)
            return loss

        return lambda: tf_step().numpy()
    if backend == "jax":
        import jax

        def pure(values: Any, weights: Any) -> Any:
            with keras.StatelessScope(list(zip(variables, values, strict=True))):
                return loss_of(weights)

        def jax_step(values: Any, rest: Any, weights: Any) -> Any:
            (loss, weights), gradients = jax.value_and_grad(pure, has_aux=True)(values, weights)
            values, rest = optimizer.stateless_apply(rest, gradients, values)
            return loss, values, rest, weights

        compiled = jax.jit(jax_step, donate_argnums=(0, 1, 2))
        copies = [[ops.copy(v.value) for v in group] for group in (variables, optimizer.variables)]
        held = [*copies, ops.zeros(points)]

        def run() -> float:
            loss, *held[:] = compiled(*held)
            return float(loss)

        return run
    import torch

    held = [ops.zeros(points)]

    def torch_step() -> float:
        loss, weights = loss_of(held[0])
        held[0] = weights.detach()
        gradients = torch.autograd.grad(loss, [v.value for v in variables], allow_unused=True, materialize_grads=True)
        with torch.no_grad():
            optimizer.apply(gradients, variables)
        return float(loss.detach())

    return torch_step


def deepxde_model(depth: int, width: int, points: int) -> Any:
    """The same equation, network and number of points in DeepXDE."""
    os.environ["DDE_BACKEND"] = {"torch": "pytorch"}.get(keras.backend.backend(), keras.backend.backend())
    import deepxde as dde

    def value(derivative: Any) -> Any:
        return derivative[0] if isinstance(derivative, tuple) else derivative

    def residual(x: Any, u: Any) -> Any:
        slope, rate = (value(dde.grad.jacobian(u, x, i=0, j=axis)) for axis in (0, 1))
        return rate + value(u) * slope - 0.01 / np.pi * value(dde.grad.hessian(u, x, i=0, j=0))

    domain = dde.geometry.GeometryXTime(dde.geometry.Interval(-1, 1), dde.geometry.TimeDomain(0, 1))
    walls = dde.icbc.DirichletBC(domain, lambda x: 0, lambda _, on_boundary: on_boundary)
    start = dde.icbc.IC(domain, lambda x: -np.sin(np.pi * x[:, :1]), lambda _, on_initial: on_initial)
    data = dde.data.TimePDE(
        domain, residual, [walls, start], num_domain=points - 600, num_boundary=400, num_initial=200
    )
    model = dde.Model(data, dde.nn.FNN([2, *[width] * depth, 1], "tanh", "Glorot normal"))
    model.compile("adam", lr=1e-3, verbose=0)
    return model


def timed(step: Callable[[], Any], steps: int) -> float:
    began = time.perf_counter()
    for _ in range(steps):
        step()
    return (time.perf_counter() - began) / steps


def measure(depth: int, width: int, points: int, steps: int, rounds: int, *, capture: bool, deepxde: bool) -> None:
    ways: dict[str, dict[str, Any]] = {"fit": {}}
    if keras.backend.backend() == "tensorflow":
        ways["fit(jit_compile=False)"] = {"jit_compile": False}
    step = hand_written(depth, width, points)
    models = {name: made(depth, width, points, **options) for name, options in ways.items()}
    for model, data in models.values():
        model.fit(data, epochs=2, verbose=0)
    timed(step, 2)
    alone: list[float] = []
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        alone.append(timed(step, steps))
        for name, (model, data) in models.items():
            clock = EpochClock()
            model.fit(data, epochs=steps + 1, verbose=0, callbacks=[clock])
            found[name].append(clock.per_epoch())
    print(f"{keras.backend.backend()}, {depth} x {width}, {points} points:")
    print(f"  hand-written step         {1e3 * statistics.median(alone):8.1f} ms")
    for name, times in found.items():
        ratio = statistics.median(a / b for a, b in zip(times, alone, strict=True))
        print(f"  {name:25s} {1e3 * statistics.median(times):8.1f} ms   ratio {ratio:.2f}")
    if deepxde:
        other = deepxde_model(depth, width, points)
        other.train(iterations=3, display_every=10**9, verbose=0)
        model, data = models["fit"]
        ratios, times = [], []
        for _ in range(rounds):
            began = time.perf_counter()
            other.train(iterations=steps, display_every=10**9, verbose=0)
            times.append((time.perf_counter() - began) / steps)
            clock = EpochClock()
            model.fit(data, epochs=steps + 1, verbose=0, callbacks=[clock])
            ratios.append(clock.per_epoch() / times[-1])
        spent, ratio = statistics.median(times), statistics.median(ratios)
        print(f"  DeepXDE                   {1e3 * spent:8.1f} ms   fit takes {ratio:.2f} of it")
    if capture:
        model, _ = models["fit"]
        probe = phasecore_keras.Capture(model)
        probe.measure()
        spent = timed(probe.measure, 3)
        print(f"  one capture               {1e3 * spent:8.1f} ms   {spent / statistics.median(alone):.2f} steps")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=10_000)
    parser.add_argument("--steps", type=int, default=10, help="per round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sizes", default="4x64,6x128", help="depth x width, comma-separated")
    parser.add_argument("--capture", action="store_true")
    parser.add_argument("--deepxde", action="store_true")
    options = parser.parse_args()
    for size in options.sizes.split(","):
        depth, width = (int(part) for part in size.split("x"))
        measure(
            depth,
            width,
            options.points,
            options.steps,
            options.rounds,
            capture=options.capture,
            deepxde=options.deepxde,
        )


if __name__ == "__main__":
    main()
