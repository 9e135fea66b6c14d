"""From names to a training: presets, overrides, and refusals before anything is trained."""

from typing import Any

import numpy as np
import pytest

import phasecore
from phasecore import InputError, MissingDependencyError, UnknownNameError
from phasecore.recording.configuration import configuration_of
from phasecore.runs import prepare


def test_the_preset_fills_what_is_not_given() -> None:
    training = prepare("helmholtz", backend="synthetic", preset="paper")
    assert training.problem.parameters == {"a1": 6, "a2": 6, "k": 1.0}
    assert (training.settings.points, training.settings.width, training.settings.depth) == (25_600, 128, 6)
    assert (training.settings.iterations, training.settings.every) == (300_000, 100)


def test_what_is_given_goes_before_the_preset() -> None:
    training = prepare(
        "helmholtz:a2=2", backend="synthetic", preset="paper", points=300, width=7, learning_rate=0.01, seed=4, every=3
    )
    assert training.problem.parameters == {"a1": 6, "a2": 2, "k": 1.0}
    assert (training.settings.points, training.settings.width, training.settings.depth) == (300, 7, 6)
    assert (training.settings.learning_rate, training.settings.seed, training.settings.every) == (0.01, 4, 3)
    np.testing.assert_array_equal(training.points.interior, training.problem.sample(300, seed=4).interior)


def test_a_problem_of_the_users_own_keeps_its_parameters() -> None:
    problem = phasecore.problem("helmholtz", a1=3, a2=3)
    assert prepare(problem, backend="synthetic", preset="paper", points=100).problem is problem


@pytest.mark.parametrize(
    ("preset", "given", "used"),
    [
        ("quick", "rba", "rba"),
        ("quick", "uniform", "uniform"),
        ("paper", "uniform", "uniform"),
        ("paper", "rba", "rba:start=residuals,normalization=minmax"),
        ("paper", "rba:start=zeros", "rba:start=zeros,normalization=minmax"),
        ("paper", "rba:gamma=0.99", "rba:start=residuals,normalization=minmax,gamma=0.99"),
    ],
)
def test_recommended_options_apply_where_none_are_given(preset: str, given: str, used: str) -> None:
    training = prepare("helmholtz", backend="synthetic", preset=preset, weighting=given, points=100)
    assert training.scheme_name == used


def test_few_points_make_fewer_batches_and_the_run_says_so() -> None:
    training = prepare("helmholtz", backend="synthetic", points=40)
    assert training.settings.batches == 40
    assert configuration_of(training)["settings"]["batches"] == 40
    assert configuration_of(training)["gradient_points_per_batch"] == 1
    assert configuration_of(prepare("helmholtz", backend="synthetic", points=250))["gradient_points_per_batch"] == 2.5


def test_snapshots_end_with_the_last_iteration() -> None:
    assert prepare("helmholtz", backend="synthetic", iterations=250).snapshots == (1, 3, 10, 30, 100, 250)
    assert prepare("helmholtz", backend="synthetic", iterations=1).snapshots == (1,)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"problem": "helmholz"}, "Did you mean 'helmholtz'"),
        ({"problem": "helmholtz:a1"}, "key=value"),
        ({"problem": 5}, "the problem: received a int, 5; expected the name of a problem"),
        ({"problem": type(phasecore.problem("helmholtz"))}, r"received the class Helmholtz; .*Make it: Helmholtz\(\)"),
        ({"problem": "helmholtz:a9=1"}, "a9"),
        ({"problem": "helmholtz:a1=0"}, "a positive integer"),
        ({"weighting": "rbaa"}, "Did you mean 'rba'"),
        ({"weighting": "rba:gama=0.9"}, "gamma"),
        ({"weighting": "rba:gamma=2"}, "gamma"),
        ({"weighting": "rba:gamma"}, "key=value"),
        ({"backend": "torhc"}, "unknown backend"),
        ({"preset": "fast"}, "quick"),
        ({"points": 0}, "setting 'points': received 0; expected a positive integer"),
        ({"width": -3}, "setting 'width'"),
        ({"depth": 1.5}, "setting 'depth'"),
        ({"iterations": True}, "setting 'iterations'"),
        ({"every": 0}, "setting 'every'"),
        ({"seed": -1}, "setting 'seed': received -1; expected an integer, 0 or more"),
        ({"seed": 2**64}, "setting 'seed': received 18446744073709551616; expected an integer, 0 or more, 1844674"),
        ({"learning_rate": 0.0}, "setting 'learning_rate'"),
        ({"compiled": 1}, "setting 'compiled': received 1; expected True or False"),
        ({"precision": "float16"}, "setting 'precision': received 'float16'; expected float32 or float64"),
        ({"precision": "float64"}, "setting 'precision': received 'float64' for backend 'synthetic', which takes none"),
        ({"learning_rate": float("inf")}, "setting 'learning_rate'"),
        ({"iteration": 10}, "Did you mean 'iterations'"),
    ],
)
def test_bad_input_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        prepare(**{"problem": "helmholtz", "backend": "synthetic", "points": 50, **arguments})


def test_a_signal_that_the_backend_lacks_is_named_before_training() -> None:
    with pytest.raises(InputError, match=r"probe 'gradient_snr' requires signal 'batch_gradient_moments'.*'deaf'"):
        prepare("helmholtz", backend="deaf")
    assert prepare("helmholtz", backend="deaf", probes=["term_losses"]).backend == "deaf"


def test_a_framework_that_is_not_installed_is_named_with_its_remedy() -> None:
    with pytest.raises(MissingDependencyError, match=r"not_a_package.*pip install 'synthetic-backend\[absent\]'"):
        prepare("helmholtz", backend="absent")


def test_an_unknown_setting_lists_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match="learning_rate"):
        prepare("helmholtz", backend="synthetic", learningrate=0.1)  # type: ignore[call-arg]
