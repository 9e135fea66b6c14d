"""Every law on every built-in policy, and each law against a policy that breaks it."""

import itertools
from typing import NamedTuple

import pytest

import phasecore
from phasecore import InputError, PluginError, UnknownNameError
from phasecore.policies import Policy, SetLearningRate, Snapshot, Stop, SwitchOptimizer
from phasecore.registry import as_policies
from phasecore.testing import POLICY_LAWS, PolicySubject, check_policy
from phasecore.testing.policies import made_up

COUNTER = itertools.count()

SPECIFICATIONS = [
    "at_phase:phase=total_diffusion,do=lbfgs",
    "at_phase:phase=diffusion,do=scale_learning_rate,to=0.5",
    "at_phase:phase=diffusion,do=set_learning_rate,to=1e-4",
    "at_phase:phase=fitting,do=snapshot",
    "at_phase:phase=diffusion,do=hold_weighting",
    "at_phase:phase=diffusion,do=average_weighting",
    "at_phase:phase=diffusion,do=release_weighting",
    "at_phase:phase=diffusion,do=change_weighting,to=uniform",
    "at_phase:phase=diffusion,do=resample",
    "at_phase:phase=total_diffusion,do=stop",
    "at_phase:phase=total_diffusion,do=call,to=math:hypot",
    "at_phase:phase=diffusion,do=switch_optimizer,to=muon",
    "quasi_newton",
    "quasi_newton:phase=total_diffusion,weights=updated",
    "quasi_newton:weights=uniform,latest=0.2",
    "quasi_newton:latest=400",
    "stop_when_done",
    "stop_when_done:quantity=relative_l2_error,patience=0.01",
    "learning_rate_by_phase",
    "learning_rate_by_phase:diffusion=0.5,total_diffusion=0.1",
    "optimizer_by_phase:diffusion=muon,total_diffusion=lbfgs",
    "optimizer_by_phase:total_diffusion=lbfgs",
]


class State(NamedTuple):
    count: int = 0


class Listed(NamedTuple):
    seen: list


def sketch(update, requires=("stop",), init=State):
    return Policy(init, update, frozenset(requires))


def grows(timeline, row, state):
    state.seen.append(row["iteration"])
    return ((Stop(),) if len(state.seen) == 20 else ()), state


def writes(timeline, row, state):
    row["iteration"] = 0
    return (), state


BROKEN = {
    "declares_itself": sketch(lambda timeline, row, state: ((), state), requires=("stopp",)),
    "keeps_its_contract": sketch(lambda timeline, row, state: ((Snapshot(),), state)),
    "is_deterministic": sketch(lambda timeline, row, state: ((Stop(reason=str(next(COUNTER))),), state)),
    "replays_a_recorded_history": sketch(lambda timeline, row, state: ((Stop(reason=str(next(COUNTER))),), state)),
    "resumes": sketch(lambda timeline, row, state: ((), state), init=lambda: Listed([])),
    "state_and_row_are_not_mutated": sketch(writes),
    "bears_rows_without_its_columns": sketch(lambda timeline, row, state: ((), State(int(row["snr"] > 0)))),
}


def test_every_built_in_policy_is_among_those_that_are_checked():
    assert {item.partition(":")[0] for item in SPECIFICATIONS} == set(phasecore.names("policy"))


@pytest.mark.parametrize("law", POLICY_LAWS, ids=lambda law: law.__name__)
@pytest.mark.parametrize("specification", SPECIFICATIONS)
def test_built_in_policies_keep_every_law(specification, law):
    ((name, policy),) = as_policies(specification).items()
    law(PolicySubject(name, policy, made_up()))


@pytest.mark.parametrize("law", BROKEN)
def test_every_law_can_fail(law):
    with pytest.raises(AssertionError, match=law):
        check_policy(BROKEN[law])


def test_a_history_that_was_written_is_replayed():
    rows = [{"iteration": 10 * k, "snr": None if k == 3 else 1.0} for k in range(1, 9)]
    seen = []

    def update(timeline, row, state):
        seen.append(row.get("snr"))
        return (), state

    check_policy(sketch(update), rows)
    assert any(value != value for value in seen if value is not None), "null is NaN"


def test_a_state_that_cannot_be_saved_is_refused():
    with pytest.raises(AssertionError, match="NamedTuple of numbers"):
        check_policy(sketch(grows, init=lambda: Listed([])))


@pytest.mark.parametrize(
    ("specification", "message"),
    [
        ("at_phase:phase=total_difusion,do=lbfgs", "Did you mean 'total_diffusion'"),
        ("at_phase:phase=diffusion,do=lbfsg", "Did you mean 'lbfgs'"),
        ("at_phase:phase=diffusion,do=stopp", "Did you mean 'stop'"),
        ("at_phase:phase=diffusion,do=stop,to=3", "takes nothing"),
        ("at_phase:phase=diffusion,do=lbfgs,to=3", "option 'to' of the switch to 'lbfgs': received 3; expected none"),
        ("at_phase:phase=diffusion,do=adam,to=lbfgs", "option 'to' of the switch to 'adam': received 'lbfgs'"),
        ("at_phase:phase=diffusion,do=scale_learning_rate", "a positive number"),
        ("at_phase:phase=diffusion,do=scale_learning_rate,to=-1", "a positive number"),
        ("at_phase:phase=diffusion,do=call,to=nowhere:nothing", "module:function"),
        ("at_phase:do=stop", "phase"),
        ("at_fase:phase=diffusion,do=stop", "Did you mean 'at_phase'"),
        ("quasi_newton:weights=kept", "one of averaged, held, updated, uniform"),
        ("quasi_newton:latest=1.5", "a share of the iterations"),
        ("quasi_newton:latest=0", "a share of the iterations"),
        ("quasi_newton:earliest=-0.1", "a share of the iterations"),
        ("stop_when_done:patience=0", "above 0"),
        ("stop_when_done:patient=1", "Did you mean 'patience'"),
        ("learning_rate_by_phase:diffusion=0", "a positive number"),
        ("optimizer_by_phase", "no optimizer"),
        ("stop_when_done+stop_when_done", "twice"),
        ("quasi_newton+at_phase:phase=diffusion,do=adam", "both switch the optimizer"),
        ("", "name"),
    ],
)
def test_bad_input_is_refused_in_one_message(specification, message):
    with pytest.raises(InputError, match=message):
        as_policies(specification)


def test_what_is_no_policy_is_refused():
    with pytest.raises(InputError, match=r"policy: received a int, 3; expected a phasecore\.policies\.Policy"):
        as_policies([3])
    with pytest.raises(PluginError, match="switch_optimizer"):
        as_policies({"mine": sketch(None, requires=("switch_optimizer",))})


def test_objects_and_specifications_mix_and_have_names():
    mine = sketch(lambda timeline, row, state: ((), state))
    assert next(iter(as_policies(["stop_when_done", mine]))) == "stop_when_done"
    assert [*as_policies({"mine": mine})] == ["mine"]
    assert as_policies(None) == {}


def test_actions_are_checked_when_they_are_made():
    for make, wrong in ((SwitchOptimizer, ""), (SetLearningRate, 0.0), (SetLearningRate, "fast")):
        with pytest.raises(InputError):
            make(wrong)
    with pytest.raises(UnknownNameError, match="switch_optimizer,to=NAME"):
        phasecore.policy("at_phase", phase="diffusion", do="muon")
