"""`phasecore run`, end to end with a backend whose history is a formula."""

import html
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from processes import python

from phasecore.cli import main
from phasecore.probes import DEFAULT_PROBES
from phasecore.runs import open_run

RUN = ["run", "helmholtz", "--backend", "synthetic", "--points", "60", "--iterations", "400"]
MAIN = "from phasecore.cli import main; main(prog_name='phasecore')"


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(main, [*arguments])


def test_json_is_one_document_and_nothing_else_on_standard_output() -> None:
    result = invoke(*RUN, "--weighting", "rba:gamma=0.99", "--seed", "7", "--json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document.keys() >= {
        "problem", "backend", "weighting", "seed", "iterations", "seconds", "relative_l2_error", "phases", "output",
    }  # fmt: skip
    assert document["problem"] == "helmholtz"
    assert (document["backend"], document["weighting"]) == ("synthetic", "rba:gamma=0.99")
    assert (document["seed"], document["iterations"]) == (7, 400)
    assert document["seconds"] == pytest.approx(4.0)
    assert 0 < document["relative_l2_error"] < 1
    assert document["phases"].keys() >= {"current", "transitions"}
    for transition in document["phases"]["transitions"]:
        assert transition.keys() >= {"phase", "iteration", "confidence"}
    run = open_run(document["output"])
    assert run.outcome == {name: value for name, value in document.items() if name != "output"}
    assert "a framework that prints" in result.stderr


def test_the_phases_are_those_that_detect_finds_in_the_folder() -> None:
    document = json.loads(invoke(*RUN, "--json").stdout)
    assert json.loads(invoke("detect", document["output"], "--json").stdout) == document["phases"]


def test_without_output_each_run_gets_its_own_folder() -> None:
    outputs = [json.loads(invoke(*RUN, "--json").stdout)["output"] for _ in range(2)]
    assert outputs == ["runs/helmholtz-uniform-seed0-1", "runs/helmholtz-uniform-seed0-2"]


def test_the_summary_says_error_phases_and_folder() -> None:
    result = invoke(*RUN, "--output", "here")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert any(line.startswith("relative L2 error") for line in lines)
    assert any(line.startswith("phase at the end") for line in lines)
    assert any(line.split() == ["run", "folder", "here"] for line in lines)


def test_a_transition_that_was_announced_and_moved_is_explained_wherever_phases_are_printed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SYNTHETIC_HALT", "1")
    result = invoke(*RUN, "--output", "here")
    announced = next(line for line in result.stderr.splitlines() if "since iteration" in line)
    at, since = re.findall(r"\d+", announced)
    (transition,) = json.loads(invoke("detect", "here", "--json").stdout)["transitions"]
    low, high = transition["interval"]
    assert not low <= int(since) <= high
    sentence = (
        f"iffusion: declared at iteration {at} as begun at {since}, by what was known then; "
        f"in the whole curve fitting ends at {transition['iteration']} ({low} to {high})"
    )
    invoke("report", "here", "--output", "report.html")
    for text in (
        result.stdout,
        invoke("run", "helmholtz", "--output", "here", "--resume").stdout,
        invoke("detect", "here").stdout,
        invoke("detect", "here", "--online").stdout,
        html.unescape(Path("report.html").read_text()),
    ):
        assert text.count(sentence) == 1
    compared = invoke("compare", *RUN[1:], "--output", "both").stdout.splitlines()
    assert [line for line in compared if sentence in line] == [f"{name}, d{sentence}" for name in ("uniform", "rba")]
    assert compared[-1].startswith("figure: ")


def test_progress_is_plain_lines_where_there_is_no_terminal() -> None:
    result = invoke(*RUN, "--output", "here")
    lines = result.stderr.splitlines()
    assert lines[0] == (
        "helmholtz (a1=1, a2=2, k=1.0), uniform, synthetic: 60 points, 3 x 64 tanh, 400 iterations, seed 0"
    )
    progress = [line for line in lines if line.startswith("iteration ") and "loss" in line]
    assert 10 <= len(progress) <= 12
    assert all(word in progress[5] for word in ("/400", "loss", "error", "SNR", "left"))
    assert lines[-1].startswith("done: 400 iterations in 4.0 s, relative L2 error ")
    assert "\x1b" not in result.stderr


