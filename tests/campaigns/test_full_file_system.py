"""A training of the torch backend on a file system that really is full: a tmpfs of some hundred kilobytes, by root.

The disk is filled by another file at a capture, and freed at a later one; the record is then that of a training that
was not disturbed, and every file is whole at each moment.
"""

import json
import subprocess
import warnings

import numpy as np
import pytest
from processes import SECONDS

from phasecore import hookimpl
from phasecore.runs import execute, open_run, prepare

pytestmark = pytest.mark.campaign

OPTIONS = {"weighting": "rba", "points": 200, "width": 8, "depth": 2, "iterations": 400, "every": 10}


@pytest.fixture
def small(tmp_path):
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(place)], check=True, timeout=SECONDS)
    yield place
    subprocess.run(["umount", str(place)], check=True, timeout=SECONDS)


class Filling:
    """Fills the disk at a capture and frees it at another."""

    def __init__(self, place, begin, end):
        self.file, self.begin, self.end = place / "filling", begin, end

    @hookimpl
    def phasecore_captured(self, training, row):
        for line in (training.folder / "history.jsonl").read_text().splitlines():
            json.loads(line)
        if row["iteration"] == self.begin:
            with self.file.open("wb", buffering=0) as stream:
                try:
                    while True:
                        stream.write(bytes(512))
                except OSError:
                    pass
        if row["iteration"] == self.end:
            self.file.unlink()


@pytest.mark.parametrize("end", [300, None])
def test_a_training_outlives_a_full_disk(small, tmp_path, end, monkeypatch):
    monkeypatch.setattr("phasecore.runs.session.SECONDS_BETWEEN_CHECKPOINTS", 0.2)
    undisturbed = execute(prepare("helmholtz", output=tmp_path / "undisturbed", **OPTIONS))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        outcome = execute(prepare("helmholtz", output=small / "run", **OPTIONS), loggers=[Filling(small, 100, end)])
    assert "No space left on device" in str(caught[0].message)
    assert outcome.relative_l2_error == undisturbed.relative_l2_error
    history = open_run(small / "run").history
    whole = open_run(tmp_path / "undisturbed").history
    count = len(history["iteration"])
    for name in set(whole) - {"seconds"}:
        np.testing.assert_array_equal(history[name], whole[name][:count])
    if end is None:
        assert len(caught) == 2
        assert "not written" in str(caught[1].message)
        assert count < len(whole["iteration"])
    else:
        assert len(caught) == 1
        assert count == len(whole["iteration"])
        assert open_run(small / "run").snapshots == open_run(tmp_path / "undisturbed").snapshots
    assert not list((small / "run").rglob("*.part"))
