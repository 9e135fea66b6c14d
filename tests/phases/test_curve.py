"""What a curve accepts and refuses."""

import numpy as np
import pytest

from phasecore.errors import InputError
from phasecore.phases import Curve


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"snr": [1.0]}, "without iterations"),
        ({"iteration": [1, 2], "loss": [1, 2]}, "without a signal-to-noise ratio"),
        ({"iteration": [1, 2], "gradient_mean_norm": [1, 2]}, "without a signal-to-noise ratio"),
        ({"iteration": [1, 2, 2], "snr": [1, 1, 1]}, "iteration in row 3 is repeated: received 2 after 2"),
        ({"iteration": [1, 3, 2], "snr": [1, 1, 1]}, "iteration in row 3 goes backwards: received 2 after 3"),
        ({"iteration": [1, 2.5], "snr": [1, 1]}, "iteration in row 2: received 2.5"),
        ({"iteration": [-1, 2], "snr": [1, 1]}, "iteration in row 1: received -1"),
        ({"iteration": [1, np.nan], "snr": [1, 1]}, "iteration in row 2: received nan"),
        ({"iteration": [1, np.inf], "snr": [1, 1]}, "iteration in row 2: received inf"),
        ({"iteration": [1, 2], "snr": [1, -1]}, "column 'snr', row 2: received -1"),
        ({"iteration": [1, 2], "snr": [1, 1, 1]}, "column 'snr': received 3 values; expected 2"),
        ({"iteration": [1, 2], "snr": ["a", "b"]}, "column 'snr': received something not numeric"),
        ({"iteration": [[1, 2]], "snr": [1, 2]}, "column 'iteration': received shape (1, 2)"),
    ],
)
def test_bad_columns_give_one_clear_error(columns, message):
    with pytest.raises(InputError) as caught:
        Curve.from_columns(columns)
    assert message in str(caught.value)


def test_nan_none_and_infinity_stand_for_not_recorded():
    curve = Curve.from_columns({"iteration": [1, 2, 3, 4], "snr": [1.0, None, np.inf, np.nan], "seconds": [0, 1, 2, 3]})
    assert np.isnan(curve.columns["snr"]).tolist() == [False, True, True, True]
    assert "seconds" not in curve.columns


def test_the_columns_given_are_left_as_they_were():
    snr = np.array([1.0, np.inf])
    Curve.from_columns({"iteration": [1, 2], "snr": snr})
    assert np.isinf(snr[1])


def test_norms_the_ratio_and_the_order_are_the_same_snr():
    mean, std = np.array([3.0, 0.1, 4.0]), np.array([1.0, 2.0, 5.0])
    iteration = [1, 2, 3]
    by_norms = Curve.from_columns({"iteration": iteration, "gradient_mean_norm": mean, "gradient_std_norm": std})
    by_ratio = Curve.from_columns({"iteration": iteration, "snr": mean / std})
    by_order = Curve.from_columns({"iteration": iteration, "gradient_order": mean / np.hypot(mean, std)})
    for curve in (by_norms, by_ratio, by_order):
        above, below = curve.ratio("snr")
        np.testing.assert_allclose(above / below, mean / std, rtol=1e-12)


def test_layers_need_both_norms():
    columns = {"iteration": [1], "snr": [1.0], "layer0_mean_norm": [1.0], "layer2_mean_norm": [1.0]}
    assert Curve.from_columns(columns).layers == ()
    assert Curve.from_columns({**columns, "layer2_std_norm": [1.0]}).layers == (2,)
