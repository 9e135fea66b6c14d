"""Offline detection on curves whose phases are known."""

import numpy as np
import pytest

from phasecore.phases import Curve, Phase, detect
from phasecore.testing.curves import FAMILIES, synthetic_curve

ITERATION = np.arange(1, 20001, 5)
SNR = np.where(ITERATION < 100, 30.0, np.where(ITERATION < 5000, 0.03, 3.0))


def starts(timeline):
    return timeline.start(Phase.DIFFUSION), timeline.start(Phase.TOTAL_DIFFUSION)


def decades(found, true):
    return abs(np.log10(found / true))


def check(timeline):
    diffusion, total = starts(timeline)
    assert decades(diffusion, 100) < 0.1
    assert decades(total, 5000) < 0.1
    assert timeline.current is Phase.TOTAL_DIFFUSION


def test_two_steps_are_found_where_they_are():
    timeline = detect({"iteration": ITERATION, "snr": SNR})
    check(timeline)
    for transition in timeline.transitions:
        low, high = transition.interval
        assert low <= transition.iteration <= high
        assert 0.9 < transition.confidence < 1.0
        assert transition.evidence[0].quantity == "snr"
        assert transition.declared_at is None


def test_gaps_nan_and_infinities_change_nothing_much():
    holes = SNR.copy()
    holes[::3], holes[1::7] = np.nan, np.inf
    check(detect({"iteration": ITERATION, "snr": holes}))
    kept = np.random.default_rng(0).random(ITERATION.size) < 0.3
    kept[(ITERATION > 700) & (ITERATION < 900)] = False
    check(detect({"iteration": ITERATION[kept], "snr": SNR[kept]}))


def test_a_single_spike_is_not_a_phase():
    snr = np.where(ITERATION < 100, 30.0, 0.03)
    snr[1000] = 1e9
    diffusion, total = starts(detect({"iteration": ITERATION, "snr": snr}))
    assert decades(diffusion, 100) < 0.1
    assert total is None


def test_a_rise_that_does_not_last_is_not_a_phase():
    snr = np.where(ITERATION < 100, 30.0, np.where((ITERATION > 3000) & (ITERATION < 4000), 3.0, 0.03))
    timeline = detect({"iteration": ITERATION, "snr": snr})
    assert starts(timeline)[1] is None
    assert timeline.current is Phase.DIFFUSION
    assert timeline.reason.startswith("no total diffusion yet: ")


def test_a_history_that_starts_late_does_not_tell_of_fitting():
    late = ITERATION > 1500
    timeline = detect({"iteration": ITERATION[late], "snr": SNR[late]})
    assert timeline.start(Phase.DIFFUSION) is None
    assert decades(timeline.start(Phase.TOTAL_DIFFUSION), 5000) < 0.1
    flat = detect({"iteration": ITERATION[late], "snr": np.ones(late.sum())})
    assert flat.current is None
    assert flat.reason.startswith("cannot tell: the curve starts at ")


@pytest.mark.parametrize(
    "columns",
    [
        {"iteration": [], "snr": []},
        {"iteration": np.arange(9), "snr": np.ones(9)},
        {"iteration": np.arange(100), "snr": np.full(100, np.nan)},
        {"iteration": np.arange(10**6, 10**6 + 1000), "snr": np.ones(1000)},
    ],
)
def test_too_little_to_tell(columns):
    timeline = detect(columns)
    assert timeline.current is None
    assert timeline.transitions == ()
    assert timeline.reason.startswith("cannot tell: ")


def test_a_high_snr_throughout_is_fitting():
    timeline = detect({"iteration": ITERATION, "snr": np.full(ITERATION.size, 50.0)})
    assert timeline.current is Phase.FITTING
    assert timeline.transitions == ()


def test_ten_captures_are_enough_for_a_clear_fall():
    iteration = np.geomspace(1, 1e5, 10).astype(int)
    timeline = detect({"iteration": iteration, "snr": [100, 90, 80, 1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1]})
    assert timeline.current is Phase.DIFFUSION


