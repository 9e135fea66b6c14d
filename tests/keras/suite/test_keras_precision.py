"""`--precision float64` with Keras, which with JAX and torch computes in float32 whatever it is told."""

import keras
import pytest
from keras_models import BACKEND
from precisions import SMALL, check_run

from phasecore.backends import Settings
from phasecore.errors import InputError
from phasecore.runs import execute, prepare
from phasecore_keras.precision import computing_in
from phasecore_keras.training import network

WIDE = BACKEND == "tensorflow"


def layers():
    with computing_in("float64"):
        model = network(2, 1, Settings(**SMALL))
        return [[keras.ops.convert_to_numpy(variable) for variable in layer.weights] for layer in model.layers]


@pytest.mark.usefixtures("compiled_by_default")
def test_all_is_in_float64_or_nothing_is_trained(tmp_path):
    if WIDE:
        check_run(tmp_path / "run", "keras", layers)
    else:
        training = prepare("burgers", backend="keras", precision="float64", output=tmp_path / "run", **SMALL)
        with pytest.raises(InputError, match=f"'float64', with Keras on {BACKEND}, where it computes in float32"):
            execute(training)
        assert not (tmp_path / "run" / "history.jsonl").exists()
    assert keras.config.floatx() == keras.config.dtype_policy().name == "float32"


def test_what_raises_leaves_the_precision_as_it_was():
    keras.config.set_floatx("float64")
    with pytest.raises(ZeroDivisionError), computing_in("float32"):
        raise ZeroDivisionError(keras.config.floatx())
    assert keras.config.floatx() == "float64"
    keras.config.set_floatx("float32")
