"""Specifications are read and written in one place: alone, composed, and in lists."""

import pytest

from phasecore.errors import InputError
from phasecore.problems.base import Preset
from phasecore.recording.provided import provided_for
from phasecore.registry import as_schemes
from phasecore.runs import prepare
from phasecore.runs.preparation import complete_weighting
from phasecore.specifications import parse_composed, parse_specification, specification_of

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
