"""The monitor in a loop: rows when they are due, a training that goes on as if alone, files and checkpoints."""

import contextlib
import copy
import json
import pickle
import warnings
from typing import ClassVar

import pytest
import torch
from captures import due
from listeners import Listener
from normalized import Normalized
from torch import nn
from torch_oracles import mlp

import phasecore
from phasecore.errors import InputError
from phasecore.recording.history import plain
from phasecore.recording.reading import read_curve
from phasecore.reporting.page import write_report
from phasecore.runs import open_run
from phasecore_torch import PhaseMonitor, PhysicsLoss

HELMHOLTZ = phasecore.problem("helmholtz", a1=1, a2=2)


def start(weighting="rba", model=None, seed=0, **options):
    model = mlp(seed=seed) if model is None else model
    loss = PhysicsLoss(HELMHOLTZ, model, HELMHOLTZ.sample(120, seed=seed), weighting=weighting)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    return loss, optimizer, PhaseMonitor(loss, optimizer, **options)


def iterate(loss, optimizer, monitor, iterations):
    values = []
    for _ in range(iterations):
        optimizer.zero_grad()
        value = loss()
        value.backward()
        optimizer.step()
        if monitor is not None:
            monitor.step()
        values.append(value.item())
    return values


def without_seconds(history):
    return [{name: value for name, value in row.items() if name != "seconds"} for row in history]


def test_rows_come_every_so_many_iterations():
    heard = []
    loss, optimizer, monitor = start(every=3, on_capture=heard.append)
    returned = []
    for _ in range(10):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
        returned.append(monitor.step())
    captured = due(3, len(returned))
    assert [row and row["iteration"] for row in returned] == [
        k if k in captured else None for k in range(1, len(returned) + 1)
    ]
    assert [row for row in returned if row] == monitor.history == heard
    assert monitor.iteration == 10
    seconds = [row["seconds"] for row in monitor.history]
    assert seconds == sorted(seconds)
    assert seconds[0] > 0
    assert {"snr", "gradient_order", "adam_snr", "residual_order", "training_loss", "relative_l2_error"} <= set(
        monitor.history[0]
    )


@pytest.mark.parametrize("weighting", ["uniform", "rba"])
@pytest.mark.parametrize("stochastic", [False, True])
@pytest.mark.filterwarnings("ignore:Taylor-mode derivatives do not know")
def test_training_with_and_without_a_monitor_is_the_same_bit_for_bit(weighting, stochastic):
    results = []
    for watched in (True, False):
        torch.manual_seed(0)
        model = mlp()
        if stochastic:
            model = nn.Sequential(nn.Linear(2, 8), Normalized(8), nn.Tanh(), nn.Dropout(0.3), nn.Linear(8, 1))
        loss = PhysicsLoss(HELMHOLTZ, model, HELMHOLTZ.sample(120, seed=0), weighting=weighting)
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
        monitor = PhaseMonitor(loss, optimizer, every=2, batches=30) if watched else None
        values = iterate(loss, optimizer, monitor, 9)
        weights = [loss.point_weights().get("pde", torch.zeros(1)), *model.state_dict().values()]
        results.append((values, weights))
    (values, weights), (other_values, other_weights) = results
    assert values == other_values
    assert all(torch.equal(a, b) for a, b in zip(weights, other_weights, strict=True))


@pytest.mark.parametrize("weighting", ["uniform", "rba"])
def test_two_runs_with_one_seed_give_the_same_history(weighting):
    histories = []
    for seed in (0, 0, 1):
        loss, optimizer, monitor = start(weighting, seed=seed, every=2)
        iterate(loss, optimizer, monitor, 8)
        histories.append(without_seconds(monitor.history))
    assert histories[0] == histories[1]
    assert histories[0] != histories[2]


def test_a_regression_network():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(1, 16), nn.ReLU(), nn.Linear(16, 1))
    x = torch.rand(150, 1)
    y = x.sin()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-2)

    def batch_loss(x, y):
        return (model(x) - y).square().mean()

    monitor = PhaseMonitor(batch_loss, optimizer, points=(x, y), every=5)
    for _ in range(10):
        optimizer.zero_grad()
        batch_loss(x, y).backward()
        optimizer.step()
        monitor.step()
    assert [row["iteration"] for row in monitor.history] == due(5, 10)
    assert monitor.history[1]["loss_data"] < monitor.history[0]["loss_data"]
    assert "adam_snr" not in monitor.history[0]
    assert 0 < monitor.history[0]["gradient_order"] < 1


