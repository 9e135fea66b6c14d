"""The Keras backend keeps every law of backends."""

import pytest

import phasecore
from phasecore.testing import BACKEND_LAWS, BackendSubject


@pytest.mark.parametrize("law", BACKEND_LAWS, ids=lambda law: law.__name__)
def test_the_keras_backend(law):
    law(BackendSubject(phasecore.backend("keras")))
