"""Nothing that a plugin returns wrongly trains: on every path it is refused, or switched off, and named."""

import json
import warnings

import faulty_plugins as faulty
import numpy as np
import pytest
import torch

from phasecore import PluginError
from phasecore.errors import PluginWarning, TrainingError
from phasecore.probes import DEFAULT_PROBES
from phasecore.runs import execute, prepare
from phasecore_torch import PhaseMonitor, PhysicsLoss

PATHS = {
    "jets": {},
    "blocks": {"block": 16},
    "recomputed": {"recompute": True},
    "autodiff": {"derivatives": "autodiff"},
}
"""Ways to evaluate a loss; what is compiled is the same function."""

SOUND = faulty.Decay()


def cases(*tables):
    return [pytest.param(*case, id=what) for table in tables for what, case in table.items()]


def made(problem, weighting="uniform", **options):
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(1, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
    loss = PhysicsLoss(problem, model, problem.sample(60, seed=0), weighting=weighting, **options)
    return loss, torch.optim.Adam(model.parameters())


def train(loss, optimizer, steps=2, *, one_pass=False, **options):
    monitor = PhaseMonitor(loss, optimizer, every=1, batches=5, **options)
    for _ in range(steps):
        optimizer.zero_grad()
        value = loss()
        if one_pass:
            monitor.backward(value)
        else:
            value.backward()
        optimizer.step()
        monitor.step()
    return monitor


def untimed(rows):
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(("problem", "told"), cases(faulty.RESIDUALS, faulty.FIELDS, faulty.CONDITIONS))
def test_a_problem_that_returns_something_else_is_refused_when_the_loss_is_made(problem, told, path):
    with pytest.raises(PluginError, match=told) as caught:
        made(problem, **PATHS[path])
    assert "decay" in str(caught.value) or "'initial'" in str(caught.value)


@pytest.mark.parametrize(("problem", "told"), cases(faulty.REFERENCES))
@pytest.mark.parametrize("probe", ["relative_l2_error", "target_information"])
def test_a_reference_that_is_none_is_refused_when_the_monitor_is_made(problem, told, probe):
    loss, optimizer = made(problem)
    with pytest.raises(PluginError, match=told):
        PhaseMonitor(loss, optimizer, batches=5, probes=[probe])


@pytest.mark.parametrize(("scheme", "told"), cases(faulty.SCHEMES))
def test_a_scheme_that_returns_something_else_is_refused_before_its_weights_are_used(scheme, told):
    with pytest.raises(PluginError, match=told):
        made(SOUND, scheme)[0]()


@pytest.mark.parametrize("what", faulty.FORGETFUL)
@pytest.mark.parametrize("count", [1, 7])
def test_a_batch_that_fails_for_points_that_are_not_named_says_where_to_name_them(what, count):
    loss, _ = made(SOUND, faulty.forgetful(what))
    loss()
    with pytest.raises(PluginError, match=r"state 'kept_ode'|weights of term 'ode'|update\(signals, state\)") as caught:
        loss(torch.arange(count))
    assert str(caught.value).endswith("Name fields with a value for each point in per_point.")


@pytest.mark.parametrize(("turns", "told"), cases(faulty.TURNING))
def test_a_scheme_that_returns_something_else_later_is_refused_then(turns, told):
    loss, _ = made(SOUND, faulty.turning(**turns))
    loss()
    with pytest.raises(PluginError, match=told):
        loss()


def test_a_weight_that_is_a_number_later_is_refused_then():
    loss, _ = made(SOUND, faulty.turning(weights=lambda sound: {"ode": 1.0}))
    loss()
    with pytest.raises(PluginError, match=r"weights of term 'ode': received a float, 1\.0"):
        loss()


def test_a_scalar_residual_of_a_condition_with_one_point_is_taken():
    one = faulty.with_condition(lambda p, t, xp: xp.mean(p["u"]) - 1.0, count=1)
    column = faulty.with_condition(lambda p, t, xp: p["u"] - 1.0, count=1)
    assert float(made(one)[0]().detach()) == float(made(column)[0]().detach())


@pytest.mark.parametrize("one_pass", [False, True], ids=["beside", "within the backward pass"])
@pytest.mark.parametrize(("probe", "told"), cases(faulty.SWITCHED_OFF))
def test_a_probe_that_fails_is_switched_off_with_one_warning_and_leaves_the_rest_alone(probe, told, one_pass, tmp_path):
    expected = train(*made(SOUND), 4, one_pass=one_pass).history
    file = tmp_path / "history.jsonl"
    with pytest.warns(PluginWarning, match=told) as caught:
        monitor = train(*made(SOUND), 4, one_pass=one_pass, probes=[*DEFAULT_PROBES, probe], history_file=file)
    (warning,) = [item for item in caught if issubclass(item.category, PluginWarning)]
    assert "probe 'sketch' of faulty_plugins at iteration 1" in str(warning.message)
    assert "disabled" in str(warning.message)
    untimed = [
        [{k: v for k, v in row.items() if k != "seconds"} for row in rows] for rows in (monitor.history, expected)
    ]
    assert untimed[0] == untimed[1]
    written = [json.loads(line) for line in file.read_text().splitlines()]
    assert all(value is None or type(value) in (int, float) for row in written for value in row.values())


@pytest.mark.parametrize(("probe", "told"), cases(faulty.TAKEN))
def test_a_column_that_is_taken_is_refused_at_the_first_capture_naming_both(probe, told):
    loss, optimizer = made(SOUND)
    with pytest.raises(PluginError, match=told):
        train(loss, optimizer, probes=[*DEFAULT_PROBES, probe])


def test_a_column_that_is_taken_later_switches_the_probe_off_and_keeps_the_measured_one():
    calls = []

    def measure(signals):
        calls.append(1)
        return {"size": 1.0} if len(calls) < 3 else {"snr": 5.0}

    with pytest.warns(PluginWarning, match=r"'sketch'.* at iteration 3.*'snr'.*'gradient_snr'"):
        monitor = train(*made(SOUND), 4, probes=[*DEFAULT_PROBES, faulty.Sketch(measure)])
    assert [row["snr"] for row in monitor.history] == [row["snr"] for row in train(*made(SOUND), 4).history]
    assert ["size" in row for row in monitor.history] == [True, True, False, False]


@pytest.mark.parametrize("value", [0.5, np.float32(0.5), np.asarray(0.5), 1, np.int64(1), float("nan"), float("inf")])
def test_every_real_number_is_taken_as_a_plain_float(value):
    with warnings.catch_warnings():
        warnings.simplefilter("error", PluginWarning)
        monitor = train(*made(SOUND), probes=[faulty.Sketch(lambda signals: {"size": value})])
    found = monitor.history[-1]["size"]
    assert type(found) is float
    assert found == pytest.approx(float(value), nan_ok=True)


@pytest.mark.parametrize("compiled", [False, True])
def test_signals_are_restricted_in_a_compiled_loss_too(compiled):
    """What a scheme declared is all that it sees, and the numbers are those without the restriction's cost."""
    seen = []

    def update(signals, state):
        seen.append(sorted(signals.values))
        return faulty.ones(signals), state

    loss, _ = made(SOUND, faulty.scheme(update))
    call = torch.compile(loss, backend="eager") if compiled else loss
    torch.testing.assert_close(call().detach(), made(SOUND)[0]().detach())
    assert set(map(tuple, seen)) == {("residuals",)}


def test_residuals_that_stop_being_finite_are_told_with_term_and_place():
    by_size = faulty.scheme(lambda s, state: ({"ode": s.namespace.abs(s["residuals"]["ode"])}, state))
    loss, optimizer = made(SOUND, by_size)
    loss()
    with torch.no_grad():
        loss.model[0].weight.fill_(float("nan"))
    loss()
    told = r"weights of term 'ode'.*the residual of 'ode' is not finite at 60 of 60 points, the first t="
    with pytest.raises(PluginError, match=told):
        loss.check_weights(2)
    with pytest.raises(PluginError, match=told):
        PhaseMonitor(loss, optimizer, batches=5).capture.measure()


def test_a_training_that_diverges_names_the_term_and_where():
    training = prepare(SOUND, backend="torch", iterations=60, learning_rate=1e30)
    with pytest.raises(
        TrainingError, match=r"'decay' at iteration \d+: received loss \w+; the residual of '\w+' is not"
    ):
        execute(training)
