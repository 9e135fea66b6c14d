"""Networks on the workers of a Dask cluster, which joblib takes them to: three processes on loopback."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import joblib
import pytest
from dask.distributed import Client, LocalCluster

from phasecore.recording.display import Silent
from phasecore.recording.folder import open_run
from phasecore.runs import Failure, execute_all, prepare
from phasecore.runs.attempts import Ended

ITERATIONS, CHECKPOINT, KILLED_AT, KILLED = 300, 200, 250, 2


class Noted(Silent):
    """A display that notes where a network goes on."""

    def __init__(self, place: int, resumed: list[tuple[int, int]]) -> None:
        self._place, self._resumed = place, resumed

    def resumed(self, iteration: int, folder: Path | None) -> None:
        self._resumed.append((self._place, iteration))


class Heard:
    """Displays that note where networks go on, and which have ended."""

    def __init__(self) -> None:
        self.resumed: list[tuple[int, int]] = []
        self.ended: list[int] = []

    def begin(self, place: int) -> Noted:
        return Noted(place, self.resumed)

    def end(self, place: int, ended: Ended) -> None:
        self.ended.append(place)

    def said(self, message: str) -> None:
        pass


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch, synthetic_backend: Path, tmp_path: Path) -> Iterator[Client]:
    """Three workers, of which the one that trains a certain network is killed in the middle, once."""
    monkeypatch.setenv("PYTHONPATH", str(synthetic_backend), prepend=":")
    monkeypatch.setenv("SYNTHETIC_STOP", f"kill_once:{KILLED_AT}")
    monkeypatch.setenv("SYNTHETIC_ONLY", str(KILLED))
    with (
        LocalCluster(
            n_workers=3, threads_per_worker=1, dashboard_address=None, host="127.0.0.1", local_directory=str(tmp_path)
        ) as made,
        Client(made) as client,
        joblib.parallel_config("dask"),
    ):
        yield client


def test_a_worker_that_is_killed_costs_its_network_the_iterations_since_the_checkpoint(
    cluster: Client, tmp_path: Path
) -> None:
    workers = set(cluster.scheduler_info()["workers"])
    trainings = [
        prepare("helmholtz", backend="synthetic", seed=seed, iterations=ITERATIONS, output=tmp_path / str(seed))
        for seed in range(6)
    ]
    heard = Heard()
    ended = execute_all(trainings, jobs=3, displays=heard)
    assert [outcome for outcome in ended if isinstance(outcome, Failure)] == []
    assert len(workers - set(cluster.scheduler_info()["workers"])) == 1
    assert heard.resumed == [(KILLED, CHECKPOINT)]
    assert sorted(heard.ended) == [*range(6)]
    for training, outcome in zip(trainings, ended, strict=True):
        iterations = open_run(training.folder).history["iteration"].tolist()
        assert iterations == sorted(set(iterations))
        assert iterations[-1] == ITERATIONS
        assert [row["iteration"] for row in outcome.rows] == iterations
