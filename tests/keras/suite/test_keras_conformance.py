"""The Keras backend keeps every law of backends."""

import pytest
from repeats import COMPILES

import phasecore
from phasecore.backends import Settings
from phasecore.testing import BACKEND_LAWS, BackendSubject

COMPILED_BY_DEFAULT = {
    "one_seed_gives_one_history",
    "an_interrupted_training_goes_on_alike",
    "trained_coefficients_are_trained",
    "points_move_as_the_sampling_says",
}
"""Laws of a step that is compiled as it is by default."""

OF_SCHEDULES = {"captures_when_due", "measures_each_probe_when_it_is_due"}
"""Laws of what is the same on every backend."""

COVERED = {
    "one_seed_gives_one_history",  # an interrupted training would not go on alike
    "takes_snapshots_when_asked",  # test_keras_training, test_keras_run_folder
    "terms_are_balanced_as_points_weight_them",  # test_keras_composition
    "weights_enter_the_loss",  # test_keras_weighting, test_pinn
    "wrong_weights_are_refused",  # test_keras_weighting, test_keras_plugin_returns
}
"""Laws that other tests test on every backend, with fewer trainings."""

SHALLOW = Settings(iterations=12, points=24, width=5, depth=1, every=5, batches=4, condition_points=6)


def laws(names):
    for law in BACKEND_LAWS:
        if law.__name__ in names:
            marks = [pytest.mark.any_backend] if law.__name__ in OF_SCHEDULES else []
            marks += [pytest.mark.campaign] if law.__name__ in COVERED and COMPILES else []
            yield pytest.param(law, marks=marks, id=law.__name__)


@pytest.mark.parametrize("law", list(laws({law.__name__ for law in BACKEND_LAWS} - COMPILED_BY_DEFAULT)))
def test_the_keras_backend(law):
    law(BackendSubject(phasecore.backend("keras"), settings=SHALLOW))


@pytest.mark.usefixtures("compiled_by_default")
@pytest.mark.parametrize("law", list(laws(COMPILED_BY_DEFAULT)))
def test_the_keras_backend_compiled_by_default(law):
    law(BackendSubject(phasecore.backend("keras"), settings=SHALLOW))
