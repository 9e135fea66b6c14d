"""A training is recorded, announced to plugins, ended, interrupted and gone on with."""

import json
import types
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

import phasecore
from phasecore import InputError, TrainingError, hookimpl, plugins
from phasecore.backends import Training
from phasecore.phases import Phase, Timeline, TrackerState, Transition, tracker
from phasecore.probes import Probe
from phasecore.recording.configuration import summary
from phasecore.runs import execute, open_run, prepare, prepare_resumed
from phasecore.signals import Signals


def calls() -> list[bool]:
    import synthetic_backend

    return synthetic_backend.CALLS  # type: ignore[no-any-return]


def make(folder: Path | None, **options: Any) -> Training:
    return prepare(
        "helmholtz", **{"backend": "synthetic", "points": 60, "iterations": 1000, "output": folder, **options}
    )


@pytest.fixture
def listener() -> Iterator[types.SimpleNamespace]:
    """A plugin that writes down what it hears, registered like any other."""
    heard: list[tuple[str, Any]] = []

    class Listener:
        @hookimpl
        def phasecore_run_started(self, training: Training) -> None:
            heard.append(("started", training.scheme_name))

        @hookimpl
        def phasecore_captured(self, row: dict[str, Any]) -> None:
            heard.append(("captured", row["iteration"]))

        @hookimpl
        def phasecore_phase_changed(self, transition: Any) -> None:
            heard.append(("phase", transition.phase))

        @hookimpl
        def phasecore_run_finished(self, outcome: Any) -> None:
            heard.append(("finished", outcome.iterations))

    plugin = Listener()
    plugins.loaded().manager.register(plugin, "listener:listener")
    yield types.SimpleNamespace(heard=heard, plugin=plugin)
    plugins.loaded().manager.unregister(plugin)


