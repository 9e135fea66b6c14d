"""Trains the same networks on one device and on several, and prints what came out: `distribution_worker.py CASE...`."""

import contextlib
import json
import sys

import keras
import numpy as np

import phasecore
from phasecore import InputError
from phasecore_keras import PINN, PhaseMonitor, Resampling
from phasecore_keras.acting import hindrances
from phasecore_keras.autodiff import to_numpy

POINTS = 31
"""Neither these nor the last batch of 10 can be dealt out evenly."""

X = np.random.default_rng(0).normal(size=(64, 3))
Y = X.sum(axis=1, keepdims=True)


class ChangesWeighting(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 1:
            self.model.change_weighting("rba:gamma=0.9")


def network(inputs):
    model = keras.Sequential([keras.Input((inputs,)), keras.layers.Dense(6, activation="tanh"), keras.layers.Dense(1)])
    generator = np.random.default_rng(0)
    for variable in model.variables:
        variable.assign(0.5 * generator.normal(size=variable.shape))
    return model


def pinn(scope, case):
    """Train a PINN: on batches, or as the second word says; and use it in all ways but where that is "fit"."""
    weighting, _, way = case.partition(" ")
    with scope:
        viscosity = phasecore.trained(0.01, positive=True, learning_rate=0.02) if way == "trained" else 0.01
        model = PINN(network(2), phasecore.problem("burgers", viscosity=viscosity), weighting=weighting)
        options = {"eagerly": {"run_eagerly": True}, "several": {"steps_per_execution": 2}}.get(way, {})
        model.compile(keras.optimizers.SGD(0.05), **options)
    points = model.points(POINTS, seed=0)
    callbacks = {
        "added": [Resampling("rar_d:every=2,added=4,candidates=50", seed=0)],
        "moved": [Resampling("uniform:every=3", seed=0)],
        "changed": [ChangesWeighting()],
    }.get(way, [])
    captures = [] if callbacks else [PhaseMonitor(every=2, batches=5, probes=["gradient_snr", "residual_order"])]
    data, batch_size = points, None if way in ("whole", "added") else 10
    if way == "dataset":
        import tensorflow as tf

        data, batch_size = tf.data.Dataset.from_tensor_slices(points).batch(10), None
    history = model.fit(
        data, batch_size=batch_size, epochs=3, shuffle=False, verbose=0, callbacks=[*captures, *callbacks]
    ).history
    found = {f"history of {name}": values for name, values in history.items()}
    found["variables"] = np.concatenate([to_numpy(variable.value).ravel() for variable in model.trainable_variables])
    found["weights"] = to_numpy(model.physics.point_weights()["pde"]) if "rba" in weighting else []
    for row in captures and captures[0].history[-1:]:
        found |= {f"captured {name}": value for name, value in row.items() if name != "seconds"}
    if way == "fit":
        return found
    points = model.points()
    elsewhere = {"coordinates": points["coordinates"][:7]}
    found["on a batch"] = model.train_on_batch({name: values[:7] for name, values in points.items()})
    found["evaluated"] = model.evaluate(points, verbose=0)
    found["evaluated elsewhere"] = model.evaluate(elsewhere, batch_size=4, verbose=0)
    found["tested on a batch"] = model.test_on_batch(points)
    found["predicted"] = model.predict(points["coordinates"], batch_size=10, verbose=0)
    found["predicted on a batch"] = model.predict_on_batch(points["coordinates"])
    return found


def ordinary(scope):
    with scope:
        model = network(3)
        model.compile(keras.optimizers.SGD(0.05), loss="mse")
    captures = PhaseMonitor(every=2, batches=4, points=(X, Y))
    history = model.fit(X, Y, batch_size=32, epochs=3, shuffle=False, verbose=0, callbacks=[captures]).history
    row = {f"captured {name}": value for name, value in captures.history[-1].items() if name != "seconds"}
    return {"history of loss": history["loss"], **row}


def refused(scope, made=None, optimizer="adam", **options):
    with scope:
        model = PINN(made or network(2), phasecore.problem("burgers"), derivatives="autodiff")
        try:
            model.compile(optimizer, **options)
        except InputError as error:
            return str(error)
    return hindrances(model)


def by_jax(devices, cases):
    if devices > 1:
        every = keras.distribution.list_devices()
        assert len(every) == devices
        keras.distribution.set_distribution(keras.distribution.DataParallel(devices=every))
    return {case: pinn(contextlib.nullcontext(), case) for case in cases}


def by_tensorflow(devices, cases):
    import tensorflow as tf

    if devices == 1:
        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    names = [f"CPU:{k}" for k in range(devices)]
    strategy = tf.distribute.MirroredStrategy(names)
    found = {case: pinn(strategy.scope(), case) for case in cases} | {"ordinary": ordinary(strategy.scope())}
    if devices == 1:
        return found
    made, another = network(2), tf.distribute.experimental.CentralStorageStrategy(names)
    told = {
        "strategy": refused(another.scope()),
        "network": refused(strategy.scope(), made),
        "clipping": refused(strategy.scope(), optimizer=keras.optimizers.SGD(0.05, clipnorm=1.0)),
        "executions": refused(strategy.scope(), steps_per_execution=2),
        "nothing": refused(strategy.scope()),
    }
    return found | {"refused": told}


if __name__ == "__main__":
    keras.config.set_floatx("float64")
    if keras.backend.backend() == "jax":
        import jax

        jax.config.update("jax_enable_x64", True)
        results = [by_jax(devices, sys.argv[1:]) for devices in (1, 3)]
    else:
        results = [by_tensorflow(devices, sys.argv[1:]) for devices in (1, 2)]
    print("RESULT " + json.dumps(results, default=lambda values: np.asarray(values).tolist()))
