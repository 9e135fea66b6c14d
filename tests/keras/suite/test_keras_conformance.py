"""The Keras backend keeps every law of backends."""

import pytest

import phasecore
from phasecore.backends import Settings
from phasecore.testing import BACKEND_LAWS, BackendSubject

TO_THE_BIT = {
    "one_seed_gives_one_history",
    "an_interrupted_training_goes_on_alike",
    "trained_coefficients_are_trained",
    "points_move_as_the_sampling_says",
}
"""Laws of a step that is compiled as it is by default."""


SHALLOW = Settings(iterations=12, points=24, width=5, depth=1, every=5, batches=4, condition_points=6)


@pytest.mark.parametrize(
    "law", [law for law in BACKEND_LAWS if law.__name__ not in TO_THE_BIT], ids=lambda law: law.__name__
)
def test_the_keras_backend(law):
    law(BackendSubject(phasecore.backend("keras"), settings=SHALLOW))


@pytest.mark.usefixtures("compiled_by_default")
@pytest.mark.parametrize(
    "law", [law for law in BACKEND_LAWS if law.__name__ in TO_THE_BIT], ids=lambda law: law.__name__
)
def test_the_keras_backend_compiled_by_default(law):
    law(BackendSubject(phasecore.backend("keras")))
