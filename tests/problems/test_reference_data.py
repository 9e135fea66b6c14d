"""References that are known at points: files and arrays, compared at their points and interpolated elsewhere."""

# ruff: noqa: RUF012

import pickle

import numpy as np
import pytest

import phasecore
from phasecore import InputError, ReferenceData
from phasecore.problems.checks import compared_with, reference_of
from phasecore.problems.reference_data import MOST_POINTS
from phasecore.testing import check_problem

X, T = np.linspace(-1.0, 1.0, 21), np.linspace(0.0, 1.0, 11)
EXACT = np.sin(np.pi * X)[:, None] * np.exp(-T)
GRID = np.stack(np.meshgrid(X, T, indexing="ij"), axis=-1).reshape(-1, 2)


def exact(points):
    return np.sin(np.pi * points[:, 0]) * np.exp(-points[:, 1])


class Heat(phasecore.Problem):
    domain = {"x": (-1, 1), "t": (0, 1)}
    outputs = ("u",)

    def residuals(self, x, u, xp):
        return u["u_t"] - u["u_xx"]


class Flow(Heat):
    outputs = ("u", "p")

    def residuals(self, x, u, xp):
        return u["u_t"] - u["p_x"]


def heat(*given, base=Heat, **options):
    return type("Heat", (base,), {"reference": ReferenceData(*given, **options)})()


def csv(path, points, header="x,t,u", values=None):
    rows = [",".join(map(repr, map(float, row))) for row in np.column_stack([points, values or exact(points)])]
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def made(kind, folder):
    """The same solution in each of the ways in which it may be given."""
    shuffled = np.random.default_rng(0).permutation(GRID)
    match kind:
        case "csv":
            return heat(csv(folder / "u.csv", GRID))
        case "csv in any order of rows and columns":
            return heat(csv(folder / "u.csv", shuffled[:, ::-1], "t, x ,u", list(exact(shuffled))))
        case "npz of axes and a grid":
            np.savez(folder / "u.npz", x=X, t=T, u=EXACT)
            return heat(folder / "u.npz")
        case "npz of columns":
            np.savez(folder / "u.npz", x=GRID[:, 0], t=GRID[:, 1], u=exact(GRID))
            return heat(str(folder / "u.npz"))
        case "npz of columns of shape (m, 1) under other names":
            np.savez(folder / "u.npz", x=GRID[:, :1], tt=GRID[:, 1:], usol=exact(GRID)[:, None])
            return heat(folder / "u.npz", names={"u": "usol", "t": "tt"})
        case "arrays":
            return heat(GRID, exact(GRID))
        case "lists":
            return heat(GRID.tolist(), {"u": exact(GRID).tolist()})
        case "a pair in the class":
            return type("Heat", (Heat,), {"reference": (GRID, exact(GRID))})()
    return type("Heat", (Heat,), {"reference": str(csv(folder / "u.csv", GRID))})()


KINDS = (
    "csv",
    "csv in any order of rows and columns",
    "npz of axes and a grid",
    "npz of columns",
    "npz of columns of shape (m, 1) under other names",
    "arrays",
    "lists",
    "a pair in the class",
    "a path in the class",
)


@pytest.mark.parametrize("kind", KINDS)
def test_values_are_compared_where_they_are_known_and_interpolated_elsewhere(kind, tmp_path):
    problem = made(kind, tmp_path)
    assert problem.has_reference
    points, values = compared_with(problem, ["u"])
    assert len(points) == len(GRID)
    np.testing.assert_allclose(values["u"], exact(points), rtol=1e-15)
    between = problem.sample(50, seed=1).interior
    np.testing.assert_allclose(reference_of(problem, between, ["u"])["u"], exact(between), atol=2e-4)
    with pytest.raises(InputError, match="outside the domain"):
        problem.reference([[2.0, 0.0]])
    again = pickle.loads(pickle.dumps(type(problem).reference))
    np.testing.assert_array_equal(again.at(problem, between)["u"], problem.reference(between)["u"])


@pytest.mark.parametrize("kind", ["csv", "arrays", "npz of axes and a grid"])
def test_a_problem_with_data_for_reference_keeps_the_contract(kind, tmp_path):
    found = check_problem(made(kind, tmp_path), ["numpy"])
    assert set(found.skipped) == {"reference_solves_the_equations", "reference_satisfies_the_conditions"}


