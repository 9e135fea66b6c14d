"""What a recorder makes of policies: asked at each capture, guarded, in the history, told, taken up again."""

import dataclasses
import json
import warnings
from typing import NamedTuple

import pytest

import phasecore
from phasecore import InputError
from phasecore.backends import Acted, Settings, Training
from phasecore.errors import PluginWarning
from phasecore.phases import Timeline
from phasecore.policies import Call, Policy, Snapshot, Stop
from phasecore.recording.acting import call, check_policies
from phasecore.recording.recorder import Recorder
from phasecore.registry import as_policies, as_schemes
from phasecore.runs import open_run
from phasecore.runs.preparation import prepare
from phasecore.testing.curves import synthetic_curve

HELMHOLTZ = phasecore.problem("helmholtz")
CURVE = synthetic_curve("sigmoid", seed=3, rise=(2.0, 2.0), noise=(0.2, 0.2))
ROWS = [
    {"iteration": int(iteration), "snr": float(snr), "seconds": 0.5 * place}
    for place, (iteration, snr) in enumerate(zip(CURVE.columns["iteration"], CURVE.columns["snr"], strict=True))
]
TRAINING = Training(
    HELMHOLTZ,
    as_schemes("rba"),
    "rba",
    "torch",
    Settings(iterations=ROWS[-1]["iteration"], points=50, width=4, depth=1),
    HELMHOLTZ.sample(50, seed=0),
    probes=[],
)


class Count(NamedTuple):
    seen: int = 0


class Listener:
    def __init__(self):
        self.acted = []

    @phasecore.hookimpl
    def phasecore_policy_acted(self, training, acted):
        self.acted.append(acted)


def every_third(timeline, row, state):
    new = Count(state.seen + 1)
    return ((Snapshot(reason=f"capture {new.seen}"),) if new.seen % 3 == 0 else ()), new


def of(update, requires=("snapshot",), init=Count):
    return Policy(init, update, frozenset(requires))


def with_policy(policy, name=None):
    policies = as_policies(policy)
    return dataclasses.replace(TRAINING, policies=policies, policy_name=name or "+".join(policies))


def record(training, rows, folder=None, **options):
    recorder = Recorder(folder, **options)
    recorder.begin(training)
    decided = []
    for row in rows:
        recorder.captured(row)
        decided += [(row["iteration"], action.name, action.reason) for action in recorder.decided()]
    recorder.close()
    return recorder, decided


def test_a_recorded_history_replays_to_the_same_actions(tmp_path):
    training = with_policy("at_phase:phase=diffusion,do=snapshot+at_phase:phase=total_diffusion,do=lbfgs")
    recorder, decided = record(training, ROWS, tmp_path / "run")
    assert [name for _, name, _ in decided] == ["snapshot", "switch_optimizer"]
    read = open_run(tmp_path / "run")
    again, replayed = record(training, list(_written(tmp_path / "run")))
    assert decided == replayed
    assert list(read.actions) == recorder.actions == again.actions
    assert read.configuration["policy"] == training.policy_name
    assert "declared" in read.actions[1].reason


def test_old_readers_see_numbers_alone(tmp_path):
    record(with_policy({"mine": of(every_third)}), ROWS[:30], tmp_path / "run")
    read = open_run(tmp_path / "run")
    assert set(read.history) == {"iteration", "snr", "seconds"}
    assert phasecore.detect(read.recorded).current == phasecore.detect(open_run(_plain(tmp_path)).recorded).current
    lines = [json.loads(line) for line in (tmp_path / "run" / "history.jsonl").read_text().splitlines()]
    done = [line["actions"] for line in lines if "actions" in line]
    assert done[0] == [
        {"iteration": ROWS[2]["iteration"], "policy": "mine", "action": "snapshot", "to": None, "reason": "capture 3"}
    ]


def test_hooks_and_displays_hear_what_was_done_and_why():
    listener = Listener()
    record(with_policy({"mine": of(every_third)}), ROWS[:7], loggers=[listener])
    assert [acted.words for acted in listener.acted] == ["snapshot", "snapshot"]
    assert listener.acted[0] == Acted(ROWS[2]["iteration"], "mine", "snapshot", None, "capture 3")


@pytest.mark.parametrize("place", [1, 2, 3, 5])
def test_a_policy_goes_on_where_a_checkpoint_left_it(tmp_path, place):
    training = with_policy({"mine": of(every_third)})
    _, whole = record(training, ROWS[:9])
    first, before = record(training, ROWS[:place], tmp_path / "run")
    state = json.loads(json.dumps(first.policy_state()))
    second = Recorder(tmp_path / "run", resume=True)
    second.begin(training)
    second.restore_policies(state)
    after = []
    for row in ROWS[place:9]:
        second.captured(row)
        after += [(row["iteration"], action.name, action.reason) for action in second.decided()]
    second.close()
    assert before + after == whole
    assert len(second.actions) == len(open_run(tmp_path / "run").actions) == 3


