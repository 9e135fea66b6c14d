"""The generator of synthetic curves."""

import numpy as np
import pytest

from phasecore.errors import UnknownNameError
from phasecore.phases import Curve
from phasecore.testing.curves import FAMILIES, synthetic_curve


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("columns", ["snr", "all"])
def test_every_member_is_a_valid_curve_with_its_truth(family, columns):
    for seed in range(5):
        made = synthetic_curve(family, seed, columns=columns)
        curve = Curve.from_columns(made.columns)
        assert curve.captures > 50
        assert ("training_loss" in curve.columns) is (columns == "all")
        assert (made.total_diffusion_start is None) is (FAMILIES[family].rise is None)
        assert (made.fitting_end is None) is (FAMILIES[family].decline is None)
        assert 0.1 <= made.noise <= 2.0
        if made.total_diffusion_start is not None:
            assert curve.iteration[0] < made.total_diffusion_start < curve.iteration[-1]
            assert 0.3 <= made.rise <= 4.0
            assert made.fitting_end is None or made.fitting_end < made.total_diffusion_start


def test_a_curve_is_a_function_of_its_seed():
    one, same, other = (synthetic_curve("ramp", seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.columns["snr"], same.columns["snr"])
    assert one.fitting_end != other.fitting_end


def test_the_rise_is_where_and_as_high_as_it_says():
    for seed in range(10):
        made = synthetic_curve("step", seed, rise=(3, 3), noise=(0.1, 0.1), columns="snr")
        iteration, snr = made.columns["iteration"], np.log10(made.columns["snr"])
        start = made.total_diffusion_start
        before = snr[(iteration > 0.7 * start) & (iteration < 0.95 * start)]
        after = snr[(iteration > 1.05 * start) & (iteration < 1.4 * start)]
        assert np.median(after) - np.median(before) == pytest.approx(3.0, abs=0.4)


def test_families_are_split_and_both_halves_have_all_kinds():
    for held_out in (False, True):
        half = [family for family in FAMILIES.values() if family.held_out is held_out]
        assert any(family.rise is None for family in half)
        assert any(family.decline is None for family in half)
        assert any(family.false_rises for family in half)
    shapes = [
        {family.rise for family in FAMILIES.values() if family.held_out is held} - {None} for held in (False, True)
    ]
    assert not shapes[0] & shapes[1]


def test_an_unknown_family_suggests_near_ones():
    with pytest.raises(UnknownNameError, match="'staircase'"):
        synthetic_curve("stair case", seed=0)
