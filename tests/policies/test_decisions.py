"""What the built-in policies decide on recorded curves; nothing is trained."""

import math
import warnings

import numpy as np
import pytest

from phasecore import Phase, Timeline, Transition
from phasecore.errors import PluginWarning
from phasecore.policies import at_phase, learning_rate_by_phase, optimizer_by_phase, quasi_newton, stop_when_done
from phasecore.policies.checks import restored_state
from phasecore.testing.policies import captures_of


def timeline(*begun):
    """The phases so far, each with the iteration at which it began."""
    transitions = tuple(Transition(phase, at, (at, at), 0.9, ()) for phase, at in begun)
    return Timeline(transitions, transitions[-1].phase if transitions else Phase.FITTING, "because")


FITTING = timeline()
DIFFUSION = timeline((Phase.DIFFUSION, 100))
TOTAL = timeline((Phase.DIFFUSION, 100), (Phase.TOTAL_DIFFUSION, 1000))


def decisions(policy, captures):
    """(iteration, action, to) of everything that a policy has done."""
    state, found = policy.init(), []
    for phases, row in captures:
        actions, state = policy.update(phases, row, state)
        found += [(row["iteration"], action.name, action.to) for action in actions]
    return found


def curve(rise=3000, last=8000, loss=lambda iteration: 1.0):
    rows = []
    for iteration in range(1, last + 1, 10):
        snr = 30.0 if iteration < 100 else 0.03 if iteration < rise else 3.0
        rows.append({"iteration": iteration, "snr": snr, "unweighted_loss": loss(iteration)})
    return list(captures_of(rows, last))


def test_at_phase_acts_once_where_the_tracker_declares_the_phase():
    captures = curve()
    declared = next(row["iteration"] for phases, row in captures if phases.start(Phase.TOTAL_DIFFUSION) is not None)
    found = decisions(at_phase("total_diffusion", "lbfgs"), captures)
    assert found == [(declared, "switch_optimizer", "lbfgs")]
    assert 3000 < declared < 6000


def test_at_phase_does_nothing_where_the_phase_never_comes():
    captures = curve(rise=math.inf)
    assert captures[-1][0].current is Phase.DIFFUSION
    assert decisions(at_phase("total_diffusion", "lbfgs"), captures) == []


def test_at_phase_acts_at_fitting_and_calls_functions():
    heard = []
    policy = at_phase("fitting", lambda phases, row: heard.append(row["iteration"]))
    (action,), _ = policy.update(FITTING, {"iteration": 10}, policy.init())
    action.function(FITTING, {"iteration": 10})
    assert heard == [10]


@pytest.mark.parametrize("loss", [lambda iteration: 1.0, lambda iteration: 1.0 + 0.01 * (iteration % 3)])
def test_a_plateau_in_diffusion_never_stops_a_training(loss):
    assert decisions(stop_when_done(), curve(rise=math.inf, last=30_000, loss=loss)) == []


def test_a_plateau_after_total_diffusion_stops_it():
    ((at, action, _),) = decisions(stop_when_done(), curve(last=12_000))[:1]
    assert action == "stop"
    assert at > 3000 * 1.25


def test_a_loss_that_goes_on_falling_stops_nothing():
    falling = curve(last=20_000, loss=lambda iteration: iteration**-2.0)
    assert decisions(stop_when_done(), falling) == []


def test_a_loss_that_is_not_measured_or_not_finite_stops_nothing():
    captures = [(TOTAL, {"iteration": k, "unweighted_loss": math.nan}) for k in range(1000, 90_000, 500)]
    captures += [(TOTAL, {"iteration": k}) for k in range(90_000, 190_000, 500)]
    assert decisions(stop_when_done(), captures) == []


def test_a_training_that_leaves_total_diffusion_is_not_stopped_meanwhile():
    captures = [(DIFFUSION, {"iteration": k, "unweighted_loss": 1.0}) for k in range(1000, 50_000, 100)]
    start = (TOTAL, {"iteration": 900, "unweighted_loss": 1.0})
    assert decisions(stop_when_done(), [start, *captures]) == []


