"""What no training accepts: specifications of policies that are refused, and policies that are disabled on the way."""

from typing import NamedTuple

import pytest

from phasecore.errors import InputError
from phasecore.policies import Policy, SetLearningRate, Stop

REFUSED = {
    "at_phase:phase=total_difusion,do=stop": "total_diffusion",
    "at_phase:phase=diffusion,do=stopp": "stop",
    "at_phase:phase=diffusion,do=lbfg": "lbfgs",
    "quasi_newtom": "quasi_newton",
    "quasi_newton+at_phase:phase=diffusion,do=adam": "both switch the optimizer",
}
"""Specifications, and what the message names."""


class Count(NamedTuple):
    seen: int = 0


def _raises(timeline, row, state):
    raise ZeroDivisionError


def _writes(timeline, row, state):
    row["snr"] = 0.0
    return (), state


def _mutates(timeline, row, state):
    state.seen = 1
    return (), state


BROKEN = {
    "raises": _raises,
    "writes into the row": _writes,
    "mutates its state": _mutates,
    "returns something else": lambda timeline, row, state: "stop",
    "returns another state": lambda timeline, row, state: ((), (1,)),
    "returns a name": lambda timeline, row, state: (("stop",), state),
    "asks for what it does not declare": lambda timeline, row, state: ((SetLearningRate(0.5),), state),
}
"""Updates that break the contract, by what they do."""


def check_broken_policies(train):
    """Check that each is disabled with one warning that names it, and the training goes on to its last iteration.

    Args:
        train: trains six iterations with policies, and returns the last one and the actions done.
    """
    policies = {name: Policy(Count, update, frozenset({"stop"})) for name, update in BROKEN.items()}
    with pytest.warns(RuntimeWarning, match="it is disabled for the rest of this run") as caught:
        last, actions = train(policies)
    said = [str(item.message) for item in caught if "it is disabled" in str(item.message)]
    assert [sum(repr(name) in message for message in said) for name in BROKEN] == [1] * len(BROKEN)
    assert (last, list(actions)) == (6, [])
    with pytest.warns(RuntimeWarning):
        last, actions = train({"raises": policies["raises"], "stop": Policy(Count, _stop, frozenset({"stop"}))})
    assert [acted.policy for acted in actions] == ["stop"], "the others go on"


def _stop(timeline, row, state):
    return ((Stop(),) if row["iteration"] == 5 else ()), state


def check_refused(make):
    """Check that each specification is refused in one message.

    Args:
        make: takes a specification, and refuses it.
    """
    for specification, named in REFUSED.items():
        with pytest.raises(InputError, match=named):
            make(specification)
