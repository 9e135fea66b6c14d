"""The physics-informed loss: against a loop by hand; weights by index, in checkpoints, out of the gradient."""

import copy
import math
import pickle
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import nn
from torch_oracles import double, mlp, nested_conditions, nested_residuals

import phasecore
from phasecore.errors import InputError, PluginError, UnknownNameError
from phasecore.signals import CONDITION_RESIDUALS, RESIDUALS, TERM_LOSSES
from phasecore.weighting import WeightingScheme
from phasecore_torch import PhysicsLoss

PROBLEMS = [name for name in phasecore.names("problem") if not phasecore.problem(name).trained_coefficients]
HELMHOLTZ = phasecore.problem("helmholtz", a1=1, a2=2)


def model_of(problem, dtype=torch.float64, seed=0):
    return mlp(len(problem.coordinates), len(problem.outputs), dtype=dtype, seed=seed)


def helmholtz_loss(points=30, weighting="rba", dtype=torch.float64, **options):
    model = mlp(dtype=dtype)
    return PhysicsLoss(HELMHOLTZ, model, HELMHOLTZ.sample(points, seed=0), weighting=weighting, **options), model


def loss_by_hand(problem, model, sample, weights=None):
    """Point by point in plain Python, from nested derivatives."""
    points = torch.as_tensor(sample.interior, dtype=torch.float64)
    total = 0.0
    terms = {**nested_residuals(problem, double(model), points)}
    terms |= nested_conditions(problem, double(model), sample.conditions)
    for term, residual in terms.items():
        own = [1.0] * len(residual) if weights is None or term not in weights else weights[term].tolist()
        total += sum((w * r) ** 2 for w, r in zip(own, residual.tolist(), strict=True)) / len(residual)
    return total


class NumpyRBA:
    """The scheme's formula, line by line, with a dictionary entry per point."""

    def __init__(self, gamma=0.999, eta=0.001, start="zeros", normalization="max"):
        self.gamma, self.eta, self.start, self.normalization = gamma, eta, start, normalization
        self.weights = {}

    def update(self, indices, residuals):
        magnitudes = np.abs(residuals)
        low = magnitudes.min() if self.normalization == "minmax" else 0.0
        shares = (magnitudes - low) / (magnitudes.max() - low)
        for index, share in zip(indices, shares, strict=True):
            first = index not in self.weights and self.start == "residuals"
            self.weights[index] = self.gamma * self.weights.get(index, 0.0) + (1.0 if first else self.eta) * share
        return np.asarray([self.weights[index] for index in indices])


@pytest.mark.parametrize("name", PROBLEMS)
@pytest.mark.parametrize("weighting", ["uniform", "rba"])
def test_value_equals_a_loop_by_hand(name, weighting):
    problem = phasecore.problem(name)
    model, sample = model_of(problem), problem.sample(23, seed=1, condition_points=7)
    loss = PhysicsLoss(problem, model, sample, weighting=weighting)
    value = loss()
    assert value.shape == ()
    assert value.item() == pytest.approx(loss_by_hand(problem, model, sample, loss.point_weights()), rel=1e-11)
    assert set(loss.losses.unweighted) == set(loss.losses.weighted) == set(problem.terms)
    assert sum(map(float, loss.losses.weighted.values())) == pytest.approx(value.item())
    unweighted = loss_by_hand(problem, model, sample)
    assert sum(map(float, loss.losses.unweighted.values())) == pytest.approx(unweighted, rel=1e-11)
    assert not any(part.requires_grad for parts in loss.losses for part in parts.values())


@pytest.mark.parametrize("start", ["zeros", "residuals"])
@pytest.mark.parametrize("normalization", ["max", "minmax"])
def test_fifty_iterations_of_rba_equal_the_formula(start, normalization):
    loss, model = helmholtz_loss(weighting=f"rba:gamma=0.9,eta=0.05,start={start},normalization={normalization}")
    scheme = NumpyRBA(0.9, 0.05, start, normalization)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(50):
        expected = scheme.update(range(30), nested_residuals(HELMHOLTZ, model, loss.points)["pde"].detach().numpy())
        optimizer.zero_grad()
        loss().backward()
        np.testing.assert_allclose(loss.point_weights()["pde"], expected, rtol=1e-9, atol=1e-13)
        optimizer.step()


