"""`phasecore detect` as it is typed."""

import json

import numpy as np
import pytest
from campaigns import campaign
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


@pytest.mark.parametrize(
    ("suffix", "options"), [("png", []), ("svg", ["--online"]), *campaign(("png", ["--online"]), ("svg", []))]
)
def test_the_picture(file, tmp_path, suffix, options):
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


@pytest.mark.parametrize("name", ["folder", "folder.png"])
def test_a_folder_is_no_picture(file, tmp_path, name):
    (tmp_path / name).mkdir()
    before = sorted(tmp_path.rglob("*"))
    result = detect(file, "--plot", tmp_path / name)
    assert result.exit_code == 2
    assert f"{name}: received a folder; expected a file" in result.stderr
    assert sorted(tmp_path.rglob("*")) == before


def test_a_picture_that_cannot_be_saved(tmp_path):
    (tmp_path / "short.csv").write_text("iteration,snr\n0,1\n1,nan\n2,3\n")
    for picture in (tmp_path / "phases.unknown", tmp_path / "nowhere" / "phases.png"):
        result = detect(tmp_path / "short.csv", "--plot", picture)
        assert result.exit_code == 2
        assert "cannot save the figure" in result.stderr


def test_the_picture_of_a_training_that_has_gone_to_nan(tmp_path):
    rows = [f"{step},{'nan,nan' if step >= 1230 else '30,0.1'}" for step in range(10, 2000, 10)]
    (tmp_path / "nan.csv").write_text("\n".join(["iteration,snr,training_loss", *rows]) + "\n")
    printed = detect(tmp_path / "nan.csv", "--online", "--plot", tmp_path / "nan.svg").stdout
    assert "NaN from iteration 1230 on" in printed
    assert (tmp_path / "nan.svg").exists()


@pytest.mark.parametrize("options", [[], ["--online"]])
def test_a_training_that_has_gone_to_nan(tmp_path, options):
    rows = [f"{step},{'nan,nan' if step >= 1230 else '30,0.1'}" for step in range(10, 2000, 10)]
    (tmp_path / "nan.csv").write_text("\n".join(["iteration,snr,training_loss", *rows]) + "\n")
    document = json.loads(detect(tmp_path / "nan.csv", *options, "--json").stdout)
    assert document["current"] is None
    assert document["nonfinite"]["iteration"] == 1230
    assert "the training loss and the SNR are NaN from iteration 1230 on" in document["reason"]
    printed = detect(tmp_path / "nan.csv", *options).stdout
    assert "now:" not in printed
    assert "NaN from iteration 1230 on" in printed


def test_the_picture_of_a_training_that_was_told_apart_and_has_gone_to_nan(file, tmp_path):
    ends = [f"{step}{',nan' * (len(MADE.columns) - 1)}" for step in range(200_000, 200_005)]
    (tmp_path / "nan.csv").write_text(file.read_text() + "\n".join(ends) + "\n")
    document = json.loads(detect(tmp_path / "nan.csv", "--plot", tmp_path / "nan.png", "--json").stdout)
    assert [transition["phase"] for transition in document["transitions"]] == ["diffusion", "total_diffusion"]
    assert document["nonfinite"]["iteration"] == 200_000
    assert (tmp_path / "nan.png").stat().st_size > 10_000


def test_columns_of_other_names(tmp_path, file):
    text = file.read_text()
    (tmp_path / "other.csv").write_text(text.replace("iteration", "n").replace("snr", "ratio", 1))
    result = detect(tmp_path / "other.csv", "--columns", "iteration=n", "--columns", "snr=ratio", "--json")
    assert result.stdout == detect(tmp_path / "other.csv", "--columns", "iteration=n,snr=ratio", "--json").stdout
    assert json.loads(result.stdout)["current"] == "total_diffusion"
    missing = detect(tmp_path / "other.csv")
    assert missing.exit_code == 2
    assert "the columns n, ratio" in missing.stderr
    assert "--columns iteration=" in missing.stderr


def test_what_a_resumed_training_replaced_is_mentioned_on_standard_error(tmp_path):
    rows = [f"{step},30" for step in [*range(1, 60), *range(50, 90)]]
    (tmp_path / "resumed.csv").write_text("\n".join(["iteration,snr", *rows]) + "\n")
    result = detect(tmp_path / "resumed.csv", "--json")
    assert json.loads(result.stdout)["current"] == "fitting"
    assert result.stderr.startswith("Warning: ")
    assert "from row 60 on the iterations from 50 to 59 are there again" in result.stderr
