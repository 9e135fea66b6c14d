"""`phasecore compare --seeds --jobs`: layout, statistics, failures, resuming; the history of a network is a formula."""

import json
import os
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from phasecore.cli import main
from phasecore.cli.comparison import split_seeds
from phasecore.runs import open_run

COMPARE = ["compare", "helmholtz", "--backend", "synthetic", "--points", "60", "--iterations", "400"]
SIDE_BY_SIDE = [*COMPARE, "--seeds", "0,1", "--jobs", "2", "--output", "here"]
FOLDERS = [f"{weighting}-seed-{seed}" for weighting in ("uniform", "rba") for seed in (0, 1)]


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(main, [*arguments])


def histories(folder: str) -> dict[str, bytes]:
    return {file.parent.name: file.read_bytes() for file in Path(folder).glob("*/history.jsonl")}


def test_each_weighting_is_trained_with_each_seed() -> None:
    result = invoke(*COMPARE, "--seeds", "3,1,2", "--json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    runs = document["runs"]
    assert [(run["weighting"], run["seed"]) for run in runs] == [(w, s) for w in ("uniform", "rba") for s in (3, 1, 2)]
    alone = json.loads(invoke("run", *COMPARE[1:], "--seed", "1", "--json").stdout)
    assert {**runs[1], "output": ""} == {**alone, "output": ""}
    folder = "runs/helmholtz-compare-3-seeds-1"
    assert [run["output"] for run in runs[:2]] == [f"{folder}/uniform-seed-3", f"{folder}/uniform-seed-1"]
    assert json.loads(Path(folder, "compare.json").read_text())["seeds"] == [3, 1, 2]
    uniform, rba = document["summary"]["weightings"]
    for summary, own in ((uniform, runs[:3]), (rba, runs[3:])):
        assert (summary["networks"], summary["completed"]) == (3, 3)
        errors = [run["relative_l2_error"] for run in own]
        found = summary["relative_l2_error"]
        assert found == {"median": statistics.median(errors), "low": min(errors), "high": max(errors), "count": 3}
    begins = [
        [item["iteration"] for item in run["phases"]["transitions"] if item["phase"] == "diffusion"] for run in runs
    ]
    ratios = [own[0] / base[0] for own, base in zip(begins[3:], begins[:3], strict=True)]
    (pair,) = document["summary"]["paired"]
    assert (pair["weighting"], pair["against"]) == ("rba", "uniform")
    assert pair["diffusion"]["median"] == pytest.approx(statistics.median(ratios))
    assert "total_diffusion" not in pair, "uniform does not reach it in these iterations"


def test_the_table_has_medians_ranges_and_ratios(drawn_figures: None) -> None:
    result = invoke(*COMPARE, "--seeds", "0,1,2", "--output", "here")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert max(map(len, lines)) <= 100
    assert lines[0].split() == ["error", "diffusion", "total", "diffusion", "SNR", "time"]
    snr = [open_run(f"here/rba-seed-{seed}").history["snr"][-1] for seed in range(3)]
    at = next(place for place, line in enumerate(lines) if line.startswith("rba "))
    assert f"{statistics.median(snr):.3g}" in lines[at].split()
    assert f"{min(snr):.3g}\u2013{max(snr):.3g}" in lines[at + 1].split()
    assert lines[at + 1].startswith("  3 seeds")
    assert any(line.startswith("rba / uniform") for line in lines)
    assert Path("here/compare.png").read_bytes().startswith(b"\x89PNG")


def test_one_seed_is_that_of_seed() -> None:
    result = invoke(*COMPARE, "--seeds", "5", "--output", "here", "--json")
    assert result.exit_code == 0, result.output
    assert list(json.loads(result.stdout)) == ["runs"]
    assert {name: open_run(f"here/{name}").configuration["seed"] for name in ("uniform", "rba")} == {
        "uniform": 5,
        "rba": 5,
    }
    assert "seeds" not in json.loads(Path("here/compare.json").read_text())


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--seeds", ""], "whole numbers"),
        (["--seeds", "0,,1"], "whole numbers"),
        (["--seeds", "0,1,0"], "0 more than once"),
        (["--seeds", "1,01"], "1 more than once"),
        (["--seeds", "-1,2"], "whole numbers"),
        (["--seeds", "1.5"], "whole numbers"),
        (["--seeds", "a,b"], "whole numbers"),
        (["--seeds", "9" * 30], "whole numbers"),
        (["--seeds", "0,1", "--seed", "0"], "--seed and --seeds"),
        (["--seeds", "0,1", "--jobs", "0"], "positive integer"),
        (["--jobs", "-1"], "positive integer"),
        (["--jobs", "many"], "--jobs"),
    ],
)
def test_bad_seeds_and_jobs_are_refused_before_any_training(given: list[str], message: str) -> None:
    result = invoke(*COMPARE, *given)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr
    assert result.stderr.count("Error:") == 1
    assert not list(Path().iterdir())