@pytest.mark.parametrize("start", ["zeros", "residuals"])
def test_mini_batches_keep_weights_with_their_points(start):
    """Shuffled, with a short last batch, and points that are drawn again before others come."""
    loss, model = helmholtz_loss(weighting=f"rba:gamma=0.9,eta=0.05,start={start}")
    scheme = NumpyRBA(0.9, 0.05, start)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    generator = torch.Generator().manual_seed(3)
    for _ in range(4):
        for batch in torch.randperm(30, generator=generator).split(8):
            residuals = nested_residuals(HELMHOLTZ, model, loss.points[batch])["pde"].detach()
            weights = scheme.update(batch.tolist(), residuals.numpy())
            conditions = nested_conditions(HELMHOLTZ, model, HELMHOLTZ.sample(30, seed=0).conditions)
            expected = ((weights * residuals.numpy()) ** 2).mean() + conditions["boundary"].square().mean().item()
            optimizer.zero_grad()
            value = loss(batch)
            assert value.item() == pytest.approx(expected, rel=1e-10)
            value.backward()
            optimizer.step()
        kept = [scheme.weights[index] for index in range(30)]
        np.testing.assert_allclose(loss.point_weights()["pde"], kept, rtol=1e-9, atol=1e-13)


def test_all_indices_in_order_are_the_whole():
    losses = [helmholtz_loss()[0] for _ in range(2)]
    for _ in range(3):
        whole, indexed = losses[0](), losses[1](torch.arange(30))
        assert whole.item() == pytest.approx(indexed.item(), rel=1e-14)
    assert torch.equal(losses[0].point_weights()["pde"], losses[1].point_weights()["pde"])


