"""One process of a training of several: `python distributed_worker.py FOLDER RANK PROCESSES CASE...`."""

import copy
import itertools
import json
import sys
from datetime import timedelta
from pathlib import Path

import numpy as np
import torch
from torch import distributed
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler

import phasecore
from phasecore import registry
from phasecore.problems import CollocationPoints, part_of
from phasecore_torch import LBFGS, PhaseMonitor, PhysicsLoss, Resampling

POINTS, CONDITION_POINTS, BATCHES, BATCH, ITERATIONS = 32, 8, 8, 8, 6
BUFFERED = 9
"""Batches of the statistics that no two or four processes have equally many of."""

PROBLEMS = {"inverse": "burgers_inverse", "periodic": "convection"}
"""Problems of some cases, by a word of theirs; of all others Burgers."""

MOVES = ["uniform:every=1", "rad:every=1,candidates=50", "rar_d:every=1,added=3,candidates=50", "r3:every=1"]
MOVES += ["grid+r3:every=1", "sobol+uniform:every=1"]


def points_of(problem, rank, processes, way):
    uneven = int("uneven" in way)
    every = problem.sample(POINTS + uneven, seed=0)
    # of a periodic condition one face would be left
    most = None if "periodic" in way else CONDITION_POINTS + uneven
    conditions = [own[:most] for own in every.conditions]
    if "batches" in way:
        return CollocationPoints(every.interior, tuple(conditions))
    every = CollocationPoints(every.interior, tuple(conditions))
    return part_of(problem, every, rank, processes, batches=BUFFERED if "buffers" in way else None)


def batches_of(way, rank, processes):
    """Indices of each iteration's points, None for all; the batches of all processes together are the same."""
    if "batches" not in way:
        return itertools.repeat(None)
    sampler = DistributedSampler(range(POINTS), processes, rank, shuffle=False)
    loader = DataLoader(range(POINTS), batch_size=BATCH // processes, sampler=sampler)
    return itertools.cycle(loader)


class Waves(torch.nn.Module):
    """A network with a buffer, which DistributedDataParallel hands out at each evaluation."""

    def __init__(self, network):
        super().__init__()
        self.network = network
        self.register_buffer("frequencies", torch.tensor([[1.0, 0.5], [0.3, -1.0]]))

    def forward(self, points):
        return self.network(torch.sin(points @ self.frequencies))


def average_gradients(parameters, processes):
    for parameter in parameters:
        if processes > 1:
            distributed.all_reduce(parameter.grad)
            parameter.grad /= processes


def train(case, folder, rank, processes):
    weighting, _, way = case.partition(" ")
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    problem = phasecore.problem(next((name for word, name in PROBLEMS.items() if word in way), "burgers"))
    model = torch.nn.Sequential(torch.nn.Linear(2, 6), torch.nn.Tanh(), torch.nn.Linear(6, 1))
    model = Waves(model) if "buffers" in way else model
    called = DistributedDataParallel(model) if processes > 1 and "ddp" in way else model
    own = points_of(problem, rank, processes, way)
    derivatives = "autodiff" if "autodiff" in way else "auto"
    loss_fn = PhysicsLoss(problem, called, own, weighting=weighting, derivatives=derivatives)
    evaluate = loss_fn
    if processes > 1 and "around" in way:
        evaluate = DistributedDataParallel(Holder(model, loss_fn))
    optimizer = torch.optim.Adam([*model.parameters(), *loss_fn.parameters()], lr=1e-2)
    probes = [] if "ddp" in way else registry.names("probe")
    monitor = PhaseMonitor(
        loss_fn,
        optimizer,
        probes=probes or None,
        every=2,
        batches=BUFFERED if "buffers" in way else BATCHES,
        run_folder=folder / case.replace(" ", "-").replace(":", "-"),
        history_file=folder / f"{case.replace(' ', '-').replace(':', '-')}.jsonl",
        snapshots=[4],
    )
    for _, batch in zip(range(ITERATIONS), batches_of(way, rank, processes), strict=False):
        if "step" in way:
            optimizer.zero_grad()
            loss_fn(batch).backward()
            average_gradients([*model.parameters(), *loss_fn.parameters()], processes)
            optimizer.step()
            monitor.step()
            continue
        with monitor:
            optimizer.zero_grad()
            evaluate(batch).backward()
            if called is model and evaluate is loss_fn:
                average_gradients(model.parameters(), processes)
            optimizer.step()
    monitor.finish()
    weights = {term: weight.tolist() for term, weight in loss_fn.point_weights().items()}
    return {
        "parameters": torch.cat([p.detach().flatten() for p in (*model.parameters(), *loss_fn.parameters())]).tolist(),
        "weights": weights,
        "history": monitor.history,
        "restored": restored(loss_fn, rank, processes) if case == "rba step" and processes > 1 else [],
    }


class Holder(torch.nn.Module):
    """A network and its loss in one module, as Lightning's are."""

    def __init__(self, network, loss):
        super().__init__()
        self.network = network
        self.loss = loss

    def forward(self, batch):
        return self.loss(batch)


def handed_out(loss_fn):
    """The loss of a process that was given the condition points of the first one."""
    for name, buffer in loss_fn.named_buffers():
        if "conditions.points" in name:
            distributed.broadcast(buffer, 0)
    return loss_fn()


def sharded(*sizes):
    layer = torch.nn.Linear(*sizes)
    fully_shard(layer, mesh=init_device_mesh("cpu", (distributed.get_world_size(),)))
    return layer


def wrapped():
    """As it is before it cuts anything: that takes an accelerator."""
    made = FullyShardedDataParallel.__new__(FullyShardedDataParallel)
    torch.nn.Module.__init__(made)
    made._modules["_fsdp_wrapped_module"] = torch.nn.Linear(2, 1)
    return made


def monitored(model):
    optimizer = torch.optim.Adam(model.parameters())
    PhaseMonitor(lambda x: model(x).square().mean(), optimizer, points=torch.rand(8, 2), batches=2)


def restored(loss_fn, rank, processes):
    """What comes of loading the state of this process, and that of another one, into new losses."""
    state, again = loss_fn.state_dict(), PhysicsLoss(loss_fn.problem, loss_fn.model, loss_fn.points, weighting="rba")
    told = []
    for place in (rank, (rank + 1) % processes):
        state["process"] = torch.tensor([place, processes])
        for loss in (again, loss_fn):
            try:
                told.append(str(loss.load_state_dict(state, strict=loss is loss_fn)))
            except phasecore.InputError as error:
                told.append(str(error))
    return told


def small():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(2, 6), torch.nn.Tanh(), torch.nn.Linear(6, 1))