@pytest.fixture
def _declares_at_500(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tracker that declares total diffusion at iteration 500, so that these tests are not about detection."""
    found = Transition(Phase.TOTAL_DIFFUSION, 450, (440, 460), 0.9, (), declared_at=500)

    def update(capture: dict[str, float], state: TrackerState) -> tuple[Timeline, TrackerState]:
        if capture["iteration"] < 500:
            return Timeline((), None, "not yet"), state
        return Timeline((found,), Phase.TOTAL_DIFFUSION, "declared"), state

    monkeypatch.setattr("phasecore.recording.recorder.tracker", lambda: tracker()._replace(update=update))


def test_a_run_leaves_configuration_history_snapshots_checkpoint_and_outcome(tmp_path: Path) -> None:
    training = make(tmp_path / "run", weighting="rba:gamma=0.99", seed=3)
    outcome = execute(training)
    run = open_run(tmp_path / "run")
    assert run.configuration["problem"] == "helmholtz"
    assert run.configuration["problem_parameters"] == {"a1": 1, "a2": 2, "k": 1.0}
    assert run.configuration["weighting"] == "rba:gamma=0.99"
    assert (run.configuration["seed"], run.configuration["preset"]) == (3, "quick")
    assert run.configuration["settings"]["capture_interval_iterations"] == 10
    assert run.configuration["versions"]["phasecore"] == phasecore.__version__
    assert {"python", "numpy", "synthetic"} <= run.configuration["versions"].keys()
    assert run.history["iteration"][[0, -1]].tolist() == [1.0, 1000.0]
    assert np.isnan(run.history["snr"][0])
    assert np.isfinite(run.history["snr"][1:]).all()
    assert run.snapshots == (1, 3, 10, 30, 100, 300, 1000)
    assert any((tmp_path / "run" / "checkpoint").iterdir())
    assert run.outcome is not None
    assert run.outcome == summary(training, outcome)
    assert outcome.seconds == pytest.approx(10.0)
    assert outcome.relative_l2_error == run.history["relative_l2_error"][-1]
    assert outcome.timeline.start(Phase.TOTAL_DIFFUSION) is not None


def test_without_a_folder_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert execute(make(None)).iterations == 1000
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(InputError, match="without a run folder"):
        execute(make(None), resume=True)


def test_a_folder_that_holds_a_run_is_refused_and_left_alone(tmp_path: Path) -> None:
    execute(make(tmp_path, iterations=20))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(InputError, match="already holds a run"):
        execute(make(tmp_path, iterations=30))
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.usefixtures("_declares_at_500")
def test_plugins_hear_of_everything_in_order(listener: types.SimpleNamespace, tmp_path: Path) -> None:
    execute(make(tmp_path))
    kinds = [kind for kind, _ in listener.heard]
    assert (kinds[0], kinds[-1]) == ("started", "finished")
    heard_of = [iteration for kind, iteration in listener.heard if kind == "captured"]
    assert heard_of == open_run(tmp_path).history["iteration"].tolist()
    declared = listener.heard.index(("phase", Phase.TOTAL_DIFFUSION))
    assert listener.heard[declared - 1] == ("captured", 500)
    assert kinds.count("phase") == 1


def test_a_hook_that_raises_is_disabled_with_one_warning(listener: types.SimpleNamespace, tmp_path: Path) -> None:
    attempts = []

    class Broken:
        @hookimpl
        def phasecore_captured(self, row: dict[str, Any]) -> None:
            attempts.append(row["iteration"])
            if row["iteration"] == 2:
                raise ValueError("no connection")

    broken = Broken()
    plugins.loaded().manager.register(broken, "broken-logger:logger")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            outcome = execute(make(tmp_path))
    finally:
        plugins.loaded().manager.unregister(broken)
    assert [str(item.message) for item in caught] == [
        "plugin 'broken-logger:logger': hook 'phasecore_captured' raised ValueError: no connection; "
        "it is disabled for the rest of this run, which goes on without it"
    ]
    assert attempts == [1, 2]
    assert outcome.iterations == 1000
    assert ("finished", 1000) in listener.heard
    assert [kind for kind, _ in listener.heard].count("captured") == len(open_run(tmp_path).history["iteration"])


def test_a_plugin_cannot_change_the_history(tmp_path: Path) -> None:
    class Meddler:
        @hookimpl
        def phasecore_captured(self, row: dict[str, Any]) -> None:
            row["snr"] = 0.0

    meddler = Meddler()
    plugins.loaded().manager.register(meddler, "meddler:meddler")
    try:
        with pytest.warns(RuntimeWarning, match="meddler"):
            execute(make(tmp_path, iterations=30))
    finally:
        plugins.loaded().manager.unregister(meddler)
    assert (open_run(tmp_path).history["snr"][1:] > 0).all()


def test_a_failure_in_training_keeps_what_was_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNTHETIC_STOP", "fail:405")
    with pytest.raises(TrainingError, match="finite loss"):
        execute(make(tmp_path))
    run = open_run(tmp_path)
    assert run.outcome is None
    assert run.history["iteration"][-1] == 400


@pytest.mark.parametrize("stop", [2, 99, 101, 405, 999])
def test_an_interrupted_run_ends_as_if_it_had_not_been(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: int
) -> None:
    execute(make(tmp_path / "whole"))
    monkeypatch.setenv("SYNTHETIC_STOP", f"interrupt:{stop}")
    with pytest.raises(KeyboardInterrupt):
        execute(make(tmp_path / "parts"))
    with (tmp_path / "parts" / "history.jsonl").open("a") as stream:
        stream.write('{"iteration": 1230, "sn')
    monkeypatch.delenv("SYNTHETIC_STOP")
    resumed = prepare_resumed(tmp_path / "parts")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        outcome = execute(resumed, resume=True)
    assert [("no checkpoint yet" in str(item.message)) for item in caught] == ([True] if stop <= 100 else [])
    assert calls()[-1] is (stop > 100)
    whole, parts = open_run(tmp_path / "whole"), open_run(tmp_path / "parts")
    assert (tmp_path / "whole" / "history.jsonl").read_bytes() == (tmp_path / "parts" / "history.jsonl").read_bytes()
    assert parts.outcome == whole.outcome
    assert outcome.iterations == 1000
    assert len(parts.configuration["resumed"]) == 1


@pytest.mark.usefixtures("_declares_at_500")
def test_phases_declared_before_an_interruption_are_not_announced_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listener: types.SimpleNamespace
) -> None:
    monkeypatch.setenv("SYNTHETIC_STOP", "interrupt:990")
    with pytest.raises(KeyboardInterrupt):
        execute(make(tmp_path, weighting="rba"))
    assert ("phase", Phase.TOTAL_DIFFUSION) in listener.heard
    listener.heard.clear()
    monkeypatch.delenv("SYNTHETIC_STOP")
    execute(prepare_resumed(tmp_path), resume=True)
    assert ("phase", Phase.TOTAL_DIFFUSION) not in listener.heard


def test_a_finished_run_is_returned_as_it_is_and_can_be_made_longer(tmp_path: Path) -> None:
    first = execute(make(tmp_path, iterations=200))
    trained = len(calls())
    assert execute(prepare_resumed(tmp_path), resume=True).relative_l2_error == first.relative_l2_error
    assert len(calls()) == trained
    longer = execute(prepare_resumed(tmp_path, iterations=400), resume=True)
    assert longer.iterations == 400
    assert calls()[trained:] == [True]
    run = open_run(tmp_path)
    assert run.configuration["settings"]["iterations"] == 400
    assert run.outcome is not None
    assert run.outcome["iterations"] == 400
    assert np.all(np.diff(run.history["iteration"]) > 0)


def test_loggers_that_a_finished_run_was_not_begun_with_are_told_nothing_and_that_is_said(tmp_path: Path) -> None:
    execute(make(tmp_path, iterations=200), loggers="csv")
    resumed = [prepare_resumed(tmp_path) for _ in range(3)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        execute(resumed[0], resume=True)
        execute(resumed[1], resume=True, loggers=["csv"])
    with pytest.warns(RuntimeWarning, match="is finished, and nothing is told to loggers .* csv:path=other.csv;"):
        execute(resumed[2], resume=True, loggers=["csv", "csv:path=other.csv"])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"problem": "helmholtz:a1=2"}, "differs in 'problem_parameters'"),
        ({"problem": "burgers"}, "differs in 'problem'"),
        ({"weighting": "rba"}, "differs in 'weighting'"),
        ({"preset": "paper"}, "differs in 'preset'"),
        ({"points": 70}, "differs in 'points': received 70; expected 60"),
        ({"seed": 1}, "differs in 'seed'"),
        ({"iterations": 50}, "expected 1000 or more"),
        ({"learning_rate": 0.1}, "differs in 'learning_rate'"),
    ],
)
def test_another_configuration_is_refused_on_resuming(tmp_path: Path, given: dict[str, Any], message: str) -> None:
    execute(make(tmp_path))
    with pytest.raises(InputError, match=message):
        prepare_resumed(tmp_path, **given)


def test_what_agrees_is_accepted_on_resuming(tmp_path: Path) -> None:
    execute(make(tmp_path, preset="paper", weighting="rba:gamma=0.99", iterations=30, seed=2))
    again = prepare_resumed(
        tmp_path, problem="helmholtz:a1=6", weighting="rba:gamma=0.99", preset="paper", seed=2, points=60, iterations=30
    )
    assert again.scheme_name == "rba:start=residuals,normalization=minmax,gamma=0.99"
    assert prepare_resumed(tmp_path).settings == again.settings
    assert prepare_resumed(tmp_path, compiled=True).settings == replace(again.settings, compiled=True)


def test_another_training_than_the_recorded_one_is_not_resumed(tmp_path: Path) -> None:
    execute(make(tmp_path, iterations=30))
    other = replace(make(tmp_path, iterations=30), preset="paper")
    with pytest.raises(InputError, match="differs in 'preset'"):
        execute(other, resume=True)


@pytest.mark.parametrize("damage", ['{"problem": "helmholtz"}', "{", '{"problem": 3, "settings": {}, "seed": 0}'])
def test_a_damaged_configuration_is_refused(tmp_path: Path, damage: str) -> None:
    execute(make(tmp_path, iterations=30))
    (tmp_path / "run.json").write_text(damage)
    with pytest.raises(InputError, match=r"run\.json"):
        prepare_resumed(tmp_path)


def test_a_history_without_a_ratio_cannot_tell_the_phases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import synthetic_backend

    monkeypatch.setattr(
        synthetic_backend, "synthetic_row", lambda _, iteration: {"iteration": iteration, "seconds": 1.0}
    )
    outcome = execute(make(tmp_path, iterations=30))
    assert outcome.timeline.current is None
    assert "cannot tell" in outcome.timeline.reason
    document = json.loads((tmp_path / "outcome.json").read_text())
    assert document["relative_l2_error"] is None


@dataclass(frozen=True)
class Own(Probe):
    """A probe of one's own, one of whose options no text tells apart."""

    name: ClassVar[str] = "own"
    requires: ClassVar[frozenset[str]] = frozenset()
    power: int = 1
    function: Callable[[float], float] = abs

    def measure(self, signals: Signals) -> Mapping[str, float]:
        return {"own": self.function(2.0) ** self.power}


def test_probes_given_as_objects_agree_if_their_options_do(tmp_path: Path) -> None:
    """A function is another object in each process, and is no disagreement."""
    execute(make(tmp_path, probes=[Own(power=2, function=lambda value: value)], iterations=40))
    again = prepare_resumed(tmp_path, probes=[Own(power=2, function=lambda value: value)], iterations=50)
    assert execute(again, resume=True).iterations == 50
    with pytest.raises(InputError, match="differs in 'probes'"):
        prepare_resumed(tmp_path, probes=[Own(power=3, function=lambda value: value)])
