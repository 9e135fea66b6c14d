"""Specifications are read and written in one place: alone, composed, and in lists."""

import re

import pytest

from phasecore.errors import InputError, UnknownNameError
from phasecore.problems.base import Preset
from phasecore.recording.provided import provided_for
from phasecore.registry import as_policies, as_schemes
from phasecore.runs import prepare
from phasecore.runs.preparation import complete_weighting
from phasecore.specifications import parse_composed, parse_specification, specification_of, split_weightings

COMPOSED = [
    ("rba", [("rba", {})]),
    ("rba+grad_norm", [("rba", {}), ("grad_norm", {})]),
    (" rba + grad_norm ", [("rba", {}), ("grad_norm", {})]),
    ("rba:eta=1e+0,gamma=0.9+grad_norm", [("rba", {"eta": 1.0, "gamma": 0.9}), ("grad_norm", {})]),
    ("rba:eta=+1+grad_norm:alpha=0.5", [("rba", {"eta": 1}), ("grad_norm", {"alpha": 0.5})]),
    ("uniform+rba:start=residuals+ntk", [("uniform", {}), ("rba", {"start": "residuals"}), ("ntk", {})]),
]


@pytest.mark.parametrize(("text", "parts"), COMPOSED)
def test_the_parts_of_a_composed_specification(text, parts):
    assert parse_composed(text, "--weighting") == parts
    written = "+".join(specification_of(name, options) for name, options in parts)
    assert parse_composed(written, "--weighting") == parts
    for name, options in parts:
        assert parse_specification(specification_of(name, options), "--weighting") == (name, options)


VALUES = [
    *(
        "rba",
        "fixed:a=1",
        "fixed:a=1,b=2",
        "rba+fixed:no-slip=1,left wall=2",
        "a,b",
        "a+b",
        "a b",
        "a=b",
        "it's",
        "'x'",
    ),
    *(
        "",
        " a ",
        "1",
        "1e3",
        "True",
        "None",
        "()",
        "(1,2)",
        "[1,2]",
        "{'a': 1}",
        "{[]: 1}",
        "\\d",
        "trained(0.1, true=2)",
    ),
    *(
        "(a)",
        "((a+b),c)",
        "(a)+(b)",
        "(a),(b)",
        "a(b",
        "a)b",
        "a)+b,c",
        "[a",
        "(a]b)",
        "'\"(",
        *("a,b", "a+b", "don't, won't", "'a', 'b'", '"a', "a='b", "=','", "('", "'),('", "\\", "\\',"),
        "at_phase:to=(f:a=1,b=(2)),c=d",
    ),
    *(1, -2.5, True, None, (1, 2), [1, "a"]),
]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_whatever_the_value_of_an_option_is_it_is_read_as_it_was_written(value):
    parts = [("x", {"key": value, "other key": 2}), ("y", {"last": value}), ("z", {})]
    written = "+".join(specification_of(name, options) for name, options in parts)
    assert parse_composed(written, "--policy") == parts
    assert [type(options.get("key", value)) for _, options in parts] == [type(value)] * 3


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("(fixed:initial=100,boundary=10)", "fixed:initial=100,boundary=10"),
        ("(rba+fixed:initial=10)", "rba+fixed:initial=10"),
        ("( rba )", "rba"),
        ("('fixed:initial=100,boundary=10')", "fixed:initial=100,boundary=10"),
        ("(at_phase:do=x,to=(rba+ntk))", "at_phase:do=x,to=(rba+ntk)"),
        ("(1,2)", (1, 2)),
        ("(a)(b)", "(a)(b)"),
    ],
)
def test_what_stands_in_brackets_is_one_value(text, value):
    assert parse_composed(f"one:to={text},b=2+two:to={text}", "--policy") == [
        ("one", {"to": value, "b": 2}),
        ("two", {"to": value}),
    ]