@pytest.mark.parametrize("weighting", ["uniform", "rba", "rba:start=residuals,normalization=minmax"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_loaded_state_goes_on_bit_for_bit(weighting, dtype):
    loss, model = helmholtz_loss(weighting=weighting, dtype=dtype)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)

    def train(loss, optimizer, iterations):
        values = []
        for _ in range(iterations):
            optimizer.zero_grad()
            value = loss()
            value.backward()
            optimizer.step()
            values.append(value.item())
        return values

    train(loss, optimizer, 5)
    saved = pickle.loads(pickle.dumps([part.state_dict() for part in (loss, model, optimizer)]))
    expected = train(loss, optimizer, 5)
    other, other_model = helmholtz_loss(weighting=weighting, dtype=dtype)
    other_optimizer = torch.optim.Adam(other_model.parameters(), lr=1e-2)
    for part, state in zip((other, other_model, other_optimizer), saved, strict=True):
        part.load_state_dict(state)
    assert train(other, other_optimizer, 5) == expected
    for name, buffer in loss.state_dict().items():
        assert torch.equal(buffer, other.state_dict()[name])


def test_the_state_holds_the_weighting_and_nothing_of_the_model():
    loss, model = helmholtz_loss()
    keys = {"weighting.rba.state_weights_pde", "weighting.rba.state_visited_pde", "weighting.rba.weight_pde"}
    assert set(loss.state_dict()) == {*keys, "weighting_at"}
    assert list(loss.parameters()) == []
    assert model not in list(loss.modules())
    assert loss.model is model
    assert helmholtz_loss(weighting="uniform")[0].state_dict() == {}


def test_a_state_with_tracked_attention_and_one_without_are_exchanged():
    with_attention, _ = helmholtz_loss(weighting="uniform")
    with_attention.track_attention()
    with_attention()
    without, _ = helmholtz_loss(weighting="uniform")
    without.load_state_dict(with_attention.state_dict())
    expected = with_attention.residual_attention()["pde"]
    assert expected.max() > 0
    assert torch.equal(without.residual_attention()["pde"], expected)
    with_attention.load_state_dict(helmholtz_loss(weighting="uniform")[0].state_dict())
    assert torch.equal(with_attention.residual_attention()["pde"], expected)
    whole = nn.ModuleDict({"loss": helmholtz_loss(weighting="uniform")[0]})
    whole.load_state_dict({"loss." + key: value for key, value in with_attention.state_dict().items()})
    assert torch.equal(whole["loss"].residual_attention()["pde"], expected)


def test_a_state_of_another_number_of_points_is_refused():
    with pytest.raises(InputError, match="other points than its 30 of now"):
        helmholtz_loss(points=30)[0].load_state_dict(helmholtz_loss(points=31)[0].state_dict())


def test_attention_that_was_not_tracked():
    with pytest.raises(InputError, match="residual-based attention: received none was tracked"):
        helmholtz_loss(weighting="uniform")[0].residual_attention()
    loss, _ = helmholtz_loss(weighting="rba")
    loss()
    assert torch.equal(loss.residual_attention()["pde"], loss.point_weights()["pde"])


def test_eval_does_not_update():
    loss, _ = helmholtz_loss()
    loss()
    before = copy.deepcopy(loss.state_dict())
    loss.eval()
    evaluated = loss().item()
    assert loss().item() == evaluated
    loss(torch.tensor([1, 5]))
    loss.evaluate()
    loss.batch_loss(loss.points[[1, 5]], loss.weighting.current(torch.tensor([1, 5])))
    loss.residuals()
    assert all(torch.equal(value, before[name]) for name, value in loss.state_dict().items())
    loss.train()
    assert loss().item() != evaluated


def test_no_gradient_flows_into_weights():
    """The gradient is that of a loss in which the weights are numbers."""
    loss, model = helmholtz_loss(weighting="rba:gamma=0.5,eta=0.5")
    gradients = torch.autograd.grad(loss(), list(model.parameters()))
    weights = loss.point_weights()["pde"]
    assert not weights.requires_grad
    residuals = nested_residuals(HELMHOLTZ, model, loss.points)["pde"]
    conditions = nested_conditions(HELMHOLTZ, model, HELMHOLTZ.sample(30, seed=0).conditions)
    by_hand = (weights * residuals).square().mean() + conditions["boundary"].square().mean()
    for got, expected in zip(gradients, torch.autograd.grad(by_hand, list(model.parameters())), strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-12)


def test_several_losses_before_one_backward_pass():
    """Weights in a graph are not changed by the next update, and neither are those that were handed out."""
    loss, model = helmholtz_loss()
    first = loss()
    kept = loss.point_weights()["pde"]
    copied = kept.clone()
    (first + loss()).backward()
    assert torch.equal(kept, copied)
    assert not torch.equal(loss.point_weights()["pde"], copied)
    assert model[0].weight.grad.abs().sum() > 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_everything_is_in_the_models_dtype(dtype):
    loss, model = helmholtz_loss(dtype=dtype)
    value = loss()
    value.backward()
    assert value.dtype == dtype
    assert {buffer.dtype for buffer in loss.buffers()} == {dtype}
    assert {parameter.grad.dtype for parameter in model.parameters()} == {dtype}
    assert loss.fields(loss.points)["u"].dtype == dtype


def test_moving_to_another_dtype():
    loss, model = helmholtz_loss(dtype=torch.float32)
    single = loss().item()
    model.double()
    loss.to(torch.float64)
    loss.eval()
    assert loss().dtype == torch.float64
    assert loss().item() == pytest.approx(single, rel=1e-4)
    assert {buffer.dtype for buffer in loss.buffers()} == {torch.float64}
    loss.train()
    loss(torch.tensor([3, 1])).backward()


def test_fields_are_evaluated_in_blocks_without_gradient():
    loss, model = helmholtz_loss()
    grid = torch.as_tensor(HELMHOLTZ.evaluation_points())
    got = loss.fields(grid, block=1000)
    assert not got["u"].requires_grad
    torch.testing.assert_close(got["u"], model(grid)[:, 0].detach())


@pytest.mark.parametrize("name", PROBLEMS)
def test_fields_of_every_problem_fit_its_reference(name):
    problem = phasecore.problem(name)
    loss = PhysicsLoss(problem, model_of(problem), problem.sample(10, seed=0))
    fields = loss.fields(loss.points)
    assert all(values.shape == (10,) for values in fields.values())
    assert all(values.isfinite().all() for values in fields.values())


class SharedState(NamedTuple):
    scale: object
    steps: object


def normalized_terms(decay=0.9):
    """A scheme such as a third party writes: per-term scalars on the squared residuals, and a shared counter."""

    def init(signals):
        losses = signals[TERM_LOSSES]
        xp = signals.namespace
        some = next(iter(losses.values()))
        return SharedState({term: xp.zeros_like(loss) for term, loss in losses.items()}, xp.zeros_like(some))

    def update(signals, state):
        scale = {term: decay * state.scale[term] + loss for term, loss in signals[TERM_LOSSES].items()}
        return {term: 1.0 / (1.0 + value) for term, value in scale.items()}, SharedState(scale, state.steps + 1.0)

    return WeightingScheme(init, update, frozenset({TERM_LOSSES}), multiplies="squared_residual")


def test_a_scheme_of_a_third_party():
    loss, model = helmholtz_loss(weighting=normalized_terms())
    scale = {"pde": 0.0, "boundary": 0.0}
    for step in range(1, 4):
        value = loss()
        expected = 0.0
        for term, part in loss.losses.unweighted.items():
            scale[term] = 0.9 * scale[term] + part.item()
            expected += part.item() / (1 + scale[term])
        assert value.item() == pytest.approx(expected, rel=1e-12)
        assert loss.weighting.parts[0].state.steps.item() == step
        loss(torch.tensor([4, 2, 7])).backward()
        batch = loss.losses.unweighted
        for term, part in batch.items():
            scale[term] = 0.9 * scale[term] + part.item()
        loss.weighting.parts[0].state.steps.sub_(1.0)
    assert loss.point_weights() == {}
    assert "weighting.test_physics_loss.state_steps" in loss.state_dict()
    assert model[0].weight.grad.abs().sum() > 0


class PointState(NamedTuple):
    seen: object


def per_point_scheme(shape):
    def init(signals):
        return PointState({term: signals.namespace.zeros_like(r) for term, r in signals[RESIDUALS].items()})

    def update(signals, state):
        seen = {term: state.seen[term] + 1.0 for term in state.seen}
        return shape(signals, seen), PointState(seen)

    return WeightingScheme(
        init, update, frozenset({RESIDUALS, CONDITION_RESIDUALS}), multiplies="squared_residual", per_point=("seen",)
    )


def test_squared_residuals_weighted_point_by_point():
    loss, _ = helmholtz_loss(weighting=per_point_scheme(lambda signals, seen: seen))
    batch = torch.tensor([2, 5, 11])
    loss(batch)
    value = loss(torch.tensor([5, 6]))
    residuals = loss.residuals()["pde"][[5, 6]].square()
    boundary = loss.losses.unweighted["boundary"].item()
    expected = (2 * residuals[0] + residuals[1]).item() / 2 + boundary
    assert value.item() == pytest.approx(expected, rel=1e-12)
    assert loss.weighting.parts[0].state.seen["pde"].nonzero().flatten().tolist() == [2, 5, 6, 11]


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (lambda signals, seen: {"pde": seen["pde"][:, None]}, r"weights of term 'pde': received shape \(30, 1\)"),
        (lambda signals, seen: {"pde": seen["pde"][:3]}, r"received shape \(3,\); expected.*\(30,\), one for each"),
        (lambda signals, seen: {"pdes": seen["pde"]}, r"received weights of term 'pdes'; expected.*'pde', 'boundary'"),
        (
            lambda signals, seen: {"boundary": signals[CONDITION_RESIDUALS]["boundary"][:3]},
            r"weights of term 'boundary': received shape \(3,\); expected \(\) for the whole term, or \(\d\d+,\)",
        ),
    ],
)
def test_wrong_weights_are_the_schemes_fault(shape, message):
    with pytest.raises(PluginError, match=message):
        helmholtz_loss(weighting=per_point_scheme(shape))


