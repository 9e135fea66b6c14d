"""What holds for every command: help without frameworks, one message and an exit status for what goes wrong."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from processes import ROOT, SECONDS, python

from phasecore.cli import COMMANDS, main

MAIN = "from phasecore.cli import main; main(prog_name='phasecore')"


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["compare", "--help"], ["plugins"]])
def test_no_framework_and_no_plotting_is_imported_to_show_help_or_plugins(arguments: list[str]) -> None:
    code = (
        "import sys, atexit\n"
        "heavy = {'torch', 'keras', 'tensorflow', 'jax', 'matplotlib', 'scipy'}\n"
        "atexit.register(lambda: print('HEAVY', sorted(heavy & set(sys.modules)), file=sys.stderr))\n" + MAIN
    )
    done = python("-c", code, *arguments)
    assert done.returncode == 0, done.stderr
    assert "HEAVY []" in done.stderr


def test_python_runs_the_package() -> None:
    done = python("-m", "phasecore", "--help")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Usage: phasecore [OPTIONS] COMMAND")


@pytest.mark.parametrize(("command", "option"), [("run", "--weightings"), ("compare", "--weighting")])
def test_the_options_for_one_and_for_several_weightings_are_both_understood(command: str, option: str) -> None:
    given = [command, "helmholtz", "--backend", "synthetic", "--points", "60", "--iterations", "100", option, "rba"]
    result = CliRunner().invoke(main, [*given, "--json"])
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert [run["weighting"] for run in document.get("runs", [document])] == ["rba"]


def test_help_names_every_command() -> None:
    result = CliRunner().invoke(main, ["--help"])
    assert result.exit_code == 0
    for name in COMMANDS:
        assert f"  {name} " in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run"], "PROBLEM"),
        (["runn", "helmholtz"], "runn"),
        (["run", "helmholtz", "--points", "many"], "--points"),
        (["run", "helmholtz", "--pionts", "3"], "--points"),
        (["run", "helmholz"], "Did you mean 'helmholtz'"),
        (["run", "helmholtz:a1=1,a1=2"], "key=value"),
        (["run", "helmholtz", "--points", "0"], "a positive integer"),
        (["run", "helmholtz", "--iterations", "-5"], "a positive integer"),
        (["run", "helmholtz", "--seed", "9" * 20], "setting 'seed'"),
        (["run", "helmholtz", "--learning-rate", "nan"], "a positive number"),
        (["run", "helmholtz", "--weighting", "rba:gamma"], "key=value"),
        (["run", "helmholtz", "--weighting", "rbaa"], "Did you mean 'rba'"),
        (["run", "helmholtz", "--preset", "large"], "paper, phases, quick"),
        (["run", "helmholtz", "--backend", "tensorflow"], "unknown backend"),
        (["run", "helmholtz", "--backend", "absent"], "pip install"),
        (["run", "helmholtz", "--backend", "deaf"], "batch_gradient_moments"),
        (["run", "helmholtz", "--resume"], "--output"),
        (["run", "helmholtz", "--resume", "--output", "nowhere"], "no run at nowhere"),
        (["compare", "helmholtz", "--resume", "--output", "nowhere"], "no comparison at nowhere"),
        (["compare", "helmholtz", "--weightings", "rba,rba"], "more than once"),
        (["compare", "helmholtz", "--weightings", "uniform,rbaa"], "Did you mean 'rba'"),
    ],
)
def test_bad_arguments_give_one_message_and_status_2(arguments: list[str], message: str) -> None:
    backend = [] if "--backend" in arguments else ["--backend", "synthetic"]
    result = CliRunner().invoke(main, [*arguments, *backend] if len(arguments) > 1 else arguments)
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    assert result.stderr.count("Error:") == 1
    assert not list(__import__("pathlib").Path().iterdir()), "a refused command leaves nothing behind"


def test_the_process_exits_with_the_status_and_prints_no_traceback() -> None:
    done = python("-c", MAIN, "run", "helmholz")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Error: unknown problem: received 'helmholz'")
    assert len(done.stderr.strip().splitlines()) == 1


ONE_OF_SEVERAL = {
    "--weighting": ("uniform", "rba"),
    "--sampling": ("sobol", "rad:every=10"),
    "--seed": ("0", "1"),
    "--preset": ("quick", "paper"),
    "--backend": ("synthetic", "torch"),
    "--precision": ("float32", "float64"),
}


@pytest.mark.parametrize("command", ["run", "compare"])
@pytest.mark.parametrize("option", ONE_OF_SEVERAL)
def test_an_option_of_which_several_could_be_meant_is_never_silently_the_last(command: str, option: str) -> None:
    """A comparison trains with each weighting that is named; what stands for one thing is refused twice."""
    values = ONE_OF_SEVERAL[option]
    given = [part for value in values for part in (option, value)]
    if (command, option) == ("compare", "--weighting"):
        given += ["--backend", "synthetic", "--points", "60", "--iterations", "100", "--json"]
        runs = json.loads(CliRunner().invoke(main, ["compare", "helmholtz", *given]).stdout)["runs"]
        assert [run["weighting"] for run in runs] == [*values]
        return
    result = CliRunner().invoke(main, [command, "helmholtz", *given])
    assert result.exit_code == 2
    assert f"option '{option}'" in result.stderr
    assert all(repr(value) in result.stderr or value in result.stderr for value in values)
    assert not Path("runs").exists()


def test_seeds_named_one_by_one_are_all_trained() -> None:
    given = ["compare", "helmholtz", "--backend", "synthetic", "--points", "60", "--iterations", "100", "--json"]
    runs = json.loads(CliRunner().invoke(main, [*given, "--seeds", "0", "--seeds", "3,1"]).stdout)["runs"]
    assert [run["seed"] for run in runs[:3]] == [0, 3, 1]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["plugins"],
        ["plugins", "--json"],
        ["detect", "here"],
        ["detect", "here", "--json"],
        ["report", "here"],
        ["run", "helmholtz", "--backend", "synthetic", "--points", "60", "--iterations", "100"],
        ["compare", "helmholtz", "--backend", "synthetic", "--points", "60", "--iterations", "100"],
    ],
)
def test_where_standard_output_is_full_it_is_said_in_one_line(arguments: list[str]) -> None:
    begin = ["run", "helmholtz", "--backend", "synthetic", "--points", "60", "--iterations", "100", "--output", "here"]
    assert CliRunner().invoke(main, begin).exit_code == 0
    places = os.environ | {"PYTHONPATH": os.pathsep.join([ROOT, os.environ["PYTHONPATH"]])}
    command = [sys.executable, "-c", MAIN, *arguments]
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            command, stdout=full, stderr=subprocess.PIPE, text=True, check=False, timeout=SECONDS, env=places
        )
    assert done.returncode == 1
    assert "Error: cannot write standard output (No space left on device)." in done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
