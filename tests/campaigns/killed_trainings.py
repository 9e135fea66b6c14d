"""Trainings that are killed: each begins in a folder, or goes on with what it finds there, and returns when it is done.

They take seconds, and save their state every few of their iterations. Each is what the documentation advises.
"""

import contextlib
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

SECONDS_BETWEEN_CHECKPOINTS = 0.2
NETWORK = ("--points", "100", "--width", "8", "--depth", "2", "--every", "5")


def command(*arguments):
    """Run `phasecore` with these arguments; networks that it trains in this process save their state often."""
    from phasecore.cli import main
    from phasecore.runs import session

    session.SECONDS_BETWEEN_CHECKPOINTS = SECONDS_BETWEEN_CHECKPOINTS
    sys.argv = ["phasecore", *map(str, arguments)]
    main()


def resumed(document):
    return ["--resume"] if document.exists() else []


def run(folder, backend, iterations):
    """`phasecore run`, with points that move, an optimizer that changes, and a logger."""
    output = folder / "run"
    further = ["--weighting", "rba", "--sampling", "sobol+rad:every=40", "--policy", "quasi_newton:latest=0.7"]
    options = [*NETWORK, *further, "--iterations", iterations, "--logger", "csv", "--backend", backend]
    command("run", "helmholtz", *options, "--output", output, *resumed(output / "run.json"))


def compare(folder, backend, iterations, *further):
    """`phasecore compare`."""
    output = folder / "comparison"
    options = [*NETWORK, "--weightings", "uniform,rba", "--iterations", iterations, "--backend", backend, *further]
    command("compare", "helmholtz", *options, "--output", output, *resumed(output / "compare.json"))


def compare_side_by_side(folder, backend, iterations):
    """`phasecore compare --jobs 2`, whose processes read when they start how often they are to save their state."""
    site = Path(tempfile.mkdtemp(dir=folder.parent))
    module = f"from phasecore.runs import session\nsession.SECONDS_BETWEEN_CHECKPOINTS = {SECONDS_BETWEEN_CHECKPOINTS}"
    (site / "sitecustomize.py").write_text(module)
    os.environ["PYTHONPATH"] = os.pathsep.join([str(site), os.environ["PYTHONPATH"]])
    compare(folder, backend, iterations, "--seeds", "0,1", "--jobs", "2")


def begin_anew(folder):
    """Remove the record of a training of which no state was saved yet."""
    shutil.rmtree(folder / "run", ignore_errors=True)
    (folder / "history.jsonl").unlink(missing_ok=True)


def torch_loop(folder, iterations=200, between=20):
    """A loop of one's own, as docs/torch.md has it."""
    import torch

    import phasecore
    import phasecore_torch

    torch.manual_seed(0)
    problem = phasecore.problem("helmholtz")
    model = torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
    loss = phasecore_torch.PhysicsLoss(problem, model, problem.sample(100, seed=0), weighting="rba")
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    files = {"history_file": folder / "history.jsonl", "run_folder": folder / "run", "snapshots": [50, 110]}
    monitor = phasecore_torch.PhaseMonitor(loss, optimizer, every=5, batches=10, resume=True, loggers=["csv"], **files)
    parts, state = {"model": model, "optimizer": optimizer, "loss": loss, "monitor": monitor}, folder / "state.pt"

    def save():
        torch.save({name: part.state_dict() for name, part in parts.items()}, folder / ".state.pt.part")
        os.replace(folder / ".state.pt.part", state)

    if state.exists():
        saved = torch.load(state, weights_only=True)
        for name, part in parts.items():
            part.load_state_dict(saved[name])
    else:
        save()
    while monitor.iteration < iterations:
        with monitor:
            optimizer.zero_grad()
            loss().backward()
            optimizer.step()
        if monitor.iteration % between == 0:
            save()
    monitor.finish()


def keras_fit(folder, epochs=30):
    """`fit` with `BackupAndRestore`, as docs/keras.md has it."""
    import keras

    import phasecore
    import phasecore_keras

    keras.utils.set_random_seed(0)
    problem = phasecore.problem("helmholtz")
    network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(8, activation="tanh"), keras.layers.Dense(1)])
    pinn = phasecore_keras.PINN(network, problem, weighting="rba")
    pinn.compile(optimizer=keras.optimizers.Adam(1e-2))
    if not repaired(folder / "backup"):
        if (folder / "run" / "outcome.json").exists():
            return
        begin_anew(folder)
    files = {"history_file": folder / "history.jsonl", "run_folder": folder / "run", "snapshots": [20, 51]}
    monitor = phasecore_keras.PhaseMonitor(every=4, batches=10, resume=True, loggers=["csv"], **files)
    backup = keras.callbacks.BackupAndRestore(folder / "backup", double_checkpoint=True)
    points = pinn.points(100, seed=0)
    pinn.fit(points, batch_size=50, epochs=epochs, shuffle=False, callbacks=[monitor, backup], verbose=0)