def test_scattered_points_are_interpolated_linearly_and_by_the_nearest_beyond():
    points = np.asarray([[-0.5, 0.2], [0.5, 0.2], [0.0, 0.8], [0.4, 0.7]])
    problem = heat(points, points @ [1.0, 2.0] + 3.0)
    inside = np.asarray([[0.0, 0.4], [0.1, 0.5]])
    np.testing.assert_allclose(problem.reference(inside)["u"], inside @ [1.0, 2.0] + 3.0)
    assert problem.reference([[-1.0, 0.0]])["u"].tolist() == [2.9]
    few = heat(points[:1], [7.0])
    assert few.reference(inside)["u"].tolist() == [7.0, 7.0]
    on_a_line = heat([[0.0, t] for t in np.linspace(0, 1, 9)], np.arange(9.0))
    assert np.isfinite(on_a_line.reference(inside)["u"]).all()


def of_line(points, values):
    members = {
        "domain": {"t": (0, 1)}, "residuals": lambda self, x, u, xp: u["u_t"],
        "reference": ReferenceData(np.reshape(points, (-1, 1)), values),
    }  # fmt: skip
    return type("Ode", (Heat,), members)()


@pytest.mark.parametrize("shift", [0.0, 273.15, 5e5])
@pytest.mark.parametrize("units", [(1e-3, 1.0), (1e-6, 1e6), (1.0, 1e9), (1e12, 1e-12), (1e3, 1e3)])
def test_a_change_of_units_changes_nothing_between_scattered_points(units, shift):
    def problem(scale, offset):
        members = {
            "domain": {"x": (offset[0], offset[0] + scale[0]), "t": (offset[1], offset[1] + scale[1])},
            "reference": ReferenceData(offset + scale * points, np.sin(3 * points[:, 0]) * np.cos(2 * points[:, 1])),
        }
        return type("Units", (Heat,), members)()

    generator = np.random.default_rng(0)
    points, wanted = generator.uniform(size=(400, 2)), generator.uniform(size=(200, 2))
    scale = np.asarray(units)
    expected = problem(np.ones(2), np.zeros(2)).reference(wanted)["u"]
    exact = np.sin(3 * wanted[:, 0]) * np.cos(2 * wanted[:, 1])
    assert np.median(np.abs(expected - exact)) < 0.01
    found = problem(scale, shift * scale).reference(scale * (shift + wanted))["u"]
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 2, 0, 1]])
def test_of_values_at_one_point_the_mean_is_interpolated_and_each_is_compared(order):
    at, values = np.asarray([0.0, 0.5, 0.5, 1.0])[order], np.asarray([1.0, 3.0, 5.0, 3.0])[order]
    line = of_line(at, values)
    np.testing.assert_allclose(line.reference([[0.25], [0.5], [1.0]])["u"], [2.5, 4.0, 3.0])
    points, compared = compared_with(line, ["u"])
    np.testing.assert_array_equal(points[:, 0], at)
    np.testing.assert_array_equal(compared["u"], values)
    plane = heat([[-1, 0], [1, 0], [0, 1], [0.1, 0.3], [0.1, 0.3]], [0.0, 0.0, 0.0, 2.0, 4.0])
    assert plane.reference([[0.1, 0.3]])["u"].tolist() == pytest.approx([3.0])
    both = heat(np.concatenate([GRID, GRID]), np.concatenate([exact(GRID) - 1, exact(GRID) + 1]))
    between = both.sample(50, seed=1).interior
    np.testing.assert_allclose(both.reference(between)["u"], exact(between), atol=2e-4)


@pytest.mark.parametrize("times", [1, 3])
def test_a_value_at_one_point_is_that_everywhere(times):
    assert of_line([0.5] * times, [7.0] * times).reference([[0.0], [0.5], [1.0]])["u"].tolist() == [7.0] * 3
    assert heat([[0.5, 0.5]] * times, [7.0] * times).reference([[-1, 0.0], [0.5, 1]])["u"].tolist() == [7.0] * 2


def test_one_coordinate_is_interpolated_in_any_order():
    problem = of_line([1.0, 0.0], [3.0, 1.0])
    assert problem.reference([[0.25]])["u"].tolist() == [1.5]


def test_several_outputs_may_be_known_in_part(tmp_path):
    both = heat(GRID, np.stack([exact(GRID), -exact(GRID)], axis=1), base=Flow)
    assert list(both.reference(GRID[:2])) == ["u", "p"]
    np.testing.assert_allclose(both.reference(GRID)["p"], -exact(GRID), atol=1e-12)
    one = heat(csv(tmp_path / "u.csv", GRID), base=Flow)
    assert list(reference_of(one, GRID[:2], ["u", "p"])) == ["u"]
    check_problem(one, ["numpy"])


