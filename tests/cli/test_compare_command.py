"""`phasecore compare`, end to end with a backend whose history is a formula."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import phasecore
from phasecore.backends import Training
from phasecore.cli import main
from phasecore.problems.base import CollocationPoints, Problem
from phasecore.runs import execution, open_run, preparation

FOLDERS = ("uniform", "rba")
COMPARE = ["compare", "helmholtz", "--backend", "synthetic", "--points", "60", "--iterations", "400"]


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(main, [*arguments])


def files(folder: str) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


def test_json_holds_the_runs_as_run_prints_them() -> None:
    result = invoke(*COMPARE, "--json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert list(document) == ["runs"]
    assert [run["weighting"] for run in document["runs"]] == ["uniform", "rba"]
    alone = json.loads(invoke("run", *COMPARE[1:], "--json").stdout)
    assert document["runs"][0].keys() == alone.keys()
    assert {**document["runs"][0], "output": ""} == {**alone, "output": ""}
    assert [run["output"] for run in document["runs"]] == [
        "runs/helmholtz-compare-seed0-1/uniform",
        "runs/helmholtz-compare-seed0-1/rba",
    ]
    assert "Figure: runs/helmholtz-compare-seed0-1/compare.png" in result.stderr


def test_the_table_has_a_column_per_weighting_and_the_figure_is_saved(drawn_figures: None) -> None:
    result = invoke(*COMPARE, "--output", "here", "--weightings", "rba:gamma=0.9,eta=0.1,uniform")
    assert result.exit_code == 0, result.output
    header, *rows = result.stdout.splitlines()
    assert header.split() == ["rba:gamma=0.9,eta=0.1", "uniform"]
    labels = [row[:30].strip() for row in rows]
    for label in ("relative L2 error", "diffusion from iteration", "total diffusion from iteration", "final SNR",
                  "final gradient order", "final residual order", "training time"):  # fmt: skip
        assert label in labels
    assert rows[-1] == "figure: here/compare.png"
    assert Path("here/compare.png").read_bytes().startswith(b"\x89PNG")
    error = open_run("here/uniform").history["relative_l2_error"][-1]
    assert rows[0].split()[-1] == f"{error:.3g}"


def test_all_stands_for_every_registered_scheme() -> None:
    names = [name for name in phasecore.registry.names("weighting") if name not in ("causal", "fixed")]
    result = invoke(*COMPARE, "--output", "here", "--weightings", "all")
    assert result.exit_code == 0, result.output
    assert "left out: weighting 'causal', option 'time': received 't', and a problem without such" in result.stderr
    assert "left out: weighting 'fixed': received no weights" in result.stderr
    header, *rows = result.stdout.splitlines()
    assert [row.split()[0] for row in rows[: len(names)]] == names
    for label in ("error", "diffusion", "total diffusion", "SNR", "time"):
        assert label in header
    assert all(len(row) <= 80 for row in rows[: len(names)])
    error = open_run("here/brdr").history["relative_l2_error"][-1]
    assert rows[names.index("brdr")].split()[1] == f"{error:.3g}"
    assert json.loads(Path("here/compare.json").read_text())["weightings"] == names
    again = invoke("compare", "helmholtz", "--output", "here", "--resume", "--weightings", "all")
    assert again.exit_code == 0, again.output


def test_a_scheme_that_the_problem_has_nothing_for_is_refused_before_any_training() -> None:
    result = invoke(*COMPARE, "--output", "here", "--weightings", "uniform,causal")
    assert result.exit_code == 2
    assert "a problem without such a coordinate" in result.stderr
    assert not Path("here").exists()


def test_all_networks_start_alike() -> None:
    invoke(*COMPARE, "--output", "here", "--seed", "5")
    runs = [open_run(f"here/{name}").configuration for name in ("uniform", "rba")]
    assert runs[0]["seed"] == runs[1]["seed"] == 5
    assert runs[0]["settings"] == runs[1]["settings"]


def test_what_is_known_is_neither_made_nor_checked_nor_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[Training] = []
    read: list[str] = []
    text, check = Path.read_text, preparation.check_supplies

    def counted(training: Training) -> None:
        checked.append(training)
        check(training)

    def noted(self: Path, *arguments: str, **options: str) -> str:
        read.append(self.name)
        return text(self, *arguments, **options)

    for module in (preparation, execution):
        monkeypatch.setattr(module, "check_supplies", counted)
    monkeypatch.setattr(Path, "read_text", noted)
    assert invoke(*COMPARE, "--output", "here").exit_code == 0
    assert [training.scheme_name for training in checked] == ["uniform", "rba"]
    assert checked[0].problem is checked[1].problem
    assert "history.jsonl" not in read


@pytest.mark.parametrize("stop", [50, 255])
def test_a_comparison_that_goes_on_prepares_each_training_once(monkeypatch: pytest.MonkeyPatch, stop: int) -> None:
    monkeypatch.setenv("SYNTHETIC_STOP", f"interrupt:{stop}")
    invoke(*COMPARE, "--output", "here")
    monkeypatch.delenv("SYNTHETIC_STOP")
    sampled: list[int] = []
    sample = Problem.sample

    def counted(self: Problem, points: int, **options: Any) -> CollocationPoints:
        sampled.append(points)
        return sample(self, points, **options)

    monkeypatch.setattr(Problem, "sample", counted)
    assert invoke(*COMPARE, "--output", "here", "--resume").exit_code == 0
    assert sampled == [60, 60]


def test_a_comparison_is_not_overwritten() -> None:
    invoke(*COMPARE, "--output", "here")
    before = files("here")
    result = invoke(*COMPARE, "--output", "here")
    assert result.exit_code == 2
    assert "already holds a comparison" in result.stderr
    assert invoke("run", *COMPARE[1:], "--output", "here/rba").exit_code == 2
    assert files("here") == before


def test_one_bad_weighting_is_refused_before_any_training() -> None:
    result = invoke(*COMPARE, "--output", "here", "--weightings", "uniform,rba:gamma=3")
    assert result.exit_code == 2
    assert "gamma" in result.stderr
    assert not Path("here").exists()


@pytest.mark.parametrize(
    "weightings",
    [
        "rba,rba:gamma=0.99",
        "uniform,rba:eta=0.01,rba",
        "rba:gamma=0.5,eta=0.1,uniform,rba:eta=0.1,gamma=0.50",
        "rba+grad_norm,rba:gamma=0.99+grad_norm",
    ],
)
def test_weightings_that_are_the_same_are_refused_before_anything_is_written(weightings: str) -> None:
    """Also where the preset's options make them so: Burgers recommends gamma=0.99 and eta=0.01."""
    result = invoke("compare", "burgers", *COMPARE[2:], "--weightings", weightings, "--output", "here")
    assert result.exit_code == 2
    assert "which are both 'rba:" in result.stderr.replace("rba+grad_norm", "rba:+")
    assert not Path("here").exists()