def test_other_quantities_speak_for_themselves():
    """The SNR stays where it is, homogeneous; residual order, loss and error tell of total diffusion."""
    snr = np.where(ITERATION < 100, 300.0, 4.0)
    after = np.clip(np.log10(ITERATION / 4000.0) / 0.2, 0.0, 1.0)
    columns = {
        "iteration": ITERATION,
        "snr": snr,
        "residual_order": np.where(ITERATION < 60, 0.99, 0.6 + 0.3 * after),
        "training_loss": 10.0 ** (-2.0 - 1.5 * after),
        "relative_l2_error": 10.0 ** (-0.1 - 0.3 * after),
    }
    timeline = detect(columns)
    assert decades(timeline.start(Phase.TOTAL_DIFFUSION), 5000) < 0.2
    found = {item.quantity: item for item in timeline.transitions[-1].evidence}
    assert found["residual_order"].log_odds > 1.0
    assert "rose from 0.6" in found["residual_order"].statement
    assert found["snr"].log_odds <= 0.0
    assert detect({"iteration": ITERATION, "snr": snr}).start(Phase.TOTAL_DIFFUSION) is None


def test_a_flat_quantity_lowers_the_confidence():
    noise = np.random.default_rng(1).normal(0.0, 0.4, ITERATION.size)
    snr = 10 ** (np.where(ITERATION < 100, 1.5, np.where(ITERATION < 5000, -1.0, -0.1)) + noise)
    alone = detect({"iteration": ITERATION, "snr": snr}).transitions[-1]
    doubted = detect({"iteration": ITERATION, "snr": snr, "training_loss": np.full(ITERATION.size, 0.1)}).transitions
    assert alone.phase is Phase.TOTAL_DIFFUSION
    assert doubted[-1].phase is Phase.DIFFUSION or doubted[-1].confidence < alone.confidence


def test_cut_before_the_rise_nothing_is_reported():
    for cut in (500, 1000, 2500, 4500):
        kept = cut > ITERATION
        assert detect({"iteration": ITERATION[kept], "snr": SNR[kept]}).start(Phase.TOTAL_DIFFUSION) is None


def test_the_scale_of_the_loss_and_the_number_of_captures_do_not_matter():
    made = synthetic_curve("sigmoid", seed=3, rise=(2, 2), noise=(0.2, 0.2))
    timeline = detect(made.columns)
    scaled = {**made.columns, "training_loss": 1e5 * made.columns["training_loss"]}
    assert starts(detect(scaled)) == starts(timeline)


@pytest.mark.parametrize("columns", ["snr", "all"])
def test_held_out_families_with_clear_rises(columns):
    """A small version of the benchmark: rises of at least one decade, noise of at most a third."""
    close = true = false = absent = 0
    for name, family in FAMILIES.items():
        if not family.held_out:
            continue
        for seed in range(4):
            made = synthetic_curve(name, seed, rise=(1.0, 4.0), noise=(0.1, 0.33), columns=columns)
            found = detect(made.columns).start(Phase.TOTAL_DIFFUSION)
            if made.total_diffusion_start is None:
                absent += 1
                false += found is not None
            else:
                true += 1
                close += found is not None and decades(found, made.total_diffusion_start) <= 0.15
    assert close / true >= 0.95
    assert false <= 0.02 * absent


def test_recorded_curves_agree_with_their_labels(recorded_curves):
    errors = []
    for name, (curve, label) in recorded_curves.items():
        diffusion, total = starts(detect(curve))
        errors += [decades(diffusion, label["fitting_end"]), decades(total, label["total_diffusion_start"])]
        kept = curve.iteration <= 0.5 * label["total_diffusion_start"]
        cut = Curve(curve.iteration[kept], {column: values[kept] for column, values in curve.columns.items()})
        assert detect(cut).start(Phase.TOTAL_DIFFUSION) is None, name
    assert max(errors) <= 0.3
    assert np.mean(errors) <= 0.15