def test_seeds_are_read_with_spaces() -> None:
    assert split_seeds(" 4, 0 ,2") == [4, 0, 2]


def test_without_joblib_nothing_is_trained_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "joblib" else find(name))
    result = invoke(*COMPARE, "--seeds", "0,1", "--jobs", "2")
    assert result.exit_code == 2
    assert "pip install joblib" in result.stderr
    assert not list(Path().iterdir())


def test_all_leaves_a_scheme_out_once() -> None:
    result = invoke(*COMPARE, "--iterations", "50", "--weightings", "all", "--seeds", "0,1", "--output", "here")
    assert result.exit_code == 0, result.output
    assert result.stderr.count("left out: weighting 'causal'") == 1
    assert not list(Path("here").glob("causal*"))
    assert {"brdr-seed-0", "brdr-seed-1"} <= {path.name for path in Path("here").iterdir()}
    assert max(map(len, result.stdout.splitlines())) <= 100


@pytest.mark.parametrize(("how", "reason"), [("fail", "a loss of nan"), ("break", "ZeroDivisionError: a fault")])
def test_a_network_that_fails_is_told_of_and_the_others_go_on(
    how: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYNTHETIC_STOP", f"{how}:250")
    monkeypatch.setenv("SYNTHETIC_ONLY", "uniform-seed-1")
    result = invoke(*COMPARE, "--seeds", "0,1", "--output", "here")
    assert result.exit_code == 1
    (line,) = [line for line in result.stdout.splitlines() if "failed:" in line]
    assert line.startswith("uniform, seed 1 failed: ")
    assert reason in line
    assert "1 seed, 1 failed" in result.stdout
    assert ("Traceback" in result.stderr) == (how == "break")
    assert [open_run(f"here/{name}").outcome is None for name in FOLDERS] == [False, True, False, False]
    assert reason in open_run("here/uniform-seed-1").configuration["failure"]
    monkeypatch.delenv("SYNTHETIC_STOP")
    again = invoke("compare", "helmholtz", "--output", "here", "--resume", "--json")
    assert again.exit_code == 0, again.output
    assert "failure" not in open_run("here/uniform-seed-1").configuration
    assert [run["iterations"] for run in json.loads(again.stdout)["runs"]] == [400] * 4


def test_json_says_why_a_network_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNTHETIC_STOP", "fail:250")
    monkeypatch.setenv("SYNTHETIC_ONLY", "rba")
    result = invoke(*COMPARE, "--json", "--output", "here")
    assert result.exit_code == 1
    uniform, rba = json.loads(result.stdout)["runs"]
    assert "failure" not in uniform
    assert "a loss of nan" in rba["failure"]
    assert (rba["relative_l2_error"], rba["iterations"]) == (None, 240)
    table = invoke("compare", "helmholtz", "--output", "here", "--resume")
    assert table.exit_code == 1
    assert "trained" in table.stdout
    assert "rba failed: training: received a loss of nan" in table.stdout


def test_without_an_error_there_is_none_in_table_and_document(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNTHETIC_NO_ERROR", "yes")
    for seeds in ("0", "0,1"):
        result = invoke(*COMPARE, "--seeds", seeds, "--output", f"seeds-{seeds}")
        assert result.exit_code == 0, result.output
        assert "error" not in result.stdout
        assert "nan" not in result.stdout.lower()
    document = json.loads(invoke(*COMPARE, "--seeds", "0,1", "--json").stdout)["summary"]
    assert all("relative_l2_error" not in item for item in document["weightings"] + document["paired"])


@pytest.mark.parametrize(
    ("first", "then", "agrees"),
    [
        (["--seeds", "0,1"], [], True),
        (["--seeds", "0,1"], ["--seeds", "0,1"], True),
        (["--seeds", "0,1"], ["--seeds", "0,1,2"], False),
        (["--seeds", "0,1"], ["--seed", "0"], False),
        (["--seed", "4"], ["--seeds", "4"], True),
        ([], ["--seeds", "0,1"], False),
    ],
)
def test_a_comparison_goes_on_with_its_seeds_only(first: list[str], then: list[str], agrees: bool) -> None:
    short = [*COMPARE[:-1], "20", "--weightings", "uniform", "--output", "here"]
    assert invoke(*short, *first).exit_code == 0
    result = invoke("compare", "helmholtz", "--output", "here", "--resume", *then)
    assert result.exit_code == (0 if agrees else 2), result.output
    assert agrees or "differs in 'seed" in result.stderr


def test_side_by_side_is_as_one_after_the_other(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SYNTHETIC_THREADS", str(tmp_path / "threads"))
    one = invoke(*COMPARE, "--seeds", "0,1", "--output", "one", "--json")
    assert not Path("threads").exists()
    result = invoke(*SIDE_BY_SIDE, "--json")
    assert (one.exit_code, result.exit_code) == (0, 0), result.output
    assert histories("here") == histories("one")
    assert set(histories("here")) == set(FOLDERS)
    together = json.loads(result.stdout.replace('"here/', '"one/'))
    assert together == json.loads(one.stdout)
    import joblib

    told = [line.split() for line in Path("threads").read_text().splitlines()]
    assert {count for _, count in told} == {str(max(1, joblib.cpu_count() // 2))}
    assert str(os.getpid()) not in {process for process, _ in told}
    assert "uniform, seed 0 (1 of 4): done: 400 iterations" in result.stderr
    assert result.stderr.count("a framework that prints to standard output") >= 1
    assert not list(Path("here").glob(".side-by-side-*"))


def test_side_by_side_a_failure_and_a_killed_process_cost_the_others_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    invoke(*COMPARE, "--seeds", "0,1", "--output", "whole")
    monkeypatch.setenv("SYNTHETIC_STOP", "kill_once:250")
    monkeypatch.setenv("SYNTHETIC_ONLY", "rba-seed-1")
    result = invoke(*SIDE_BY_SIDE)
    assert result.exit_code == 0, result.output
    assert "A process that trained was killed" in result.stderr
    assert "rba, seed 1 (4 of 4): resumed at iteration 200" in result.stderr
    assert histories("here") == histories("whole")
    monkeypatch.setenv("SYNTHETIC_STOP", "kill:450")
    result = invoke(*SIDE_BY_SIDE, "--resume", "--iterations", "500")
    assert result.exit_code == 1, result.output
    assert "rba, seed 1 failed: its process was killed twice" in result.stdout
    assert [open_run(f"here/{name}").outcome is None for name in FOLDERS] == [False, False, False, True]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals of this kind")
@pytest.mark.parametrize("how", ["interrupted", "killed"])
def test_what_ends_the_command_ends_all_networks(how: str) -> None:
    arguments = [*SIDE_BY_SIDE, "--every", "1"]
    command = [sys.executable, "-m", "phasecore", *arguments]
    environment = {**os.environ, "SYNTHETIC_PAUSE": "0.05"}
    paths = [os.environ["PYTHONPATH"], *filter(None, sys.path)]
    environment["PYTHONPATH"] = os.pathsep.join(paths)
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=environment, start_new_session=True
    ) as process:
        while process.poll() is None and len(histories("here")) < 2:
            time.sleep(0.1)
        os.killpg(process.pid, signal.SIGINT) if how == "interrupted" else process.kill()
        # the pipe is open as long as a process that trains is there
        _, said = process.communicate(timeout=120)
    left = histories("here")
    assert set(left) == {"uniform-seed-0", "rba-seed-0"}
    time.sleep(0.5)
    assert histories("here") == left
    if how == "interrupted":
        assert process.returncode == 130
        assert "--resume --jobs 2" in said
    Path("here/.compare.json.0123456789ab.part").write_text('{"probl')
    resumed = invoke(*arguments, "--resume", "--json")
    assert resumed.exit_code == 0, resumed.output
    assert [run["iterations"] for run in json.loads(resumed.stdout)["runs"]] == [400] * 4
    assert not list(Path("here").glob(".*.part"))


def test_a_report_reads_the_folder_and_what_a_shell_makes_of_a_star(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNTHETIC_STOP", "fail:250")
    monkeypatch.setenv("SYNTHETIC_ONLY", "rba-seed-1")
    invoke(*COMPARE, "--seeds", "0,1", "--output", "here")
    everything = sorted(map(str, Path("here").glob("*")))
    for given in (["here"], everything):
        result = invoke("report", *given, "--json", "--output", "report.html")
        assert result.exit_code == 0, result.output
        runs = json.loads(result.stdout)["runs"]
        assert [Path(run["output"]).name for run in runs] == FOLDERS
        assert "a loss of nan" in runs[3]["failure"]
    page = Path("report.html").read_text()
    assert "<h2>Over seeds</h2>" in page
    assert "<td>rba / uniform</td>" in page
    assert "<td>1 of 2</td>" in page
    assert "failed: training: received a loss of nan" in page


@pytest.mark.parametrize("jobs", [[], ["--jobs", "2"]])
def test_one_file_for_all_networks_is_refused_and_one_for_each_is_written(jobs: list[str]) -> None:
    result = invoke(*COMPARE, "--output", "here", "--logger", "csv:path=all.csv", *jobs)
    assert result.exit_code == 2
    assert "all.csv for 2 trainings" in result.stderr
    assert not Path("here").exists()
    assert not Path("all.csv").exists()
    assert invoke(*COMPARE, "--output", "here", "--logger", "csv", *jobs).exit_code == 0
    for weighting in ("uniform", "rba"):
        rows = len(Path(f"here/{weighting}/history.jsonl").read_text().splitlines())
        assert len(Path(f"here/{weighting}/history.csv").read_text().splitlines()) == rows + 1
