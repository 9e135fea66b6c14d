"""Weighting schemes on torch: several at once, weights of conditions' points, costly signals now and then."""

import copy
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import nn

import phasecore
from phasecore.errors import InputError, PluginError
from phasecore.problems.conditions import Prescribed
from phasecore.signals import (
    CONDITION_RESIDUALS,
    COORDINATES,
    RESIDUALS,
    TANGENT_KERNEL_TRACES,
    TERM_GRADIENTS,
    TERM_LOSSES,
)
from phasecore.weighting import WeightingScheme
from phasecore_torch import PhaseMonitor, PhysicsLoss

BURGERS = phasecore.problem("burgers")
HELMHOLTZ = phasecore.problem("helmholtz")


def mlp(outputs=1):
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 7), nn.Tanh(), nn.Linear(7, outputs)).double()


def loss_of(weighting, problem=HELMHOLTZ, model=None, points=30):
    model = mlp(len(problem.outputs)) if model is None else model
    sample = problem.sample(points, seed=1, condition_points=12)
    return PhysicsLoss(problem, model, sample, weighting=weighting), model


class Memory(NamedTuple):
    sizes: object
    updates: object


def remembered_sizes(every=1, multiplies="residual", conditions=True):
    """The running sum of the sizes of residuals, on the points of equations and conditions."""

    def init(signals):
        xp = signals.namespace
        every_term = signals[RESIDUALS] | (signals[CONDITION_RESIDUALS] if conditions else {})
        some = next(iter(every_term.values()))
        return Memory({term: xp.zeros_like(r) for term, r in every_term.items()}, {"all": xp.sum(xp.zeros_like(some))})

    def update(signals, state):
        xp = signals.namespace
        every_term = signals[RESIDUALS] | (signals[CONDITION_RESIDUALS] if conditions else {})
        sizes = {term: state.sizes[term] + xp.abs(r) for term, r in every_term.items()}
        return sizes, Memory(sizes, {"all": state.updates["all"] + 1.0})

    return WeightingScheme(
        init,
        update,
        frozenset({RESIDUALS, CONDITION_RESIDUALS}),
        multiplies=multiplies,
        per_point=("sizes",),
        every=every,
    )


def test_points_of_conditions_have_weights_of_their_own():
    loss, _ = loss_of(remembered_sizes())
    expected = {"pde": torch.zeros(30).double(), "boundary": torch.zeros(48).double()}
    for indices in (torch.tensor([3, 1]), torch.tensor([7]), None):
        value = loss(indices)
        rows = slice(None) if indices is None else indices
        residuals = {"pde": loss.residuals()["pde"][rows], "boundary": loss.evaluate().condition_residuals["boundary"]}
        expected["pde"][rows] += residuals["pde"].abs().detach()
        expected["boundary"] += residuals["boundary"].abs().detach()
        for term, weights in loss.point_weights().items():
            unseen = expected[term] == 0
            torch.testing.assert_close(weights[~unseen], expected[term][~unseen], rtol=1e-12, atol=0)
            mean = expected[term][~unseen].square().mean().sqrt()
            torch.testing.assert_close(weights[unseen], mean.expand(int(unseen.sum())), rtol=1e-12, atol=0)
        weighted = {"pde": expected["pde"][rows], "boundary": expected["boundary"]}
        by_hand = sum((weighted[term] * residuals[term]).square().mean() for term in residuals)
        assert value.item() == pytest.approx(by_hand.item(), rel=1e-12)
    assert set(loss.point_weights()) == {"pde", "boundary"}


def test_the_weights_of_several_schemes_are_multiplied():
    schemes = [remembered_sizes(), remembered_sizes(multiplies="squared_residual", conditions=False)]
    loss, _ = loss_of(schemes)
    loss()
    value = loss()
    residual, boundary = loss.residuals()["pde"], loss.evaluate().condition_residuals["boundary"]
    expected = (2 * residual.abs()) * ((2 * residual.abs()) * residual).square()
    expected_boundary = (2 * boundary.abs() * boundary).square()
    assert value.item() == pytest.approx((expected.mean() + expected_boundary.mean()).item(), rel=1e-12)
    torch.testing.assert_close(loss.point_weights()["pde"], (8 * residual.abs() ** 3).detach(), rtol=1e-12, atol=0)
    torch.testing.assert_close(loss.point_weights()["boundary"], (2 * boundary.abs()).detach(), rtol=1e-12, atol=0)


