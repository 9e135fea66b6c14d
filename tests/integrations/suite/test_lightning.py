"""The Lightning callback in Lightning's own Trainer."""

import copy
import doctest
import itertools
import json
import logging
import re
import types
from dataclasses import dataclass
from pathlib import Path

import lightning
import numpy as np
import pytest
import pytorch_lightning
import torch
from captures import due
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from listeners import Listener
from processes import python
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

import phasecore
import phasecore_torch.lightning
from phasecore.errors import InputError
from phasecore.phases import Phase, tracker
from phasecore.probes import Probe
from phasecore.recording.history import plain
from phasecore.runs import open_run
from phasecore.testing.curves import synthetic_curve
from phasecore_torch import PhysicsLoss
from phasecore_torch.lightning import PhaseCallback

QUIET = {
    "accelerator": "cpu",
    "logger": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "enable_checkpointing": False,
}
POINTS = 120
INPUTS = torch.rand(POINTS, 2, generator=torch.Generator().manual_seed(1))


def network(*extra, seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(2, 12), nn.Tanh(), *extra, nn.Linear(12, 12), nn.Tanh(), nn.Linear(12, 1))


class Helmholtz(lightning.LightningModule):
    """A physics-informed network, trained with indices of points."""

    def __init__(self, weighting="rba", learning_rate=1e-2):
        super().__init__()
        problem = phasecore.problem("helmholtz", a1=1, a2=1)
        self.sample = problem.sample(POINTS, seed=0)
        self.network = network()
        self.physics = PhysicsLoss(problem, self.network, self.sample, weighting=weighting)
        self.learning_rate = learning_rate

    def training_step(self, batch, batch_idx):
        loss = self.physics(batch)
        self.log("train_loss", loss)
        return loss

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=self.learning_rate)


class Regression(lightning.LightningModule):
    """A network of one's own, with layers that keep statistics and draw random numbers."""

    def __init__(self, *extra):
        super().__init__()
        self.network = network(*extra)

    def loss(self, inputs):
        return (self.network(inputs) - inputs.prod(dim=1, keepdim=True)).square().mean()

    def training_step(self, batch, batch_idx):
        return self.loss(batch)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-2)


def indices(batch_size=30, shuffle=False):
    return torch.utils.data.DataLoader(torch.arange(POINTS), batch_size=batch_size, shuffle=shuffle)


def inputs(batch_size=30, shuffle=False):
    return torch.utils.data.DataLoader(INPUTS, batch_size=batch_size, shuffle=shuffle)


def fit(module, loader, *callbacks, ckpt_path=None, package=lightning, **options):
    trainer = package.Trainer(**{**QUIET, "max_epochs": 3, "callbacks": list(callbacks), **options})
    trainer.fit(module, loader, ckpt_path=ckpt_path)
    return trainer


def without_seconds(rows):
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


class Recorder(Callback):
    """Keeps the parameters after each optimizer step, by Lightning's own count."""

    def __init__(self):
        self.parameters = {}

    def on_train_batch_end(self, trainer, pl_module, *unused):
        self.parameters[trainer.global_step] = copy.deepcopy(pl_module.network.state_dict())


def kept(module):
    """An `on_capture` that keeps the module as it is at each capture, in float64."""
    modules = []
    return modules, lambda row: modules.append(copy.deepcopy(module.network).double())


def helmholtz_residual(model, points):
    points = points.double().requires_grad_()
    u = model(points)
    (slopes,) = torch.autograd.grad(u.sum(), points, create_graph=True)
    curvatures = [torch.autograd.grad(slopes[:, k].sum(), points, create_graph=True)[0][:, k] for k in (0, 1)]
    source = (1 - 2 * torch.pi**2) * torch.sin(torch.pi * points).prod(dim=1)
    return sum(curvatures) + u[:, 0] - source


def weight_matrices(model):
    return [parameter for parameter in model.parameters() if parameter.ndim >= 2]