def test_a_signal_that_is_not_supplied():
    scheme = per_point_scheme(lambda signals, seen: seen)._replace(requires=frozenset({"hessian", RESIDUALS}))
    with pytest.raises(InputError, match=r"requires signal 'hessian': received backend 'torch', which supplies"):
        helmholtz_loss(weighting=scheme)


@pytest.mark.parametrize(
    ("weighting", "kind", "message"),
    [
        ("rbaa", UnknownNameError, "Did you mean 'rba'"),
        ("rba:gamma", InputError, "gamma"),
        ("rba:gamma=2", InputError, "option 'gamma'"),
        ("rba:speed=2", InputError, "speed"),
    ],
)
def test_bad_weightings(weighting, kind, message):
    with pytest.raises(kind, match=message):
        helmholtz_loss(weighting=weighting)


SAMPLE = HELMHOLTZ.sample(10, seed=0)


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (np.full((4, 2), 1.5), r"outside the domain: received row 0: \[1.5, 1.5\] \(4 rows in all\); expected x in"),
        (np.zeros((4, 3)), r"received shape \(4, 3\); expected real numbers of shape \(n, 2\)"),
        (np.zeros(4), r"received shape \(4,\)"),
        (np.zeros((0, 2)), r"received shape \(0, 2\)"),
        (np.full((4, 2), np.nan), "outside the domain"),
        (np.zeros((4, 2), dtype=complex), "received dtype complex128"),
        ("points", "dtype"),
        ([[0.0], [0.0, 1.0]], "collocation points"),
        (phasecore.problem("allen_cahn").sample(10, seed=0), "expected points for 4 conditions"),
    ],
)
def test_bad_points(points, message):
    with pytest.raises(InputError, match=message):
        PhysicsLoss(HELMHOLTZ, mlp(), points)


