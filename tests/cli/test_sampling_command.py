"""`--sampling` on the command line: points that move, a resume that agrees, and what is refused beforehand."""

import functools
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from phasecore.cli import main
from phasecore.runs import open_run
from phasecore.weighting import rba

SMALL = ["--points", "40", "--width", "6", "--depth", "1", "--iterations", "8", "--every", "4"]
RUN = ["run", "burgers", "--backend", "torch", *SMALL]


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(main, [*arguments])


def test_the_sampling_is_in_the_document_in_run_json_and_in_the_history() -> None:
    result = invoke(*RUN, "--sampling", "halton+rar_d:every=3,added=5,candidates=100", "--output", "here", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["sampling"] == "halton+rar_d:every=3,added=5,candidates=100"
    run = open_run("here")
    assert run.configuration["sampling"] == "halton+rar_d:every=3,added=5,candidates=100"
    kinds = [(item["kind"], item["name"]) for item in run.configuration["plugins"]]
    assert ("sampling", "halton") in kinds
    assert ("sampling", "rar_d") in kinds
    points = dict(zip(run.history["iteration"].tolist(), run.history["points"].tolist(), strict=True))
    assert (points[1.0], points[4.0], points[8.0]) == (40, 45, 50)
    assert run.snapshot(8)["points"].shape == (50, 2)


def test_without_it_points_are_drawn_as_ever_and_stay() -> None:
    result = invoke(*RUN, "--output", "here", "--json")
    assert json.loads(result.stdout)["sampling"] == "latin_hypercube"
    run = open_run("here")
    assert "points" not in run.history
    assert np.array_equal(run.snapshot(1)["points"], run.snapshot(8)["points"])


def test_a_resumed_run_goes_on_with_its_sampling_and_with_no_other() -> None:
    first = ["--sampling", "r3:every=3", "--output", "here"]
    assert invoke(*RUN, *first).exit_code == 0
    before = {path: path.read_bytes() for path in Path("here").rglob("*") if path.is_file()}
    other = invoke("run", "burgers", "--output", "here", "--resume", "--sampling", "r3:every=2", "--iterations", "10")
    assert other.exit_code == 2
    assert "differs in 'sampling'" in other.stderr
    assert {path: path.read_bytes() for path in Path("here").rglob("*") if path.is_file()} == before
    same = invoke("run", "burgers", "--output", "here", "--resume", "--iterations", "10")
    assert same.exit_code == 0, same.output
    assert open_run("here").history["iteration"][-1] == 10


def test_a_run_of_before_samplings_goes_on() -> None:
    assert invoke(*RUN, "--output", "here").exit_code == 0
    file = Path("here/run.json")
    document = json.loads(file.read_text())
    del document["sampling"]
    file.write_text(json.dumps(document))
    assert invoke("run", "burgers", "--output", "here", "--resume", "--iterations", "9").exit_code == 0
    moved = invoke("run", "burgers", "--output", "here", "--resume", "--sampling", "rad", "--iterations", "10")
    assert (moved.exit_code, "differs in 'sampling'" in moved.stderr) == (2, True)


def test_compare_trains_all_with_one_sampling() -> None:
    given = ["compare", "burgers", "--backend", "torch", "--weightings", "uniform,rba", *SMALL]
    result = invoke(*given, "--sampling", "sobol+r3:every=3", "--output", "here", "--json")
    assert result.exit_code == 0, result.output
    runs = json.loads(result.stdout)["runs"]
    assert [run["sampling"] for run in runs] == ["sobol+r3:every=3"] * 2
    firsts = [open_run(run["output"]).snapshot(1)["points"] for run in runs]
    assert np.array_equal(*firsts)
    assert invoke("compare", "burgers", "--output", "here", "--resume", "--iterations", "9").exit_code == 0


@pytest.mark.parametrize(
    ("sampling", "told"),
    [
        ("sobel", "Did you mean 'sobol'"),
        ("rad:evry=5", "Did you mean 'every'"),
        ("rad:every=0", "option 'every': received 0; expected a positive integer"),
        ("rad:k=-1", "option 'k': received -1"),
        ("rad:candidates=30", "option 'candidates': received 30; expected 40 or more"),
        ("sobol+halton", "one that draws points, one that moves them, or one of each"),
        ("rad+", "sampling: received 'rad+'"),
        (":every=5", "sampling: received ':every=5'"),
    ],
)
def test_what_cannot_be_is_refused_with_one_message_and_nothing_is_made(sampling: str, told: str) -> None:
    result = invoke(*RUN, "--sampling", sampling, "--output", "here")
    assert result.exit_code == 2
    assert told in result.stderr
    assert "Traceback" not in result.stderr
    assert not Path("here").exists()


def test_a_backend_that_moves_no_points_is_told_to_be_one() -> None:
    result = invoke("run", "helmholtz", "--backend", "synthetic", *SMALL, "--sampling", "rad", "--output", "here")
    assert result.exit_code == 2
    assert "sampling 'rad', which moves points in training: received backend 'synthetic'" in result.stderr
    assert not Path("here").exists()
    stays = invoke("run", "helmholtz", "--backend", "synthetic", *SMALL, "--sampling", "sobol", "--output", "here")
    assert stays.exit_code == 0


def test_a_scheme_that_forbids_moves_is_refused_with_a_sampling_that_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    module = sys.modules["phasecore.weighting.rba"]
    refusing = functools.wraps(rba)(lambda **options: rba(**options)._replace(on_move="refused"))
    monkeypatch.setattr(module, "rba", refusing)
    result = invoke(*RUN, "--weighting", "rba", "--sampling", "r3", "--output", "here")
    assert result.exit_code == 2
    assert "received weighting 'rba', which forbids it" in result.stderr
    assert not Path("here").exists()
    assert invoke(*RUN, "--weighting", "rba", "--sampling", "sobol", "--output", "here").exit_code == 0


def test_plugins_lists_samplings_and_starts_one() -> None:
    listed = json.loads(invoke("plugins", "--json").stdout)["registered"]
    names = [item["name"] for item in listed if item["kind"] == "sampling"]
    assert names == ["latin_hypercube", "halton", "sobol", "grid", "uniform", "rad", "rar_d", "r3"]
    assert invoke("plugins", "new", "my-points", "--sampling").exit_code == 0
    assert "check_sampling" in Path("my-points/tests/test_conformance.py").read_text()
