"""Two devices give the numbers of one, or are refused."""

import json
import os
from pathlib import Path

import pytest
from processes import QUIET, SUITE_SECONDS, python

WORKER = Path(__file__).with_name("distribution_worker.py")
TWO_DEVICES = "--xla_force_host_platform_device_count=2 " + QUIET["XLA_FLAGS"]


@pytest.fixture(scope="module", params=["jax", "tensorflow"])
def backend(request):
    return request.param


@pytest.fixture(scope="module")
def results(backend):
    """On one device, and on two."""
    environment = os.environ | QUIET | {"KERAS_BACKEND": backend, "XLA_FLAGS": TWO_DEVICES}
    done = python(WORKER, env=environment, timeout=SUITE_SECONDS)
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.rpartition("RESULT ")[2])


def test_two_devices_give_the_numbers_of_one(results):
    one, two = results
    for case, expected in one.items():
        assert two[case]["loss"] == pytest.approx(expected["loss"], rel=1e-5), case
        assert two[case].get("weights", []) == pytest.approx(expected.get("weights", []), rel=1e-4, abs=1e-9), case
        row = {name: value for name, value in expected["row"].items() if name != "seconds"}
        for name, value in row.items():
            assert two[case]["row"][name] == pytest.approx(value, rel=1e-3), (case, name)


def test_a_pinn_is_refused_where_its_numbers_would_be_others(results, backend):
    one, two = results
    assert "refused" not in one
    if backend == "jax":
        assert "refused" not in two
    else:
        assert two["refused"].startswith("a PINN under tf.distribute: received a strategy with 2 replicas")
        assert "keras.distribution.DataParallel" in two["refused"]
