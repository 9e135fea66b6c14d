"""What the studies compute from curves: known curves give the known numbers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from benchmarks.study.claims import CLAIMS, coincidence, prediction, slope_change, sooner
from benchmarks.study.intervals import Interval, median, rank_correlation, share, verdict, within_groups
from benchmarks.study.measures import Measured
from phasecore.phases import Phase, Timeline, Transition, detect

ITERATION = np.unique(np.geomspace(1, 10_000, 400).astype(int))


def made(begins: float | None, *, error_falls: float = 1000.0, final: float = 1e-2, seed: int = 0) -> Measured:
    """A run whose SNR falls until 100 and rises at `begins`, and whose error falls at `error_falls`."""
    x = np.log10(ITERATION)
    snr = 10 ** np.interp(x, [0.0, 2.0], [4.0, -2.0])
    if begins is not None:
        snr *= 10 ** np.interp(x - math.log10(begins), [-0.02, 0.02], [0.0, 2.0])
    error = 10 ** np.interp(x - math.log10(error_falls), [-0.05, 0.05], [0.0, math.log10(final)])
    order = np.interp(x - math.log10(begins or 1e9), [-0.02, 0.02], [0.6, 0.95])
    history: dict[str, Any] = {
        "iteration": ITERATION.tolist(),
        "snr": snr.tolist(),
        "residual_order": order.tolist(),
        "relative_l2_error": error.tolist(),
        "training_loss": (error**2).tolist(),
        "unweighted_loss": (error**2).tolist(),
    }
    settings = {"seed": seed}
    run = Measured(
        {
            "configuration": {"problem": "burgers", "weighting": "rba", "settings": settings},
            "history": history,
            "processor_seconds": 10.0,
        }
    )
    moments = {Phase.DIFFUSION: 100.0, Phase.TOTAL_DIFFUSION: begins}
    found = [Transition(phase, int(at), (int(at), int(at)), 0.9, ()) for phase, at in moments.items() if at is not None]
    # whatever the detector says of such a curve, what is computed around a moment is tested here
    run.__dict__["timeline"] = Timeline(tuple(found), found[-1].phase, "as it was made")
    return run


def test_phases_are_those_that_the_detector_finds_in_the_stored_curve() -> None:
    run = Measured(made(1000.0, error_falls=1000.0).kept)
    assert run.timeline == detect(run.kept["history"])
    assert abs(math.log10(run.total_diffusion / 1000.0)) < 0.15


def test_phases_of_little_confidence_do_not_count() -> None:
    run = made(1000.0)
    unsure = Transition(Phase.TOTAL_DIFFUSION, 1000, (900, 1100), 0.4, ())
    run.__dict__["timeline"] = Timeline((unsure,), Phase.FITTING, "unsure")
    assert run.total_diffusion == run.begins(Phase.DIFFUSION) == math.inf
    assert run.settled == 30.0


def test_the_steepest_fall_is_where_it_was_put() -> None:
    for falls in (300.0, 1000.0, 3000.0):
        found = made(1000.0, error_falls=falls).steepest("relative_l2_error", falls=True)
        assert abs(math.log10(found / falls)) < 0.06


def test_a_fall_at_total_diffusion_is_nearer_than_a_random_moment_and_one_far_away_is_not() -> None:
    assert coincidence(made(1000.0, error_falls=1000.0)) < -0.3
    assert coincidence(made(5000.0, error_falls=300.0)) > 0
    assert math.isnan(coincidence(made(None)))


def test_the_error_falls_faster_after_if_it_falls_after() -> None:
    assert slope_change(made(1000.0, error_falls=1500.0)) < -1
    assert slope_change(made(1000.0, error_falls=700.0)) > 1


def test_every_claim_says_nothing_of_a_run_without_total_diffusion_or_without_its_columns() -> None:
    never = made(None)
    for claim in CLAIMS:
        assert math.isnan(claim.measure(never)), claim.name
        assert claim.over([never]).runs == 0
        assert claim.judged([never]) == "too few runs"


def test_claims_are_judged_by_what_the_curves_say() -> None:
    runs = [made(begins, error_falls=begins) for begins in (600.0, 800.0, 1000.0, 1500.0, 2000.0)]
    judged = {claim.name: claim.judged(runs) for claim in CLAIMS}
    assert judged["SNR rises"] == judged["residual order rises"] == "holds"
    assert judged["near the error's steepest fall"] == "holds"
    # the loss is the error's square: the steepest falls of both are one
    assert judged["nearer than the loss says"] == "does not hold here"
    assert judged["activations saturate"] == "too few runs"


def test_pairs_are_counted_by_who_begins() -> None:
    pairs = [
        (made(2000.0), made(1000.0)),
        (made(None), made(1000.0)),
        (made(1000.0), made(None)),
        (made(None), made(None)),
    ]
    wins, iterations, times, kinds = sooner(pairs)
    assert kinds == {"both": 1, "rba only": 1, "uniform only": 1, "neither": 1}
    assert wins.estimate == pytest.approx(2 / 3)
    assert wins.runs == 3
    assert iterations.estimate == pytest.approx(0.5, rel=0.1)
    assert times.estimate == pytest.approx(iterations.estimate)


def test_sooner_runs_with_smaller_errors_are_a_positive_prediction() -> None:
    begins = (600.0, 800.0, 1000.0, 1500.0, 2000.0, None)
    finals = (1e-3, 2e-3, 3e-3, 5e-3, 8e-3, 2e-2)
    runs = [made(at, error_falls=900.0, final=final) for at, final in zip(begins, finals, strict=True)]
    by_begin, by_loss, beyond = prediction({"burgers": runs, "helmholtz": runs[:3]})
    assert by_begin.estimate == by_loss.estimate == 1.0
    assert by_begin.runs == len(runs)  # too few runs of a problem have no rank
    assert not math.isfinite(beyond.estimate)  # the loss predicts the error wholly


def test_partial_correlation_is_what_is_left() -> None:
    generator = np.random.default_rng(0)
    third = generator.normal(size=400)
    first, second = third + 0.1 * generator.normal(size=400), third + 0.1 * generator.normal(size=400)
    assert rank_correlation(first, second) > 0.9
    assert abs(rank_correlation(first, second, third)) < 0.15
    assert math.isnan(rank_correlation([1, 1, 1], [1, 2, 3]))


def test_verdicts() -> None:
    assert verdict(Interval(0.5, 0.2, 0.8, 9), 0.0, "above") == "holds"
    assert verdict(Interval(0.5, 0.2, 0.8, 9), 0.0, "below") == "does not hold here"
    assert verdict(Interval(0.5, -0.2, 0.8, 9), 0.0, "above") == "holds partly"
    assert verdict(Interval(0.5, 0.2, 0.8, 4), 0.0, "above") == "too few runs"
    assert verdict(median([]), 0.0, "above") == "too few runs"
    assert verdict(within_groups([]), 0.0, "above") == "too few runs"


def test_intervals_cover_their_estimate_and_narrow() -> None:
    few, many = median([1.0, 2.0, 3.0]), median([1.0, 2.0, 3.0] * 30)
    assert few.low <= few.estimate <= few.high
    assert many.high - many.low < few.high - few.low
    assert share(0, 5).low == pytest.approx(0.0, abs=1e-12)
    assert share(0, 5).high < 0.5