def test_the_snr_of_a_physics_loss_is_that_of_stacked_gradients(snr_of):
    module = Helmholtz()
    weights = []
    models, keep = kept(module)

    def on_capture(row):
        keep(row)
        weights.append(module.physics.point_weights()["pde"].double())

    phases = PhaseCallback(every=5, batches=12, on_capture=on_capture)
    fit(module, indices(), phases)
    assert [row["iteration"] for row in phases.history] == due(5, 12)
    boundary = torch.as_tensor(np.concatenate(module.sample.conditions))
    for row, model, weight in zip(phases.history, models, weights, strict=True):
        residual = weight * helmholtz_residual(model, module.physics.points)
        shared = model(boundary).square().mean()
        losses = [part.square().mean() + shared for part in residual.tensor_split(12)]
        assert row["snr"] == pytest.approx(snr_of(losses, weight_matrices(model)), rel=1e-4)


def test_the_snr_of_a_loss_of_ones_own_is_that_of_stacked_gradients(snr_of):
    module = Regression()
    models, keep = kept(module)
    phases = PhaseCallback(module.loss, points=INPUTS, every=4, batches=10, on_capture=keep)
    fit(module, inputs(), phases)
    assert [row["iteration"] for row in phases.history] == due(4, 12)
    for row, model in zip(phases.history, models, strict=True):
        batches = INPUTS.double().tensor_split(10)
        losses = [(model(batch) - batch.prod(dim=1, keepdim=True)).square().mean() for batch in batches]
        assert row["snr"] == pytest.approx(snr_of(losses, weight_matrices(model)), rel=1e-4)


def test_loggers_plugins_and_a_run_folder_follow_a_training(tmp_path):
    module, listener, folder = Helmholtz(), Listener(), tmp_path / "run"
    phases = PhaseCallback(every=4, batches=4, run_folder=folder, snapshots=[5], loggers=["csv", listener])
    fit(module, indices(), phases)
    assert listener.told == ["run_started", *["captured"] * len(due(4, 12)), "run_finished"]
    described = listener.training
    assert (described.backend, described.problem.name, described.folder) == ("torch", "helmholtz", folder)
    assert (described.settings.every, described.settings.seed) == (4, None)
    assert listener.rows == [plain(row) for row in phases.history]
    run = open_run(folder)
    assert run.snapshots == (5, 12)
    assert {"points", "residual_pde", "weight_pde", "field_u", "grid"} <= set(run.snapshot(12))
    assert run.outcome["phases"] == phases.detect().to_json()
    assert run.configuration["loggers"] == ["csv"]
    assert len((folder / "history.csv").read_text().splitlines()) == 1 + len(due(4, 12))
    with pytest.raises(InputError, match="already holds a run"):
        PhaseCallback(run_folder=folder)


def test_listeners_hear_that_a_training_ends_early():
    class Fails(Helmholtz):
        def on_train_batch_end(self, outputs, batch, batch_idx):
            if self.global_step == 5:
                raise ZeroDivisionError

    listener = Listener()
    with pytest.raises(ZeroDivisionError):
        fit(Fails(), indices(), PhaseCallback(every=2, batches=4, loggers=[listener]))
    assert listener.told == ["run_started", *["captured"] * len(due(2, 5)), "run_stopped"]
    assert isinstance(listener.error, ZeroDivisionError)


@pytest.mark.parametrize("accumulate", [1, 3])
def test_an_iteration_is_an_optimizer_step_and_is_captured_after_it(accumulate):
    module, recorder = Helmholtz(), Recorder()
    models, keep = kept(module)
    phases = PhaseCallback(every=2, batches=4, on_capture=keep)
    trainer = fit(module, indices(20), recorder, phases, max_epochs=2, accumulate_grad_batches=accumulate)
    assert trainer.global_step == phases.iteration == 12 // accumulate
    assert [row["iteration"] for row in phases.history] == due(2, phases.iteration)
    for row, model in zip(phases.history, models, strict=True):
        for name, value in recorder.parameters[row["iteration"]].items():
            assert torch.equal(model.state_dict()[name], value.double())


