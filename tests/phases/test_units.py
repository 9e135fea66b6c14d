"""The phases of a training do not depend on the unit that its loss is measured in, nor is a negative loss a fault."""

import numpy as np
import pytest

from phasecore import InputError
from phasecore.phases import Curve, Phase, detect, replay

UNITS = [1e-60, 1e-18, 1e-10, 1e-3, 1e6, 1e14, 1e30]
FORMS = {
    "norms": ("gradient_mean_norm", "gradient_std_norm"),
    "Adam's norms": ("adam_first_moment_norm", "adam_second_moment_root_norm"),
    "layers": ("layer0_mean_norm", "layer0_std_norm"),
}


def training(unit: float = 1.0) -> dict[str, np.ndarray]:
    """Columns of a training through three phases, its loss and all that goes with it in another unit."""
    random = np.random.default_rng(0)
    iteration = np.unique(np.logspace(0, 4.5, 700).astype(int))
    level = np.where(iteration < 100, 1.5, np.where(iteration < 5000, -1.5, 0.5))
    columns = {"iteration": iteration}
    for above, below in FORMS.values():
        noise = 10 ** random.normal(0, 0.1, iteration.size)
        columns |= {above: unit * 1e-2 * noise * 10**level, below: unit * 1e-2 * noise}
    fall = np.where(iteration < 5000, iteration**-0.3, 5000**0.7 / iteration)
    return columns | {
        "residual_order": np.where(iteration < 100, 0.9, np.where(iteration < 5000, 0.5, 0.9)),
        "training_loss": unit * fall,
        "relative_l2_error": fall,
    }


def told(timeline):
    return [
        (found.phase, found.iteration, found.interval, round(found.confidence, 6)) for found in timeline.transitions
    ]


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("find", [detect, replay])
@pytest.mark.parametrize("without", [(), ("gradient_mean_norm", "layer0_mean_norm"), ("training_loss",)])
def test_phases_have_no_unit(unit, find, without):
    of_one, of_unit = (
        {name: values for name, values in training(factor).items() if name not in without} for factor in (1.0, unit)
    )
    expected = told(find(of_one))
    assert expected[0][0] is Phase.DIFFUSION
    assert told(find(of_unit)) == expected


@pytest.mark.parametrize("find", [detect, replay])
def test_a_loss_that_is_zero_or_negative_is_left_out(find):
    """The energy of the deep Ritz method and minus the logarithm of a likelihood may be negative."""
    columns = training()
    without = {name: values for name, values in columns.items() if name != "training_loss"}
    for loss in (-columns["training_loss"], 0.0 * columns["training_loss"]):
        assert told(find({**columns, "training_loss": loss})) == told(find(without))
    falls_below = np.where(columns["iteration"] < 300, columns["training_loss"], -1.0)
    assert [found.phase for found in find({**columns, "training_loss": falls_below}).transitions] == [*Phase][1:]


@pytest.mark.parametrize("name", [*FORMS["norms"], "relative_l2_error", "residual_order"])
def test_what_cannot_be_negative_is_refused(name):
    columns = training()
    columns[name] = -columns[name]
    with pytest.raises(InputError, match=f"column '{name}', row 1: received -.*not negative"):
        Curve.from_columns(columns)
    with pytest.raises(InputError, match=f"'{name}'.*received -.*not negative"):
        replay(columns)
