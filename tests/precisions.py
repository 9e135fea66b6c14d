"""A training in float64, told from one in float32 by what it writes: shared by the tests of the backends."""

import json

import numpy as np
import pytest

from phasecore.errors import InputError
from phasecore.runs import execute, open_run, prepare, prepare_resumed

SMALL = {"points": 41, "width": 6, "depth": 2, "iterations": 4, "every": 2}


def is_of_float32(values):
    """Whether values could be of float32, which one of 2^29 of float64 are."""
    values = np.asarray(values)
    return bool(np.any((values != 0) & (values == values.astype(np.float32))))


def check_run(folder, backend, layers):
    """Run in float64, look at each number that was written, and go on.

    Args:
        folder: a folder.
        backend: its name.
        layers: `layers() -> [(weights of shape (inputs, outputs), biases)]` of the network of these settings.
    """
    # at a learning rate of 1e-30 parameters stay what they are
    options = {**SMALL, "weighting": "rba", "backend": backend, "output": folder, "learning_rate": 1e-30}
    execute(prepare("burgers", precision="float64", **options))
    run = open_run(folder)
    assert run.configuration["settings"]["precision"] == "float64"
    snapshot = run.snapshot(1)
    values = snapshot["grid"]
    *hidden, (weights, biases) = layers()
    for kernel, bias in hidden:
        values = np.tanh(values @ kernel + bias)
    np.testing.assert_allclose(snapshot["field_u"], (values @ weights + biases)[:, 0], rtol=1e-13, atol=1e-15)
    for name in ("residual_pde", "weight_pde", "field_u"):
        assert not is_of_float32(snapshot[name]), name
    row = json.loads((folder / "history.jsonl").read_text().splitlines()[-1])
    for name in ("training_loss", "loss_pde", "loss_initial", "snr", "adam_snr", "residual_order", "relative_l2_error"):
        assert not is_of_float32(row[name]), name
    check_resumed(folder)


def check_resumed(folder):
    """Go on as it was, refuse another precision, and take a run from before there was a choice."""
    assert prepare_resumed(folder).settings.precision == "float64"
    with pytest.raises(InputError, match="differs in 'precision': received 'float32'; expected 'float64'"):
        prepare_resumed(folder, precision="float32")
    execute(prepare_resumed(folder, iterations=6), resume=True)
    recorded = json.loads((folder / "run.json").read_text())
    assert recorded["settings"].pop("precision") == "float64"
    (folder / "run.json").write_text(json.dumps(recorded))
    assert prepare_resumed(folder).settings.precision is None
