"""A start that is refused before the first capture leaves no run behind, and what a user had there stays."""

import importlib.metadata
import json

import pytest
from click.testing import CliRunner

from phasecore import InputError, lookup, plugins
from phasecore.cli import main
from phasecore.errors import MissingDependencyError, PluginError, TrainingError
from phasecore.recording.start import Start
from phasecore.runs import execute, prepare, prepare_resumed

REFUSALS = [
    PluginError("probe 'mine', column 'snr'"),
    InputError("the first checkpoint"),
    MissingDependencyError("a package"),
]
KEPT = [
    TrainingError("a loss that is not finite"),
    RuntimeError("out of memory"),
    SystemExit(3),
    KeyboardInterrupt(),
]


def named(error):
    return type(error).__name__


def listing(folder):
    """What lies there, by name, with what files hold."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")
    } | {"": folder.exists()}


def nothing(folder):
    pass


def empty(folder):
    folder.mkdir(parents=True)


def notes(folder):
    empty(folder)
    (folder / "notes.txt").write_text("mine")
    (folder / "tensorboard").mkdir()
    (folder / "tensorboard" / "events").write_text("mine, too")


def of_a_killed_process(folder):
    (folder / "checkpoint").mkdir(parents=True)
    (folder / "snapshots").mkdir()


@pytest.fixture
def refused(synthetic_backend, monkeypatch):
    """Return `refused(error, after)`: the backend raises after that many rows, until what it returns is called."""
    import synthetic_backend

    def begin(error, after=0):
        taken = []

        def row(training, iteration):
            if len(taken) == after:
                (training.folder / "checkpoint" / "part").mkdir()
                (training.folder / "checkpoint" / "part" / "state").write_text("of the network")
                (training.folder / "checkpoint" / "state").write_text("of the optimizer")
                (training.folder / "snapshots" / "iteration_00000001.npz").write_text("fields")
                raise error
            taken.append(iteration)
            return synthetic_row(training, iteration)

        synthetic_row = synthetic_backend.synthetic_row
        monkeypatch.setattr(synthetic_backend, "synthetic_row", row)
        return lambda: monkeypatch.setattr(synthetic_backend, "synthetic_row", synthetic_row)

    return begin


def training(folder, **options):
    return prepare("helmholtz", backend="synthetic", points=60, iterations=20, output=folder, **options)


@pytest.mark.parametrize("loggers", [(), ("csv",)], ids=["", "with a logger"])
@pytest.mark.parametrize("before", [nothing, empty, notes, of_a_killed_process])
@pytest.mark.parametrize("error", REFUSALS, ids=named)
def test_a_refused_start_leaves_the_folder_as_it_was(error, before, loggers, refused, tmp_path):
    folder = tmp_path / "runs" / "a"
    before(folder)
    there = listing(folder)
    mend = refused(error)
    for _ in range(2):
        with pytest.raises(type(error)):
            execute(training(folder), loggers=loggers)
        assert listing(folder) == there
    mend()
    assert execute(training(folder, weighting="rba"), loggers=loggers).iterations == 20
    assert listing(folder).items() >= {name: held for name, held in there.items() if name}.items()


@pytest.mark.parametrize(("error", "after"), [(error, 3) for error in REFUSALS] + [(error, 0) for error in KEPT])
def test_what_was_captured_or_came_out_of_a_training_or_a_wish_is_kept(error, after, refused, tmp_path):
    refused(error, after)
    with pytest.raises(type(error)):
        execute(training(tmp_path / "a"))
    kept = json.loads((tmp_path / "a" / "run.json").read_text())
    assert ("failure" in kept) == isinstance(error, Exception)
    assert (tmp_path / "a" / "checkpoint" / "part" / "state").exists()
    assert (tmp_path / "a" / "history.jsonl").exists() == bool(after)
    with pytest.raises(InputError, match="already holds a run"):
        execute(training(tmp_path / "a"))


@pytest.mark.parametrize("error", REFUSALS, ids=named)
def test_a_run_whose_going_on_is_refused_stays(error, refused, tmp_path, monkeypatch):
    folder = tmp_path / "a"
    with monkeypatch.context() as interrupted:
        interrupted.setenv("SYNTHETIC_STOP", "interrupt:1")
        with pytest.raises(KeyboardInterrupt):
            execute(training(folder))
    there = listing(folder)
    refused(error)
    with pytest.raises(type(error)), pytest.warns(RuntimeWarning, match="no checkpoint yet"):
        execute(prepare_resumed(folder), resume=True)
    assert listing(folder).keys() >= there.keys()
    assert json.loads((folder / "run.json").read_text())["problem"] == "helmholtz"


KIT = """
    from dataclasses import dataclass

    import phasecore
    from phasecore.probes import Probe


    @dataclass(frozen=True)
    class Mine(Probe):
        name = "mine"
        requires = frozenset({"term_losses"})
        column = "COLUMN"

        def measure(self, signals):
            return {self.column: 1.0}


    @phasecore.hookimpl
    def phasecore_entries():
        return [phasecore.Entry("probe", "mine", "kit:Mine")]
"""


@pytest.mark.parametrize("column", ["loss", "snr", "iteration"])
@pytest.mark.parametrize("command", ["run", "compare"])
def test_the_same_command_trains_once_the_column_of_a_probe_has_another_name(
    command, column, install, tmp_path, monkeypatch
):
    pytest.importorskip("torch")
    install("kit", "1.0", {"kit": "kit"}, kit=KIT.replace("COLUMN", column))
    loaded = plugins.load(importlib.metadata.entry_points(group=plugins.GROUP))
    monkeypatch.setattr(lookup, "loaded", lambda: loaded)
    import kit

    small = ["--iterations", "2", "--points", "20", "--width", "4", "--depth", "1", "--backend", "torch"]
    also = ["--weightings", "uniform"] if command == "compare" else []
    asked = [command, "helmholtz", *also, *small, "--probe", "mine", "--output", str(tmp_path / "a")]
    told = CliRunner().invoke(main, asked)
    assert told.exit_code != 0
    assert f"column '{column}'" in " ".join(told.output.split())
    left = [json.loads(file.read_text())["failure"] for file in (tmp_path / "a").rglob("run.json")]
    assert [f"column '{column}'" in reason for reason in left] == ([True] if command == "compare" else [])
    monkeypatch.setattr(kit.Mine, "column", "mine")
    again = CliRunner().invoke(main, asked if command == "run" else [*asked, "--resume"])
    assert again.exit_code == 0, again.output


@pytest.mark.parametrize("part", ["checkpoint", "snapshots"])
def test_what_was_there_before_stays_in_the_folders_of_a_run_too(part, tmp_path):
    """A folder gone on with whose `run.json` was lost: what the training was saved in is all that is left of it."""
    (tmp_path / part).mkdir()
    (tmp_path / part / "state").write_text("kept")
    start = Start(tmp_path)
    (tmp_path / "run.json").write_text("{}")
    (tmp_path / part / "new").write_text("made")
    start.take_back()
    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")) == [part, f"{part}/state"]
