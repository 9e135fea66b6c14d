"""`compare --policy`: what was done, when and why, in table, document, figure and report; seeds, jobs, resuming."""

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from phasecore.cli import main
from phasecore.reporting.page import write_report
from phasecore.runs import open_run

POLICY = "at_phase:phase=diffusion,do=scale_learning_rate,to=0.1"
STOP = "at_phase:phase=total_diffusion,do=stop"
COMPARE = ["compare", "helmholtz", "--backend", "acting", "--points", "60", "--iterations", "700", "--output", "here"]


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(main, [*arguments])


def actions(folder: str) -> list[tuple[int, str, str]]:
    return [(acted.iteration, acted.policy, acted.action) for acted in open_run(folder).actions]


def test_what_policies_had_done_is_said_with_its_reason_and_ends_a_run() -> None:
    result = invoke(*COMPARE, "--policy", POLICY, "--policy", STOP)
    assert result.exit_code == 0, result.output
    lines = [line for line in result.stdout.splitlines() if "at iteration" in line]
    assert [line.partition(" at iteration")[0] for line in lines] == [
        "uniform: learning rate times 0.1", "rba: learning rate times 0.1", "rba: stop",
    ]  # fmt: skip
    ended = open_run("here/rba").actions[-1]
    assert lines[-1].endswith(f"at iteration {ended.iteration} ({STOP}: {ended.reason})")
    assert "total diffusion declared, since iteration" in ended.reason
    assert open_run("here/rba").outcome["iterations"] == ended.iteration < 700
    assert open_run("here/uniform").outcome["iterations"] == 700


def test_run_and_compare_list_the_same_actions_as_json() -> None:
    document = json.loads(invoke(*COMPARE, "--policy", f"{POLICY}+{STOP}", "--json").stdout)
    alone = json.loads(
        invoke("run", *COMPARE[1:-2], "--weighting", "rba", "--policy", f"{POLICY}+{STOP}", "--json").stdout
    )
    assert document["runs"][1]["actions"] == alone["actions"]
    assert [set(item) for item in alone["actions"]] == [{"iteration", "policy", "action", "to", "reason"}] * 2


def test_seeds_have_the_median_the_range_and_how_many_acted() -> None:
    result = invoke(*COMPARE, "--policy", STOP, "--seeds", "0,1,2", "--json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    uniform, rba = document["summary"]["weightings"]
    at = sorted(run["actions"][0]["iteration"] for run in document["runs"][3:])
    assert "actions" not in uniform, "none of them reaches total diffusion"
    assert rba["actions"] == [
        {
            "policy": STOP,
            "action": "stop",
            "iteration": {"median": at[1], "low": at[0], "high": at[2], "count": 3},
        }
    ]
    table = invoke("compare", "helmholtz", "--output", "here", "--resume")
    (line,) = [line for line in table.stdout.splitlines() if "at iteration" in line]
    assert line.startswith(f"rba: stop at iteration {at[1]}")
    assert line.endswith(f"3 of 3 seeds ({STOP})")


def test_the_report_marks_and_lists_every_action() -> None:
    assert invoke(*COMPARE, "--policy", POLICY, "--seeds", "0,1").exit_code == 0
    write_report(["here"], "report.html")
    page = Path("report.html").read_text()
    body = page[page.index("<h1>") :]
    assert body.count("What policies had done") == 4
    for name in ("uniform", "rba"):
        for acted in open_run(f"here/{name}-seed-1").actions:
            assert f"<tr><td>{acted.iteration}</td><td>{acted.words}</td><td>{POLICY}</td>" in body
    assert body.count('"symbol":"diamond"') == 4


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_networks_side_by_side_act_as_one_after_the_other(jobs: str) -> None:
    result = invoke(*COMPARE, "--iterations", "500", "--policy", STOP, "--weightings", "rba", "--seeds", "0,1",
                    "--jobs", jobs)  # fmt: skip
    assert result.exit_code == 0, result.output
    expected = []
    for seed in ("0", "1"):
        folder = f"alone-{seed}"
        assert invoke("run", *COMPARE[1:-4], "--iterations", "500", "--weighting", "rba", "--seed", seed, "--policy",
                      STOP, "--output", folder).exit_code == 0  # fmt: skip
        expected.append(actions(folder))
    assert [actions(f"here/rba-seed-{seed}") for seed in (0, 1)] == expected
    assert [done[0][2] for done in expected] == ["stop", "stop"]


@pytest.mark.parametrize(
    ("first", "then", "agrees"),
    [
        (["--policy", STOP], [], True),
        (["--policy", STOP], ["--policy", STOP], True),
        (["--policy", POLICY, "--policy", STOP], ["--policy", f"{POLICY}+{STOP}"], True),
        (["--policy", STOP], ["--policy", POLICY], False),
        (["--policy", STOP], ["--policy", f"{STOP}+{POLICY}"], False),
        ([], ["--policy", STOP], False),
    ],
)
@pytest.mark.parametrize("begun", [True, False], ids=["begun", "not begun"])
def test_a_comparison_goes_on_with_its_policies_only(
    first: list[str], then: list[str], agrees: bool, begun: bool
) -> None:
    short = [*COMPARE, "--iterations", "30", "--weightings", "uniform"]
    assert invoke(*short, *first).exit_code == 0
    if not begun:
        shutil.rmtree("here/uniform")
    result = invoke("compare", "helmholtz", "--output", "here", "--resume", *then)
    assert result.exit_code == (0 if agrees else 2), result.output
    if agrees:
        assert open_run("here/uniform").configuration["policy"] == "+".join(first[1::2])
    else:
        assert "differs in 'policy'" in result.stderr
        assert result.stderr.count("Error:") == 1


def test_an_interrupted_comparison_does_nothing_twice_and_forgets_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = [*COMPARE[:-1], "whole", "--policy", f"{POLICY}+{STOP}", "--weightings", "rba"]
    assert invoke(*whole).exit_code == 0
    assert len(actions("whole/rba")) == 2
    monkeypatch.setenv("SYNTHETIC_STOP", "fail:250")
    assert invoke(*COMPARE, "--policy", f"{POLICY}+{STOP}", "--weightings", "rba").exit_code == 1
    monkeypatch.delenv("SYNTHETIC_STOP")
    assert len(actions("here/rba")) == 1
    assert invoke("compare", "helmholtz", "--output", "here", "--resume").exit_code == 0
    assert actions("here/rba") == actions("whole/rba")
    assert invoke("compare", "helmholtz", "--output", "here", "--resume").exit_code == 0
    assert actions("here/rba") == actions("whole/rba"), "a run that a policy has ended stays ended"


def test_a_policy_that_the_backend_cannot_carry_out_is_refused_before_any_training() -> None:
    result = invoke(*COMPARE, "--policy", "at_phase:phase=diffusion,do=change_weighting,to=rba")
    assert result.exit_code == 2
    assert "change_weighting:rba" in result.stderr
    assert not list(Path().iterdir())
