"""The names of the arrays of a state: none is there twice, and those that were free stay as they were."""

import itertools
import random
from collections import namedtuple

import named_states
import numpy as np
import pytest

from phasecore.errors import PluginError
from phasecore.signals import Signals
from phasecore.testing import check_weighting
from phasecore.weighting import WeightingScheme, state_leaves
from phasecore.weighting.checks import first_state
from phasecore.weighting.states import state_entries, state_names

PIECES = ("a", "b", "a_b", "b_a", "1_a", "a.b", "a/b", "%2E", "", "_", "_a")


def state_of(fields):
    values = (dict.fromkeys(keys, 0.0) if keys is not None else 0.0 for keys in fields.values())
    return namedtuple("State", fields)(*values)


@pytest.mark.parametrize("refused", ["", ".", "./"])
def test_no_two_arrays_of_a_state_have_one_name_and_none_has_what_is_refused(refused):
    draw = random.Random(0)
    fields = ["_".join(pieces) for size in (1, 2, 3) for pieces in itertools.product("ab", repeat=size)]
    for _ in range(300):
        some = draw.sample(fields, 4)
        state = state_of({f: draw.choice([None, draw.sample(PIECES, draw.randint(1, 5))]) for f in some})
        names = state_names(state, refused, lambda name: name in ("a", "b_a"))
        assert len(set(names.values())) == len(names)
        assert not set("".join(names.values())) & set(refused)
        assert not {"a", "b_a"} & set(names.values())


def test_a_name_that_is_free_is_field_and_key_whatever_others_are_called():
    state = state_of({"a": ["b_c", "x", "y.z"], "a_b": ["c"], "last": None})
    expected = ["1_a_b_c", "a_x", "1_a_y%2Ez", "3_a_b_c", "last"]
    assert list(state_names(state, ".").values()) == expected
    assert [name for name, _ in state_leaves(state)] == [*expected[:2], "a_y.z", *expected[3:]]


@pytest.mark.parametrize("fields", named_states.STATES.values(), ids=named_states.STATES)
def test_such_states_are_taken(fields):
    scheme = named_states.made(fields)
    state = first_state("mine", scheme, Signals({"residuals": {"pde": np.zeros(3)}}, np))
    assert dict(state_entries(state)) == named_states.expected(fields, 0)


def test_keys_of_one_text_are_refused():
    zero = np.zeros(())
    state = namedtuple("State", "kept")({1: zero, "1": zero})
    scheme = WeightingScheme(lambda signals: state, lambda signals, state: ({}, state), frozenset())
    with pytest.raises(PluginError, match=r"init.*state 'kept': received 2 keys 1; expected different texts"):
        first_state("mine", scheme, Signals({}, np))
    with pytest.raises(AssertionError, match="2 keys 1"):
        check_weighting(scheme, ["numpy"])
