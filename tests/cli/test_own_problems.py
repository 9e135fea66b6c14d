"""A class of one's own on the command line: trained, compared, gone on with, reported; and what is refused."""

import json
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from phasecore.cli import main
from phasecore.reporting.fields import fields_figure
from phasecore.runs import open_run, prepare

EQUATION = 'u["u_tt"] - self.speed**2 * u["u_xx"]'
SOLUTION = "np.sin(np.pi * x) * np.cos(np.pi * self.speed * t)"
PRESCRIBED = 'Prescribed("initial", ("t", 0), {"u": lambda at: np.sin(np.pi * at["x"]), "u_t": 0})'
WALL = "ResidualCondition('wall', 'boundary', lambda x, u, normal, xp: {})"
WAVE = """
import numpy as np
import phasecore

class Wave(phasecore.Problem):
    domain = {"x": (0, 1), "t": (0, 1)}
    outputs = ("u",)
    speed = 1.0

    def conditions(self):
        return [phasecore.Prescribed("initial", ("t", 0), {"u": lambda at: np.sin(np.pi * at["x"]), "u_t": 0})]

    def residuals(self, x, u, xp):
        return u["u_tt"] - self.speed**2 * u["u_xx"]

class Known(Wave):
    def reference(self, x, t):
        return np.sin(np.pi * x) * np.cos(np.pi * self.speed * t)
"""
OPTIONS = ("--backend", "synthetic", "--points", "60", "--iterations", "400")


@pytest.fixture(autouse=True)
def wave(tmp_path):
    file = tmp_path / "wave.py"
    file.write_text(WAVE)
    return file


def invoke(*arguments, code=0):
    result = CliRunner().invoke(main, [*arguments])
    assert result.exit_code == code, result.output
    return result


def refused(*arguments):
    result = invoke(*arguments, code=2)
    assert result.stdout == ""
    lines = [line for line in result.stderr.splitlines() if not line.startswith("a framework")]
    assert [line[:7] for line in lines] == ["Error: "], result.stderr
    return lines[0]


def test_a_class_in_a_file_is_trained_without_packaging():
    document = json.loads(invoke("run", "wave.py:Wave:speed=2", *OPTIONS, "--weighting", "rba", "--json").stdout)
    assert (document["problem"], document["problem_parameters"]) == ("wave", {"speed": 2})
    assert document["relative_l2_error"] is None
    assert document["output"] == "runs/wave-rba-seed0-1"
    run = open_run(document["output"])
    assert "relative_l2_error" not in run.history
    source = run.configuration["problem_source"]
    assert (source["class"], Path(source["file"]).name, source["coordinates"]) == ("Wave", "wave.py", ["x", "t"])
    assert run.configuration["probes"][-1] == "term_losses"


def test_a_class_in_a_module_is_trained_too(wave, monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path])
    wave.rename("waves_of_mine.py")
    assert json.loads(invoke("run", "waves_of_mine:Known", *OPTIONS, "--json").stdout)["relative_l2_error"] < 1


def test_without_a_reference_no_error_is_told_anywhere():
    shown = invoke("run", "wave.py:Wave", *OPTIONS, "--output", "own")
    compared = invoke(
        "compare", "wave.py:Wave", *OPTIONS, "--weightings", "uniform,rba,vrba,brdr,causal", "--output", "c"
    )
    both = invoke("compare", "wave.py:Wave", *OPTIONS, "--output", "d")
    for told in (shown.output, compared.output, both.output):
        assert not re.search("error|nan", told, re.IGNORECASE), told
    documents = json.loads(invoke("compare", "wave.py:Wave", *OPTIONS, "--output", "e", "--json").stdout)["runs"]
    assert [document["relative_l2_error"] for document in documents] == [None, None]
    invoke("report", "own", "d", "--output", "report.html")
    page = Path("report.html").read_text().partition("</script>")[2]
    assert "relative L2 error" not in page
    assert "relative_l2_error" not in page.replace('"relative_l2_error": null', "")
    assert "relative L2 error" in invoke("run", "wave.py:Known", *OPTIONS, "--output", "known").output


def test_a_run_is_read_without_its_class(wave):
    invoke("run", "wave.py:Wave", *OPTIONS, "--output", "own")
    wave.write_text("raise RuntimeError('executed')")
    assert json.loads(invoke("detect", "own", "--json").stdout)["current"]
    invoke("report", "own", "--output", "report.html")
    wave.unlink()
    invoke("report", "own", "--output", "again.html")