def repaired(backup):
    """Put the last backup in the place of one that Keras was killed in writing, and return whether there is one."""
    import h5py

    def read(name, item):
        if isinstance(item, h5py.Dataset):
            item[()]

    files = backup / "latest.weights.h5", backup / "training_metadata.json"
    for _ in range(2):
        try:
            with h5py.File(files[0]) as weights:
                weights.visititems(read)
            json.loads(files[1].read_text())
            return True
        except (OSError, RuntimeError, KeyError, ValueError):
            for file in files:
                with contextlib.suppress(OSError):
                    shutil.copy(f"{file}.bkp", file)
    shutil.rmtree(backup, ignore_errors=True)
    return False


def lightning_fit(folder, steps=120):
    """Lightning's Trainer with checkpoints, as docs/integrations.md has it."""
    import lightning
    import torch
    from lightning.pytorch.callbacks import ModelCheckpoint

    import phasecore
    import phasecore_torch
    from phasecore_torch.lightning import PhaseCallback

    class Helmholtz(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            problem = phasecore.problem("helmholtz")
            self.network = torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
            points = problem.sample(100, seed=0)
            self.physics = phasecore_torch.PhysicsLoss(problem, self.network, points, weighting="rba")

        def training_step(self, batch):
            return self.physics(batch)

        def configure_optimizers(self):
            return torch.optim.Adam(self.parameters(), lr=1e-2)

    lightning.seed_everything(0, verbose=False)
    saved = max((folder / "checkpoints").glob("*.ckpt"), key=lambda file: file.stat().st_mtime_ns, default=None)
    if saved is None:
        begin_anew(folder)
    files = {"history_file": folder / "history.jsonl", "run_folder": folder / "run", "snapshots": [30, 70]}
    phases = PhaseCallback(every=5, batches=10, resume=True, loggers=["csv"], **files)
    saving = ModelCheckpoint(folder / "checkpoints", every_n_train_steps=8, save_top_k=1, monitor="step", mode="max")
    quiet = dict.fromkeys(["logger", "enable_progress_bar", "enable_model_summary"], False)
    trainer = lightning.Trainer(max_steps=steps, accelerator="cpu", callbacks=[phases, saving], **quiet)
    trainer.fit(Helmholtz(), torch.utils.data.DataLoader(torch.arange(100), batch_size=50), ckpt_path=saved)


KINDS = {
    "run-torch": (run, "torch", 150),
    "run-keras": (run, "keras", 100),
    "compare-torch": (compare, "torch", 80),
    "compare-torch-jobs": (compare_side_by_side, "torch", 120),
    "compare-keras": (compare, "keras", 60),
    "torch-loop": (torch_loop,),
    "keras-fit": (keras_fit,),
    "lightning": (lightning_fit,),
}
"""The function, and what it is called with beside the folder."""


def attempt(kind, folder, dies_at):
    """Train once in a process of its own, whose output goes to a file, as does what it imported.

    Args:
        kind: one of `KINDS`.
        folder: where; made by whoever calls.
        dies_at: number of the change of a file, just before which the process kills itself; 0 for never.
    """
    os.setsid()
    with (folder.parent / "output.txt").open("w") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    changes = Changes(folder, dies_at)
    sys.addaudithook(changes)
    train, *options = KINDS[kind]
    try:
        train(folder, *options)
    except SystemExit as ended:
        if ended.code:
            os._exit(ended.code)
    finally:
        (folder.parent / "changes.json").write_text(json.dumps(changes.count))
        (folder.parent / "modules.json").write_text(json.dumps(list(sys.modules)))


class Changes:
    """Counts, as Python's audit hook, how often files of a folder are opened for writing, renamed, made or removed."""

    KINDS = frozenset({"open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.truncate"})
    WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT

    def __init__(self, folder, dies_at):
        self.folder, self.dies_at, self.count = str(folder), dies_at, 0

    def __call__(self, event, arguments):
        if event not in self.KINDS or not str(arguments[0]).startswith(self.folder):
            return
        if event == "open" and not arguments[2] & self.WRITING:
            return
        self.count += 1
        if self.count == self.dies_at:
            os.kill(os.getpid(), 9)