def test_a_loss_may_be_negative(tmp_path):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, 1))
    x = torch.rand(100, 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)

    def energy(x):
        return (0.5 * model(x).square() - 3.0 * model(x)).mean()

    monitor = PhaseMonitor(energy, optimizer, points=x, every=1, run_folder=tmp_path)
    for _ in range(40):
        with monitor:
            optimizer.zero_grad()
            energy(x).backward()
            optimizer.step()
    monitor.finish()
    assert monitor.history[-1]["training_loss"] == pytest.approx(energy(x).item(), abs=0.2)
    recorded = open_run(tmp_path)
    assert recorded.history["training_loss"][-1] == monitor.history[-1]["training_loss"] < -1.0
    write_report([tmp_path], tmp_path / "report.html")


def test_phases_so_far():
    loss, optimizer, monitor = start(every=1)
    assert monitor.phase is None
    assert "nothing was captured" in monitor.timeline.reason
    with pytest.raises(InputError, match="phase detection: received no capture yet"):
        monitor.detect()
    iterate(loss, optimizer, monitor, 30)
    tracker = phasecore.tracker()
    state = tracker.init()
    for row in monitor.history:
        timeline, state = tracker.update(row, state)
    assert monitor.timeline == timeline
    assert monitor.phase == timeline.current
    names = monitor.history[0]
    assert monitor.detect() == phasecore.detect({name: [row[name] for row in monitor.history] for name in names})


def test_a_history_file(tmp_path):
    file = tmp_path / "history.jsonl"
    loss, optimizer, monitor = start(every=2, history_file=file)
    iterate(loss, optimizer, monitor, 6)
    assert [json.loads(line) for line in file.read_text().splitlines()] == monitor.history
    before = file.read_bytes()
    with pytest.raises(InputError, match=r"argument 'history_file'.*which exists.*Name another file"):
        start(history_file=file)
    assert file.read_bytes() == before


@pytest.mark.parametrize("weighting", ["uniform", "rba"])
def test_going_on_from_a_checkpoint(weighting):
    loss, optimizer, monitor = start(weighting, every=2)
    iterate(loss, optimizer, monitor, 5)
    saved = pickle.dumps([part.state_dict() for part in (loss, loss.model, optimizer, monitor)])
    iterate(loss, optimizer, monitor, 6)
    other, other_optimizer, other_monitor = start(weighting, every=2, seed=1)
    other_loss = PhysicsLoss(HELMHOLTZ, other.model, HELMHOLTZ.sample(120, seed=0), weighting=weighting)
    # the state of the loss carries the tracked attention before there is a monitor to ask for it
    parts = (other_loss, other.model, other_optimizer)
    states = pickle.loads(saved)
    for part, state in zip(parts, states[:3], strict=True):
        part.load_state_dict(state)
    other_monitor = PhaseMonitor(other_loss, other_optimizer, every=2)
    other_monitor.load_state_dict(states[3])
    iterate(other_loss, other_optimizer, other_monitor, 6)
    assert without_seconds(other_monitor.history) == without_seconds(monitor.history)
    assert other_monitor.iteration == monitor.iteration == 11
    assert other_monitor.timeline == monitor.timeline
    assert other_monitor.history[5]["seconds"] > states[3]["seconds"]


def test_a_state_survives_torch_save(tmp_path):
    loss, optimizer, monitor = start(every=1)
    iterate(loss, optimizer, monitor, 2)
    torch.save(monitor.state_dict(), tmp_path / "monitor.pt")
    other = start(every=1)[2]
    other.load_state_dict(torch.load(tmp_path / "monitor.pt", weights_only=True))
    assert other.history == monitor.history
    other.load_state_dict({"iteration": 0, "seconds": 0.0, "history": []})
    assert "nothing was captured" in other.timeline.reason


@pytest.mark.parametrize("every", [0, -1, 2.0, True, "3"])
def test_bad_intervals(every):
    with pytest.raises(InputError, match=r"argument 'every'.*a positive integer"):
        start(every=every)