def test_a_folder_that_holds_a_run_is_refused_and_left_alone() -> None:
    assert invoke(*RUN, "--output", "here").exit_code == 0
    before = {path: path.read_bytes() for path in Path("here").rglob("*") if path.is_file()}
    result = invoke(*RUN, "--output", "here")
    assert result.exit_code == 2
    assert "already holds a run" in result.stderr
    assert "--resume" in result.stderr
    assert {path: path.read_bytes() for path in Path("here").rglob("*") if path.is_file()} == before


def test_a_failure_in_training_is_status_1_without_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNTHETIC_STOP", "fail:120")
    result = invoke(*RUN, "--output", "here", "--json")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "Error: training: received a loss of nan; expected a finite loss." in result.stderr
    assert "Traceback" not in result.stderr
    assert open_run("here").history["iteration"][-1] == 120 - 10


def test_ctrl_c_says_what_is_kept_and_how_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNTHETIC_STOP", "interrupt:255")
    result = invoke(*RUN, "--output", "my run")
    assert result.exit_code == 130
    assert "Kept in my run: the history to iteration 250, and a checkpoint." in result.stderr
    again = "phasecore run helmholtz --output 'my run' --resume"
    assert f"Go on with: {again}" in result.stderr
    monkeypatch.delenv("SYNTHETIC_STOP")
    resumed = invoke("run", "helmholtz", "--output", "my run", "--resume", "--json")
    assert json.loads(resumed.stdout)["iterations"] == 400
    assert "resumed at iteration 200 from my run\n" in resumed.stderr
    assert "resumed at" not in result.stderr


@pytest.mark.parametrize(
    ("kept", "told"),
    [
        (lambda lines: lines, None),
        (lambda lines: [line for line in lines if json.loads(line)["iteration"] <= 200], None),
        (lambda lines: [line for line in lines if json.loads(line)["iteration"] < 150], (6, 150, 200)),
        (lambda lines: [lines[0], *lines[3:]], (2, 2, 3)),
    ],
    ids=["whole", "up to the checkpoint", "cut before it", "without a middle"],
)
def test_rows_that_a_history_lost_are_told_when_it_goes_on(
    monkeypatch: pytest.MonkeyPatch, kept: Callable[[list[str]], list[str]], told: tuple[int, int, int] | None
) -> None:
    monkeypatch.setenv("SYNTHETIC_STOP", "interrupt:255")
    invoke(*RUN, "--output", "here")
    monkeypatch.delenv("SYNTHETIC_STOP")
    file = Path("here/history.jsonl")
    file.write_text("".join(kept(file.read_text().splitlines(keepends=True))))
    resumed = invoke("run", "helmholtz", "--output", "here", "--resume", "--json")
    assert resumed.exit_code == 0, resumed.stderr
    said = re.findall(r"lacks (\d+) rows that were captured, between iterations (\d+) and (\d+)", resumed.stderr)
    assert said == ([] if told is None else [tuple(map(str, told))])


def test_a_killed_process_loses_at_most_a_half_written_line(monkeypatch: pytest.MonkeyPatch) -> None:
    assert invoke(*RUN, "--output", "whole").exit_code == 0
    monkeypatch.setenv("SYNTHETIC_STOP", "kill:255")
    done = python("-c", MAIN, *RUN, "--output", "killed")
    assert done.returncode == 9
    assert not Path("killed/history.jsonl").read_text().endswith("\n")
    assert open_run("killed").history["iteration"][-1] == 250
    monkeypatch.delenv("SYNTHETIC_STOP")
    resumed = invoke("run", "helmholtz", "--output", "killed", "--resume", "--json")
    assert resumed.exit_code == 0, resumed.stderr
    assert Path("killed/history.jsonl").read_bytes() == Path("whole/history.jsonl").read_bytes()


def test_resuming_with_other_options_is_refused() -> None:
    assert invoke(*RUN, "--output", "here").exit_code == 0
    result = invoke("run", "helmholtz", "--output", "here", "--resume", "--width", "32")
    assert result.exit_code == 2
    assert "differs in 'width': received 32; expected 64" in result.stderr


