"""`phasecore report`, end to end, on what `phasecore compare` and `run` leave behind."""

import json
from pathlib import Path

from click.testing import CliRunner, Result

from phasecore.cli import main

OPTIONS = ["helmholtz", "--backend", "synthetic", "--points", "60", "--iterations", "400"]


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(main, [*arguments])


def test_the_report_of_a_comparison_lies_in_its_folder() -> None:
    invoke("compare", *OPTIONS, "--output", "both")
    result = invoke("report", "both")
    assert result.exit_code == 0, result.output
    assert result.stdout == "report: both/report.html\n"
    page = Path("both/report.html").read_text()
    assert "<h2>uniform</h2>" in page
    assert "<h2>rba</h2>" in page
    assert page.count('class="plotly-graph-div"') == 2


def test_the_report_of_several_runs_lies_here_or_where_it_is_wanted() -> None:
    for seed in ("0", "1"):
        invoke("run", *OPTIONS, "--seed", seed, "--output", f"seed{seed}")
    assert invoke("report", "seed0", "seed1").stdout == "report: report.html\n"
    assert invoke("report", "seed0", "seed1", "--output", "there/page.html").exit_code == 0
    assert Path("there/page.html").read_bytes() == Path("report.html").read_bytes()


def test_json_holds_the_runs_as_run_prints_them() -> None:
    ran = json.loads(invoke("run", *OPTIONS, "--output", "one", "--json").stdout)
    result = invoke("report", "one", "--json")
    assert json.loads(result.stdout) == {"runs": [ran], "output": "one/report.html"}


def test_what_is_no_run_is_one_message_and_status_2() -> None:
    result = invoke("report", "nowhere")
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: no run at nowhere")
    assert result.stdout == ""
    assert invoke("report").exit_code == 2


def test_a_run_goes_on_beside_its_report() -> None:
    invoke("run", *OPTIONS, "--output", "one")
    invoke("report", "one")
    result = invoke("run", *OPTIONS[:-1], "500", "--output", "one", "--resume")
    assert result.exit_code == 0, result.output
    assert Path("one/report.html").exists()