def test_what_was_done_after_the_checkpoint_is_done_again(tmp_path):
    training = with_policy({"mine": of(every_third)})
    first, _ = record(training, ROWS[:2], tmp_path / "run")
    state = first.policy_state()
    for row in ROWS[2:7]:
        first.captured(row)
    first.close()
    second = Recorder(tmp_path / "run", resume=True)
    second.begin(training)
    second.restore_policies(state)
    second.captured(ROWS[2])
    second.close()
    assert [acted.iteration for acted in second.actions] == [ROWS[2]["iteration"]]


def raises(timeline, row, state):
    raise RuntimeError("of no use")


FAULTY = {
    "raises": of(raises),
    "returns nothing": of(lambda timeline, row, state: None),
    "returns actions alone": of(lambda timeline, row, state: (Snapshot(),)),
    "returns a name": of(lambda timeline, row, state: (("snapshot",), state)),
    "does what it does not require": of(lambda timeline, row, state: ((Stop(),), state)),
    "returns another state": of(lambda timeline, row, state: ((), {"seen": 1})),
    "keeps what cannot be saved": of(lambda timeline, row, state: ((), Count([1]))),
    "init raises": of(every_third, init=lambda: 1 / 0),
    "init returns something else": of(every_third, init=lambda: 3),
    "writes into the row": of(lambda timeline, row, state: row.update(snr=1)),
}


@pytest.mark.parametrize("fault", FAULTY)
def test_a_faulty_policy_is_switched_off_with_one_warning_that_names_it(fault):
    policies = {"faulty": FAULTY[fault], "sound": of(every_third)}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        recorder, decided = record(with_policy(policies), ROWS[:9])
    messages = [str(item.message) for item in caught]
    assert len(messages) == 1
    assert "policy 'faulty'" in messages[0]
    assert "disabled for the rest of this run" in messages[0]
    assert len(decided) == 3, "the other goes on"
    assert recorder.policy_state()["policies"]["faulty"] is None


def test_a_policy_that_was_switched_off_stays_off_after_a_resume():
    with pytest.warns(RuntimeWarning, match="disabled"):
        first, _ = record(with_policy({"faulty": FAULTY["raises"]}), ROWS[:3])
    second = Recorder()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        second.begin(with_policy({"faulty": FAULTY["raises"]}))
        second.restore_policies(first.policy_state())
        second.captured(ROWS[3])


def test_an_optimizer_that_failed_is_in_the_next_row_and_said_once(tmp_path):
    recorder = Recorder(tmp_path / "run")
    recorder.begin(with_policy({"mine": of(every_third)}))
    recorder.captured(ROWS[0])
    with pytest.warns(RuntimeWarning, match="the loss was not finite") as caught:
        recorder.went_back(7, "adam", "L-BFGS failed: the loss was not finite")
    assert len(caught) == 1
    assert recorder.policy_state()["unwritten"], "a checkpoint knows of it before the history does"
    recorder.captured(ROWS[1])
    recorder.close()
    assert [(acted.iteration, acted.words) for acted in open_run(tmp_path / "run").actions] == [(7, "optimizer adam")]


def test_a_training_without_policies_has_rows_without_actions(tmp_path):
    record(TRAINING, ROWS[:9], tmp_path / "run")
    assert "actions" not in (tmp_path / "run" / "history.jsonl").read_text()


def test_a_function_that_raises_is_a_warning():
    with pytest.warns(PluginWarning, match="ZeroDivisionError"):
        call(Call(lambda timeline, row: 1 / 0), Timeline((), None, ""), {"iteration": 1})


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ("at_phase:phase=diffusion,do=resample", "requires action 'resample'"),
        ("at_phase:phase=diffusion,do=switch_optimizer,to=lbfg", "Did you mean 'lbfgs'"),
        ("at_phase:phase=diffusion,do=change_weighting,to=rbaa", "Did you mean 'rba'"),
        ("at_phase:phase=diffusion,do=change_weighting,to=grad_norm", "grad_norm' requires signal"),
    ],
)
def test_what_cannot_be_carried_out_is_refused_before_the_first_iteration(policy, message):
    declared = {"stop", "switch_optimizer:adam", "switch_optimizer:lbfgs", "change_weighting"}
    with pytest.raises(InputError, match=message):
        check_policies(as_policies(policy), "torch", declared, {"residuals", "condition_residuals"})


@pytest.mark.usefixtures("synthetic_backend")
def test_a_backend_that_declares_nothing_is_given_no_policy():
    with pytest.raises(InputError, match="backend 'synthetic', which carries out"):
        prepare("helmholtz", backend="synthetic", points=60, policy="stop_when_done")


def _written(folder):
    for line in (folder / "history.jsonl").read_text().splitlines():
        yield {name: value for name, value in json.loads(line).items() if name != "actions"}


def _plain(tmp_path):
    record(TRAINING, ROWS[:30], tmp_path / "plain")
    return tmp_path / "plain"
