"""Points that move in torch trainings: what stays with a point, what a capture sees, and what a resume finds."""

import copy
import json
import warnings
from typing import NamedTuple

import numpy as np
import pytest
import torch
from paths import EVALUATIONS, UNCOMPILED, Training
from torch import nn
from torch_oracles import mlp

import phasecore
from phasecore import InputError, PluginError
from phasecore.probes import DEFAULT_PROBES
from phasecore.problems import CollocationPoints
from phasecore.runs import execute, prepare, prepare_resumed
from phasecore.sampling import Sampling
from phasecore.weighting import WeightingScheme
from phasecore_torch import Capture, PhaseMonitor, PhysicsLoss, Resampling

BURGERS = phasecore.problem("burgers")
MOVING = {
    "uniform": "sobol+uniform:every=3",
    "rad": "rad:every=3,candidates=200",
    "rar_d": "rar_d:every=3,added=7,candidates=200",
    "r3": "r3:every=3",
}
SCHEMES = [
    "uniform",
    "rba",
    "vrba",
    "self_adaptive",
    "brdr",
    "causal",
    "soft_adapt",
    "grad_norm:every=4",
    "rba+grad_norm",
]


def loss_of(weighting="rba", points=40, seed=0, model=None, **options):
    model = mlp(width=8) if model is None else model
    return PhysicsLoss(
        BURGERS, model, BURGERS.sample(points, seed=seed, condition_points=9), weighting=weighting, **options
    )


def trained(loss, steps=6, resampling=None, indices=None):
    optimizer = torch.optim.Adam(loss.model.parameters(), lr=1e-2)
    for step in range(steps):
        optimizer.zero_grad()
        loss(None if indices is None else indices(step, len(loss.points))).backward()
        optimizer.step()
        if resampling is not None:
            resampling.step()
    return optimizer


def state_of(loss):
    """What is kept of the points, but not where they are."""
    return {name: value.clone() for name, value in loss.state_dict().items() if name != "weighting_at"}


# what stays with a point


@pytest.mark.parametrize("weighting", SCHEMES)
def test_the_same_points_in_another_order_have_their_weights_and_states(weighting):
    loss = loss_of(weighting)
    loss.track_attention()
    trained(loss)
    before = state_of(loss)
    order = np.random.default_rng(0).permutation(40)
    loss.resample(CollocationPoints(loss.collocation.interior[order], loss.collocation.conditions))
    for name, value in state_of(loss).items():
        is_of_points = name.endswith("_pde") and value.shape == (40,)
        assert torch.equal(value, before[name][order] if is_of_points else before[name]), name


@pytest.mark.parametrize("count", [40, 25, 61])
@pytest.mark.parametrize("weighting", SCHEMES)
def test_new_points_have_the_state_of_the_nearest_old_one(weighting, count):
    loss = loss_of(weighting)
    trained(loss)
    before, old = state_of(loss), loss.collocation.interior
    other = BURGERS.sample(count, seed=5).interior
    loss.resample(other)
    extents = BURGERS.bounds[1] - BURGERS.bounds[0]
    nearest = [int(np.argmin((np.square((old - row) / extents)).sum(axis=1))) for row in other]
    for name, value in state_of(loss).items():
        is_of_points = name.endswith("_pde") and before[name].shape == (40,)
        assert torch.equal(value, before[name][nearest] if is_of_points else before[name]), name
    assert loss.points.shape == (count, 2)
    trained(loss, 3)
    assert all(bool(torch.isfinite(value).all()) for value in loss.state_dict().values())


class Sizes(NamedTuple):
    sizes: dict


def remembering(on_move):
    def update(signals, state):
        xp = signals.namespace
        sizes = {term: state.sizes[term] + 1.0 + xp.abs(r) for term, r in signals["residuals"].items()}
        return sizes, Sizes(sizes)

    def init(signals):
        xp = signals.namespace
        return Sizes({term: 3.0 + xp.zeros_like(r) for term, r in signals["residuals"].items()})

    return WeightingScheme(init, update, frozenset({"residuals"}), per_point=("sizes",), on_move=on_move)