def moved(sampling, rank, processes):
    """The points before moves and after them, each with its weight."""
    problem = phasecore.problem("burgers")
    loss_fn = PhysicsLoss(problem, small(), points_of(problem, rank, processes, ""), weighting="rba")
    resampling, weighted = Resampling(loss_fn, sampling, seed=0), []
    for moves in (0, 3):
        loss_fn.train(moves == 0)
        weighted.append(torch.column_stack([loss_fn.points, loss_fn.point_weights()["pde"]]).tolist())
        loss_fn()
        for _ in range(3 - moves):
            resampling.step()
    return weighted


def measured_of_own_loss(rank, processes):
    model, every = small(), torch.linspace(0, 1, 2 * POINTS).reshape(POINTS, 2)
    rows = []
    for points, batches in ((np.array_split(every.numpy(), processes)[rank], BATCHES), (every, 3)):
        optimizer = torch.optim.Adam(model.parameters())
        monitor = PhaseMonitor(lambda x: model(x).square().mean(), optimizer, points=points, batches=batches)
        rows.append(monitor.step())
    return rows


def measured_of_few_batches(rank, processes):
    """Of parts that are far from equal, the last of them in one batch."""
    problem, model = phasecore.problem("burgers"), small()
    every, conditions = problem.sample(POINTS, seed=0), points_of(problem, rank, processes, "").conditions
    cut = np.arange(4, 4 + processes - 1)[::-1] * -1
    points = CollocationPoints(np.split(every.interior, cut)[rank] if processes > 1 else every.interior, conditions)
    return PhaseMonitor(PhysicsLoss(problem, model, points), torch.optim.Adam(model.parameters()), batches=5).step()


def searched(rank, processes):
    problem, model = phasecore.problem("burgers"), small()
    loss_fn, optimizer = PhysicsLoss(problem, model, points_of(problem, rank, processes, "")), LBFGS(model.parameters())

    def closure():
        optimizer.zero_grad()
        loss = loss_fn()
        loss.backward()
        average_gradients(model.parameters(), processes)
        return loss

    losses = [optimizer.step(closure).item() for _ in range(6)]
    return losses, torch.cat([p.detach().flatten() for p in model.parameters()]).tolist()


