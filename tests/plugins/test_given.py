"""What is no specification and no object of the kind is refused in one message, wherever one is taken."""

import re

import numpy as np
import pytest

import phasecore
from phasecore import InputError, registry
from phasecore.probes.saturation import Saturation
from phasecore.runs import prepare
from phasecore.sampling import rad
from phasecore.weighting import rba

TAKES = {
    "weighting": registry.as_schemes,
    "weighting in a list": lambda given: registry.as_schemes([given]),
    "weighting by name": lambda given: registry.as_schemes({"mine": given}),
    "policy": lambda given: registry.as_policies(given if given is not None else 0),
    "policy in a list": lambda given: registry.as_policies([given]),
    "policy by name": lambda given: registry.as_policies({"mine": given}),
    "probe": registry.as_probe,
    "sampling": registry.as_sampling,
    "loggers": lambda given: registry.as_listeners(given if not isinstance(given, np.ndarray) else 0),
    "weighting, prepared": lambda given: prepare("helmholtz", weighting=given),
    "name of a problem": phasecore.problem,
    "name of a weighting": phasecore.weighting_scheme,
    "name of a probe": phasecore.probe,
    "name of a policy": phasecore.policy,
    "name of a logger": phasecore.logger,
    "name of a backend": phasecore.backend,
}
WRONG = [None, 5, 0.5, True, b"rba", len, object, {"initial": "rba"}, {"initial": 100}, np.zeros(2), {1: 2}]


@pytest.mark.parametrize("given", WRONG, ids=repr)
@pytest.mark.parametrize("what", TAKES)
def test_what_is_neither_text_nor_of_the_kind_is_refused_in_one_message(what, given):
    with pytest.raises(InputError, match=r"received .+; expected .*name|expected (one of|a text|a phasecore)") as error:
        TAKES[what](given)
    assert re.split("[ ,]", what)[0] in str(error.value)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"initial": 100}, "'fixed:initial=100', or phasecore.weighting.fixed(initial=100)"),
        ([{"initial": 100}], "'fixed:initial=100', or phasecore.weighting.fixed(initial=100)"),
        ({"pde": np.float64(1.5), "initial": 0}, "'fixed:pde=1.5,initial=0', or phasecore.weighting.fixed(pde=1.5, "),
        (rba, "Call it, and give what it returns."),
        ({}, "received no scheme"),
    ],
)
def test_weights_by_term_are_refused_with_how_they_are_written(given, message):
    with pytest.raises(InputError, match=re.escape(message)):
        registry.as_schemes(given)


def test_prepare_says_how_weights_by_term_are_written():
    with pytest.raises(InputError, match=r"^weighting: received a mapping.* are 'fixed:initial=100'\.$"):
        prepare("helmholtz", weighting={"initial": 100})


def test_prepare_refuses_a_sampling_that_is_no_text():
    with pytest.raises(InputError, match=r"^sampling: received .*Sampling.*; expected \"name\" or "):
        prepare("helmholtz", sampling=rad(every=2))


def test_a_class_in_place_of_a_probe_is_to_be_called():
    with pytest.raises(InputError, match=r"^probe: received .*Saturation.*Call it"):
        registry.as_probe(Saturation)


def test_what_is_of_the_kind_is_taken_alone_in_a_row_and_by_name():
    scheme, policy = rba(), phasecore.policy("stop_when_done")
    for given in (scheme, [scheme], (scheme,), {"rba": scheme}, "rba", ["rba"], iter(["rba"])):
        assert list(registry.as_schemes(given)) == ["rba"]
    for given in (policy, [policy], (policy,), {"stop_when_done": policy}, "stop_when_done", ["stop_when_done"]):
        assert list(registry.as_policies(given)) == ["stop_when_done"]
