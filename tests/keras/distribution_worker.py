"""Trains the same networks on one device and on two, and prints what came out."""

import json

import keras
import numpy as np

import phasecore
from phasecore import InputError
from phasecore_keras import PINN, PhaseMonitor
from phasecore_keras.autodiff import to_numpy

X = np.random.default_rng(0).normal(size=(64, 3)).astype("float32")
Y = X.sum(axis=1, keepdims=True)


def network(inputs):
    model = keras.Sequential([keras.Input((inputs,)), keras.layers.Dense(6, activation="tanh"), keras.layers.Dense(1)])
    generator = np.random.default_rng(0)
    for variable in model.variables:
        variable.assign(0.5 * generator.normal(size=variable.shape))
    return model


def pinn(weighting, batch_size, probes=None):
    model = PINN(network(2), phasecore.problem("burgers"), weighting=weighting)
    model.compile(optimizer="adam")
    monitor = PhaseMonitor(every=2, batches=5, probes=probes)
    points = model.points(60, seed=0)
    history = model.fit(points, batch_size=batch_size, epochs=4, shuffle=False, verbose=0, callbacks=[monitor]).history
    weights = to_numpy(model.physics.point_weights()["pde"])
    return {"loss": history["loss"], "weights": weights.tolist(), "row": monitor.history[-1]}


def ordinary(scope):
    with scope:
        model = network(3)
        model.compile(optimizer="adam", loss="mse")
    monitor = PhaseMonitor(every=2, batches=4, points=(X, Y))
    history = model.fit(X, Y, batch_size=32, epochs=3, shuffle=False, verbose=0, callbacks=[monitor]).history
    return {"loss": history["loss"], "row": monitor.history[-1]}


def by_jax(devices):
    if devices == 2:
        every = keras.distribution.list_devices()
        assert len(every) == 2
        keras.distribution.set_distribution(keras.distribution.DataParallel(devices=every))
    return {
        "short last batch": pinn("rba", 16, ["gradient_snr", "residual_order"]),
        "composed": pinn("rba+grad_norm:every=2", None),
    }


def by_tensorflow(devices):
    import tensorflow as tf

    if devices == 1:
        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    strategy = tf.distribute.MirroredStrategy([f"CPU:{k}" for k in range(devices)])
    found = {"ordinary": ordinary(strategy.scope())}
    with strategy.scope():
        try:
            PINN(network(2), phasecore.problem("burgers")).compile(optimizer="adam")
        except InputError as error:
            found["refused"] = str(error)
    return found


if __name__ == "__main__":
    compute = by_jax if keras.backend.backend() == "jax" else by_tensorflow
    print("RESULT " + json.dumps([compute(devices) for devices in (1, 2)]))