def test_a_scheme_may_have_new_points_begin_anew_and_those_that_stay_keep_theirs():
    loss = loss_of({"mine": remembering("anew")})
    trained(loss)
    before = state_of(loss)
    points = loss.collocation.interior.copy()
    points[10:20] = BURGERS.sample(10, seed=8).interior
    moved = np.zeros(40, dtype=bool)
    moved[10:20] = True
    loss.resample(points)
    after = loss.state_dict()
    now, then = after["weighting.mine.state_sizes_pde"], before["weighting.mine.state_sizes_pde"]
    assert torch.equal(now[~moved], then[~moved])
    assert (now[moved] == 3.0).all()
    (part,) = loss.weighting.parts
    now, then = part.weight("pde"), before["weighting.mine.weight_pde"]
    assert torch.equal(now[~moved], then[~moved])
    mean = then[~moved].square().mean().sqrt() if part.scheme.multiplies == "residual" else then[~moved].mean()
    torch.testing.assert_close(now[moved], mean.expand(10), msg="until they are updated")


def test_a_scheme_may_forbid_that_points_move_and_nothing_changes():
    loss = loss_of({"mine": remembering("refused"), "rba": phasecore.weighting.rba()})
    trained(loss)
    before, points = state_of(loss), loss.points.clone()
    with pytest.raises(InputError, match="moving the collocation points: received weighting 'mine', which forbids it"):
        loss.resample(BURGERS.sample(40, seed=1))
    with pytest.raises(InputError, match="'mine', which forbids it"):
        Resampling(loss, "r3")
    assert torch.equal(loss.points, points)
    assert all(torch.equal(value, before[name]) for name, value in state_of(loss).items())


def test_what_becomes_of_states_is_one_of_three():
    with pytest.raises(PluginError, match="weighting 'mine', on_move: received 'forgotten'"):
        loss_of({"mine": remembering("forgotten")})


def test_points_of_conditions_move_with_their_weights():
    loss = loss_of("self_adaptive")
    trained(loss)
    before = state_of(loss)
    given = loss.collocation
    loss.resample(CollocationPoints(given.interior, tuple(own[::-1].copy() for own in given.conditions)))
    for name, value in state_of(loss).items():
        then = before[name]
        if name.endswith("_initial"):
            then = then.flip(0)
        elif name.endswith("_boundary"):
            then = torch.cat([part.flip(0) for part in then.split(9)])
        assert torch.equal(value, then), name
    other = BURGERS.sample(33, seed=4, condition_points=5)
    loss.resample(other)
    assert {term: weights.shape[0] for term, weights in loss.point_weights().items()} == {
        "pde": 33,
        "initial": 5,
        "boundary": 10,
    }
    trained(loss, 2)


@pytest.mark.parametrize("kind", ["array", "float32", "tensor", "columns", "collocation"])
def test_points_are_taken_in_any_form_that_a_loss_is_made_of(kind):
    loss = loss_of()
    loss()
    points = BURGERS.sample(30, seed=3)
    forms = {
        "array": points.interior,
        "float32": points.interior.astype(np.float32),
        "tensor": torch.as_tensor(points.interior, dtype=torch.float32),
        "columns": {"x": points.interior[:, 0], "t": points.interior[:, 1]},
        "collocation": points,
    }
    loss.resample(forms[kind])
    assert torch.allclose(loss.points, torch.as_tensor(points.interior, dtype=torch.float32))
    assert [len(own) for own in loss.collocation.conditions] == ([11] * 3 if kind == "collocation" else [9] * 3)
    assert np.isfinite(float(loss().detach()))