def test_a_run_goes_on_where_its_class_is_typed_again(wave):
    invoke("run", "wave.py:Wave:speed=2", *OPTIONS, "--output", "own")
    longer = [*OPTIONS[:-1], "500", "--output", "own", "--resume"]
    wave.write_text(WAVE.replace("import numpy", "# a comment\nimport numpy"))
    result = invoke("run", "wave.py:Wave", *longer)
    assert "wave.py has changed since the run in own began; its Wave computes what it did" in result.stderr
    assert open_run("own").history["iteration"][-1] == 500
    shutil.copy(wave, "elsewhere.py")
    invoke("run", "elsewhere.py:Wave", *longer)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("self.speed**2 *", "self.speed *", "the residual of pde"),
        ('u["u_xx"]', 'u["u_x"]', "partials"),
        ('"t": (0, 1)', '"t": (0, 2)', "domain"),
        ("np.sin(np.pi", "np.cos(np.pi", "the residual of a condition of initial"),
        ('"u_t": 0}', '"u_t": 1}', "the residual of a condition of initial"),
        ('outputs = ("u",)', 'outputs = ("u", "v")', "outputs"),
    ],
)
def test_a_run_does_not_go_on_with_another_equation(old, new, told, wave):
    invoke("run", "wave.py:Wave:speed=2", *OPTIONS, "--output", "own")
    before = Path("own/run.json").read_text(), Path("own/history.jsonl").read_text()
    wave.write_text(WAVE.replace(old, new))
    message = refused("run", "wave.py:Wave:speed=2", *OPTIONS[:-1], "500", "--output", "own", "--resume")
    assert f"the run in own was trained on a problem that has changed since, in {told}" in message
    assert (Path("own/run.json").read_text(), Path("own/history.jsonl").read_text()) == before


def test_no_class_is_taken_from_a_run_folder():
    invoke("run", "wave.py:Wave", *OPTIONS, "--output", "own")
    message = refused("run", "wave", "--output", "own", "--resume")
    assert "the run in own is on a class of one's own, Wave: received 'wave'; expected " in message
    assert "wave.py:Wave. No code is taken from a run folder" in message
    refused("run", "wave.py:Known", "--output", "own", "--resume")
    refused("run", "wave.py:Wave:speed=3", "--output", "own", "--resume")
    refused("run", "helmholtz", "--output", "own", "--resume")


def test_a_comparison_goes_on_too(wave):
    for more in ("400", "450"):
        resume = () if more == "400" else ("--resume",)
        invoke("compare", "wave.py:Wave:speed=2", *OPTIONS[:-1], more, "--output", "both", *resume)
    assert open_run("both/rba").history["iteration"][-1] == 450
    wave.write_text(WAVE.replace("self.speed**2", "self.speed"))
    assert "has changed since" in refused("compare", "wave.py:Wave:speed=2", "--output", "both", "--resume")


def test_a_comparison_goes_on_with_the_same_class_of_the_same_file_by_another_path(wave, tmp_path, monkeypatch):
    invoke("compare", "wave.py:Wave:speed=2", *OPTIONS[:-1], "20", "--weightings", "rba", "--output", "both")
    below = tmp_path / "below"
    below.mkdir()
    (below / "wave.py").write_text(WAVE)
    monkeypatch.chdir(below)
    go_on = (*OPTIONS[:-1], "30", "--output", "../both", "--resume")
    for other in ("../wave.py:Known", "../wave.py:Wave:speed=3", "wave.py:Wave:speed=2", "helmholtz", "wave"):
        assert "differs in 'problem'" in refused("compare", other, *go_on)
    assert open_run("../both/rba").history["iteration"][-1] == 20
    for again in (f"{wave}:Wave:speed=2", "../below/../wave.py:Wave"):
        invoke("compare", again, *go_on)
    assert open_run("../both/rba").history["iteration"][-1] == 30
    recorded = json.loads(Path("../both/compare.json").read_text())
    assert recorded["problem"] == "../below/../wave.py:Wave:speed=2"
    assert recorded["problem_file"] == str(wave.resolve())