def test_the_learning_rate_follows_the_phases_and_never_goes_back():
    captures = [
        (phases, {"iteration": 10 * k}) for k, phases in enumerate([FITTING, DIFFUSION, FITTING, TOTAL, DIFFUSION])
    ]
    found = decisions(learning_rate_by_phase(diffusion=0.5, total_diffusion=0.1), captures)
    assert [at for at, _, _ in found] == [10, 30]
    assert np.allclose([to for _, _, to in found], [0.5, 0.2])


def test_a_phase_that_is_skipped_leaves_the_factor_of_the_next():
    found = decisions(learning_rate_by_phase(diffusion=0.5, total_diffusion=0.1), [(TOTAL, {"iteration": 10})])
    assert found == [(10, "scale_learning_rate", 0.1)]
    assert decisions(learning_rate_by_phase(total_diffusion=1.0), [(TOTAL, {"iteration": 10})]) == []


def test_optimizers_follow_the_phases():
    captures = [
        (phases, {"iteration": 10 * k}) for k, phases in enumerate([FITTING, DIFFUSION, DIFFUSION, TOTAL, DIFFUSION])
    ]
    found = decisions(optimizer_by_phase(diffusion="muon", total_diffusion="lbfgs"), captures)
    assert found == [(10, "switch_optimizer", "muon"), (30, "switch_optimizer", "lbfgs")]


@pytest.mark.parametrize(
    ("options", "at"),
    [
        ({}, 150),
        ({"earliest": 0.2}, 200),
        ({"earliest": 180}, 180),
        ({"earliest": 0}, 150),
        ({"latest": 0.05}, 50),
        ({"phase": "total_diffusion"}, 250),
        ({"phase": "total_diffusion", "latest": 0.2}, 200),
        ({"phase": "total_diffusion", "latest": 300}, 300),
        ({"phase": "total_diffusion", "latest": 1.0}, 1000),
    ],
)
def test_quasi_newton_waits_for_its_phase_within_its_moments(options, at):
    captures = [
        (FITTING if k < 150 else DIFFUSION, {"iteration": k, "progress": k / 1000}) for k in range(10, 1001, 10)
    ]
    found = decisions(quasi_newton(**options), captures)
    assert found == [(at, "switch_optimizer", "lbfgs"), (at, "average_weighting", None)]


def test_quasi_newton_waits_for_its_phase_alone_where_the_number_of_iterations_is_not_known():
    captures = [(FITTING if k < 150 else DIFFUSION, {"iteration": k}) for k in range(10, 1000, 10)]
    assert decisions(quasi_newton(), captures)[0] == (150, "switch_optimizer", "lbfgs")
    assert decisions(quasi_newton(phase="total_diffusion"), captures) == []


@pytest.mark.parametrize(
    ("weights", "further"),
    [
        ("averaged", [("average_weighting", None)]),
        ("held", [("hold_weighting", None)]),
        ("updated", []),
        ("uniform", [("change_weighting", "uniform")]),
    ],
)
def test_quasi_newton_says_what_becomes_of_the_weights(weights, further):
    found = decisions(quasi_newton(weights=weights), [(TOTAL, {"iteration": 10})])
    assert [item[1:] for item in found] == [("switch_optimizer", "lbfgs"), *further]


@pytest.mark.parametrize("quantity", ["unweigthed_loss", "relative_l2_error"])
def test_stop_when_done_says_once_which_columns_there_are_where_its_own_is_not(quantity):
    captures = curve()
    with pytest.warns(PluginWarning) as caught:
        assert decisions(stop_when_done(quantity), captures) == []
    (warning,) = caught
    assert f"no column {quantity!r}; it has snr, unweighted_loss." in str(warning.message)
    assert ("Did you mean 'unweighted_loss'?" in str(warning.message)) is (quantity == "unweigthed_loss")


@pytest.mark.parametrize("value", [1.0, math.nan])
def test_stop_when_done_says_nothing_where_its_column_is_there(value):
    captures = [(phases, {**row, "unweighted_loss": value}) for phases, row in curve()]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        decisions(stop_when_done(), captures)


def test_stop_when_done_goes_on_from_a_state_of_before():
    """A checkpoint of an older version has no word on whether the column was there."""
    policy = stop_when_done()
    state = restored_state([1.0, 1000], type(policy.init()))
    (action,), _ = policy.update(TOTAL, {"iteration": 9000, "unweighted_loss": 1.0}, state)
    assert action.name == "stop"