def test_points_alone():
    interior = torch.tensor(SAMPLE.interior)
    losses = [PhysicsLoss(HELMHOLTZ, mlp(), given)().item() for given in (interior, SAMPLE.interior, SAMPLE)]
    assert losses[0] == losses[1] == pytest.approx(losses[2])


def test_the_points_given_are_copied():
    sample = HELMHOLTZ.sample(10, seed=0)
    loss = PhysicsLoss(HELMHOLTZ, mlp(dtype=torch.float64), sample)
    before = loss().item()
    for array in (sample.interior, *sample.conditions):
        array[:] = 0.0
    assert loss().item() == before


@pytest.mark.parametrize(
    ("indices", "message"),
    [
        ([0, 1], "received <class 'list'>"),
        (torch.tensor([0, 1], dtype=torch.int32), r"received torch.int32 of shape \(2,\)"),
        (torch.ones(30, dtype=torch.bool), "received torch.bool"),
        (torch.tensor([[0, 1]]), r"shape \(1, 2\)"),
    ],
)
def test_bad_indices(indices, message):
    with pytest.raises(InputError, match=message + ".*expected a tensor of torch.int64"):
        helmholtz_loss()[0](indices)


def test_a_misfit_of_model_and_problem():
    with pytest.raises(InputError, match="a model of 2 inputs"):
        PhysicsLoss(HELMHOLTZ, nn.Linear(3, 1), SAMPLE)
    with pytest.raises(InputError, match="expected 1 outputs"):
        PhysicsLoss(HELMHOLTZ, nn.Linear(2, 3), SAMPLE)
    with pytest.raises(InputError, match="'auto', 'jets' or 'autodiff'"):
        PhysicsLoss(HELMHOLTZ, mlp(), SAMPLE, derivatives="taylor")


def test_an_exact_solution_has_no_loss():
    def exact(points):
        return torch.sin(math.pi * points[:, :1]) * torch.sin(2 * math.pi * points[:, 1:])

    loss = PhysicsLoss(HELMHOLTZ, exact, torch.tensor(HELMHOLTZ.sample(100, seed=0).interior))
    assert loss.method == "jets"
    assert loss.residuals()["pde"].abs().max() < 1e-10
    assert loss().item() < 1e-20