def test_uniform_beside_rba_is_rba():
    alone, together = loss_of("rba")[0], loss_of("rba+uniform")[0]
    for _ in range(3):
        assert alone().item() == together().item()
    assert torch.equal(together.residual_attention()["pde"], alone.point_weights()["pde"])


def test_a_scheme_that_is_updated_now_and_then():
    loss, _ = loss_of(remembered_sizes(every=3))
    counts = []
    for _ in range(8):
        loss()
        counts.append(loss.weighting.parts[0].state.updates["all"].item())
    assert counts == [1, 1, 1, 2, 2, 2, 3, 3]


def test_the_iterations_between_updates_survive_a_checkpoint():
    loss, _ = loss_of(remembered_sizes(every=3))
    for _ in range(2):
        loss()
    other, _ = loss_of(remembered_sizes(every=3))
    other.load_state_dict(copy.deepcopy(loss.state_dict()))
    for _ in range(2):
        assert loss().item() == other().item()
        assert torch.equal(loss.point_weights()["pde"], other.point_weights()["pde"])
    assert other.weighting.parts[0].state.updates["all"].item() == 2


def naive_gradient(value, model):
    return dict(zip(dict(model.named_parameters()), torch.autograd.grad(value, model.parameters()), strict=True))


@pytest.mark.parametrize("method", ["jets", "autodiff"])
def test_term_gradients_are_those_of_the_unweighted_losses(method):
    model = mlp()
    loss = PhysicsLoss(BURGERS, model, BURGERS.sample(20, seed=0, condition_points=9), derivatives=method)
    for indices in (None, torch.tensor([4, 2, 2])):
        found = loss.term_gradients(indices)
        rows = slice(None) if indices is None else indices
        residuals = {"pde": loss.residuals()["pde"][rows], **loss.evaluate().condition_residuals}
        assert list(found) == list(BURGERS.terms)
        for term, gradients in found.items():
            # the last bias has no part in the residual of Burgers' equation but through u
            expected = naive_gradient(residuals[term].square().mean(), model)
            assert gradients.keys() == expected.keys()
            for name, gradient in gradients.items():
                torch.testing.assert_close(gradient, expected[name], rtol=1e-10, atol=1e-14)
            residuals = {"pde": loss.residuals()["pde"][rows], **loss.evaluate().condition_residuals}


@pytest.mark.parametrize("method", ["jets", "autodiff"])
def test_tangent_kernel_traces_are_sums_of_squared_gradients(method):
    model = mlp()
    loss = PhysicsLoss(BURGERS, model, BURGERS.sample(70, seed=0, condition_points=9), derivatives=method)
    for indices in (None, torch.tensor([4, 2, 2])):
        found = loss.tangent_kernel_traces(indices)
        rows = slice(None) if indices is None else indices
        for term in BURGERS.terms:
            residual = {**loss.residuals(), **loss.evaluate().condition_residuals}[term]
            residual = residual[rows] if term == "pde" else residual
            expected = 0.0
            for one in residual:
                gradients = torch.autograd.grad(one, list(model.parameters()), retain_graph=True)
                expected += sum(g.square().sum().item() for g in gradients)
            assert found[term].item() == pytest.approx(expected, rel=1e-10)


