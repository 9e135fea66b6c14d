"""The torch backend: deterministic, resumed bit for bit, and clear about what stops it."""

import dataclasses
import signal

import numpy as np
import pytest
import torch

import phasecore
from phasecore.backends import Settings, Training
from phasecore.errors import InputError, TrainingError
from phasecore.recording.schedule import is_due
from phasecore.registry import as_schemes
from phasecore.runs import session
from phasecore_torch.training import TorchBackend, network

ITERATIONS = 24


class Recorder:
    def __init__(self, stop_at=None):
        self.rows, self.progress, self.snapshots, self.stop_at = [], [], {}, stop_at
        self.resumed_at = []

    def resumed(self, iteration):
        self.resumed_at.append(iteration)

    def progressed(self, iteration, loss):
        self.progress.append((iteration, loss))

    def captured(self, row):
        self.rows.append(dict(row))
        if self.stop_at is not None and row["iteration"] >= self.stop_at:
            raise KeyboardInterrupt

    def snapshot(self, iteration, arrays):
        self.snapshots[iteration] = {name: values.copy() for name, values in arrays.items()}

    def history(self):
        return {
            row["iteration"]: {name: value for name, value in row.items() if name != "seconds"} for row in self.rows
        }


def training(weighting="rba", problem="helmholtz", probes=("gradient_snr", "adam_snr", "residual_order"), **settings):
    problem = phasecore.problem(problem)
    values = {"iterations": ITERATIONS, "points": 40, "width": 6, "depth": 2, "every": 5, "batches": 10}
    settings = Settings(**values | settings)
    return Training(
        problem=problem,
        schemes=as_schemes(weighting),
        scheme_name=weighting,
        backend="torch",
        settings=settings,
        points=problem.sample(settings.points, seed=settings.seed),
        probes=[phasecore.probe(name) for name in probes],
        snapshots=(10, 20),
    )


def train(recorder=None, checkpoint=None, resume=False, **options):
    recorder = Recorder() if recorder is None else recorder
    TorchBackend().train(training(**options), recorder, checkpoint, resume=resume)
    return recorder