class Loop:
    """A training, and the states that it had after each iteration."""

    def __init__(self, rank, processes, seed=0):
        problem, self.processes = phasecore.problem("burgers"), processes
        every = problem.sample(POINTS, seed=seed)
        conditions = points_of(problem, rank, processes, "").conditions
        own = CollocationPoints(np.array_split(every.interior, processes)[rank], conditions)
        model = small()
        loss_fn = PhysicsLoss(problem, model, own, weighting="rba")
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
        monitor = PhaseMonitor(loss_fn, optimizer, every=2, batches=BATCHES)
        self.parts = {"model": model, "optimizer": optimizer, "loss": loss_fn, "monitor": monitor}
        self.saved = {}

    def train(self, until, look=lambda monitor: None):
        model, optimizer, loss_fn, monitor = self.parts.values()
        while monitor.iteration < until:
            with monitor:
                optimizer.zero_grad()
                loss_fn().backward()
                average_gradients(model.parameters(), self.processes)
                optimizer.step()
            look(monitor)
            saved = {name: part.state_dict() for name, part in self.parts.items()}
            self.saved[monitor.iteration] = copy.deepcopy(saved)
        monitor.finish()
        return self

    def load(self, state):
        for name, part in self.parts.items():
            part.load_state_dict(state[name])
        return self


def looked_at(rank, processes):
    """What the first process alone sees, and what comes of it."""
    seen = []

    def look(monitor):
        if rank == 0:
            told = monitor.phase, monitor.timeline, monitor.actions
            seen.append(len(monitor.history) if told else None)

    loop = Loop(rank, processes).train(6, look)
    return seen, [row["iteration"] for row in loop.parts["monitor"].history]


def main():
    folder, rank, processes, *cases = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), *sys.argv[4:]
    if processes > 1:
        distributed.init_process_group(
            "gloo",
            init_method=f"file://{folder}/store",
            rank=rank,
            world_size=processes,
            timeout=timedelta(seconds=300),
        )
    found = {case: train(case, folder, rank, processes) for case in cases}
    found["moved"] = {sampling: moved(sampling, rank, processes) for sampling in MOVES}
    found |= {own.__name__: own(rank, processes) for own in (measured_of_own_loss, measured_of_few_batches, searched)}
    found["looked_at"] = looked_at(rank, processes)
    if processes > 1:
        saved = Loop(rank, processes).train(4).saved
        problem, other = phasecore.problem("burgers"), phasecore.problem("allen_cahn")
        torch.manual_seed(0)
        model, points = torch.nn.Linear(2, 1), problem.sample(32, seed=0)
        torch.manual_seed(rank)
        seeded = torch.nn.Linear(2, 1)
        own = problem if rank else other
        for what, make in {
            "policy": lambda: PhaseMonitor(
                PhysicsLoss(problem, model, points),
                torch.optim.Adam(model.parameters()),
                batches=2,
                policy="stop_when_done",
            ),
            "problem": lambda: PhysicsLoss(own, model, own.sample(32, seed=0))(),
            "weighting": lambda: PhysicsLoss(problem, model, points, weighting="rba" if rank else "uniform")(),
            "seed": lambda: PhysicsLoss(problem, seeded, points)(),
            "torn": lambda: Loop(rank, processes).load(saved[4 - rank % 2]).train(6),
            "of other parameters": lambda: (
                Loop(rank, processes).load(saved[4] | {"model": saved[4 - rank % 2]["model"]}).train(6)
            ),
            "of other points": lambda: Loop(rank, processes, seed=5).load(saved[4]),
            "fsdp": lambda: PhysicsLoss(problem, wrapped(), points),
            "fully_shard": lambda: PhysicsLoss(problem, sharded(2, 1), points),
            "fsdp of a loss of one's own": lambda: monitored(sharded(2, 1)),
            "points handed out": lambda: handed_out(
                PhysicsLoss(problem, model, points_of(problem, rank, processes, ""))
            ),
        }.items():
            try:
                make()
            except phasecore.InputError as error:
                found[what] = str(error)
            except SystemExit as error:
                found[what] = error.code
    (folder / f"{rank}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main()
