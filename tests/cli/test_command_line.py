"""What holds for every command: help without frameworks, one message and an exit status for what goes wrong."""

import json

import pytest
from click.testing import CliRunner
from processes import python

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
