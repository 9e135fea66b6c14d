"""One process of a training of several: `python distributed_worker.py FOLDER RANK PROCESSES CASE...`."""

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
from phasecore.problems import CollocationPoints
from phasecore_torch import PhaseMonitor, PhysicsLoss

POINTS, CONDITION_POINTS, BATCHES, BATCH, ITERATIONS = 32, 8, 8, 8, 6


def points_of(problem, rank, processes, way):
    uneven = int("uneven" in way)
    every = problem.sample(POINTS + uneven, seed=0)
    conditions = [own[: CONDITION_POINTS + uneven] for own in every.conditions]
    if "batches" in way:
        return CollocationPoints(every.interior, tuple(conditions))
    interior, *others = (np.array_split(own, processes)[rank] for own in [every.interior, *conditions])
    return CollocationPoints(interior, tuple(others))


def batches_of(way, rank, processes):
    """Indices of each iteration's points, None for all; the batches of all processes together are the same."""
    if "batches" not in way:
        return itertools.repeat(None)
    sampler = DistributedSampler(range(POINTS), processes, rank, shuffle=False)
    loader = DataLoader(range(POINTS), batch_size=BATCH // processes, sampler=sampler)
    return itertools.cycle(loader)


def average_gradients(model, processes):
    for parameter in model.parameters():
        if processes > 1:
            distributed.all_reduce(parameter.grad)
            parameter.grad /= processes


def train(case, folder, rank, processes):
    weighting, _, way = case.partition(" ")
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    problem = phasecore.problem("burgers")
    model = torch.nn.Sequential(torch.nn.Linear(2, 6), torch.nn.Tanh(), torch.nn.Linear(6, 1))
    called = DistributedDataParallel(model) if processes > 1 and "ddp" in way else model
    loss_fn = PhysicsLoss(problem, called, points_of(problem, rank, processes, way), weighting=weighting)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    probes = [] if "ddp" in way else registry.names("probe")
    monitor = PhaseMonitor(
        loss_fn,
        optimizer,
        probes=probes or None,
        every=2,
        batches=BATCHES,
        run_folder=folder / case.replace(" ", "-").replace(":", "-"),
        history_file=folder / f"{case.replace(' ', '-').replace(':', '-')}.jsonl",
        snapshots=[4],
    )
    for _, batch in zip(range(ITERATIONS), batches_of(way, rank, processes), strict=False):
        if "step" in way:
            optimizer.zero_grad()
            loss_fn(batch).backward()
            average_gradients(model, processes)
            optimizer.step()
            monitor.step()
            continue
        with monitor:
            optimizer.zero_grad()
            loss_fn(batch).backward()
            if called is model:
                average_gradients(model, processes)
            optimizer.step()
    monitor.finish()
    weights = {term: weight.tolist() for term, weight in loss_fn.point_weights().items()}
    return {
        "parameters": torch.cat([p.detach().flatten() for p in model.parameters()]).tolist(),
        "weights": weights,
        "history": monitor.history,
        "restored": restored(loss_fn, rank, processes) if case == "rba step" and processes > 1 else [],
    }


class Holder(torch.nn.Module):
    """A network and its loss in one module, as Lightning's are."""

    def __init__(self, problem, network, points):
        super().__init__()
        self.network = network
        self.loss = PhysicsLoss(problem, network, points)

    def forward(self):
        return self.loss()


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
            "ddp around the loss": lambda: DistributedDataParallel(
                Holder(problem, model, points_of(problem, rank, processes, ""))
            )(),
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
