"""A problem of one's own that computes something else than it did is told from it, however small the change."""

import json

import numpy as np
import pytest

import phasecore
from phasecore import Box, Data, Disk, Integral, Prescribed
from phasecore.errors import InputError
from phasecore.problems.identity import check_same, fingerprint
from phasecore.recording.own_problem import Computed

PLANE = {"x": (0, 1), "t": (0, 1)}
POINTS = np.random.default_rng(0).uniform(0, 1, (6, 2))
VALUES = np.arange(6.0)


def made(residuals=lambda self, x, u, xp: u["u_t"] - u["u_xx"], conditions=lambda self: [], domain=None, **other):
    own = {"domain": domain or PLANE, "outputs": ("u",), "residuals": residuals, "conditions": conditions}
    return type("Mine", (phasecore.Problem,), own | other)()


def heat(rate):
    return made(lambda self, x, u, xp: u["u_t"] - rate * u["u_xx"])


def source(size, place, width):
    return made(lambda self, x, u, xp: u["u_t"] - size * xp.exp(-(((x["x"] - place) / width) ** 2)))


def conditioned(*conditions):
    return made(conditions=lambda self: list(conditions))


def holed(radius):
    domain = {("x", "y"): Box((0, 0), (1, 1)) - Disk((0.5, 0.5), radius)}
    return made(lambda self, x, u, xp: u["u_xx + u_yy"], domain=domain)


DIFFERENT = {
    "a small coefficient beside a large one": (heat(1e-10), heat(5e-10)),
    "all coefficients small": (
        made(lambda self, x, u, xp: 1e-12 * u["u_xx"] - 1e-13 * u["u"]),
        made(lambda self, x, u, xp: 1e-12 * u["u_xx"] - 9e-13 * u["u"]),
    ),
    "a sign": (heat(1.0), heat(-1.0)),
    "a small source": (source(1e-10, 0.5, 1.0), source(9e-10, 0.5, 1.0)),
    "a source near a corner": (source(1.0, 0.98, 0.02), source(100.0, 0.98, 0.02)),
    "a narrow source": (source(1.0, 0.2, 0.01), source(50.0, 0.2, 0.01)),
    "the place of a source": (source(1.0, 0.2, 0.05), source(1.0, 0.7, 0.05)),
    "a hole": (holed(0.1), holed(0.4)),
    "the order of data": (
        conditioned(Data("sensors", POINTS, {"u": VALUES})),
        conditioned(Data("sensors", POINTS, {"u": VALUES[::-1]})),
    ),
    "small data": (
        conditioned(Data("sensors", POINTS, {"u": VALUES * 1e-10})),
        conditioned(Data("sensors", POINTS, {"u": VALUES * 3e-10})),
    ),
    "columns of data": (
        conditioned(Data("sensors", POINTS, {"u": VALUES})),
        conditioned(Data("sensors", POINTS[:, ::-1], {"u": VALUES})),
    ),
    "a small boundary value": (
        conditioned(Prescribed("wall", ("x", 0), {"u": 1e-10})),
        conditioned(Prescribed("wall", ("x", 0), {"u": 8e-10})),
    ),
    "an integral's value": (
        conditioned(Integral("mass", {"x": (0, 1)}, lambda x, u, xp: u["u"], 1e-9)),
        conditioned(Integral("mass", {"x": (0, 1)}, lambda x, u, xp: u["u"], 2e-9)),
    ),
    "the reference": (made(reference=lambda self, x, t: x), made(reference=lambda self, x, t: 1 + x)),
    "the fields": (
        made(fields=lambda self, x, u, xp: {"u": u["u"]}),
        made(fields=lambda self, x, u, xp: {"u": 2 * u["u"]}),
    ),
    "no reference any more": (made(reference=lambda self, x, t: x), made()),
}


@pytest.mark.parametrize("change", DIFFERENT)
def test_changes_are_noticed(change):
    before, after = map(fingerprint, DIFFERENT[change])
    kept = json.loads(json.dumps(before))
    with pytest.raises(InputError, match=r"a run on a problem that has changed since, in "):
        check_same("a run", kept, after)


@pytest.mark.parametrize("change", DIFFERENT)
def test_the_same_problem_is_the_same(change):
    for problem in DIFFERENT[change]:
        check_same("a run", json.loads(json.dumps(fingerprint(problem))), fingerprint(problem))


def test_what_other_machines_round_otherwise_is_the_same():
    one = made(lambda self, x, u, xp: u["u_t"] - 0.3 * u["u_xx"] + xp.sin(3 * x["x"]))
    other = made(lambda self, x, u, xp: u["u_t"] + (xp.sin(x["x"] * 3.0 * (1 + 2e-16)) - u["u_xx"] * 0.1 * 3))
    check_same("a run", fingerprint(one), fingerprint(other))


def test_runs_that_were_begun_before_parts_were_kept_go_on():
    older = {name: value for name, value in fingerprint(heat(1.0)).items() if name != "parts"}
    check_same("a run", older, fingerprint(heat(1.0)))
    with pytest.raises(InputError, match="in the residual of pde"):
        check_same("a run", older, fingerprint(heat(2.0)))


def test_runs_are_on_one_problem_if_their_file_or_what_it_computes_is_the_same():
    def run(problem, sha256, **changed):
        kept = json.loads(json.dumps(fingerprint(problem)))
        return Computed({"class": "Mine", "sha256": sha256, "fingerprint": kept | changed})

    one = run(heat(1.0), "1f")
    assert one == run(heat(1.0), "2e")
    assert one == run(heat(1.0 + 1e-13), "2e")
    assert one == run(heat(2.0), "1f")
    assert one != run(heat(2.0), "2e")
    assert one != Computed({"class": "Mine", "sha256": "2e"})
    assert Computed({"class": "Mine"}) != Computed({"class": "Mine"})
    for damaged in ({"terms": 3}, {"terms": {"pde": ["a"]}}, {"parts": {"the domain": {"x": "y"}}}, {"domain": None}):
        assert one != run(heat(1.0), "2e", **damaged)


@pytest.mark.parametrize("part", [3, "y", None, [], ["a"], [1.0, 2.0], [1.0, 2.0, None], {"a": 1}])
def test_a_file_with_other_parts_than_numbers_is_another_problem(part):
    before = json.loads(json.dumps(fingerprint(heat(1.0))))
    before["parts"]["the domain"]["share of its bounds"] = part
    with pytest.raises(InputError, match="in the domain, share of its bounds"):
        check_same("a run", before, fingerprint(heat(1.0)))
    before["parts"]["the domain"] = part
    with pytest.raises(InputError, match="in the domain, share of its bounds"):
        check_same("a run", before, fingerprint(heat(1.0)))