def test_a_model_that_is_a_function_has_gradients_too():
    weight = torch.randn(2, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    loss = PhysicsLoss(HELMHOLTZ, lambda x: (x @ weight).tanh(), torch.rand(10, 2, dtype=torch.float64))
    value = loss.residuals()["pde"].square().mean()
    (expected,) = torch.autograd.grad(value, [weight])
    torch.testing.assert_close(loss.term_gradients()["pde"], {"parameter_0": expected})


class Costs(NamedTuple):
    seen: object


def balanced_gradients(signal, every):
    """A weight per term, from gradients."""

    def init(signals):
        xp = signals.namespace
        return Costs({term: xp.zeros_like(loss) for term, loss in signals[TERM_LOSSES].items()})

    def update(signals, state):
        xp = signals.namespace
        sizes = {}
        for term, value in signals[signal].items():
            parts = [xp.sum(xp.square(g)) for g in value.values()] if isinstance(value, dict) else [value]
            sizes[term] = sum(parts[1:], parts[0])
        return sizes, Costs(sizes)

    return WeightingScheme(init, update, frozenset({TERM_LOSSES, signal}), multiplies="squared_residual", every=every)


@pytest.mark.parametrize("signal", [TERM_GRADIENTS, TANGENT_KERNEL_TRACES])
def test_costly_signals_are_evaluated_only_when_due(signal, monkeypatch):
    loss, model = loss_of(balanced_gradients(signal, every=2))
    method = "term_gradients" if signal == TERM_GRADIENTS else "tangent_kernel_traces"
    calls = []
    real = getattr(PhysicsLoss, method)
    monkeypatch.setattr(
        PhysicsLoss, method, lambda self, indices, **options: calls.append(indices) or real(self, indices, **options)
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
    weights = []
    for iteration in range(4):
        optimizer.zero_grad()
        expected = real(loss, torch.tensor([iteration, 8]))["pde"]
        loss(torch.tensor([iteration, 8])).backward()
        weights.append(loss.weighting.parts[0].weight("pde").item())
        if iteration % 2 == 0:
            squares = sum(g.square().sum() for g in expected.values()) if isinstance(expected, dict) else expected
            assert weights[-1] == pytest.approx(squares.item(), rel=1e-12)
        optimizer.step()
    assert len(calls) == 2
    assert weights[0] == weights[1] != weights[2] == weights[3]


def test_coordinates_are_those_of_the_batch():
    seen = []

    def update(signals, state):
        seen.append(signals[COORDINATES])
        return {}, state

    scheme = WeightingScheme(
        lambda signals: Costs({"pde": signals[RESIDUALS]["pde"]}), update, frozenset({COORDINATES, RESIDUALS})
    )
    loss, _ = loss_of(scheme)
    loss(torch.tensor([4, 9]))
    assert torch.equal(seen[-1], loss.points[[4, 9]])


@pytest.mark.parametrize(
    ("multiplies", "value", "message"),
    [
        ("residual", np.nan, "at iteration 1: received values from nan to nan; expected finite numbers"),
        ("residual", np.inf, "received values from inf to inf"),
        ("squared_residual", -1.0, "received values from -1 to -1; expected finite numbers, 0 or more"),
    ],
)
def test_weights_that_no_loss_can_use(multiplies, value, message):
    def update(signals, state):
        return {"pde": 0.0 * signals[RESIDUALS]["pde"] + value}, state

    scheme = WeightingScheme(lambda signals: Costs({}), update, frozenset({RESIDUALS}), multiplies=multiplies)
    loss, _ = loss_of(scheme)
    with pytest.raises(PluginError, match=message):
        loss()


def worse_and_worse():
    """A scheme whose weights are NaN from the third update on."""

    def update(signals, state):
        count = state.seen["pde"] + 1
        weights = {"pde": signals[RESIDUALS]["pde"] * 0 + torch.where(count > 2, float("nan"), count)}
        return weights, state._replace(seen={"pde": count})

    def init(signals):
        return Costs({"pde": signals[RESIDUALS]["pde"].sum() * 0})

    return WeightingScheme(init, update, frozenset({RESIDUALS}))


def test_weights_that_go_bad_are_found_at_a_capture_and_every_hundred_updates():
    loss, model = loss_of(worse_and_worse())
    monitor = PhaseMonitor(loss, torch.optim.SGD(model.parameters(), lr=0.1), every=1, batches=5)
    loss(), loss()
    monitor.step()
    loss()
    with pytest.raises(PluginError, match="weights of term 'pde' at iteration 3: received values from nan to nan"):
        monitor.step()
    for _ in range(96):
        loss()
    with pytest.raises(PluginError, match="at iteration 100: received values from nan"):
        loss()


@pytest.mark.parametrize("name", ["half", "type", "parts"])
def test_a_scheme_may_be_called_as_a_method_of_modules_is(name):
    loss, model = loss_of({name: phasecore.weighting_scheme("rba")})
    loss().backward()
    kept = copy.deepcopy(loss.state_dict())
    assert f"weighting.{name}.state_weights_pde" in kept
    other, _ = loss_of({name: phasecore.weighting_scheme("rba")}, model=model)
    other.load_state_dict(kept)
    torch.testing.assert_close(other.point_weights(), loss.point_weights())


def test_the_same_scheme_twice():
    with pytest.raises(InputError, match=r"received 'rba' twice in 'rba\+rba:gamma=0.9'"):
        loss_of("rba+rba:gamma=0.9")
    loss, _ = loss_of([remembered_sizes(), remembered_sizes()])
    assert [part.scheme_name for part in loss.weighting.parts] == ["test_weighting", "test_weighting_2"]


def test_conditions_of_one_term_on_several_faces_keep_their_order():
    conditions = {condition.face for condition in HELMHOLTZ.conditions if isinstance(condition, Prescribed)}
    assert len(conditions) == 4
    loss, _ = loss_of(remembered_sizes())
    assert loss.weighting.parts[0].state.sizes["boundary"].shape == (48,)
