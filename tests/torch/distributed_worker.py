"""One process of a training of several: `python distributed_worker.py FOLDER RANK PROCESSES CASE...`."""

import json
import sys
from datetime import timedelta
from pathlib import Path

import numpy as np
import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

import phasecore
from phasecore import registry
from phasecore.problems import CollocationPoints
from phasecore_torch import PhaseMonitor, PhysicsLoss

POINTS, CONDITION_POINTS, BATCHES, ITERATIONS = 32, 8, 8, 6


def points_of(problem, rank, processes):
    every = problem.sample(POINTS, seed=0)
    conditions = [own[:CONDITION_POINTS] for own in every.conditions]
    interior, *others = (np.split(own, processes)[rank] for own in [every.interior, *conditions])
    return CollocationPoints(interior, tuple(others))


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
    loss_fn = PhysicsLoss(problem, called, points_of(problem, rank, processes), weighting=weighting)
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
    for _ in range(ITERATIONS):
        if "step" in way:
            optimizer.zero_grad()
            loss_fn().backward()
            average_gradients(model, processes)
            optimizer.step()
            monitor.step()
            continue
        with monitor:
            optimizer.zero_grad()
            loss_fn().backward()
            if called is model:
                average_gradients(model, processes)
            optimizer.step()
    monitor.finish()
    weights = {term: weight.tolist() for term, weight in loss_fn.point_weights().items()}
    return {
        "parameters": torch.cat([p.detach().flatten() for p in model.parameters()]).tolist(),
        "weights": weights,
        "history": monitor.history,
    }


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
        problem, model = phasecore.problem("burgers"), torch.nn.Linear(2, 1)
        for what, make in {
            "sizes": lambda: PhysicsLoss(problem, model, problem.sample(32 + rank, seed=0)),
            "policy": lambda: PhaseMonitor(
                PhysicsLoss(problem, model, problem.sample(32, seed=0)),
                torch.optim.Adam(model.parameters()),
                batches=2,
                policy="stop_when_done",
            ),
        }.items():
            try:
                make()
            except phasecore.InputError as error:
                found[what] = str(error)
    (folder / f"{rank}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main()