def recorded(folder, iterations, state=None, **options):
    """A training of some iterations with a run folder, from the state of another one if given; return its own."""
    torch.manual_seed(0)
    problem = phasecore.problem("helmholtz")
    model = torch.nn.Sequential(torch.nn.Linear(2, 6), torch.nn.Tanh(), torch.nn.Linear(6, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    loss = PhysicsLoss(problem, model, problem.sample(50, seed=0), weighting="rba:gamma=0.9")
    monitor = PhaseMonitor(loss, optimizer, every=2, batches=10, run_folder=folder, **options)
    parts = {"model": model, "optimizer": optimizer, "loss": loss, "monitor": monitor}
    for name, part in parts.items():
        if state is not None:
            part.load_state_dict(copy.deepcopy(state[name]))
    for _ in range(iterations):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
        monitor.step()
    return monitor, {name: copy.deepcopy(part.state_dict()) for name, part in parts.items()}


def test_a_run_folder_of_ones_own_loop(tmp_path):
    monitor, _ = recorded(tmp_path / "run", 6, snapshots=[3])
    monitor.finish()
    run = open_run(tmp_path / "run")
    assert run.history["iteration"].tolist() == due(2, 6)
    assert run.configuration["weighting"] == "rba:gamma=0.9"
    assert run.configuration["settings"]["points"] == 50
    assert run.configuration["seed"] is None
    assert run.outcome["iterations"] == 6
    assert sorted(run.snapshots) == [3, 6]
    assert len(run.snapshot(6)["residual_pde"]) == 50
    with pytest.raises(InputError, match="holds a run"):
        recorded(tmp_path / "run", 0)


def test_a_run_folder_has_the_points_per_batch_of_a_loss_of_ones_own(tmp_path):
    model = nn.Linear(1, 1)
    optimizer = torch.optim.Adam(model.parameters())
    points = torch.rand(90, 1)
    loss = lambda batch: (model(batch) - batch).square().mean()  # noqa: E731
    monitor = PhaseMonitor(loss, optimizer, points=points, batches=20, run_folder=tmp_path / "run")
    with monitor:
        loss(points).backward()
        optimizer.step()
    assert open_run(tmp_path / "run").configuration["gradient_points_per_batch"] == 4.5


def test_a_run_folder_is_gone_on_with(tmp_path):
    whole, _ = recorded(tmp_path / "whole", 8)
    _, state = recorded(tmp_path / "run", 3)
    first, later = recorded(tmp_path / "run", 2, state, resume=True)
    assert [row["iteration"] for row in first.history] == due(2, 5)
    with pytest.warns(UserWarning, match=r"rows after iteration 3 dropped \(2\)"):
        again, _ = recorded(tmp_path / "run", 5, state, resume=True)
    again.finish()
    found = open_run(tmp_path / "run").history
    assert found["iteration"].tolist() == due(2, 8)
    assert found["snr"].tolist() == [row["snr"] for row in whole.history]
    assert later["monitor"]["iteration"] == 5
    with pytest.raises(InputError, match="begins at iteration 0"):
        recorded(tmp_path / "run", 1, resume=True)


@pytest.mark.parametrize("way", ["block", "step"])
@pytest.mark.parametrize("finished", [False, True])
def test_going_back_in_the_same_loop_leaves_one_history(way, finished, tmp_path):
    model = mlp(seed=0)
    options = {"run_folder": tmp_path / "run", "loggers": "csv", "snapshots": [2, 5]}
    loss, optimizer, monitor = start(model=model, every=1, batches=10, probes=["gradient_snr"], **options)
    parts = model, optimizer, loss, monitor

    def train(until):
        while monitor.iteration < until:
            with monitor if way == "block" else contextlib.nullcontext():
                optimizer.zero_grad()
                loss().backward()
                optimizer.step()
            if way == "step":
                monitor.step()

    train(3)
    states = copy.deepcopy([part.state_dict() for part in parts])
    train(6)
    if finished:
        monitor.finish()
    before = without_seconds(monitor.history)
    for part, state in zip(parts, states, strict=True):
        part.load_state_dict(state)
    with pytest.warns(UserWarning, match=r"rows after iteration 3 dropped"):
        train(8)
    monitor.finish()
    run = open_run(tmp_path / "run")
    assert run.history["iteration"].tolist() == [row["iteration"] for row in monitor.history] == list(range(1, 9))
    assert without_seconds(monitor.history)[:5] == before[:5]
    assert run.snapshots == (2, 5, 8)
    assert read_curve(tmp_path / "run" / "history.csv").iteration.tolist() == list(range(1, 9))
    assert phasecore.detect(read_curve(tmp_path / "run")) == monitor.detect()


class Decay(phasecore.Problem):
    """A problem of one's own, with a parameter."""

    domain: ClassVar = {"t": (0, 1)}
    outputs = ("u",)
    rate = 1.0

    def residuals(self, x, u, xp):
        return u["u_t"] + self.rate * u["u"]


class Growth(Decay):
    name = "decay"

    def residuals(self, x, u, xp):
        return u["u_t"] - self.rate * u["u"]


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (Decay(rate=2.0), r"differs in 'problem_parameters': received \{'rate': 2.0\}"),
        (Growth(), r"on a problem that has changed since, in the residual of pde"),
        (phasecore.problem("lorenz"), r"differs in 'problem': received 'lorenz'; expected 'decay'"),
        (Decay(), None),
    ],
    ids=["another parameter", "another equation", "another problem", "the same"],
)
def test_a_loop_goes_on_in_a_run_folder_on_the_same_problem_alone(other, told, tmp_path):
    def loop(problem, resume=False):
        model = mlp(1, len(problem.outputs))
        loss = PhysicsLoss(problem, model, problem.sample(40, seed=0))
        optimizer = torch.optim.Adam(model.parameters())
        options = {"every": 2, "batches": 4, "run_folder": tmp_path / "run", "probes": ["gradient_snr"]}
        monitor = PhaseMonitor(loss, optimizer, resume=resume, **options)
        return loss, optimizer, monitor

    loss, optimizer, monitor = loop(Decay())
    iterate(loss, optimizer, monitor, 6)
    monitor.finish()
    state, kept = monitor.state_dict(), (tmp_path / "run" / "history.jsonl").read_text()
    loss, optimizer, later = loop(other, resume=True)
    later.load_state_dict(state)
    with pytest.raises(InputError, match=told) if told else contextlib.nullcontext():
        iterate(loss, optimizer, later, 6)
    found = (tmp_path / "run" / "history.jsonl").read_text()
    assert found.startswith(kept)
    assert (found == kept) == bool(told)


