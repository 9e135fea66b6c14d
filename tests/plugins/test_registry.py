import numpy as np
import pytest

import phasecore
from phasecore import InputError, UnknownNameError
from phasecore.builtin import phasecore_entries
from phasecore.registry import as_schemes
from phasecore.signals import Signals
from phasecore.specifications import parse_specification

LOOK_UP = {
    "problem": phasecore.problem,
    "weighting": phasecore.weighting_scheme,
    "sampling": phasecore.sampling_scheme,
    "probe": phasecore.probe,
    "backend": phasecore.backend,
}


@pytest.mark.parametrize("kind", ["problem", "weighting", "sampling", "probe"])
def test_built_ins_are_registered_in_their_order(kind):
    expected = tuple(entry.name for entry in phasecore_entries() if entry.kind == kind)
    assert phasecore.names(kind)[: len(expected)] == expected


@pytest.mark.parametrize(
    ("kind", "name", "near"),
    [
        ("problem", "helmholz", "helmholtz"),
        ("weighting", "rbaa", "rba"),
        ("sampling", "haltn", "halton"),
        ("probe", "gradient_nsr", "gradient_snr"),
        ("backend", "torhc", "torch"),
    ],
)
def test_an_unknown_name_is_refused_with_near_ones(kind, name, near):
    with pytest.raises(UnknownNameError, match=rf"unknown {kind}: received '{name}'.*Did you mean .*'{near}'"):
        LOOK_UP[kind](name)


def test_an_unknown_option_is_refused_with_near_ones():
    with pytest.raises(UnknownNameError, match=r"option of weighting 'rba'.*'gama'.*Did you mean 'gamma'"):
        phasecore.weighting_scheme("rba", gama=0.9)
    with pytest.raises(UnknownNameError, match=r"option of problem 'helmholtz'.*'a3'"):
        phasecore.problem("helmholtz", a3=1)


def test_an_option_is_looked_up_as_it_is_written():
    for text, option in (("rba:gam-ma=0.9", "gam-ma"), ("rba:ga mma=0.9", "ga mma")):
        with pytest.raises(UnknownNameError, match=rf"option of weighting 'rba'.*'{option}'.*Did you mean 'gamma'"):
            as_schemes(text)


@pytest.mark.parametrize("option", ["name", "kind", "options", "parameters", "self"])
@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("problem", "helmholtz"),
        ("weighting", "rba"),
        ("sampling", "rad"),
        ("probe", "saturation"),
        ("policy", "stop_when_done"),
        ("logger", "csv"),
    ],
)
def test_an_option_may_be_called_as_an_argument_of_the_look_up_is(kind, name, option):
    look_up = {**LOOK_UP, "policy": phasecore.policy, "logger": phasecore.logger}[kind]
    with pytest.raises(UnknownNameError, match=rf"option of {kind} '{name}': received '{option}'"):
        look_up(name, **{option: 3})


@pytest.mark.parametrize("term", ["no-slip", "left wall", "2nd", "a-b c_d", "name", "kind", "what", "self", "options"])
def test_a_term_of_any_name_is_weighted_by_hand(term):
    losses = {term: np.asarray(2.0), "pde": np.asarray(1.0)}
    signals = Signals({"term_losses": losses}, np)
    for schemes in (as_schemes(f"fixed:{term}=3"), as_schemes(f"uniform+fixed:pde=1,{term}=3+rba")):
        scheme = schemes["fixed"]
        weights, _ = scheme.update(signals, scheme.init(signals))
        assert float(weights[term]) == 3


@pytest.mark.parametrize(
    ("kind", "name", "options"),
    [
        ("weighting", "rba", {"gamma": "much"}),
        ("weighting", "rba", {"gamma": None}),
        ("weighting", "rba", {"start": ["zeros"]}),
        ("problem", "helmholtz", {"a1": "one"}),
        ("problem", "helmholtz", {"a1": float("nan")}),
        ("problem", "helmholtz", {"a2": float("inf")}),
        ("problem", "helmholtz", {"a2": 1.5}),
        ("problem", "helmholtz", {"k": "one"}),
        ("problem", "helmholtz", {"k": float("nan")}),
        ("probe", "residual_order", {"bins": 0}),
        ("probe", "residual_order", {"bins": "ten"}),
    ],
)
def test_an_option_out_of_range_or_of_a_wrong_type_is_refused(kind, name, options):
    with pytest.raises(InputError, match=rf"'{name}'"):
        LOOK_UP[kind](name, **options)


def test_options_reach_what_is_made():
    assert phasecore.problem("helmholtz", a1=2, a2=3, k=4).parameters == {"a1": 2, "a2": 3, "k": 4}
    assert phasecore.probe("residual_order", bins=7).bins == 7


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("rba", ("rba", {})),
        (" rba ", ("rba", {})),
        ("rba:gamma=0.99", ("rba", {"gamma": 0.99})),
        ("rba: gamma = 0.99 , start=residuals", ("rba", {"gamma": 0.99, "start": "residuals"})),
        ("x:a=1,b=-2.5e-3,c=True,d=None,e='f'", ("x", {"a": 1, "b": -2.5e-3, "c": True, "d": None, "e": "f"})),
        ("x:path=a:b", ("x", {"path": "a:b"})),
        ("x: no-slip = 10 , left wall=3,2nd=1", ("x", {"no-slip": 10, "left wall": 3, "2nd": 1})),
        ("x:größe=1,_a=2", ("x", {"größe": 1, "_a": 2})),
    ],
)
def test_a_specification_is_read(text, expected):
    assert parse_specification(text, "--weighting") == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        ":",
        ":gamma=1",
        "rba:",
        "rba:gamma",
        "rba:gamma=",
        "rba:=1",
        "rba:gamma=1,",
        "rba:g=1,g=2",
        "rba:-a=1",
        "rba:a-=1",
        "rba:a.b=1",
    ],
)
def test_a_malformed_specification_is_refused_with_the_right_form(text):
    with pytest.raises(InputError, match=r"--weighting: received.*name:key=value"):
        parse_specification(text, "--weighting")