def test_of_very_many_points_some_are_compared():
    many = np.random.default_rng(0).uniform([-1, 0], [1, 1], (3 * MOST_POINTS, 2))
    points, values = compared_with(heat(many, exact(many)), ["u"])
    assert len(points) == len(values["u"]) == MOST_POINTS
    np.testing.assert_array_equal(values["u"], exact(points))


def test_a_relative_path_is_looked_for_beside_the_class_and_then_here(tmp_path, monkeypatch):
    there, here = tmp_path / "there", tmp_path / "here"
    there.mkdir(), here.mkdir()
    (there / "ode.py").write_text(
        "import phasecore\nclass Ode(phasecore.Problem):\n    domain = {'x': (-1, 1), 't': (0, 1)}\n    outputs = 'u'\n"
        "    reference = 'u.csv'\n    def residuals(self, x, u, xp): return u['u_t']\n"
    )
    monkeypatch.chdir(here)
    from phasecore.problems.loading import load_problem, parse_class

    problem = load_problem(parse_class("../there/ode.py:Ode"))
    with pytest.raises(InputError, match=r"no file at .*there/u.csv or u.csv"):
        problem.reference([[0.0, 0.0]])
    csv(here / "u.csv", GRID)
    assert problem.reference([[0.5, 0.0]])["u"].tolist() == pytest.approx([1.0])
    csv(there / "u.csv", GRID, values=[2.0] * len(GRID))
    assert load_problem(parse_class("../there/ode.py:Ode")).reference([[0.5, 0.0]])["u"].tolist() == pytest.approx(
        [1.0]
    )


@pytest.mark.parametrize(
    ("header", "rows", "told"),
    [
        ("x,t,v", ["0,0,1"], r"received columns \['x', 't', 'v'\]; expected 'u' too"),
        ("x,u", ["0,1"], r"received columns \['x', 'u'\]; expected 't' too"),
        ("x,t,u", ["0,0,one"], r"row 2: received 'one'; expected a number"),
        ("x,t,u", ["0,0,1", "0,0"], r"row 3: received 2 cells; expected 3"),
        ("x,t,u", [], r"received 1 lines; expected a header, and a row for each point"),
        ("x,t,u", ["0,0,nan"], r"'u': received 1 values that are not finite"),
        ("x,t,u", ["0,0,1", "0,3,1"], r"points of the reference of problem 'heat' outside the domain: received row 1"),
    ],
)
def test_wrong_tables_are_refused(header, rows, told, tmp_path):
    file = tmp_path / "u.csv"
    file.write_text("\n".join([header, *rows]) + "\n")
    with pytest.raises(InputError, match=told):
        compared_with(heat(file), ["u"])


@pytest.mark.parametrize(
    ("arrays", "told"),
    [
        ({"x": X, "t": T, "u": EXACT.T}, r"coordinates of shapes \[\(21,\), \(11,\)\], values of \{'u': \(11, 21\)\}"),
        ({"x": X[::-1], "t": T, "u": EXACT}, "axes of a grid that ascend"),
        ({"x": X, "t": T, "u": EXACT.astype(complex)}, "'u': received dtype complex128"),
        ({"x": X, "t": T}, r"expected 'u' too"),
        ({"x": X, "t": 2 * T, "u": EXACT}, "outside the domain"),
    ],
)
def test_wrong_arrays_are_refused(arrays, told, tmp_path):
    np.savez(tmp_path / "u.npz", **arrays)
    with pytest.raises(InputError, match=told):
        compared_with(heat(tmp_path / "u.npz"), ["u"])


def test_what_is_no_table_is_refused(tmp_path):
    (tmp_path / "broken.npz").write_bytes(b"no archive")
    np.save(tmp_path / "one.npy", X)
    csv(tmp_path / "near.csv", GRID)
    for file, told in (
        ("broken.npz", r"broken.npz: received \w+: .*; expected a readable file"),
        ("one.npy", "a .csv or .npz file"),
        ("nera.csv", r"no file at .*There are: near.csv\."),
    ):
        with pytest.raises(InputError, match=told):
            compared_with(heat(tmp_path / file), ["u"])
    for given, told in (((GRID,), "points without values"), (("u.csv", GRID), "a file and values beside it")):
        with pytest.raises(InputError, match=told):
            ReferenceData(*given)
    for points, values, told in (
        (GRID, EXACT, r"received shape \(21, 11\)"),
        (GRID[:3], [1.0, 2.0], r"coordinates of shapes \[\(3,\), \(3,\)\], values of \{'u': \(2,\)\}"),
        (GRID + 5.0, exact(GRID), "points of the reference of problem 'heat' outside the domain"),
    ):
        with pytest.raises(InputError, match=told):
            compared_with(heat(points, values), ["u"])