@pytest.mark.parametrize("raw", [True, False])
def test_the_steps_of_manual_optimization_are_counted_one_by_one(raw):
    class Manual(Helmholtz):
        def __init__(self):
            super().__init__()
            self.automatic_optimization = False

        def training_step(self, batch, batch_idx):
            optimizer = self.optimizers(use_pl_optimizer=not raw)
            for _ in range(3):
                optimizer.zero_grad()
                self.manual_backward(self.physics(batch))
                optimizer.step()

    phases = PhaseCallback(every=5, batches=4)
    fit(Manual(), indices(60), phases, max_epochs=2)
    assert phases.iteration == 12
    assert [row["iteration"] for row in phases.history] == due(5, 12)


def trained(make, loader, callbacks):
    torch.manual_seed(5)
    module = make()
    fit(module, loader(shuffle=True), *callbacks(module))
    gradients = [parameter.grad for parameter in module.parameters()]
    return [*module.network.state_dict().values(), *gradients, torch.random.get_rng_state()]


@pytest.mark.parametrize(
    ("make", "loader", "callbacks"),
    [
        (Helmholtz, indices, lambda module: [PhaseCallback(every=1, batches=4)]),
        (
            lambda: Regression(nn.BatchNorm1d(12), nn.Dropout(0.2)),
            inputs,
            lambda module: [PhaseCallback(module.loss, points=INPUTS, every=1, batches=4)],
        ),
    ],
    ids=["physics", "own"],
)
def test_a_training_with_the_callback_is_bitwise_one_without(make, loader, callbacks):
    with_callback, without = trained(make, loader, callbacks), trained(make, loader, lambda module: [])
    assert all(torch.equal(a, b) for a, b in zip(with_callback, without, strict=True))


@pytest.mark.parametrize("weighting", ["rba", "relobralo+grad_norm:every=3"])
def test_a_checkpoint_file_carries_history_and_weighting(weighting, tmp_path):
    def run(name, epochs, ckpt_path=None):
        module = Helmholtz(weighting)
        phases = PhaseCallback(every=3, batches=4, history_file=tmp_path / name, resume=True)
        trainer = fit(module, indices(), phases, max_epochs=epochs, ckpt_path=ckpt_path)
        return module, phases, trainer

    whole, expected, _ = run("whole", 6)
    _, early, trainer = run("halves", 3)
    file = tmp_path / "first.ckpt"
    trainer.save_checkpoint(file)
    assert early.iteration == 12
    saved = torch.load(file, weights_only=False)
    assert any(name.startswith("physics.weighting.") for name in saved["state_dict"])
    assert len(saved["callbacks"]["PhaseCallback"]["history"]) == len(due(3, 12))

    second, phases, _ = run("halves", 6, ckpt_path=file)
    assert phases.iteration == 24
    assert without_seconds(phases.history) == without_seconds(expected.history)
    assert phases.timeline == expected.timeline
    assert [row["seconds"] for row in phases.history] == sorted(row["seconds"] for row in phases.history)
    for name, value in whole.state_dict().items():
        assert torch.equal(second.state_dict()[name], value), name
    lines = [json.loads(line) for line in (tmp_path / "halves").read_text().splitlines()]
    assert without_seconds(lines) == without_seconds(phases.history)


def test_a_checkpoint_without_the_callback_is_gone_on_with_at_its_iteration(tmp_path):
    fit(Helmholtz(), indices(), max_epochs=1).save_checkpoint(tmp_path / "bare.ckpt")
    phases = PhaseCallback(every=3, batches=4)
    fit(Helmholtz(), indices(), phases, max_epochs=2, ckpt_path=tmp_path / "bare.ckpt")
    assert [row["iteration"] for row in phases.history] == due(3, 8, after=4)


