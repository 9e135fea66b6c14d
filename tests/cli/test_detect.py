"""`phasecore detect` as it is typed."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from phasecore.cli import main
from phasecore.testing.curves import synthetic_curve

MADE = synthetic_curve("sigmoid", seed=3, rise=(2.0, 2.0), noise=(0.2, 0.2))


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "curve.csv"
    names = list(MADE.columns)
    np.savetxt(path, np.array(list(MADE.columns.values())).T, delimiter=",", header=",".join(names), comments="")
    return path


def detect(*arguments):
    return CliRunner().invoke(main, ["detect", *map(str, arguments)])


def test_json_and_nothing_else(file):
    result = detect(file, "--json")
    assert result.exit_code == 0
    document = json.loads(result.stdout)
    assert document["current"] == "total_diffusion"
    diffusion, total = document["transitions"]
    assert diffusion["phase"] == "diffusion"
    assert abs(np.log10(diffusion["iteration"] / MADE.fitting_end)) < 0.15
    assert total["phase"] == "total_diffusion"
    assert abs(np.log10(total["iteration"] / MADE.total_diffusion_start)) < 0.15
    for transition in document["transitions"]:
        assert 0.0 <= transition["confidence"] <= 1.0
        assert "declared_at" not in transition
        assert all(item["statement"] for item in transition["evidence"])


def test_online_adds_when_it_was_declared(file):
    document = json.loads(detect(file, "--online", "--json").stdout)
    assert len(document["transitions"]) == 2
    for transition in document["transitions"]:
        assert transition["declared_at"] > transition["iteration"]


def test_a_table_and_the_evidence_in_words(file):
    result = detect(file)
    assert result.exit_code == 0
    assert "total diffusion" in result.stdout
    assert "SNR rose" in result.stdout
    assert "now: total diffusion" in result.stdout
    assert "declared at" in detect(file, "--online").stdout


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_the_picture(file, tmp_path, suffix):
    for options in ([], ["--online"]):
        picture = tmp_path / f"phases.{suffix}"
        assert detect(file, *options, "--plot", picture).exit_code == 0
        assert picture.stat().st_size > 10_000


def test_the_picture_of_a_curve_of_which_nothing_can_be_told(tmp_path):
    (tmp_path / "short.csv").write_text("iteration,snr\n0,1\n1,nan\n2,3\n")
    result = detect(tmp_path / "short.csv", "--plot", tmp_path / "short.png", "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == {
        "current": None,
        "transitions": [],
        "reason": "cannot tell: 2 captures of the SNR, at least 10 are needed",
    }
    assert (tmp_path / "short.png").exists()


@pytest.mark.parametrize("options", [[], ["--json"], ["--online"]])
def test_bad_input_is_one_message_and_status_two(tmp_path, options):
    (tmp_path / "bad.csv").write_text("iteration,snr\n1,2\n1,3\n")
    for path in (tmp_path / "bad.csv", tmp_path / "nowhere", tmp_path):
        result = detect(path, *options)
        assert result.exit_code == 2
        assert result.stdout == ""
        assert result.stderr.startswith("Error: ")
        assert "Traceback" not in result.stderr


def test_a_picture_that_cannot_be_saved(file, tmp_path):
    for picture in (tmp_path / "phases.unknown", tmp_path / "nowhere" / "phases.png"):
        result = detect(file, "--plot", picture)
        assert result.exit_code == 2
        assert "cannot save the figure" in result.stderr