def test_a_weighting_within_a_policy_is_recorded_as_it_is_read():
    text = "at_phase:phase=diffusion,do=change_weighting,to=(rba+fixed:initial=100,boundary=10)+stop_when_done"
    policies = as_policies(text)
    assert "+".join(policies) == text
    assert policies[next(iter(policies))].requires == {"change_weighting:rba+fixed:initial=100,boundary=10"}


@pytest.mark.parametrize(
    ("to", "message"),
    [
        ("fixed:a=1,b-c=2", "'b-c'; expected one of do, phase, to. Where it belongs to 'to', both stand in brackets: "
         "to=(fixed:a=1,b-c=2)."),
        ("rba+fixed:a=1", "That is a weighting; what belongs to an option stands in brackets: to=(rba+fixed:a=1)."),
        ("fixed:a=1+rba", "That is a weighting; what belongs to an option stands in brackets: to=(fixed:a=1+rba)."),
    ],
)  # fmt: skip
def test_a_weighting_within_a_policy_without_brackets_is_refused_with_them(to, message):
    with pytest.raises(UnknownNameError, match=re.escape(message)):
        as_policies(f"at_phase:phase=diffusion,do=change_weighting,to={to}")


@pytest.mark.parametrize(
    "text", ["stop_when_done+rba", "at_phase:phase=diffusion,do=stop,too=2", "at_phase:phase=a,do:b=1"]
)
def test_nothing_is_said_of_brackets_where_they_are_of_no_use(text):
    with pytest.raises(InputError) as caught:
        as_policies(text)
    assert "brackets" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "+rba:", "rba:gamma+grad_norm", "rba+grad_norm:alpha", "rba:a=1,+ntk"])
def test_a_malformed_part_is_refused_with_the_right_form(text):
    with pytest.raises(InputError, match=r"--weighting: received.*name:key=value"):
        parse_composed(text, "--weighting")


def test_all_who_read_a_composed_specification_read_the_same(synthetic_backend):
    text = "rba:eta=1e-2,gamma=0.9+grad_norm"
    names = [name for name, _ in parse_composed(text, "weighting")]
    assert list(as_schemes(text)) == names
    training = prepare("helmholtz", backend="synthetic", points=60, weighting=text)
    assert [item["name"] for item in provided_for(training) if item["kind"] == "weighting"] == names
    assert parse_composed(training.scheme_name, "weighting") == parse_composed(text, "weighting")
    preset = Preset(
        points=1, width=1, depth=1, iterations=1, weighting={"grad_norm": {"alpha": 0.5}, "ntk": {"alpha": 1}}
    )
    assert complete_weighting(text, preset) == "rba:eta=0.01,gamma=0.9+grad_norm:alpha=0.5"
    with pytest.raises(InputError, match="'rba' twice"):
        as_schemes("rba+rba:gamma=0.9")


QUOTED = {
    "'a,b'": "a,b",
    '"a,b"': "a,b",
    "'a+b'": "a+b",
    "'a)'": "a)",
    "'(a,'": "(a,",
    "'a=b,c'": "a=b,c",
    "'it\\'s,'": "it's,",
}


@pytest.mark.parametrize(("text", "value"), QUOTED.items(), ids=QUOTED)
def test_a_text_in_quotes_is_one_value_whatever_it_holds(text, value):
    assert parse_specification(f"x:label={text},n=2", "--policy") == ("x", {"label": value, "n": 2})
    assert parse_composed(f"x:n=2,label={text}+y", "--policy") == [("x", {"n": 2, "label": value}), ("y", {})]
    assert split_weightings(f"x:label={text},y") == [f"x:label={text}", "y"]
    ((_, outer),) = parse_composed(f"x:to=(y:label={text},n=1)", "--policy")
    assert parse_specification(outer["to"], "--policy") == ("y", {"label": value, "n": 1})


def test_an_apostrophe_within_a_word_begins_no_quotes():
    assert parse_specification("x:a=don't,b=won't", "--policy") == ("x", {"a": "don't", "b": "won't"})
    assert parse_specification("x:a='tis,b=1", "--policy") == ("x", {"a": "'tis", "b": 1})
