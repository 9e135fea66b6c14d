"""What the definition of total diffusion asks for, whatever the level of the SNR."""

import numpy as np
import pytest

from phasecore.phases import Curve, Phase, declarations, detect, replay
from phasecore.testing.curves import FAMILIES, synthetic_curve

ITERATION = np.unique(np.geomspace(1, 20000, 1500).astype(int))
TIME = np.log10(ITERATION)


def scaled(curve, factor):
    return {
        name: values * factor if name == "snr" or name.endswith("_mean_norm") else values
        for name, values in {"iteration": curve.iteration, **curve.columns}.items()
    }


def answers(timeline):
    return [(found.phase, found.iteration, round(found.confidence, 6)) for found in timeline.transitions]


@pytest.mark.parametrize("family", FAMILIES)
def test_the_level_of_the_snr_does_not_matter(family):
    """It goes with the root of the points per batch."""
    for columns in ("snr", "all"):
        curve = Curve.from_columns(synthetic_curve(family, seed=5, noise=(0.1, 1.0), columns=columns).columns)
        whole = detect(curve)
        for factor in (0.1, 0.3, 3.0, 10.0):
            changed = detect(scaled(curve, factor))
            assert changed.current is whole.current
            for (phase, at, sure), (other, there, doubt) in zip(answers(changed), answers(whole), strict=True):
                assert phase is other
                assert abs(np.log10(at / there)) < 0.02
                assert abs(sure - doubt) < 0.02


def test_the_level_of_the_snr_does_not_matter_online():
    curve = Curve.from_columns(synthetic_curve("sigmoid", seed=3, rise=(2, 2), noise=(0.2, 0.2)).columns)
    assert answers(replay(scaled(curve, 0.1))) == answers(replay(scaled(curve, 10.0)))


def test_recorded_curves_have_their_phases_at_any_level(recorded_curves):
    for name, (curve, label) in recorded_curves.items():
        for factor in (0.1, 10.0):
            timeline = detect(scaled(curve, factor))
            for phase, key in ((Phase.DIFFUSION, "fitting_end"), (Phase.TOTAL_DIFFUSION, "total_diffusion_start")):
                assert abs(np.log10(timeline.start(phase) / label[key])) <= 0.3, (name, factor)


@pytest.mark.parametrize("family", [name for name, family in FAMILIES.items() if family.hints and not family.rise])
def test_hints_without_the_snr_are_no_total_diffusion(family):
    reported = []
    for seed in range(8):
        found = detect(synthetic_curve(family, seed, noise=(0.1, 0.5)).columns).transition(Phase.TOTAL_DIFFUSION)
        reported += [] if found is None else [found.confidence]
    assert len(reported) <= 1
    assert max(reported, default=0.0) <= 0.75


@pytest.mark.parametrize("slope", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_an_error_or_a_loss_that_falls_as_it_ever_did_is_no_event(slope, noise):
    normal = np.random.default_rng(0).normal(0.0, noise, (2, ITERATION.size))
    falling = 10.0 ** (normal[0] - slope * TIME)
    snr = np.where(ITERATION < 100, 30.0, 0.03) * 10.0 ** (0.3 * normal[1])
    for names in (["relative_l2_error"], ["training_loss"], ["training_loss", "relative_l2_error"]):
        columns = {"iteration": ITERATION, "snr": snr, **dict.fromkeys(names, falling)}
        assert detect(columns).current is replay(columns).current is Phase.DIFFUSION


@pytest.mark.parametrize("family", ["residuals first", "ramp, residuals first"])
def test_residuals_that_recover_first_do_not_bring_it_forward(family):
    for seed in range(4):
        made = synthetic_curve(family, seed, rise=(1.5, 4.0), noise=(0.1, 0.3))
        assert abs(np.log10(detect(made.columns).start(Phase.TOTAL_DIFFUSION) / made.total_diffusion_start)) < 0.15
        first = {found.phase: found for found in declarations(made.columns)}[Phase.TOTAL_DIFFUSION]
        assert first.declared_at >= made.total_diffusion_start * 10**-0.15


@pytest.mark.parametrize("family", [name for name, family in FAMILIES.items() if family.tail])
@pytest.mark.parametrize("columns", ["snr", "all"])
def test_a_slow_decline_after_a_steep_one_is_not_of_fitting(family, columns):
    errors = []
    for seed in range(8):
        made = synthetic_curve(family, seed, rise=(1.0, 4.0), noise=(0.1, 0.5), columns=columns)
        errors.append(abs(np.log10(detect(made.columns).start(Phase.DIFFUSION) / made.fitting_end)))
    assert np.quantile(errors, 0.75) <= 0.3


def low_from_the_start(falls):
    """An SNR that was never high, and an Adam SNR that may fall near iteration 100."""
    noise = np.random.default_rng(0).normal(0.0, 0.1, (2, TIME.size))
    adam = -0.2 - 2.0 * falls * np.clip((TIME - 1.6) / 0.4, 0.0, 1.0)
    return {
        "iteration": ITERATION,
        "snr": 10.0 ** (-0.85 + noise[0]),
        "adam_snr": 10.0 ** (adam + noise[1]),
        "training_loss": 10.0 ** -np.clip(TIME - 2.0, 0.0, 1.0),
    }


def test_adam_tells_of_diffusion_where_the_snr_was_never_high():
    for timeline in (detect(low_from_the_start(True)), replay(low_from_the_start(True))):
        assert timeline.current is Phase.DIFFUSION
        (found,) = timeline.transitions
        assert abs(np.log10(found.iteration / 100)) <= 0.3
        assert found.confidence <= 0.75
        assert "Adam SNR fell" in found.evidence[0].statement


def test_without_any_fall_it_is_fitting_at_any_level():
    for factor in (1.0, 100.0):
        columns = low_from_the_start(False)
        columns["snr"] = columns["snr"] * factor
        timeline = detect(columns)
        assert timeline.current is Phase.FITTING
        assert timeline.reason.startswith("no diffusion yet")