@pytest.mark.parametrize("saved", [0, 4, 8])
def test_a_loop_in_blocks_goes_on_alike_from_any_state_that_it_saved(saved, tmp_path):
    """The row of an iteration at which the state is saved is captured in the block after it."""
    states = {}

    def train(folder, state=None):
        torch.manual_seed(0)
        model = mlp()
        loss, optimizer, monitor = start(model=model, every=2, run_folder=folder, resume=True)
        parts = {"model": model, "optimizer": optimizer, "loss": loss, "monitor": monitor}
        for name, part in parts.items():
            if state is not None:
                part.load_state_dict(state[name])
        while monitor.iteration < 8:
            states[monitor.iteration] = copy.deepcopy({name: part.state_dict() for name, part in parts.items()})
            with monitor:
                optimizer.zero_grad()
                loss().backward()
                optimizer.step()
        states[8] = copy.deepcopy({name: part.state_dict() for name, part in parts.items()})
        monitor.finish()
        return without_seconds(plain(row) for row in monitor.history)

    whole = train(tmp_path / "run")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert train(tmp_path / "run", states[saved]) == whole
    lines = (tmp_path / "run" / "history.jsonl").read_text().splitlines()
    assert without_seconds(map(json.loads, lines)) == whole
    assert open_run(tmp_path / "run").outcome["iterations"] == 8


def test_what_a_run_folder_needs(tmp_path):
    with pytest.raises(InputError, match="snapshots without a run folder"):
        start(snapshots=[3])


def test_loggers_and_plugins_hear_a_loop_of_ones_own(tmp_path):
    listener = Listener()
    loss, optimizer, monitor = start(every=3, loggers=["csv", listener], run_folder=tmp_path / "run")
    iterate(loss, optimizer, monitor, 7)
    monitor.finish()
    assert listener.told == ["run_started", *["captured"] * len(due(3, 7)), "run_finished"]
    described = listener.training
    assert (described.backend, described.problem, described.scheme_name) == ("torch", HELMHOLTZ, "rba")
    assert (described.settings.every, described.settings.points, described.settings.seed) == (3, 120, None)
    assert listener.rows == [plain(row) for row in monitor.history]
    assert listener.outcome.iterations == 7
    assert listener.outcome.timeline == monitor.detect()
    assert (tmp_path / "run" / "history.csv").read_text().count("\n") == 1 + len(due(3, 7))
    assert open_run(tmp_path / "run").configuration["loggers"] == ["csv"]
    iterate(loss, optimizer, monitor, 3)
    assert listener.told[2 + len(due(3, 7)) :] == ["run_started", *["captured"] * len(due(3, 10, after=7))]
    assert listener.resumed
    monitor.finish()
    assert listener.told[-1] == "run_finished"


@pytest.mark.parametrize("one_pass", [False, True])
@pytest.mark.parametrize("optimizer", [torch.optim.Adam, torch.optim.SGD])
def test_a_training_that_goes_to_nan_is_said_once_with_the_iteration(one_pass, optimizer):
    loss, _, _ = start("uniform")
    stepping = optimizer(loss.model.parameters(), lr=1e-3)
    monitor = PhaseMonitor(loss, stepping, every=2, batches=10)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for iteration in range(60):
            if iteration == 41:
                nn.init.constant_(loss.model[0].weight, float("nan"))
            stepping.zero_grad()
            value = loss()
            monitor.backward(value) if one_pass else value.backward()
            stepping.step()
            monitor.step()
    (warning,) = caught
    assert issubclass(warning.category, RuntimeWarning)
    assert warning.filename == __file__
    assert " are NaN from iteration 42 on" in str(warning.message)
    for timeline in (monitor.timeline, monitor.detect()):
        assert timeline.current is monitor.phase is None
        assert timeline.nonfinite.iteration == 42
        assert "the training loss, the SNR" in timeline.reason