def test_lbfgs_trains_too():
    loss, model = helmholtz_loss(weighting="uniform")
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=5, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        value = loss()
        value.backward()
        return value

    before = loss().item()
    optimizer.step(closure)
    assert loss().item() < before


def test_a_compiled_model_is_evaluated_as_what_it_compiles():
    model = mlp()
    compiled = torch.compile(model, backend="eager")
    loss = PhysicsLoss(HELMHOLTZ, compiled, SAMPLE)
    assert loss.method == "jets"
    assert loss.model is model
    assert loss().item() == PhysicsLoss(HELMHOLTZ, model, SAMPLE)().item()


class Rod(phasecore.Problem):
    domain = {"x": (0, 1), "t": (0, 1)}  # noqa: RUF012
    outputs = ("u",)

    def residuals(self, x, u, xp):
        return u["u_t"] - u["u_xx"]


def test_arguments_that_are_no_problem_or_exchanged_are_told():
    model, points = nn.Linear(2, 1), Rod().sample(20)
    for given, told in [((Rod, model), r"Write Rod\(\)"), ((model, Rod()), "Exchange"), (("wave", model), "'wave'")]:
        with pytest.raises(InputError, match=f"argument 'problem': .*{told}"):
            PhysicsLoss(*given, points)


def test_columns_that_are_no_points_are_told():
    loss_fn = PhysicsLoss(Rod(), nn.Linear(2, 1), {"t": torch.zeros(3), "x": np.ones((3, 1))})
    assert loss_fn.points.tolist() == [[1.0, 0.0]] * 3
    for wrong in ({"x": torch.zeros(3)}, {"x": torch.zeros(3), "t": torch.zeros(1)}):
        for take in (loss_fn.resample, lambda points: PhysicsLoss(Rod(), nn.Linear(2, 1), points)):
            with pytest.raises(InputError, match="collocation points by name: received "):
                take(wrong)


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_dropout_that_begins_after_the_loss_was_made_is_told(dropout):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Dropout(dropout), nn.Linear(4, 1)).eval()
    loss_fn = PhysicsLoss(Rod(), model, Rod().sample(20))
    before = loss_fn().item()
    model.train()
    if dropout:
        with pytest.raises(InputError, match=r"dropout while training, .*Make the loss after model.train\(\)"):
            loss_fn()
    model.eval()
    assert loss_fn().item() == before


class Stream(nn.Module):
    """A velocity that is the derivative of what the network returns."""

    def __init__(self, enabled):
        super().__init__()
        self.inner, self.enabled = nn.Linear(2, 1), enabled

    def forward(self, points):
        with torch.set_grad_enabled(self.enabled or torch.is_grad_enabled()):
            points = points if points.requires_grad else points.detach().requires_grad_(True)
            return torch.autograd.grad(torch.tanh(self.inner(points)).sum(), points, create_graph=True)[0][:, :1]


def test_a_model_that_differentiates_without_gradients_is_told_how_to():
    with pytest.raises(InputError, match=r"the model cannot be applied .*`with torch.enable_grad\(\):`"):
        PhysicsLoss(Rod(), Stream(False), Rod().sample(20))
    with pytest.warns(UserWarning, match="nested autodiff is used instead"):
        assert PhysicsLoss(Rod(), Stream(True), Rod().sample(20))().isfinite()


@pytest.mark.parametrize(
    ("residual", "told"),
    [
        (lambda self, x, u, xp: u["u_t"] * xp.mod(x["x"], 0.5), "xp has no 'mod'; what every framework has"),
        (lambda self, x, u, xp: np.asarray([2.0]) * u["u_t"], "A number is a float"),
    ],
)
def test_what_torch_cannot_take_is_told_with_what_it_can(residual, told):
    problem = type("Own", (Rod,), {"residuals": residual})()
    with pytest.raises(PluginError, match=rf"problem 'own': residuals\(\): .*{told}"):
        PhysicsLoss(problem, nn.Linear(2, 1), problem.sample(20))