def test_rows_after_the_checkpoint_are_dropped_from_the_file(tmp_path):
    file = tmp_path / "history.jsonl"

    def run(epochs, resume, ckpt_path=None):
        phases = PhaseCallback(every=2, batches=4, history_file=file, resume=resume)
        saving = ModelCheckpoint(dirpath=tmp_path, filename="{step}", every_n_train_steps=4, save_top_k=-1)
        options = {"max_epochs": epochs, "enable_checkpointing": True, "ckpt_path": ckpt_path}
        fit(Helmholtz(), indices(), phases, saving, **options)

    run(2, resume=False)
    with pytest.warns(UserWarning, match="rows after iteration 4 dropped"):
        run(3, resume=True, ckpt_path=tmp_path / "step=4.ckpt")
    assert [json.loads(line)["iteration"] for line in file.read_text().splitlines()] == due(2, 12)


def test_a_training_that_was_killed_after_its_last_checkpoint_is_finished(tmp_path):
    class Killed(Callback):
        def on_train_batch_end(self, trainer, *unused):
            if trainer.global_step == 8:
                trainer.save_checkpoint(tmp_path / "last.ckpt")
                raise SystemExit

    def run(folder, *callbacks, ckpt_path=None):
        phases = PhaseCallback(every=2, batches=4, run_folder=tmp_path / folder, resume=True)
        fit(Helmholtz(), indices(), phases, *callbacks, max_epochs=2, ckpt_path=ckpt_path)
        found = open_run(tmp_path / folder)
        return found.outcome["phases"], found.snapshots, without_seconds(map(plain, phases.history))

    whole = run("whole")
    with pytest.raises(SystemExit):
        run("run", Killed())
    assert open_run(tmp_path / "run").outcome is None
    assert run("run", ckpt_path=tmp_path / "last.ckpt") == whole


def test_a_second_fit_of_the_same_trainer_goes_on():
    module, phases = Helmholtz(), PhaseCallback(every=4, batches=4)
    trainer = fit(module, indices(), phases, max_epochs=2)
    trainer.fit_loop.max_epochs = 4
    trainer.fit(module, indices())
    assert [row["iteration"] for row in phases.history] == due(4, 16)


def test_the_loggers_receive_every_capture(tmp_path):
    loggers = [CSVLogger(tmp_path / "csv"), TensorBoardLogger(tmp_path / "board")]
    phases = PhaseCallback(every=3, batches=4)
    fit(Helmholtz(), indices(), phases, logger=loggers)
    assert [row["iteration"] for row in phases.history] == due(3, 12)
    events = EventAccumulator(loggers[1].log_dir)
    events.Reload()
    lines = Path(loggers[0].log_dir, "metrics.csv").read_text().splitlines()
    table = [dict(zip(lines[0].split(","), line.split(","), strict=True)) for line in lines[1:]]
    for name in ("snr", "adam_snr", "residual_order", "loss_pde", "relative_l2_error"):
        expected = [(row["iteration"], row[name]) for row in phases.history]
        scalars = [(item.step, item.value) for item in events.Scalars(name)]
        written = [(int(row["step"]), float(row[name])) for row in table if row[name]]
        assert np.asarray(scalars) == pytest.approx(np.asarray(expected), rel=1e-6)
        assert np.asarray(written) == pytest.approx(np.asarray(expected), rel=1e-6)


def test_other_callbacks_find_the_values(tmp_path):
    phases = PhaseCallback(every=2, batches=4)
    best = ModelCheckpoint(dirpath=tmp_path, monitor="relative_l2_error", every_n_train_steps=2)
    trainer = fit(Helmholtz(), indices(), phases, best, enable_checkpointing=True)
    errors = [row["relative_l2_error"] for row in phases.history if row["iteration"] % 2 == 0]
    assert float(best.best_model_score) == pytest.approx(min(errors), rel=1e-6)
    assert float(trainer.callback_metrics["snr"]) == pytest.approx(phases.history[-1]["snr"], rel=1e-6)