def same_arrays(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


def test_what_the_observer_hears():
    recorder = train()
    due = [i for i in range(1, ITERATIONS + 1) if is_due(i, 5) or i == ITERATIONS]
    assert [row["iteration"] for row in recorder.rows] == due
    assert {"snr", "adam_snr", "residual_order", "seconds", "learning_rate"} <= set(recorder.rows[-1])
    seconds = [row["seconds"] for row in recorder.rows]
    assert seconds == sorted(seconds)
    assert all(np.isfinite(loss) for _, loss in recorder.progress)
    assert set(recorder.snapshots) == {10, 20}
    arrays = recorder.snapshots[10]
    assert set(arrays) == {"points", "grid", "residual_pde", "weight_pde", "field_u"}
    assert {values.dtype for values in arrays.values()} == {np.dtype(np.float64)}
    assert arrays["residual_pde"].shape == arrays["weight_pde"].shape == (40,)
    assert arrays["field_u"].shape == arrays["grid"].shape[:1]
    assert not np.array_equal(arrays["weight_pde"], recorder.snapshots[20]["weight_pde"])


@pytest.mark.parametrize("problem", phasecore.names("problem"))
def test_every_problem_trains(problem):
    recorder = train(problem=problem, iterations=3)
    assert recorder.rows[-1]["iteration"] == 3
    assert all(np.isfinite(value) for value in recorder.rows[-1].values())


@pytest.mark.parametrize("weighting", ["uniform", "rba"])
def test_one_seed_one_history(weighting):
    first, second, other = train(weighting=weighting), train(weighting=weighting), train(weighting=weighting, seed=1)
    assert first.history() == second.history()
    assert first.progress == second.progress
    assert all(same_arrays(first.snapshots[i], second.snapshots[i]) for i in (10, 20))
    assert first.history() != other.history()


def test_training_leaves_the_random_state_alone():
    state = torch.random.get_rng_state()
    train()
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize("weighting", ["uniform", "rba"])
@pytest.mark.parametrize("stop_at", [1, 7, 15])
def test_an_interrupted_training_goes_on_bit_for_bit(weighting, stop_at, tmp_path, monkeypatch):
    monkeypatch.setattr(session, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    whole = train(weighting=weighting, decay_interval=6)
    first = Recorder(stop_at=stop_at)
    with pytest.raises(KeyboardInterrupt):
        train(first, tmp_path, weighting=weighting, decay_interval=6)
    second = train(checkpoint=tmp_path, resume=True, weighting=weighting, decay_interval=6)
    assert second.rows[0]["iteration"] <= first.rows[-1]["iteration"]
    assert first.history() | second.history() == whole.history()
    assert first.history().items() <= whole.history().items()
    snapshots = first.snapshots | second.snapshots
    assert all(same_arrays(snapshots[i], whole.snapshots[i]) for i in (10, 20))
    assert second.rows[0]["seconds"] > 0


@pytest.fixture
def _answers_to_ctrl_c():
    """As in a terminal: what runs in the background is started with interrupts ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_answers_to_ctrl_c")
@pytest.mark.parametrize("stop_at", [1, 7, 15])
def test_ctrl_c_waits_for_the_end_of_the_iteration_and_loses_nothing(stop_at, tmp_path):
    class Interrupts(Recorder):
        def progressed(self, iteration, loss):
            super().progressed(iteration, loss)
            if iteration == stop_at:
                signal.raise_signal(signal.SIGINT)

    whole = train()
    first = Interrupts()
    with pytest.raises(KeyboardInterrupt):
        train(first, tmp_path)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert first.rows[-1]["iteration"] == stop_at
    second = train(checkpoint=tmp_path, resume=True)
    assert (first.resumed_at, second.resumed_at) == ([], [stop_at])
    assert second.rows[0]["iteration"] > stop_at
    assert first.history() | second.history() == whole.history()


@pytest.mark.usefixtures("_answers_to_ctrl_c")
def test_a_second_ctrl_c_does_not_wait():
    class Interrupts(Recorder):
        def progressed(self, iteration, loss):
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)

    first = Interrupts()
    with pytest.raises(KeyboardInterrupt):
        train(first)
    assert first.rows == []


def test_a_finished_training_goes_on_with_more_iterations(tmp_path):
    whole = train()
    train(checkpoint=tmp_path, iterations=10)
    longer = train(checkpoint=tmp_path, resume=True)
    assert longer.rows[0]["iteration"] > 10
    assert longer.history().items() <= whole.history().items()
    nothing_left = train(checkpoint=tmp_path, resume=True)
    assert nothing_left.rows == []


def test_no_checkpoint_is_written_unless_asked_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    train(iterations=2)
    assert list(tmp_path.rglob("*")) == []


def test_a_checkpoint_is_one_whole_file(tmp_path):
    train(checkpoint=tmp_path / "checkpoint", iterations=2)
    assert [path.name for path in (tmp_path / "checkpoint").iterdir()] == ["state.pt"]


def test_resuming_without_a_state(tmp_path):
    with pytest.raises(InputError, match="resuming: received no state at"):
        train(checkpoint=tmp_path, resume=True)
    with pytest.raises(InputError, match="resuming"):
        train(resume=True)


@pytest.mark.parametrize("damage", ["cut", "noise", "empty", "other pickle", "missing part"])
def test_a_damaged_checkpoint(damage, tmp_path):
    train(checkpoint=tmp_path, iterations=2)
    file = tmp_path / "state.pt"
    content = file.read_bytes()
    if damage == "cut":
        file.write_bytes(content[: len(content) // 2])
    elif damage == "noise":
        file.write_bytes(bytes(reversed(content)))
    elif damage == "empty":
        file.write_bytes(b"")
    elif damage == "other pickle":
        torch.save([1, 2, 3], file)
    else:
        state = torch.load(file, weights_only=True)
        del state["optimizer"]
        torch.save(state, file)
    with pytest.raises(InputError, match=r"resuming from .*state\.pt.*expected the state of a training"):
        train(checkpoint=tmp_path, resume=True)


@pytest.mark.parametrize("other", [{"width": 7}, {"points": 41}, {"weighting": "uniform"}, {"depth": 3}])
def test_a_checkpoint_of_another_training(other, tmp_path):
    train(checkpoint=tmp_path, iterations=2)
    with pytest.raises(InputError, match="resuming from"):
        train(checkpoint=tmp_path, resume=True, **other)


def test_a_loss_that_is_not_finite(tmp_path):
    with pytest.raises(TrainingError, match=r"training of 'helmholtz' at iteration \d+: received loss (nan|inf)"):
        train(checkpoint=tmp_path, learning_rate=1e30, iterations=200)


def test_no_row_is_recorded_of_a_loss_that_is_not_finite():
    recorder = Recorder()
    with pytest.raises(TrainingError):
        train(recorder, learning_rate=1e30, iterations=200)
    assert len(recorder.rows) < 5
    assert all(np.isfinite(loss) for _, loss in recorder.progress)


def test_the_learning_rate_decays():
    rows = train(learning_rate=1e-2, decay_factor=0.5, decay_interval=10).history()
    assert rows[5]["learning_rate"] == 1e-2
    assert rows[15]["learning_rate"] == 5e-3
    assert rows[ITERATIONS]["learning_rate"] == 2.5e-3


def test_the_network_of_the_settings():
    settings = Settings(iterations=1, points=10, width=64, depth=3, seed=4)
    model = network(2, 3, settings)
    layers = [layer for layer in model if isinstance(layer, torch.nn.Linear)]
    assert [tuple(layer.weight.shape) for layer in layers] == [(64, 2), (64, 64), (64, 64), (3, 64)]
    assert all(not layer.bias.any() for layer in layers)
    assert layers[1].weight.std().item() == pytest.approx((2 / 128) ** 0.5, rel=0.05)
    same, other = network(2, 3, settings), network(2, 3, dataclasses.replace(settings, seed=5))
    assert torch.equal(same[0].weight, model[0].weight)
    assert not torch.equal(other[0].weight, model[0].weight)


def test_the_backend_is_registered():
    backend = phasecore.backend("torch")
    assert isinstance(backend, TorchBackend)
    assert backend.versions()["torch"] == torch.__version__


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")
def test_a_compiled_training_differs_by_rounding():
    plain, compiled = train().history(), train(compiled=True).history()
    assert set(plain) == set(compiled)
    for iteration, row in plain.items():
        assert compiled[iteration] == pytest.approx(row, rel=1e-3)
