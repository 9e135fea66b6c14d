"""The online tracker."""

import math

import numpy as np
import pytest

from phasecore.errors import InputError
from phasecore.phases import Phase, TrackerState, detect, tracker
from phasecore.phases.channels import channels_of, channels_of_capture
from phasecore.phases.curve import Curve
from phasecore.testing.curves import synthetic_curve


def captures_of(columns):
    names = list(columns)
    rows = zip(*(np.asarray(values, dtype=float).tolist() for values in columns.values()), strict=True)
    return [dict(zip(names, row, strict=True)) for row in rows]


def replay(captures, state=None):
    init, update = tracker()
    state = init() if state is None else state
    timelines = []
    for capture in captures:
        timeline, state = update(capture, state)
        timelines.append(timeline)
    return timelines, state


@pytest.fixture(scope="module")
def clear():
    """A curve with every column and a clear fall and rise."""
    return synthetic_curve("sigmoid", seed=3, rise=(2.0, 2.0), noise=(0.2, 0.2))


def test_agrees_with_the_offline_detector(clear):
    online, offline = replay(captures_of(clear.columns))[0][-1], detect(clear.columns)
    for phase in (Phase.DIFFUSION, Phase.TOTAL_DIFFUSION):
        assert abs(math.log10(online.start(phase) / offline.start(phase))) < 0.2


def test_declares_after_the_fact_and_dates_back(clear):
    captures = captures_of(clear.columns)
    timelines, _ = replay(captures)
    for transition in timelines[-1].transitions:
        assert transition.declared_at > transition.iteration
        assert transition.declared_at in {capture["iteration"] for capture in captures}
    said = [timeline.start(Phase.TOTAL_DIFFUSION) for timeline in timelines]
    first = next(place for place, start in enumerate(said) if start is not None)
    assert captures[first]["iteration"] >= clear.total_diffusion_start * 10**-0.1


def test_never_looks_ahead(clear):
    captures = captures_of(clear.columns)
    whole, _ = replay(captures)
    half = len(captures) // 2
    part, _ = replay(captures[:half])
    assert part == whole[:half]


def test_in_pieces_through_a_file_as_in_one_go(clear, tmp_path):
    captures = captures_of(clear.columns)
    whole, end = replay(captures)
    state, said = None, []
    for piece in np.array_split(np.arange(len(captures)), 7):
        timelines, state = replay([captures[place] for place in piece], state)
        said += timelines
        np.savez(tmp_path / "state.npz", **state._asdict())
        with np.load(tmp_path / "state.npz") as saved:
            state = TrackerState(**saved)
    assert said == whole
    for ours, theirs in zip(state, end, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_the_state_is_bounded_and_not_mutated(clear):
    init, update = tracker()
    state = init()
    shapes = [(np.shape(part), np.asarray(part).dtype) for part in state]
    for capture in captures_of(clear.columns)[:400]:
        copies = [np.array(part) for part in state]
        _, after = update(capture, state)
        for before, copy in zip(state, copies, strict=True):
            np.testing.assert_array_equal(before, copy)
        state = after
        assert [(np.shape(part), np.asarray(part).dtype) for part in state] == shapes


def test_one_spike_never_flips_a_phase():
    iteration = np.arange(1, 20001, 5)
    snr = np.where(iteration < 100, 30.0, 0.03)
    snr[[1000, 2000, 3000]] = 1e9
    timelines, _ = replay(captures_of({"iteration": iteration, "snr": snr}))
    assert all(timeline.start(Phase.TOTAL_DIFFUSION) is None for timeline in timelines)
    assert timelines[-1].current is Phase.DIFFUSION


def test_a_rise_that_does_not_last_is_taken_back():
    iteration = np.arange(1, 100001, 20)
    raised = (iteration > 3000) & (iteration < 4800)
    snr = np.where(iteration < 100, 30.0, np.where(raised, 3.0, 0.03))
    timelines, _ = replay(captures_of({"iteration": iteration, "snr": snr}))
    assert timelines[-1].current is Phase.DIFFUSION


def test_nothing_recorded_is_cannot_tell():
    nan = float("nan")
    timelines, _ = replay([{"iteration": k, "snr": nan, "training_loss": float("inf")} for k in range(50)])
    assert timelines[-1].current is None
    assert timelines[-1].reason.startswith("cannot tell: 0 captures")


@pytest.mark.parametrize(
    ("capture", "message"),
    [
        ({"snr": 1.0}, "iteration of a capture: received None"),
        ({"iteration": 2.5, "snr": 1.0}, "iteration of a capture: received 2.5"),
        ({"iteration": float("nan"), "snr": 1.0}, "iteration of a capture: received nan"),
        ({"iteration": 5, "snr": 1.0}, "capture out of order: received iteration 5 after 5"),
        ({"iteration": 6, "snr": -1.0}, "capture, 'snr': received -1"),
        ({"iteration": 6, "snr": "high"}, "capture, 'snr': received 'high'"),
    ],
)
def test_bad_captures(capture, message):
    _, state = replay([{"iteration": 5, "snr": 2.0}])
    with pytest.raises(InputError) as caught:
        tracker().update(capture, state)
    assert message in str(caught.value)


def test_a_capture_is_read_as_a_curve_is(clear):
    names = [
        "gradient_mean_norm",
        "gradient_std_norm",
        "adam_first_moment_norm",
        "adam_second_moment_root_norm",
        "gradient_order",
        "residual_order",
        "training_loss",
        "relative_l2_error",
        "layer0_mean_norm",
        "layer0_std_norm",
        "layer3_mean_norm",
        "layer3_std_norm",
    ]
    random = np.random.default_rng(0)
    special = [0.0, 1.0, np.nan, np.inf, 1e-300, 1e300]
    columns = {name: random.choice([*special, 0.3, 2.0, 0.97], 200) for name in names}
    columns["iteration"] = np.arange(1, 201)
    for left_out in ([], ["gradient_mean_norm"], ["gradient_std_norm", "layer0_std_norm"]):
        kept = {name: values for name, values in columns.items() if name not in left_out}
        expected = channels_of(Curve.from_columns(kept))
        found = np.array([channels_of_capture(capture)[1] for capture in captures_of(kept)]).T
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


def test_recorded_curves_are_declared_in_time(recorded_curves):
    for name, (curve, label) in recorded_curves.items():
        captures = captures_of({"iteration": curve.iteration, **curve.columns})
        timelines, _ = replay(captures)
        for phase, key in ((Phase.DIFFUSION, "fitting_end"), (Phase.TOTAL_DIFFUSION, "total_diffusion_start")):
            found = next(item for item in timelines[-1].transitions if item.phase is phase)
            assert -0.1 <= math.log10(found.declared_at / label[key]) <= 0.35, (name, phase)
        early = [
            timeline
            for capture, timeline in zip(captures, timelines, strict=True)
            if capture["iteration"] <= 0.5 * label["total_diffusion_start"]
        ]
        assert all(timeline.start(Phase.TOTAL_DIFFUSION) is None for timeline in early), name