@dataclass(frozen=True)
class Curve(Probe):
    """Returns a curve that was made beforehand, as a probe of a plugin may."""

    name = "curve"
    requires = frozenset()
    values = iter(synthetic_curve("sigmoid", seed=3, rise=(2.0, 2.0), noise=(0.2, 0.2)).columns["snr"])

    def measure(self, signals):
        return {"snr": float(next(self.values))}


def test_phase_changes_are_said_when_they_are_found(caplog):
    caplog.set_level(logging.INFO)
    module = Regression()
    phases = PhaseCallback(module.loss, points=INPUTS, every=1, batches=4, probes=[Curve()])
    fit(module, inputs(batch_size=2), phases, max_epochs=9)
    found, (state, update) = {}, (tracker().init(), tracker().update)
    for row in phases.history:
        timeline, state = update(row, state)
        for transition in timeline.transitions:
            found.setdefault(transition.phase, row["iteration"])
    messages = [record.getMessage() for record in caplog.records]
    said = [
        match.groups() for match in map(re.compile(r"iteration (\d+): (\w+) from iteration").match, messages) if match
    ]
    assert {Phase(phase): int(iteration) for iteration, phase in said} == found
    assert found.keys() == {Phase.DIFFUSION, Phase.TOTAL_DIFFUSION}
    assert len(said) == 2
    assert phases.phase is Phase.TOTAL_DIFFUSION
    assert phases.detect().start(Phase.TOTAL_DIFFUSION) is not None


class TwoOptimizers(Helmholtz):
    def __init__(self):
        super().__init__()
        self.automatic_optimization = False

    def configure_optimizers(self):
        return [torch.optim.Adam(layer.parameters()) for layer in (self.network[0], self.network[2])]


class TwoLosses(Helmholtz):
    def __init__(self):
        super().__init__()
        self.second = PhysicsLoss(self.physics.problem, self.network, self.sample)


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (TwoOptimizers, {}, "received 2 optimizers; expected one"),
        (Regression, {}, "received a LightningModule with 0 of them; expected one PhysicsLoss"),
        (TwoLosses, {}, r"with 2 of them \['physics', 'second'\]"),
        (Helmholtz, {"points": INPUTS}, "points beside a PhysicsLoss"),
        (Helmholtz, {"batches": POINTS + 1}, f"from 2 to the number of points, {POINTS}"),
        (Helmholtz, {"loss": lambda x: x.sum()}, "no points"),
    ],
)
def test_what_cannot_be_followed_is_refused_before_the_first_step(make, options, message):
    module = make()
    before = copy.deepcopy(module.network.state_dict())
    with pytest.raises(InputError, match=message):
        fit(module, indices(), PhaseCallback(**{"batches": 4, **options}))
    assert all(torch.equal(value, before[name]) for name, value in module.network.state_dict().items())


def test_bad_arguments_are_refused_at_once(tmp_path):
    with pytest.raises(InputError, match="argument 'every'"):
        PhaseCallback(every=0)
    (tmp_path / "there").write_text("")
    with pytest.raises(InputError, match="argument 'history_file'"):
        PhaseCallback(history_file=tmp_path / "there")
    with pytest.raises(InputError, match="no capture yet"):
        PhaseCallback().detect()


def test_a_callback_follows_one_training():
    phases = PhaseCallback(batches=4)
    fit(Helmholtz(), indices(), phases)
    with pytest.raises(InputError, match="a training that begins at iteration 0, after one of 12 iterations"):
        fit(Helmholtz(), indices(), phases)


