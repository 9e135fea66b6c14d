"""One process of a training of several: `python distributed_worker.py FOLDER RANK PROCESSES CASE...`."""

import itertools
import json
import sys
from datetime import timedelta
from pathlib import Path

import torch
from torch import distributed
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler

import phasecore
from phasecore import registry
from phasecore.problems import CollocationPoints, part_of
from phasecore_torch import PhaseMonitor, PhysicsLoss

POINTS, CONDITION_POINTS, BATCHES, BATCH, ITERATIONS = 32, 8, 8, 8, 6
BUFFERED = 9
"""Batches of the statistics that no two or four processes have equally many of."""

PROBLEMS = {"inverse": "burgers_inverse", "periodic": "convection"}
"""Problems of some cases, by a word of theirs; of all others Burgers."""


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
    if processes > 1:
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