def test_a_name_that_is_registered_too_is_not_mixed_up(tmp_path):
    (tmp_path / "own.py").write_text(WAVE.replace("class Wave", "class Burgers").replace("(Wave)", "(Burgers)"))
    invoke("run", "own.py:Burgers", *OPTIONS, "--output", "own")
    assert "relative_l2_error" not in open_run("own").history
    assert "is on a class of one's own, Burgers" in refused("run", "burgers", "--output", "own", "--resume")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("class Wave", "class Waves"), "name 'Wave' is not defined"),
        (("speed = 1.0", "speed = 1 / 0"), "ZeroDivisionError: division by zero (line 8 of wave.py)"),
        (
            ('return u["u_tt"] - self.speed**2 * u["u_xx"]', 'return xp.mean(u["u_tt"])'),
            "received shape () at 5 points",
        ),
        (
            ('return u["u_tt"] - self.speed**2 * u["u_xx"]', 'return {"initial": u["u_tt"]}'),
            "for an equation and for a c",
        ),
        (('u["u_xx"]', 'u["u_yy"]'), "unreadable partial derivative: received 'u_yy'"),
        (('"u_t": 0}', '"v_t": 0}'), "unreadable partial derivative: received 'v_t'"),
        (("np.sin(np.pi * x) * np.cos", "np.ones(3) * np.cos"), "ValueError: operands could not be broadcast"),
        (
            (SOLUTION, "x[:, None]"),
            "reference field 'u': received shape",
        ),
        ((SOLUTION, "{'v': x}"), r"received ['v']"),
        (
            ('"initial", ("t", 0)', '"initial", ("t", 7)'),
            "place of a condition in term 'initial', outside the domain: received ('t', 7.0)",
        ),
        (
            ('at["x"]', 'at["y"]'),
            "prescribed value of 'u' in term 'initial', a function of ['x', 't']: received KeyError: 'y'",
        ),
        ((PRESCRIBED, WALL.format('u["u"][:3]')), "condition of term 'wall': its residual: received shape (3,) at"),
        ((PRESCRIBED, WALL.format('(u["u"], u["u_x"][1:])')), "condition of term 'wall': its residual: received shape"),
    ],
)
def test_what_is_wrong_with_a_class_is_one_message_before_anything_is_written(change, told, wave):
    wave.write_text(WAVE.replace(*change))
    assert told in refused("run", "wave.py:Known", *OPTIONS, "--output", "own")
    assert not Path("own").exists()
    assert told in refused("compare", "wave.py:Known", *OPTIONS, "--output", "own")
    assert not Path("own").exists()


def test_normals_of_a_wrong_shape_are_refused_before_anything_is_written(wave):
    flat = "type('Flat', (phasecore.Box,), {'normals': lambda self, at: at[:, 0]})((0, 0), (1, 1))"
    changed = WAVE.replace('{"x": (0, 1), "t": (0, 1)}', f"{{('x', 't'): {flat}}}")
    wave.write_text(changed.replace(PRESCRIBED, WALL.format('u["u_x"] * normal["x"]')))
    assert "domain: normals: received shape" in refused("run", "wave.py:Wave", *OPTIONS, "--output", "own")
    assert not Path("own").exists()


def test_reference_data_outside_the_domain_are_refused_before_anything_is_written(wave):
    np.savez("u.npz", x=np.zeros(2), t=np.asarray([0.0, 2.0]), u=np.zeros(2))
    wave.write_text(WAVE + "\nclass Data(Wave):\n    reference = phasecore.ReferenceData('u.npz')\n")
    assert "points of the reference of problem 'data' outside the domain" in refused(
        "run", "wave.py:Data", *OPTIONS, "--output", "own"
    )
    assert not Path("own").exists()


def test_a_probe_of_the_reference_is_refused_where_there_is_none():
    for probe in ("relative_l2_error", "target_information"):
        message = refused("run", "wave.py:Wave", *OPTIONS, "--output", "own", "--probes", probe)
        assert f"probe '{probe}' requires signal" in message
        assert "problem 'wave', which has no reference" in message
    invoke("run", "wave.py:Wave", *OPTIONS, "--output", "own", "--probes", "saturation")
    assert open_run("own").configuration["probes"][-2:] == ["term_losses", "saturation"]


def test_a_report_draws_the_errors_that_the_snapshots_keep():
    from phasecore.recording.recorder import Recorder

    training = prepare("wave.py:Known", backend="synthetic", points=60, iterations=10, output="own")
    recorder = Recorder("own")
    recorder.begin(training)
    grid = training.problem.evaluation_points()
    exact = training.problem.reference(grid)["u"]
    recorder.snapshot(10, {"grid": grid, "field_u": 1.5 * exact, "points": training.points.interior})
    recorder.close()
    figure = fields_figure(open_run("own"))
    titles = [annotation.text for annotation in figure.layout.annotations]
    assert titles[1] == "error of u, relative L2 0.5"
    assert (figure.layout.xaxis.title.text, figure.layout.yaxis.title.text) == ("x", "t")


@pytest.mark.parametrize("written", ["wave.py:Wave:speed=trained(0.7,positive=True)", "wave.py:Sought"])
def test_a_run_with_a_trained_coefficient_goes_on(written, tmp_path, wave):
    wave.write_text(WAVE + "\nclass Sought(Wave):\n    speed = phasecore.trained(0.7, positive=True)\n")
    invoke("run", written, *OPTIONS, "--output", "sought")
    known = json.loads((tmp_path / "sought" / "run.json").read_text())["problem_parameters"]
    assert known == {"speed": "trained(0.7, positive=True)"}
    resumed = invoke("run", written.removesuffix(":speed=trained(0.7,positive=True)"), "--iterations", "800",
                     "--resume", "--output", "sought")  # fmt: skip
    assert "800" in resumed.output
    refused("run", "wave.py:Wave:speed=trained(0.8)", "--iterations", "900", "--resume", "--output", "sought")