PROBES_THEN_AND_NOW = [
    ([], ["saturation"], False),
    (["saturation:bins=20"], ["saturation"], False),
    (["saturation:bins=20"], ["saturation:bins=21"], False),
    (["saturation:every=20"], ["saturation:every=40"], False),
    (["saturation"], ["saturation", "layer_entropy"], False),
    (["saturation", "layer_entropy"], ["saturation"], False),
    (["relative_l2_error:every=20"], ["saturation"], False),
    (["saturation:bins=20", "layer_entropy"], ["layer_entropy", "saturation:bins=20"], True),
    (["saturation:bins=20"], ["saturation:every=10,bins=20"], False),
    (["saturation"], [], True),
]


@pytest.mark.parametrize("command", ["run", "compare"])
@pytest.mark.parametrize(("then", "now", "agrees"), PROBES_THEN_AND_NOW)
def test_what_is_measured_stays_the_same_for_the_whole_history(
    command: str, then: list[str], now: list[str], agrees: bool
) -> None:
    """Left out they are the recorded ones; others are refused, and nothing changes."""
    options = ["--weightings", "rba"] if command == "compare" else ["--weighting", "rba"]
    begin = [command, *RUN[1:], *options, "--output", "here"]
    assert invoke(*begin, *(part for probe in then for part in ("--probe", probe))).exit_code == 0
    folder = Path("here/rba" if command == "compare" else "here")
    recorded = json.loads((folder / "run.json").read_text())["probes"]
    assert set(then) <= set(recorded)
    before = (folder / "history.jsonl").read_bytes(), (folder / "run.json").read_bytes()
    again = [command, "helmholtz", "--output", "here", "--resume", "--iterations", "1200"]
    result = invoke(*again, *(part for probe in now for part in ("--probe", probe)))
    assert result.exit_code == (0 if agrees else 2), result.stderr
    if agrees:
        assert json.loads((folder / "run.json").read_text())["probes"] == recorded
    else:
        assert "differs in 'probes'" in result.stderr
        assert "Leave the option out" in result.stderr
        assert ((folder / "history.jsonl").read_bytes(), (folder / "run.json").read_bytes()) == before


def test_an_output_that_cannot_be_made_is_refused() -> None:
    Path("file").write_text("")
    result = invoke(*RUN, "--output", "file/run")
    assert result.exit_code == 2
    assert "cannot make the run folder" in result.stderr


def recorded_probes(folder: str) -> list[str]:
    probes: list[str] = json.loads((Path(folder) / "run.json").read_text())["probes"]
    return probes


def test_probes_are_added_to_the_default_ones_and_recorded_with_their_options() -> None:
    result = invoke(*RUN, "--output", "here", "--probes", "saturation:bins=20,norm_test,residual_order:bins=8")
    assert result.exit_code == 0, result.output
    defaults = [name for name in DEFAULT_PROBES if name != "residual_order"]
    assert recorded_probes("here") == [*defaults, "saturation:bins=20", "norm_test", "residual_order:bins=8"]
    assert invoke(*RUN, "--output", "one_by_one", "--probe", "saturation", "--probe", "norm_test").exit_code == 0
    assert recorded_probes("one_by_one") == [*DEFAULT_PROBES, "saturation", "norm_test"]


def test_resuming_measures_what_the_run_was_started_with(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNTHETIC_STOP", "fail:250")
    assert invoke(*RUN, "--output", "here", "--probes", "saturation:bins=20").exit_code == 1
    monkeypatch.delenv("SYNTHETIC_STOP")
    seen = []
    monkeypatch.setattr("phasecore.runs.preparation.check_supplies", lambda training: seen.append(training.probes))
    assert invoke(*RUN, "--output", "here", "--resume").exit_code == 0
    assert [probe.name for probe in seen[0]] == [*DEFAULT_PROBES, "saturation"]
    assert seen[0][-1].bins == 20
    assert recorded_probes("here") == [*DEFAULT_PROBES, "saturation:bins=20"]


@pytest.mark.parametrize(
    ("probes", "message"),
    [
        ("saturatoin", "Did you mean 'saturation'"),
        ("saturation:bins=0", "'bins'"),
        ("saturation:cells=3", "'cells'"),
        ("saturation,saturation:bins=3", "'saturation' twice"),
        ("", "--probes"),
    ],
)
def test_bad_probes_are_refused_before_training(probes: str, message: str) -> None:
    result = invoke(*RUN, "--output", "here", "--probes", probes)
    assert result.exit_code == 2
    assert message in result.stderr
    assert not Path("here").exists()
