"""The rows of a history as the detector takes them."""

from __future__ import annotations

import numpy as np
import pytest

from phasecore.errors import InputError
from phasecore.phases import Curve, declarations, detect, replay
from phasecore.phases.rows import columns_of

ITERATION = np.arange(1, 20_000, 20)
SNR = np.where(ITERATION < 100, 30.0, np.where(ITERATION < 5000, 0.03, 3.0))
ROWS = [{"iteration": int(k), "snr": float(snr), "note": "text"} for k, snr in zip(ITERATION, SNR, strict=True)]


def test_columns_have_one_value_per_row_whatever_the_rows_hold() -> None:
    columns = columns_of(
        [{"iteration": 0, "name": "text"}, {"iteration": 10, "snr": 2}, {"iteration": 20, "snr": None}]
    )
    assert sorted(columns) == ["iteration", "snr"]
    np.testing.assert_array_equal(columns["snr"], [np.nan, 2.0, np.nan])


@pytest.mark.parametrize("find", [detect, replay, declarations])
def test_rows_and_columns_are_the_same_curve(find):
    columns = {"iteration": ITERATION, "snr": SNR}
    assert find(ROWS) == find(columns) == find(Curve.of(columns)) == find(iter(ROWS))


def test_numbers_of_numpy_in_rows_are_numbers():
    rows = [{"iteration": np.int64(k), "snr": np.float32(2.0)} for k in range(12)]
    assert Curve.of(rows).columns["snr"].tolist() == [2.0] * 12


@pytest.mark.parametrize(
    ("given", "received"),
    [
        ("history.csv", "a str"),
        (3, "a int, 3"),
        (None, "None"),
        ([1, 2, 3], "a int, 1"),
        ([{"iteration": 1, "snr": 2.0}, "text"], "a str"),
        ({1: [2, 3]}, "the columns 1"),
        ([], "the columns (none)"),
        ([{1: 2.0}], "the columns 1"),
    ],
)
def test_what_is_neither_says_what_it_is(given, received):
    with pytest.raises(InputError) as caught:
        detect(given)
    assert received in str(caught.value)


def test_two_columns_without_names_are_no_configuration():
    with pytest.raises(InputError, match=r'a DetectorConfiguration, or none.*"iteration": iterations, "snr": snr'):
        detect(ITERATION, SNR)
