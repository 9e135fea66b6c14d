"""The commands of the tutorial, on the file that it says to write, with the trainings short and without a framework."""

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from phasecore.cli import main

PAGE = Path(__file__).parents[2] / "docs" / "tutorial.md"
BLOCK = re.compile(r"^```(python|bash)\n(.*?)^```", re.MULTILINE | re.DOTALL)
SHORT = ["--backend", "synthetic", "--points", "60", "--iterations", "400"]


def blocks(kind):
    return [text for found, text in BLOCK.findall(PAGE.read_text()) if found == kind]


@pytest.fixture
def invoked(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    classes = [text for text in blocks("python") if "(phasecore.Problem)" in text or "(Wave)" in text]
    text = "\n".join(classes).replace("check_problem(KnownWave())", "").replace("print(", "repr(")
    (tmp_path / "wave.py").write_text(text)

    def invoke(command):
        name, *arguments = shlex.split(command)
        assert name == "phasecore"
        options = SHORT if arguments[0] in ("run", "compare") else []
        result = CliRunner().invoke(main, [*arguments, *options])
        assert result.exit_code == 0, (command, result.output)
        return result.output

    return invoke


def test_the_commands_run_in_order_and_leave_what_the_page_says(invoked, tmp_path):
    commands = [line for text in blocks("bash") for line in text.splitlines()]
    assert [command.split()[1] for command in commands] == ["run", "detect", "compare", "report", "run"]
    for command in commands:
        invoked(command)
    assert (tmp_path / "runs/wave/history.jsonl").exists()
    assert (tmp_path / "runs/both/report.html").exists()
