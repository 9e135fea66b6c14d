"""The SNR has no unit: residuals in others have the same, in every dtype that holds the gradients."""

from typing import ClassVar

import numpy as np
import pytest
import torch
from paths import EVALUATIONS, Training, in_turn
from torch import nn

import phasecore
from phasecore_torch import PhysicsLoss
from phasecore_torch.moments import MomentAccumulator

PROBES = ["gradient_snr", "norm_test", "gradient_noise_scale"]
LENGTHS = {"gradient_mean_norm", "gradient_std_norm"}


class Heat(phasecore.Problem):
    domain: ClassVar = {"x": (0, 1), "t": (0, 1)}
    outputs = ("u",)
    unit = 1.0

    def conditions(self):
        return []

    def residuals(self, x, u, xp):
        return self.unit * (u["u_t"] - u["u_xx"] - 1.0)


def row_of(unit, weighting, dtype, evaluation, way_back):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1)).to(dtype)
    problem = Heat(unit=unit)
    loss = PhysicsLoss(problem, model, problem.sample(40, seed=0), weighting=weighting, **EVALUATIONS[evaluation])
    training = Training(loss, model.parameters(), way_back, probes=PROBES)
    for _ in range(2):
        training.gradients()
    return training.monitor.history[-1]


@pytest.mark.parametrize(("unit", "evaluation", "way_back"), in_turn([1e-15, 1e-7, 1e7, 1e15]))
@pytest.mark.parametrize("weighting", ["uniform", "rba"])
def test_units_of_residuals_change_no_ratio(unit, evaluation, way_back, weighting):
    found = row_of(unit, weighting, torch.float32, evaluation, way_back)
    expected = row_of(1.0, weighting, torch.float64, evaluation, way_back)
    for name in ("snr", "gradient_mean_norm", "gradient_std_norm"):
        assert found[name] == pytest.approx(expected[name] * (unit**2 if name in LENGTHS else 1.0), rel=1e-3), name
    ratios = {
        name: value for name, value in expected.items() if name.startswith("norm_test") or name.endswith("_points")
    }
    assert {name: found[name] for name in ratios} == pytest.approx(ratios, rel=1e-3)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("share", [1e-3, 1.0, 0.4])
@pytest.mark.parametrize("end", ["smallest", "largest"])
def test_deviations_are_those_of_the_samples_to_both_ends_of_a_dtype(dtype, share, end):
    limits = torch.finfo(dtype)
    size = limits.max / 64 * share if end == "largest" else limits.smallest_normal * 64 / share
    generator = torch.Generator().manual_seed(0)
    samples = (size * (1.0 + torch.randn(60, 3, 4, generator=generator, dtype=torch.float64))).to(dtype)
    accumulator = MomentAccumulator()
    for chunk in samples.split(25):
        accumulator.add([chunk])
    (moments,) = accumulator.result()
    exact = samples.double().numpy()
    np.testing.assert_allclose(moments.standard_deviation, exact.std(axis=0), rtol=2e-6 if dtype.itemsize > 2 else 1e-5)