def test_without_matplotlib_nothing_is_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "matplotlib" else find(name))
    result = invoke(*COMPARE, "--output", "here")
    assert result.exit_code == 2
    assert "pip install 'phasecore[report]'" in result.stderr
    assert not Path("here").exists()


@pytest.mark.parametrize("stop", [50, 255])
def test_an_interrupted_comparison_goes_on_with_what_it_was_asked(monkeypatch: pytest.MonkeyPatch, stop: int) -> None:
    invoke(*COMPARE, "--output", "whole")
    monkeypatch.setenv("SYNTHETIC_STOP", f"interrupt:{stop}")
    result = invoke(*COMPARE, "--output", "parts")
    assert result.exit_code == 130
    assert "Go on with: phasecore compare helmholtz --output parts --resume" in result.stderr
    monkeypatch.delenv("SYNTHETIC_STOP")
    resumed = invoke("compare", "helmholtz", "--output", "parts", "--resume", "--json")
    assert resumed.exit_code == 0, resumed.stderr
    assert [run["iterations"] for run in json.loads(resumed.stdout)["runs"]] == [400, 400]
    reached = {50: [], 255: ["uniform (1 of 2): resumed at iteration 200 from parts/uniform"]}[stop]
    assert [line for line in resumed.stderr.splitlines() if "resumed" in line] == reached
    for name in ("uniform", "rba"):
        assert Path(f"parts/{name}/history.jsonl").read_bytes() == Path(f"whole/{name}/history.jsonl").read_bytes()
    assert Path("parts/compare.png").exists()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["helmholtz", "--weightings", "rba"], "differs in 'weightings'"),
        (["helmholtz:a1=2"], "differs in 'problem'"),
        (["helmholtz", "--width", "5"], "differs in 'width'"),
    ],
)
def test_another_request_is_refused_on_resuming(given: list[str], message: str) -> None:
    invoke(*COMPARE, "--output", "here")
    result = invoke("compare", *given, "--output", "here", "--resume")
    assert result.exit_code == 2
    assert message in result.stderr


@pytest.mark.parametrize("begun", [[], ["--iterations", "60"]], ids=" ".join)
@pytest.mark.parametrize("alone", ["60", "120"])
@pytest.mark.parametrize("asked", [None, "30", "60", "90", "120", "150"])
@pytest.mark.parametrize("left_out", [False, True])
def test_a_network_that_was_gone_on_with_by_itself_stays_in_its_comparison(
    begun: list[str], alone: str, asked: str | None, left_out: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every network does the most of what it was asked for, when the comparison began, by itself, or now."""
    if not begun:
        presets = phasecore.problem("helmholtz").presets
        monkeypatch.setitem(presets, "quick", replace(presets["quick"], iterations=60))  # type: ignore[index]
    start = ["compare", "helmholtz", "--backend", "synthetic", "--points", "60", *begun, "--output", "here"]
    assert invoke(*start).exit_code == 0
    again = ["run", "helmholtz", "--output", "here/rba", "--resume", "--iterations", alone]
    assert invoke(*again).exit_code == 0
    if left_out:
        shutil.rmtree("here/uniform")
    result = invoke("compare", "helmholtz", "--output", "here", "--resume", *(["--iterations", asked] if asked else []))
    fewer = asked is not None and int(asked) < max(60 if not left_out else 0, int(alone))
    assert result.exit_code == (2 if fewer else 0), result.output
    assert fewer == ("differs in 'iterations'" in result.stderr)
    if not fewer:
        done = {name: json.loads(Path(f"here/{name}/outcome.json").read_text())["iterations"] for name in FOLDERS}
        assert done == {"uniform": int(asked or 60), "rba": int(asked or alone)}


def test_parameters_in_another_order_are_the_same_request() -> None:
    short = (*COMPARE[2:], "--output", "here")
    assert invoke("compare", "helmholtz:a1=1,a2=2", *short).exit_code == 0
    for again in ("helmholtz:a2=2,a1=1", "helmholtz"):
        assert invoke("compare", again, "--output", "here", "--resume").exit_code == 0


def test_every_run_of_a_comparison_measures_the_probes() -> None:
    result = invoke(*COMPARE, "--output", "here", "--probes", "saturation:bins=20")
    assert result.exit_code == 0, result.output
    for run in ("uniform", "rba"):
        assert json.loads((Path("here") / run / "run.json").read_text())["probes"][-1] == "saturation:bins=20"
    assert invoke(*COMPARE, "--output", "here", "--resume").exit_code == 0
