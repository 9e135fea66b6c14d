"""The same numbers from every adapter and backend: from the same parameters and points, in float32.

Each runs in a process of its own; one that is missing fails. What takes the time is compiling, so TensorFlow and JAX go
through two cases, which have every mechanism among them (weights of points, of terms by gradients, by traces and by
losses, causal ones, products), torch through all, and each through the curve of one; the rest is a campaign.
"""

import itertools
import sys
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from campaigns import campaign
from processes import Started

import phasecore

WORKER = Path(__file__).with_name("parity_worker.py")
REFERENCE = "torch"
CASES = {
    "helmholtz, rba from residuals": ("helmholtz", "rba:start=residuals,normalization=minmax"),
    "cavity, rba": ("lid_driven_cavity", "rba:gamma=0.99,eta=0.01"),
    "burgers, self_adaptive": ("burgers", "self_adaptive"),
    "helmholtz, rba and grad_norm": ("helmholtz", "rba+grad_norm:every=20"),
    "burgers, ntk": ("burgers", "ntk:every=20"),
    "allen_cahn, causal and relobralo": ("allen_cahn", "causal+relobralo"),
    "allen_cahn, causal": ("allen_cahn", "causal"),
}
FOLLOWED = "helmholtz, rba and grad_norm"
"""The case of which the suite has the curve on every backend."""

GONE_THROUGH = {
    "keras-tensorflow": [FOLLOWED, "burgers, ntk"],
    "keras-jax": [FOLLOWED, "allen_cahn, causal and relobralo"],
    "keras-torch": [name for name in CASES if name != "allen_cahn, causal"],
}
"""The cases of each backend; the others are campaigns."""

ITERATIONS = 100
POINTS = 200
SIZES = (12, 12)


def each(wanted):
    """All targets with all cases: those that are wanted, and the others as campaigns."""
    pairs = list(itertools.product(GONE_THROUGH, CASES))
    chosen = [pair for pair in pairs if wanted(*pair)]
    return [*chosen, *campaign(*(pair for pair in pairs if pair not in chosen))]


def case(problem, weighting, curve):
    """Parameters, points and orders of mini-batches (the last of which is short)."""
    made = phasecore.problem(problem)
    generator = np.random.default_rng(0)
    sizes = [len(made.coordinates), *SIZES, len(made.outputs)]
    points = made.sample(POINTS, seed=1, condition_points=20)
    data = {"problem": problem, "weighting": weighting, "interior": points.interior, "curve": curve}
    data |= {f"condition_{k}": own for k, own in enumerate(points.conditions)}
    for k, (size, next_size) in enumerate(itertools.pairwise(sizes)):
        data[f"kernel_{k}"] = generator.normal(0, np.sqrt(2 / (size + next_size)), (size, next_size)).astype("float32")
        data[f"bias_{k}"] = generator.normal(0, 0.1, next_size).astype("float32")
    return data | {f"order_{k}": generator.permutation(POINTS) for k in range(3)}


@pytest.fixture(scope="module")
def results(tmp_path_factory, request):
    """What each target found in each case that is asked for."""
    folder = tmp_path_factory.mktemp("parity")
    ours = [item for item in request.session.items if item.path == request.path]
    asked = [item for item in ours if "results" in item.fixturenames]
    curves = {item.callspec.params["name"] for item in asked if item.originalname == CURVES}
    cases = {target: set() for target in GONE_THROUGH}
    for item in asked:
        cases[item.callspec.params["target"]].add(item.callspec.params["name"])
    cases[REFERENCE] = set().union(*cases.values())
    for number, (name, of_case) in enumerate(CASES.items()):
        np.savez(folder / f"{number}.npz", **case(*of_case, curve=ITERATIONS if name in curves else 0))
    with ExitStack() as stack:
        running = {target: stack.enter_context(start(target, folder, own)) for target, own in cases.items() if own}
        return {target: outcome(process, target, folder, cases[target]) for target, process in running.items()}


def start(target, folder, cases):
    adapter, _, backend = target.partition("-")
    numbers = [number for number, name in enumerate(CASES) if name in cases]
    files = [str(folder / name) for number in numbers for name in (f"{number}.npz", f"{number}-{target}.npz")]
    command = [sys.executable, str(WORKER), adapter, *files]
    return Started(command, folder / f"{target}.log", **({"KERAS_BACKEND": backend} if backend else {}))


def outcome(process, target, folder, cases):
    """Arrays by name for each case, or what a process wrote that failed."""
    status, output = process.finish()
    if status:
        return output[-4000:]
    found = {}
    for number, name_of_case in enumerate(CASES):
        if name_of_case in cases:
            with np.load(folder / f"{number}-{target}.npz") as file:
                found[name_of_case] = {name: file[name] for name in file.files}
    return found


def of(results, target, name):
    assert isinstance(results[target], dict), f"{target}: {results[target]}"
    return results[target][name]


def relative(found, expected):
    found, expected = np.asarray(found, dtype=np.float64), np.asarray(expected, dtype=np.float64)
    assert found.shape == expected.shape
    return np.linalg.norm(found - expected) / max(np.linalg.norm(expected), 1e-30)


def differences(found, expected, *prefixes):
    names = [name for name in expected if name.startswith(prefixes)]
    assert names
    assert {name for name in found if name.startswith(prefixes)} == set(names)
    return {name: relative(found[name], expected[name]) for name in names}


SHORT = each(lambda target, name: name in GONE_THROUGH[target])
CURVES = "test_a_hundred_iterations_agree"


@pytest.mark.parametrize(("target", "name"), SHORT)
def test_residuals_losses_and_weights_agree(results, target, name):
    found, expected = of(results, target, name), of(results, REFERENCE, name)
    prefixes = ("residual_", "condition_", "unweighted_", "weighted_", "loss_after_updates")
    different = differences(found, expected, *prefixes)
    different |= differences(found, expected, "weight_")
    assert max(different.values()) < 1e-5, different


@pytest.mark.parametrize(("target", "name"), SHORT)
def test_gradients_agree(results, target, name):
    found, expected = of(results, target, name), of(results, REFERENCE, name)
    names = [name for name in expected if name.startswith("gradient_")]
    whole = [np.concatenate([np.ravel(part[name]) for name in names]) for part in (found, expected)]
    assert relative(*whole) < 1e-5
    kernels = {name: relative(found[name], expected[name]) for name in names if "kernel" in name}
    assert max(kernels.values()) < 1e-5, kernels


@pytest.mark.parametrize(("target", "name"), SHORT)
def test_captured_statistics_agree(results, target, name):
    different = differences(of(results, target, name), of(results, REFERENCE, name), "statistic_")
    assert {"statistic_snr", "statistic_gradient_order", "statistic_residual_order"} <= set(different)
    assert "statistic_relative_l2_error" in different
    assert max(different.values()) < 1e-5, different


@pytest.mark.parametrize(("target", "name"), each(lambda target, name: name == FOLLOWED))
def test_a_hundred_iterations_agree(results, target, name):
    found, expected = (of(results, one, name)["curve"] for one in (target, REFERENCE))
    assert len(found) == ITERATIONS
    assert abs(expected[-1] - expected[0]) > 1e-3 * expected[0]  # up, where weights ascend
    np.testing.assert_allclose(found, expected, rtol=1e-3)


def test_every_case_is_gone_through_by_some_backend():
    among = {name for names in GONE_THROUGH.values() for name in names}
    assert among == CASES.keys() - {"allen_cahn, causal"}, "which is there beside another scheme"
    assert {CASES[name][0] for name in among} >= {"helmholtz", "lid_driven_cavity", "burgers", "allen_cahn"}
