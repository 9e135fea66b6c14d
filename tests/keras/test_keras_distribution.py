"""Several devices give the numbers of one, whatever the number of points, or are refused."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from processes import QUIET, SUITE_SECONDS, python

from phasecore import registry

WORKER = Path(__file__).with_name("distribution_worker.py")
THREE_DEVICES = "--xla_force_host_platform_device_count=3 " + QUIET["XLA_FLAGS"]
SHORT = ["rba fit"]
SCHEMES = [
    "rba+grad_norm:every=2",
    "vrba+ntk:every=3 whole",
    "causal:cut=count+learning_rate_annealing:every=2",
    "brdr+relobralo+fixed:pde=2",
    "self_adaptive:start=0.5,start_conditions=0.5+soft_adapt",
]
WAYS = [f"rba {way}" for way in ("added", "moved", "changed", "eagerly", "trained", "dataset")]
LONG = [*SCHEMES, *WAYS]
"""Schemes, and how the training goes, see the worker."""

CLOSE = {"jax": 1e-6, "tensorflow": 1e-10}
"""Of one, in float64; with JAX Keras computes in float32."""


def test_every_scheme_is_among_them():
    found = {part.partition(":")[0] for case in SCHEMES for part in case.split()[0].split("+")}
    assert found | {"uniform"} == {*registry.names("weighting")}


@pytest.fixture(scope="module", params=["jax", "tensorflow"])
def backend(request):
    return request.param


@pytest.fixture(scope="module", params=[SHORT, pytest.param(LONG, marks=pytest.mark.campaign)], ids=["short", "long"])
def results(request, backend):
    """On one device, and on several."""
    environment = os.environ | QUIET | {"KERAS_BACKEND": backend, "XLA_FLAGS": THREE_DEVICES}
    done = python(WORKER, *request.param, env=environment, timeout=SUITE_SECONDS)
    assert done.returncode == 0, done.stderr[-4000:]
    assert "Warning: Taylor-mode" not in done.stderr
    one, several = json.loads(done.stdout.rpartition("RESULT ")[2])
    assert one.keys() >= {*request.param}
    return one, several


def test_several_devices_give_the_numbers_of_one(results, backend):
    one, several = results
    for case, expected in one.items():
        assert len(expected["history of loss"]) == 3
        for name, values in expected.items():
            size = CLOSE[backend] * max(1e-3, float(np.max(np.abs(values), initial=0.0)))
            np.testing.assert_allclose(several[case][name], values, rtol=0, atol=size, err_msg=f"{case}: {name}")


def test_what_keras_cannot_do_with_replicas_is_refused_before_training(results, backend):
    if backend == "jax":
        assert "refused" not in results[1]
        return
    told = results[1]["refused"]
    assert told["strategy"].startswith("a PINN under tf.distribute: received CentralStorageStrategy with 2 replicas")
    assert "made outside of the strategy's scope" in told["network"]
    assert "received clipnorm=1.0" in told["clipping"]
    assert "received steps_per_execution=2" in told["executions"]
    assert told["nothing"] == ["several devices"]  # which L-BFGS is refused for
