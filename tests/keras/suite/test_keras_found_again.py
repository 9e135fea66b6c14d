"""The problem of a saved PINN is found again under the name that it is registered under, whatever it calls itself."""

import sys
import types

import pytest

import phasecore
from phasecore import lookup, plugins
from phasecore.plugins import Plugins, Source
from phasecore.problems.burgers import Burgers
from phasecore.problems.helmholtz import Helmholtz
from phasecore_keras.configuration import description_of, problem_of


class Undecorated(Helmholtz):
    def __init__(self, wave_number=1.0):
        Helmholtz.__init__(self, k=wave_number)


def made_of_a_length(length=1.0):
    return Helmholtz(k=1 / length)


@pytest.fixture
def kit(monkeypatch):
    module = types.ModuleType("kit")
    targets = {"other": Helmholtz, "burgers": made_of_a_length, "undecorated": Undecorated, "plain": Burgers}
    vars(module).update(targets)
    monkeypatch.setitem(sys.modules, "kit", module)
    found = plugins.loaded()
    own = [(phasecore.Entry("problem", f"{name}_a", f"kit:{name}"), Source("kit", "kit", "1.0")) for name in targets]
    changed = Plugins(found.manager, (*found.entries, *own), found.failures, found.sources)
    monkeypatch.setattr(lookup, "loaded", lambda: changed)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("other_a", {}),
        ("other_a", {"a1": 2}),
        ("burgers_a", {}),
        ("burgers_a", {"length": 0.5}),
        ("undecorated_a", {"wave_number": 2.0}),
        ("plain_a", {"viscosity": 0.1}),
        ("plain_a", {"viscosity": phasecore.trained(0.1)}),
        ("helmholtz", {"a1": 2}),
    ],
)
def test_the_problem_of_a_saved_model_is_the_one_that_was_asked_for(name, options, kit):
    problem = phasecore.problem(name, **options)
    described = description_of(problem)
    assert described["name"] == name
    found = problem_of(described, None)
    assert found == problem
    assert type(found) is type(problem)
