"""A training in several processes, each with some of the points, is that of one process with all of them."""

import json
import sys
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
import torch
from distributed_worker import MOVES, POINTS
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
        "torn": "received iteration 4 in process 0, iteration 3 in process 1",
        "of other parameters": "processes: received parameters ",
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


def test_the_state_of_other_points_is_refused(trained):
    for found in trained[1]:
        assert "received weights of other points than its" in found["of other points"]


def sorted_points(processes, sampling, when):
    every = np.concatenate([found["moved"][sampling][when] for found in processes])
    return every[np.lexsort(every.T[:2])]


@pytest.mark.parametrize("sampling", MOVES)
def test_points_move_as_in_one_process_and_those_that_stay_keep_their_weights(sampling, trained):
    alone, others = trained
    before, after = (sorted_points(others, sampling, when) for when in (0, 1))
    for when, found in enumerate((before, after)):
        np.testing.assert_allclose(found[:, :2], sorted_points([alone], sampling, when)[:, :2], rtol=0, atol=1e-12)
    assert len(np.unique(after[:, :2], axis=0)) == len(after) >= POINTS
    weights = {tuple(row[:2]): row[2] for row in sorted_points([alone], sampling, 1)}
    stayed = [row for row in after.tolist() if tuple(row[:2]) in {tuple(point[:2]) for point in before.tolist()}]
    assert len(stayed) == POINTS if "rar_d" in sampling else len(stayed) < POINTS
    assert all(row[2] == pytest.approx(weights[tuple(row[:2])], rel=1e-10) for row in stayed)
    assert max(len(found["moved"][sampling][1]) for found in others) - len(after) / len(others) < 1


def test_a_loss_of_ones_own_is_measured_as_in_one_process(trained):
    alone, others = trained
    for found in others:
        for measured, expected in zip(found["measured_of_own_loss"], alone["measured_of_own_loss"], strict=True):
            assert {**measured, "seconds": 0} == pytest.approx({**expected, "seconds": 0}, rel=1e-8)


def test_a_part_may_have_a_single_batch(trained):
    alone, others = trained
    for found in others:
        found, expected = found["measured_of_few_batches"], alone["measured_of_few_batches"]
        assert found["gradient_mean_norm"] == pytest.approx(expected["gradient_mean_norm"], rel=0.05)
        assert 1 / 3 < found["snr"] / expected["snr"] < 3


def test_a_line_search_is_that_of_one_process(trained):
    alone, others = trained
    for found in others:
        for values, expected in zip(found["searched"], alone["searched"], strict=True):
            np.testing.assert_allclose(values, expected, rtol=1e-6)


def test_one_process_may_look_alone(trained):
    for rank, found in enumerate(trained[1]):
        seen, iterations = found["looked_at"]
        # each row comes with the block after the iteration that it is of
        assert seen == (list(range(6)) if rank == 0 else [])
        assert iterations == trained[0]["looked_at"][1]


def test_the_state_of_several_processes_is_refused_in_one():
    problem = phasecore.problem("burgers")
    loss_fn = PhysicsLoss(problem, torch.nn.Linear(2, 1), problem.sample(20, seed=0), weighting="rba")
    with pytest.raises(phasecore.InputError, match=r"that of process 1 of 4.*one of a training in one process"):
        loss_fn.load_state_dict(loss_fn.state_dict() | {"process": torch.tensor([1, 4])})
