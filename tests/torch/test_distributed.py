"""A training in several processes, each with some of the points, is that of one process with all of them."""

import json
import sys
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from processes import Started

from phasecore import registry
from phasecore.recording.reading import read_curve
from phasecore.runs import open_run

WORKER = Path(__file__).with_name("distributed_worker.py")
CASES = [
    "rba+grad_norm:every=2",
    "vrba+ntk:every=3",
    "causal:cut=count+learning_rate_annealing:every=2",
    "brdr+relobralo",
    "self_adaptive:start=0.5,start_conditions=0.5+soft_adapt",
    "rba step",
    "rba ddp",
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
        together = np.concatenate([found[case]["weights"][term] for found in others])
        # a term of several conditions has their points one condition after the other, in each process
        np.testing.assert_allclose(np.sort(together), np.sort(weights), rtol=1e-10, err_msg=term)


def test_one_process_writes(trained):
    alone, (first, *_) = trained
    for every in (alone, first):
        folder, found = every["folder"], every["rba step"]
        assert len(read_curve(folder / "rba-step.jsonl").iteration) == len(found["history"])
        run = open_run(folder / "rba-step")
        assert run.outcome["iterations"] == 6
        assert len(run.history["iteration"]) == len(found["history"])


def test_processes_with_different_numbers_of_points_and_policies_are_refused_in_each(trained):
    for found in trained[1]:
        assert "processes: received 32, 33" in found["sizes"]
        assert "as many in each" in found["sizes"]
        assert "argument 'policy': received a policy in" in found["policy"]
