import dataclasses

import numpy as np
import pytest

from phasecore import InputError, signals
from phasecore.signals import DESCRIPTIONS, Signals, check_requirements


def test_every_name_of_the_vocabulary_is_described_and_every_description_has_a_name():
    names = {value for name, value in vars(signals).items() if name.isupper() and isinstance(value, str)}
    assert names == set(DESCRIPTIONS)
    assert all(text.strip() for text in DESCRIPTIONS.values())


def test_the_vocabulary_cannot_be_changed():
    with pytest.raises(TypeError):
        DESCRIPTIONS["residuals"] = "something else"
    with pytest.raises(dataclasses.FrozenInstanceError):
        Signals({}, np).values = {"residuals": 1}


def test_a_signal_that_is_absent_is_refused_by_name_with_what_is_there():
    with pytest.raises(InputError, match=r"'term_losses' is not available.*\['residuals'\].*'requires'"):
        Signals({"residuals": {}}, np)["term_losses"]


def test_a_signal_whose_value_is_none_is_still_there():
    assert Signals({"residuals": None}, np)["residuals"] is None


def test_requirements_that_are_met_pass():
    check_requirements("probe 'p'", ["residuals"], "torch", iter(["residuals", "domain"]), fix="Drop it.")
    check_requirements("probe 'p'", [], "torch", [], fix="Drop it.")


def test_requirements_that_are_not_met_name_consumer_signals_backend_and_fix():
    with pytest.raises(InputError) as caught:
        check_requirements(
            "probe 'gradient_snr'",
            ["residuals", "batch_gradient_moments", "adam_moments"],
            "keras",
            ["term_losses", "residuals"],
            fix="Use backend 'torch' or drop the probe.",
        )
    assert str(caught.value) == (
        "probe 'gradient_snr' requires signals 'adam_moments' and 'batch_gradient_moments': received backend 'keras', "
        "which supplies ['residuals', 'term_losses']. Use backend 'torch' or drop the probe."
    )
