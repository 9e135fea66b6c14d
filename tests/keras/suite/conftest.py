import keras
import pytest
from keras_models import BACKEND, structure_of

from phasecore_keras import PINN
from phasecore_keras.derivatives import PartialDerivatives

COMPARE_EACH_TIME = {"test_keras_derivatives", "test_keras_renewal", "test_keras_activations"}
"""Modules that test the comparison of jets with autodiff."""

_agreed = set()


@pytest.fixture(autouse=True)
def seeded():
    keras.utils.clear_session(free_memory=False)  # which takes half a second each time
    keras.utils.set_random_seed(0)


@pytest.fixture
def compiled_by_default():
    """Asked for by tests to which it matters how a step is compiled."""


@pytest.fixture(autouse=True)
def quick_to_compile(request, monkeypatch):
    """Leave out XLA with TensorFlow unless a test says otherwise: it triples the time to compile, and steps are few."""
    if BACKEND != "tensorflow" or "compiled_by_default" in request.fixturenames:
        return
    compile_it = PINN.compile

    def compiled(self, *arguments, **options):
        compile_it(self, *arguments, **{"jit_compile": False, **options})

    monkeypatch.setattr(PINN, "compile", compiled)


@pytest.fixture(autouse=True)
def compared_once(request, monkeypatch):
    """Compare jets with autodiff once for all plain networks of one structure: a second for each with JAX."""
    if request.module.__name__ in COMPARE_EACH_TIME:
        return
    compare = PartialDerivatives._unlike_autodiff

    def compared(self, points):
        structure = structure_of(self.model)
        if structure is not None and (structure, tuple(self.partials)) in _agreed:
            return ""
        problem = compare(self, points)
        if structure is not None and not problem:
            _agreed.add((structure, tuple(self.partials)))
        return problem

    monkeypatch.setattr(PartialDerivatives, "_unlike_autodiff", compared)