def test_the_users_array_stays_the_users():
    loss, points = loss_of(model=mlp(width=8, dtype=torch.float64)), BURGERS.sample(30, seed=3).interior
    loss.resample(points)
    before = loss.points.clone()
    points[:] = 0.0
    assert torch.equal(loss.points, before)


@pytest.mark.parametrize(
    ("points", "told"),
    [
        (np.full((4, 2), 3.0), "collocation points of problem 'burgers' outside the domain"),
        (np.zeros((4, 3)), r"received shape \(4, 3\)"),
        (np.zeros((0, 2)), r"received shape \(0, 2\)"),
        (np.full((4, 2), np.nan), "outside the domain"),
        ("rad", "dtype"),
        (phasecore.problem("lid_driven_cavity").sample(9), "points for"),
    ],
)
def test_wrong_points_are_refused_and_nothing_changes(points, told):
    loss = loss_of()
    trained(loss, 2)
    before, there = state_of(loss), loss.points.clone()
    with pytest.raises(InputError, match=told):
        loss.resample(points)
    assert torch.equal(loss.points, there)
    assert all(torch.equal(value, before[name]) for name, value in state_of(loss).items())


# moves in a loop


@pytest.mark.parametrize("evaluation", [name for name in EVALUATIONS if "compiled" not in name])
@pytest.mark.parametrize("name", MOVING)
def test_every_sampling_moves_with_every_evaluation(name, evaluation):
    loss = loss_of(**EVALUATIONS[evaluation])
    resampling = Resampling(loss, MOVING[name], seed=1)
    seen = []
    optimizer = torch.optim.Adam(loss.model.parameters(), lr=1e-2)
    for _ in range(7):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
        seen.append(resampling.step())
    assert seen == [False, False, True, False, False, True, False]
    assert len(loss.points) == (54 if name == "rar_d" else 40)
    BURGERS.check_collocation_points(loss.collocation)


@pytest.mark.parametrize("weighting", SCHEMES)
@pytest.mark.parametrize("name", MOVING)
def test_every_sampling_moves_with_every_scheme_in_mini_batches(name, weighting):
    loss = loss_of(weighting)
    generator = torch.Generator().manual_seed(0)

    def batch(step, count):
        return torch.randperm(count, generator=generator)[:17]

    trained(loss, 7, Resampling(loss, MOVING[name]), indices=batch)
    assert all(bool(torch.isfinite(value).all()) for value in loss.state_dict().values())


def test_a_move_changes_nothing_but_the_points_and_their_weights():
    loss = loss_of()
    optimizer = trained(loss)
    state, drawn = copy.deepcopy(optimizer.state_dict()), torch.random.get_rng_state()
    parameters = [parameter.clone() for parameter in loss.model.parameters()]
    gradients = [parameter.grad.clone() for parameter in loss.model.parameters()]
    resampling = Resampling(loss, "rad:every=1,candidates=100")
    assert resampling.step()
    assert torch.equal(torch.random.get_rng_state(), drawn)
    assert all(map(torch.equal, parameters, loss.model.parameters()))
    assert all(torch.equal(g, p.grad) for g, p in zip(gradients, loss.model.parameters(), strict=True))
    assert str(state) == str(optimizer.state_dict())


