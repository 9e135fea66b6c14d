import pickle
import types

import pytest

from phasecore import (
    InputError,
    MissingDependencyError,
    PhasecoreError,
    PluginError,
    TrainingError,
    UnknownNameError,
)
from phasecore.errors import called


def test_a_message_says_what_received_expected_and_fix():
    error = InputError("option 'points'", received=-3, expected="a positive integer", fix="Use 2500.")
    assert str(error) == "option 'points': received -3; expected a positive integer. Use 2500."


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({}, "it failed."),
        ({"received": 0}, "it failed: received 0."),
        ({"expected": "one."}, "it failed: expected one."),
        ({"fix": "Do that."}, "it failed. Do that."),
    ],
)
def test_parts_that_are_not_given_leave_no_trace(parts, message):
    assert str(PhasecoreError("it failed", **parts)) == message


def test_an_unknown_name_suggests_near_ones_and_lists_all():
    message = str(UnknownNameError("problem", "burger", ["helmholtz", "burgers"]))
    assert message == (
        "unknown problem: received 'burger'; expected one of burgers, helmholtz. Did you mean 'burgers'?"
    )


def test_an_unknown_name_without_near_ones_suggests_none():
    message = str(UnknownNameError("problem", "zzz", ["burgers"], fix="See 'phasecore plugins'."))
    assert "Did you mean" not in message
    assert message.endswith("See 'phasecore plugins'.")


def test_an_unknown_name_says_when_nothing_is_registered():
    assert "none is registered" in str(UnknownNameError("probe", "snr", []))


@pytest.mark.parametrize(
    ("error", "kinds"),
    [
        (InputError("x"), (PhasecoreError, ValueError)),
        (UnknownNameError("x", "y", []), (InputError, LookupError)),
        (MissingDependencyError("x"), (PhasecoreError, ImportError)),
        (PluginError("x"), (PhasecoreError,)),
        (TrainingError("x"), (PhasecoreError, RuntimeError)),
    ],
)
def test_errors_can_be_caught_as_pythons_own_and_travel_between_processes(error, kinds):
    assert isinstance(error, kinds)
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(again) == str(error)


@pytest.mark.parametrize("name", ["mod", "power", "interp"])
def test_a_function_that_a_namespace_lacks_is_answered_by_those_that_there_are(name):
    lacking = types.SimpleNamespace(sin=abs)
    told = rf"has no '{name}'; what every framework has is abs, .*erf, and the operators"
    with pytest.raises(PluginError, match=told):
        called("residuals()", lambda: getattr(lacking, name)(1.0, 2.0))


def test_an_array_of_numpy_among_those_of_a_framework_is_told_so():
    def joined():
        raise TypeError("unsupported operand type(s) for *: 'numpy.ndarray' and 'Tensor'")

    with pytest.raises(PluginError, match=r"in place of numpy's: .* A number is a float"):
        called("residuals()", joined)
