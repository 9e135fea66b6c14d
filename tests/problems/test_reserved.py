"""A class of a problem that uses a name of the contract for something else is told so where it is written."""

from dataclasses import dataclass

import numpy as np
import pytest

import phasecore
from phasecore.errors import InputError

METHODS = ("sample", "fields", "normals", "evaluation_points", "residuals", "reference", "check_points")
FOUND = ("terms", "bounds", "region", "parameters", "has_reference", "fields_read", "trained_coefficients")


def made(**attributes):
    def residuals(self, x, u, xp):
        return u["u_t"] - u["u_xx"]

    own = {"domain": {"x": (0, 1), "t": (0, 1)}, "outputs": ("u",), "residuals": residuals}
    return type("Heat", (phasecore.Problem,), own | attributes)


@pytest.mark.parametrize("value", [3.0, np.zeros(3), {"a": 1}], ids=["number", "array", "mapping"])
@pytest.mark.parametrize("name", [*METHODS, *FOUND])
def test_a_name_that_every_problem_has_is_no_attribute(name, value):
    with pytest.raises(InputError, match=rf"problem class 'Heat', '{name}': received .*; expected (a method|nothing)"):
        made(**{name: value})


@pytest.mark.parametrize("name", [*sorted({*METHODS} - {"residuals"}), *FOUND])
def test_nor_a_field_without_a_value(name):
    with pytest.raises(InputError, match=rf"problem class 'Heat', '{name}': received a field"):
        made(__annotations__={name: float})


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("name", 3, "a text"),
        ("grid", 10, "a number of points along each coordinate"),
        ("grid", (10, 1), "a number of points along each coordinate"),
        ("grid", (10.0, 10.0), "a number of points along each coordinate"),
        ("outputs", ("u", 1), "names of what the network returns"),
        ("outputs", 1, "names of what the network returns"),
        ("coordinates", "xt", "the names of the domain's coordinates"),
        ("field_partials", "psi_x", "names of partials"),
        ("equations", ("pde",), "a mapping of equations"),
        ("presets", ["quick"], "a mapping of names"),
    ],
)
def test_what_a_class_gives_is_of_its_kind(name, value, expected):
    with pytest.raises(InputError, match=rf"problem class 'Heat', '{name}': received .*; expected {expected}"):
        made(**{name: value})


def test_whatever_form_the_contract_allows_is_taken():
    heat = made(name="my heat", grid=[5, 7], coordinates=("t", "x"), fields=lambda self, at, values, xp: {"v": 1.0})()
    assert (heat.name, heat.evaluation_points().shape) == ("my heat", (35, 2))
    assert made(name=property(lambda self: "named"), terms=property(lambda self: ("pde",)))().name == "named"

    @dataclass(frozen=True)
    class Decorated(made()):
        rate: float = 2.0
        domain: dict = None

    assert Decorated(3.0).rate == 3.0


@pytest.mark.parametrize("grid", [(5,), (5, 5, 5)])
def test_a_grid_of_other_coordinates_is_told_where_it_is_used(grid):
    heat = made(grid=grid)()
    with pytest.raises(InputError, match=r"'grid': received .*; expected a number of points along each of"):
        heat.evaluation_points()


@pytest.mark.parametrize("domain", [{0: (0, 1)}, {"x": (0, 1), 1: (0, 1)}, {(0, "y"): (0, 1)}, {None: (0, 1)}])
def test_coordinates_have_names(domain):
    members = {"domain": domain, "outputs": ("u",), "residuals": lambda self, x, u, xp: u["u"]}
    with pytest.raises(InputError, match=r"problem class 'Own', 'domain': .*by the names of coordinates"):
        type("Own", (phasecore.Problem,), members)