@pytest.mark.parametrize("name", MOVING)
def test_a_checkpoint_goes_on_bit_for_bit(name):
    loss = loss_of()
    whole = Resampling(loss, MOVING[name], seed=4)
    optimizer = trained(loss, 5, whole)
    saved = copy.deepcopy([whole.state_dict(), loss.state_dict(), loss.model.state_dict(), optimizer.state_dict()])
    other = loss_of(seed=9, model=mlp(width=8, seed=5))
    again = Resampling(other, MOVING[name], seed=4)
    again.load_state_dict(saved[0])
    other.load_state_dict(saved[1])
    other.model.load_state_dict(saved[2])
    adam = torch.optim.Adam(other.model.parameters(), lr=1e-2)
    adam.load_state_dict(saved[3])
    for part, steps, moves in ((loss, optimizer, whole), (other, adam, again)):
        if part is other:
            part.resample(CollocationPoints(part.collocation.interior, loss_of().collocation.conditions))
        for _ in range(6):
            steps.zero_grad()
            part().backward()
            steps.step()
            moves.step()
    assert np.array_equal(loss.collocation.interior, other.collocation.interior)
    assert all(map(torch.equal, loss.model.parameters(), other.model.parameters()))
    assert all(torch.equal(value, other.state_dict()[key]) for key, value in loss.state_dict().items())


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")
def test_compiled_residuals_stay_compiled_however_often_the_number_grows():
    loss = loss_of(points=30, compiled=True)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="torch.compile failed")
        for count in (30, 36, 41):
            loss.resample(BURGERS.sample(count, seed=count, condition_points=9))
            compiled = float(loss().detach())
            plain = loss_of(model=loss.model)
            plain.resample(loss.collocation)
            plain.load_state_dict(loss.state_dict())
            assert compiled == pytest.approx(float(plain.eval()().detach()), rel=1e-5)
    assert loss.blocks.compiled


# captures


PROBES = [*DEFAULT_PROBES, "target_information", "gradient_noise_scale", "norm_test", "layer_entropy"]


def row_of(loss, batches=8):
    optimizer = torch.optim.SGD(loss.model.parameters(), lr=0.0)
    probes = [name for name in PROBES if name != "adam_snr"]
    return Capture(loss, optimizer, probes=probes, batches=batches).measure()


@pytest.mark.parametrize("weighting", ["uniform", "rba", "self_adaptive", "brdr+soft_adapt"])
@pytest.mark.parametrize("name", MOVING)
def test_a_capture_after_a_move_is_that_of_a_fresh_loss_with_these_points_and_weights(name, weighting):
    loss = loss_of(weighting)
    optimizer = torch.optim.SGD(loss.model.parameters(), lr=0.0)
    probes = [probe for probe in PROBES if probe != "adam_snr"]
    capture = Capture(loss, optimizer, probes=probes, batches=8)
    capture.measure()
    trained(loss, 7, Resampling(loss, MOVING[name]))
    fresh = PhysicsLoss(BURGERS, loss.model, loss.collocation, weighting=weighting)
    if loss.attention is not None:
        fresh.track_attention()
    fresh.load_state_dict(loss.state_dict())
    expected = row_of(fresh)
    assert capture.measure() == pytest.approx(expected, rel=1e-5)
    assert {"snr", "residual_order", "target_information_u"} & set(expected) >= {"snr", "residual_order"}


@pytest.mark.parametrize(("evaluation", "way_back"), [path for path in UNCOMPILED if path[0] in ("plain", "blocks")])
def test_captures_on_the_way_back_follow_the_points(evaluation, way_back):
    loss = loss_of(**EVALUATIONS[evaluation])
    training = Training(loss, loss.model.parameters(), way_back)
    training.gradients()
    for count in (40, 53):
        loss.resample(BURGERS.sample(count, seed=count, condition_points=9))
        training.gradients()
        training.gradients()
        row = training.monitor.history[-1]
        expected = Capture(loss, training.optimizer, batches=5).measure()
        assert row["snr"] == pytest.approx(expected["snr"], rel=1e-3)


def test_a_monitor_block_goes_on_while_points_move():
    loss = loss_of()
    optimizer = torch.optim.Adam(loss.model.parameters(), lr=1e-2)
    monitor, resampling = PhaseMonitor(loss, optimizer, every=2, batches=5), Resampling(loss, MOVING["rar_d"])
    for _ in range(9):
        with monitor:
            optimizer.zero_grad()
            loss().backward()
            optimizer.step()
        resampling.step()
    assert [row["iteration"] for row in monitor.history][-2:] == [8, 9]
    assert all(np.isfinite(row["snr"]) and 0 <= row["residual_order"] <= 1 for row in monitor.history)