class InParts(Helmholtz):
    """The batches of all devices together are the same, however many there are."""

    def train_dataloader(self):
        points, devices = torch.arange(POINTS), self.trainer.world_size
        sampler = torch.utils.data.DistributedSampler(points, devices, self.global_rank, shuffle=False)
        return torch.utils.data.DataLoader(points, batch_size=24 // devices, sampler=sampler)


def test_a_training_on_two_devices_is_that_on_one(tmp_path):
    def run_of(**options):
        folder = tmp_path / f"{len(options)}"
        phases = PhaseCallback(batches=4, every=2, run_folder=folder, snapshots=[2], loggers=["csv"])
        fit(InParts("rba+grad_norm:every=2").double(), None, phases, use_distributed_sampler=False, **options)
        return open_run(folder)

    alone, together = run_of(), run_of(devices=2, strategy="ddp_fork")
    assert alone.history["iteration"].tolist()[-1] == 15
    for name in alone.history.keys() - {"seconds"}:
        np.testing.assert_allclose(together.history[name], alone.history[name], rtol=1e-8, atol=1e-12, err_msg=name)
    assert list(together.snapshots) == list(alone.snapshots) == [2, 15]
    for name, values in alone.snapshot(15).items():
        np.testing.assert_allclose(together.snapshot(15)[name], values, rtol=1e-7, atol=1e-10, err_msg=name)


def test_a_policy_on_two_devices_is_refused():
    phases = PhaseCallback(batches=4, policy="stop_when_done")
    with pytest.raises(Exception, match="received a policy in 2 processes") as caught:
        fit(Helmholtz(), indices(), phases, devices=2, strategy="ddp_fork")
    assert "InputError" in str(caught.value)


def test_devices_that_share_a_model_are_refused():
    trainer = types.SimpleNamespace(world_size=2, strategy="FSDPStrategy, say")
    with pytest.raises(InputError, match="a training on 2 devices by str"):
        PhaseCallback().on_train_start(trainer, Helmholtz())


def test_an_error_in_training_lets_go_of_the_optimizer():
    class Failing(Helmholtz):
        def training_step(self, batch, batch_idx):
            if batch_idx == 2:
                raise RuntimeError("as it happens")
            return super().training_step(batch, batch_idx)

        def configure_optimizers(self):
            self.optimizer = super().configure_optimizers()
            return self.optimizer

    module, phases = Failing(), PhaseCallback(every=1, batches=4)
    with pytest.raises(RuntimeError, match="as it happens"):
        fit(module, indices(), phases)
    module.optimizer.step()
    assert phases.iteration == len(phases.history) == 2


class OfTheOtherPackage(pytorch_lightning.LightningModule):
    training_step, configure_optimizers = Helmholtz.training_step, Helmholtz.configure_optimizers

    def __init__(self):
        super().__init__()
        made = Helmholtz()
        self.network, self.physics, self.learning_rate = made.network, made.physics, made.learning_rate


def test_it_works_in_the_trainer_of_pytorch_lightning_too():
    histories = []
    for module, package in ((Helmholtz(), lightning), (OfTheOtherPackage(), pytorch_lightning)):
        phases = PhaseCallback(every=3, batches=4)
        fit(module, indices(), phases, package=package)
        histories.append(without_seconds(phases.history))
    assert [row["iteration"] for row in histories[0]] == due(3, 12)
    assert histories[0] == histories[1]


def test_pytorch_lightning_alone_is_enough():
    code = (
        "import sys; sys.modules['lightning'] = None\n"
        "from phasecore_torch.lightning import PhaseCallback\n"
        "import pytorch_lightning\n"
        "print(issubclass(PhaseCallback, pytorch_lightning.Callback))\n"
    )
    done = python("-c", code)
    assert done.stdout.strip() == "True", done.stderr


def test_the_examples_run(run_section):
    report = []
    runner = doctest.DocTestRunner(verbose=False)
    found = doctest.DocTestFinder(exclude_empty=True).find(phasecore_torch.lightning)
    for example in found:
        runner.run(example, out=report.append)
    assert runner.tries > 0
    assert not report, "".join(report)
    phases = run_section("Lightning").phases
    assert all(a["iteration"] < b["iteration"] for a, b in itertools.pairwise(phases.history))
    assert phases.history
