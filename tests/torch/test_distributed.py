"""A training in several processes, each with some of the points, is that of one process with all of them."""

import json
import sys
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
import torch
from processes import Started

import phasecore
from phasecore import registry
from phasecore.recording.reading import read_curve
from phasecore.runs import open_run
from phasecore_torch import PhysicsLoss

WORKER = Path(__file__).with_name("distributed_worker.py")
CASES = [
    "rba+grad_norm:every=2",
    "vrba+ntk:every=3",
    "causal:cut=count+learning_rate_annealing:every=2",
    "brdr+relobralo",
    "self_adaptive:start=0.5,start_conditions=0.5+soft_adapt+fixed:pde=2",
    "rba step",
    "rba ddp",
    "rba+grad_norm:every=2 uneven",
    "causal:cut=count+ntk:every=3 uneven step",
    "rba+grad_norm:every=2 batches",
    "brdr+ntk:every=2 batches ddp",
    "rba inverse ddp",
    "uniform inverse uneven step",
    "rba inverse uneven around",
    "rba periodic",
    "rba buffers autodiff ddp",
]
"""Schemes, and how the training goes."""


def test_every_scheme_is_among_them():
    assert {part.partition(":")[0] for case in CASES for part in case.split()[0].split("+")} | {"uniform"} == {
        *registry.names("weighting")
    }


@pytest.fixture(scope="module", params=[2, pytest.param(4, marks=pytest.mark.campaign)])
def trained(request, tmp_path_factory):
    """What one process found, and what each of several did."""
    found = {}
    with ExitStack() as stack:
        started = []
        for processes in (1, request.param):
            folder = tmp_path_factory.mktemp(f"of_{processes}")
            for rank in range(processes):
                command = [sys.executable, str(WORKER), str(folder), str(rank), str(processes), *CASES]
                process = stack.enter_context(Started(command, folder / f"{rank}.txt"))
                started.append((processes, folder / f"{rank}.json", process))
        for processes, file, process in started:
            status, output = process.finish(900)
            assert status == 0, output
            found.setdefault(processes, []).append(json.loads(file.read_text()) | {"folder": file.parent})
    return found[1][0], found[request.param]


def columns(history):
    return {name: np.array([row.get(name, np.nan) for row in history]) for name in history[0] if name != "seconds"}


@pytest.mark.parametrize("case", CASES)
def test_parameters_weights_and_history_are_those_of_one_process(case, trained):
    alone, others = trained
    for found in others:
        np.testing.assert_allclose(found[case]["parameters"], alone[case]["parameters"], rtol=1e-10, atol=1e-12)
        expected, history = columns(alone[case]["history"]), columns(found[case]["history"])
        assert len(found[case]["history"]) == len(alone[case]["history"]) >= 3
        assert history.keys() == expected.keys() >= {"snr", "residual_order", "relative_l2_error", "training_loss"}
        for name, values in history.items():
            np.testing.assert_allclose(values, expected[name], rtol=1e-8, atol=1e-10, err_msg=name)
    for term, weights in alone[case]["weights"].items():
        own = [found[case]["weights"][term] for found in others]
        together = own[0] if "batches" in case else np.concatenate(own)
        # a term of several conditions has their points one condition after the other, in each process
        np.testing.assert_allclose(np.sort(together), np.sort(weights), rtol=1e-10, err_msg=term)
        assert "batches" not in case or all(one == own[0] for one in own)


def test_one_process_writes(trained):
    alone, (first, *_) = trained
    for every in (alone, first):
        folder, found = every["folder"], every["rba step"]
        assert len(read_curve(folder / "rba-step.jsonl").iteration) == len(found["history"])
        run = open_run(folder / "rba-step")
        assert run.outcome["iterations"] == 6
        assert len(run.history["iteration"]) == len(found["history"])


def test_policies_are_refused_in_each_process(trained):
    for found in trained[1]:
        assert "argument 'policy': received a policy in" in found["policy"]


@pytest.mark.parametrize(
    ("what", "told"),
    {
        "problem": "the problem: received allen_cahn {",
        "weighting": "the weighting: received uniform in process 0, rba in process 1",
        "seed": "the initial parameters: received ",
        "fsdp": "received parameters of which each process has a part, as of FullyShardedDataParallel",
        "fully_shard": "received parameters of which each process has a part",
        "fsdp of a loss of one's own": "received parameters of which each process has a part",
        "points handed out": "received those of process 0 in process 1 too, which was given others",
    }.items(),
)
def test_what_cannot_be_ends_all_processes_with_one_message(what, told, trained):
    first, *others = (found[what] for found in trained[1])
    assert told in first
    assert set(others) == {1}


def test_the_state_of_another_process_is_refused(trained):
    for rank, found in enumerate(trained[1]):
        *own, fresh, used = found["rba step"]["restored"]
        assert all("All keys matched" in told or "IncompatibleKeys" in told for told in own)
        other = (rank + 1) % len(trained[1])
        assert f"received that of process {other} of {len(trained[1])}, with the weights of its points" in fresh
        assert fresh == used


def test_the_state_of_several_processes_is_refused_in_one():
    problem = phasecore.problem("burgers")
    loss_fn = PhysicsLoss(problem, torch.nn.Linear(2, 1), problem.sample(20, seed=0), weighting="rba")
    with pytest.raises(phasecore.InputError, match=r"that of process 1 of 4.*one of a training in one process"):
        loss_fn.load_state_dict(loss_fn.state_dict() | {"process": torch.tensor([1, 4])})