def test_fewer_points_than_batches_are_said_to_be():
    loss = loss_of()
    capture = Capture(loss, torch.optim.SGD(loss.model.parameters(), lr=0.1), batches=30)
    loss.resample(BURGERS.sample(20, seed=1))
    with pytest.raises(InputError, match="number of batches of the gradient statistics: received 30"):
        capture.measure()


def test_the_residual_order_is_of_the_points_where_they_are():
    """Residuals that are one everywhere have order one wherever points go; attention comes with its points."""
    loss = loss_of()
    trained(loss)
    before, old = loss.residual_attention()["pde"].numpy(), loss.collocation.interior
    loss.resample(BURGERS.sample(200, seed=7))
    now, new = loss.residual_attention()["pde"].numpy(), loss.collocation.interior
    # points gather no attention by being many: of a quarter of the domain the mean is about what it was
    for axis in (0, 1):
        middle = BURGERS.bounds.mean(axis=0)[axis]
        halves = before[old[:, axis] < middle].mean(), now[new[:, axis] < middle].mean()
        assert halves[1] == pytest.approx(halves[0], rel=0.35)
    assert now.min() >= before.min()
    assert now.max() <= before.max()


# the command line's trainings


@pytest.mark.parametrize("weighting", ["rba", "brdr", "rba+grad_norm"])
@pytest.mark.parametrize("name", MOVING)
@pytest.mark.parametrize("stop", [5, 6])
def test_a_run_with_moving_points_resumes_bit_for_bit(name, weighting, stop, tmp_path):
    options = {
        "weighting": weighting,
        "sampling": MOVING[name],
        "backend": "torch",
        "points": 40,
        "width": 6,
        "depth": 1,
    }

    def rows(folder):
        lines = (folder / "history.jsonl").read_text().splitlines()
        return {row["iteration"]: {k: v for k, v in row.items() if k != "seconds"} for row in map(json.loads, lines)}

    execute(prepare("burgers", **options, iterations=11, every=2, output=tmp_path / "whole"))
    execute(prepare("burgers", **options, iterations=stop, every=2, output=tmp_path / "parts"))
    execute(prepare_resumed(tmp_path / "parts", iterations=11), resume=True)
    whole, parts = rows(tmp_path / "whole"), rows(tmp_path / "parts")
    assert {k: parts[k] for k in whole} == whole
    snapshots = [np.load(tmp_path / folder / "snapshots" / "iteration_00000011.npz") for folder in ("whole", "parts")]
    assert all(np.array_equal(snapshots[0][key], snapshots[1][key]) for key in snapshots[0].files)
    expected = 40 + 7 * 3 if name == "rar_d" else 40
    assert len(snapshots[0]["points"]) == expected == whole[11]["points"]
    assert json.loads((tmp_path / "whole" / "run.json").read_text())["sampling"] == MOVING[name]


def test_a_sampling_of_ones_own_moves_too():
    def towards_the_start(situation):
        points = situation.points.copy()
        points[:, 1] *= 0.5
        return points

    loss = loss_of()
    trained(loss, 4, Resampling(loss, Sampling(move=towards_the_start, every=2)))
    assert np.allclose(loss.collocation.interior[:, 1], BURGERS.sample(40, seed=0).interior[:, 1] / 4)


def test_a_module_that_keeps_running_statistics_notices_nothing_of_candidates():
    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = mlp(width=6)
            self.register_buffer("calls", torch.zeros(()))

        def forward(self, points):
            self.calls += 1
            return self.inner(points)

    model = Counting()
    loss = PhysicsLoss(BURGERS, model, BURGERS.sample(40), weighting="rba")
    resampling = Resampling(loss, "rad:every=1,candidates=500")
    loss()
    before = float(model.calls)
    resampling.step()
    assert float(model.calls) == before
