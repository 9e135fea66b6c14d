"""The same numbers from every adapter and backend: from the same parameters and points, in float32.

Each runs in a process of its own; one that is missing fails.
"""

import itertools
import sys
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from processes import Started

import phasecore

WORKER = Path(__file__).with_name("parity_worker.py")
REFERENCE = "torch"
TARGETS = ["torch", "keras-tensorflow", "keras-jax", "keras-torch"]
CASES = {
    "helmholtz, rba from residuals": ("helmholtz", "rba:start=residuals,normalization=minmax"),
    "cavity, rba": ("lid_driven_cavity", "rba:gamma=0.99,eta=0.01"),
    "burgers, self_adaptive": ("burgers", "self_adaptive"),
    "helmholtz, rba and grad_norm": ("helmholtz", "rba+grad_norm:every=20"),
    "burgers, ntk": ("burgers", "ntk:every=20"),
    "allen_cahn, causal": ("allen_cahn", "causal"),
}
POINTS = 200
SIZES = (12, 12)


def case(problem, weighting):
    """Parameters, points and orders of mini-batches (the last of which is short)."""
    made = phasecore.problem(problem)
    generator = np.random.default_rng(0)
    sizes = [len(made.coordinates), *SIZES, len(made.outputs)]
    points = made.sample(POINTS, seed=1, condition_points=20)
    data = {"problem": problem, "weighting": weighting, "interior": points.interior}
    data |= {f"condition_{k}": own for k, own in enumerate(points.conditions)}
    for k, (size, next_size) in enumerate(itertools.pairwise(sizes)):
        data[f"kernel_{k}"] = generator.normal(0, np.sqrt(2 / (size + next_size)), (size, next_size)).astype("float32")
        data[f"bias_{k}"] = generator.normal(0, 0.1, next_size).astype("float32")
    return data | {f"order_{k}": generator.permutation(POINTS) for k in range(3)}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("parity")
    for number, of_case in enumerate(CASES.values()):
        np.savez(folder / f"{number}.npz", **case(*of_case))
    with ExitStack() as stack:
        running = {target: stack.enter_context(start(target, folder)) for target in TARGETS}
        return {target: outcome(process, target, folder) for target, process in running.items()}


def start(target, folder):
    adapter, _, backend = target.partition("-")
    files = [str(folder / name) for k in range(len(CASES)) for name in (f"{k}.npz", f"{k}-{target}.npz")]
    command = [sys.executable, str(WORKER), adapter, *files]
    return Started(command, folder / f"{target}.log", **({"KERAS_BACKEND": backend} if backend else {}))


def outcome(process, target, folder):
    """Arrays by name for each case, or what a process wrote that failed."""
    status, output = process.finish()
    if status:
        return output[-4000:]
    found = {}
    for number, name_of_case in enumerate(CASES):
        with np.load(folder / f"{number}-{target}.npz") as file:
            found[name_of_case] = {name: file[name] for name in file.files}
    return found


def of(results, target, problem):
    assert isinstance(results[target], dict), f"{target}: {results[target]}"
    return results[target][problem]


def relative(found, expected):
    found, expected = np.asarray(found, dtype=np.float64), np.asarray(expected, dtype=np.float64)
    assert found.shape == expected.shape
    return np.linalg.norm(found - expected) / max(np.linalg.norm(expected), 1e-30)


def differences(found, expected, *prefixes):
    names = [name for name in expected if name.startswith(prefixes)]
    assert names
    assert {name for name in found if name.startswith(prefixes)} == set(names)
    return {name: relative(found[name], expected[name]) for name in names}


@pytest.mark.parametrize("problem", CASES)
@pytest.mark.parametrize("target", TARGETS[1:])
def test_residuals_losses_and_weights_agree(results, target, problem):
    found, expected = of(results, target, problem), of(results, REFERENCE, problem)
    prefixes = ("residual_", "condition_", "unweighted_", "weighted_", "loss_after_updates")
    different = differences(found, expected, *prefixes)
    if CASES[problem][1] != "uniform":
        different |= differences(found, expected, "weight_")
    assert max(different.values()) < 1e-5, different


@pytest.mark.parametrize("problem", CASES)
@pytest.mark.parametrize("target", TARGETS[1:])
def test_gradients_agree(results, target, problem):
    found, expected = of(results, target, problem), of(results, REFERENCE, problem)
    names = [name for name in expected if name.startswith("gradient_")]
    whole = [np.concatenate([np.ravel(part[name]) for name in names]) for part in (found, expected)]
    assert relative(*whole) < 1e-5
    kernels = {name: relative(found[name], expected[name]) for name in names if "kernel" in name}
    assert max(kernels.values()) < 1e-5, kernels


@pytest.mark.parametrize("problem", CASES)
@pytest.mark.parametrize("target", TARGETS[1:])
def test_captured_statistics_agree(results, target, problem):
    different = differences(of(results, target, problem), of(results, REFERENCE, problem), "statistic_")
    assert {"statistic_snr", "statistic_gradient_order", "statistic_residual_order"} <= set(different)
    assert "statistic_relative_l2_error" in different
    assert max(different.values()) < 1e-5, different


@pytest.mark.parametrize("problem", CASES)
@pytest.mark.parametrize("target", TARGETS[1:])
def test_a_hundred_iterations_agree(results, target, problem):
    found, expected = (of(results, name, problem)["curve"] for name in (target, REFERENCE))
    assert abs(expected[-1] - expected[0]) > 1e-3 * expected[0]  # up, where weights ascend
    np.testing.assert_allclose(found, expected, rtol=1e-3)
