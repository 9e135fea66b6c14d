"""A number is the same thing wherever one is asked for: Python's or numpy's, finite, no truth value and no text."""

import math
from dataclasses import replace

import numpy as np
import pytest

from phasecore import InputError
from phasecore.arguments import is_number, is_whole
from phasecore.backends import Settings
from phasecore.phases import DetectorConfiguration, tracker
from phasecore.probes.norm_test import NormTest
from phasecore.problems.helmholtz import Helmholtz
from phasecore.recording.history import numbers_of
from phasecore.weighting.options import check_count, check_number

NO_NUMBERS = [True, False, None, "1", math.nan, math.inf, -math.inf, 1j, [1.0], np.bool_(True), np.float32("nan")]
SETTINGS = Settings(iterations=9, points=50, width=8, depth=2)


@pytest.mark.parametrize("value", NO_NUMBERS)
def test_what_is_no_number(value):
    assert not is_number(value)
    assert not is_whole(value)


@pytest.mark.parametrize("kind", [int, float, np.int64, np.uint8, np.float32, np.float64])
def test_what_is_a_number(kind):
    assert is_number(kind(2))
    assert is_whole(kind(2)) == (kind in (int, np.int64, np.uint8))
    assert not is_whole(kind(2), least=3)


def take_capture(value):
    init, update = tracker()
    update({"iteration": value, "snr": 2.0}, init())


PLACES = [
    (lambda value: check_number("rba", "eta", value, 0), "weighting 'rba', option 'eta'", "a positive, finite number"),
    (lambda value: check_number("rba", "eta", value), "weighting 'rba', option 'eta'", "a finite number"),
    (lambda value: check_count("causal", "slabs", value), "weighting 'causal', option 'slabs'", "a positive integer"),
    (lambda value: Helmholtz(a1=value), "problem 'helmholtz', parameter 'a1'", "a positive integer"),
    (lambda value: Helmholtz(k=value), "problem 'helmholtz', parameter 'k'", "a finite number"),
    (lambda value: NormTest(theta=value), "probe 'norm_test', option 'theta'", "a number between 0 and 1"),
    (lambda value: replace(SETTINGS, points=value), "setting 'points'", "a positive integer"),
    (lambda value: replace(SETTINGS, seed=value), "setting 'seed'", "an integer, 0 or more"),
    (lambda value: replace(SETTINGS, learning_rate=value), "setting 'learning_rate'", "a positive number"),
    (lambda value: DetectorConfiguration(fall=value), "detector configuration, 'fall'", "a positive number"),
    (take_capture, "iteration of a capture", "a whole number, 0 or more, as 'iteration'"),
]


@pytest.mark.parametrize("value", NO_NUMBERS)
@pytest.mark.parametrize("place", range(len(PLACES)))
def test_what_is_no_number_is_refused_everywhere_in_one_way(place, value):
    check, what, expected = PLACES[place]
    with pytest.raises(InputError) as caught:
        check(value)
    text = str(caught.value)
    assert text.startswith(f"{what}: received ")
    assert f"; expected {expected}" in text


@pytest.mark.parametrize("place", range(len(PLACES)))
def test_numbers_of_numpy_are_accepted_everywhere(place):
    check, _, expected = PLACES[place]
    check(np.float32(0.5) if "between 0 and 1" in expected else np.int64(2))


@pytest.mark.parametrize("value", [0, -1, 1.5, 2.0000001])
def test_half_waves_are_whole(value):
    with pytest.raises(InputError, match=r"'a2'.*a positive integer"):
        Helmholtz(a2=value)


def test_half_waves_may_be_written_as_real_numbers():
    assert Helmholtz(a1=2.0).reference([[0.25, 0.125]])["u"] == pytest.approx(1.0)


def test_bounds_count_where_they_are_included():
    for value, low_included, high_included, is_inside in [
        (0, False, True, False), (0, True, False, True), (1, True, False, False), (1, False, True, True),
        (0.5, False, False, True), (-0.1, True, True, False), (1.1, True, True, False),
    ]:  # fmt: skip
        try:
            check_number("rba", "gamma", value, 0, 1, low_included=low_included, high_included=high_included)
        except InputError:
            assert not is_inside
        else:
            assert is_inside


def test_a_row_has_the_numbers_of_numpy_too():
    row = {"iteration": 10, "snr": np.float32(0.5), "count": np.int64(3), "error": np.float64("nan"), "sure": True}
    assert numbers_of(row) == {"snr": 0.5, "count": 3.0}
