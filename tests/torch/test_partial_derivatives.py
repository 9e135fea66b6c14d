"""Partial derivatives of torch models: jets, nested autodiff and closed forms agree; models that misfit are refused."""

import warnings

import pytest
import torch
from campaigns import campaign
from torch import nn
from torch_oracles import double, mlp, nested_partials, nested_residuals, relative

import phasecore
from phasecore.errors import InputError
from phasecore_torch import PartialDerivatives, PhysicsLoss

NAMES = ("u", "u_t", "u_xx", "u_xt", "u_xxx - 2*u_xtt")
PROBLEMS = [name for name in phasecore.names("problem") if not phasecore.problem(name).trained_coefficients]


def evaluator(model, points, names=NAMES, method="auto", outputs=("u",)):
    return PartialDerivatives(model, outputs, ("x", "t"), names, points, method)


def points(count=20, dtype=torch.float64):
    return torch.rand(count, 2, dtype=dtype, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.mark.parametrize(("width", "depth", "seed"), [(16, 2, 0), (64, 4, 1), *campaign((16, 2, 1), (64, 4, 0))])
@pytest.mark.parametrize("name", PROBLEMS)
def test_residuals_of_every_problem_equal_nested_autograd(name, width, depth, seed):
    problem = phasecore.problem(name)
    sample = problem.sample(64, seed=seed)
    model = mlp(len(problem.coordinates), len(problem.outputs), width=width, depth=depth, seed=seed)
    for network, tolerance in ((model, 1e-5), (double(model), 1e-10)):
        loss = PhysicsLoss(problem, network, sample, derivatives="jets")
        assert loss.method == "jets"
        got = loss.residuals()
        assert list(got) == list(problem.equations)
        same_dtype = nested_residuals(problem, network, loss.points)
        exact = nested_residuals(problem, double(network), loss.points.double())
        for term, residual in got.items():
            assert residual.dtype == loss.points.dtype
            assert residual.shape == (64,)
            assert relative(residual, same_dtype[term]) < tolerance
            assert relative(residual, exact[term]) < tolerance


@pytest.mark.parametrize("name", PROBLEMS)
def test_residuals_by_jets_and_by_autodiff_have_the_same_gradients(name):
    problem = phasecore.problem(name)
    model = mlp(len(problem.coordinates), len(problem.outputs), dtype=torch.float64)
    sample = problem.sample(30, seed=0)
    gradients = []
    for method in ("jets", "autodiff"):
        loss = PhysicsLoss(problem, model, sample, derivatives=method)
        gradients.append(torch.autograd.grad(loss(), list(model.parameters()), allow_unused=True))
    for got, expected in zip(*gradients, strict=True):
        if expected is None or got is None:
            # the last bias, which derivatives do not feel: absent, or zero
            assert all(g is None or not g.any() for g in (got, expected))
        else:
            torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-10 * float(expected.abs().max()))


def test_a_closed_form():
    at = points()
    x, t = at.T
    got = evaluator(lambda p: torch.sin(2 * p[:, :1]) * p[:, 1:] ** 2, at, (*NAMES, "u_xx + u_tt"))(at)
    torch.testing.assert_close(got["u"], torch.sin(2 * x) * t**2)
    torch.testing.assert_close(got["u_t"], torch.sin(2 * x) * 2 * t)
    torch.testing.assert_close(got["u_xx"], -4 * torch.sin(2 * x) * t**2)
    torch.testing.assert_close(got["u_xt"], 4 * torch.cos(2 * x) * t)
    torch.testing.assert_close(got["u_xxx - 2*u_xtt"], -8 * torch.cos(2 * x) * t**2 - 8 * torch.cos(2 * x))
    torch.testing.assert_close(got["u_xx + u_tt"], torch.sin(2 * x) * (2 - 4 * t**2))


def test_several_outputs():
    at = points()
    model = mlp(2, 3, dtype=torch.float64)
    names = ("a", "b_x", "c_xt", "a_xx + a_tt", "c")
    got = evaluator(model, at, names, outputs=("a", "b", "c"))(at)
    for name, expected in nested_partials(model, at, ("a", "b", "c"), ("x", "t"), names).items():
        torch.testing.assert_close(got[name], expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("method", ["jets", "autodiff"])
def test_other_parameters_in_place_of_the_models_own(method):
    at = points()
    model, other = mlp(dtype=torch.float64, seed=0), mlp(dtype=torch.float64, seed=1)
    weights = {name: p for name, p in other.named_parameters() if p.ndim == 2}
    evaluate = evaluator(model, at, method=method)
    got = evaluate(at, weights)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(weights.get(name, parameter))
    for name, expected in evaluate(at).items():
        torch.testing.assert_close(got[name], expected)


def test_other_partials_of_the_same_model():
    at = points()
    evaluate = evaluator(mlp(dtype=torch.float64), at)
    other = evaluate.of(["u_tt"])
    assert other.method == evaluate.method
    assert list(other(at)) == ["u_tt"]
    assert list(evaluate(at)) == list(NAMES)
    torch.testing.assert_close(
        other(at), nested_partials(evaluate.model, at, ("u",), ("x", "t"), ["u_tt"]), rtol=1e-10, atol=1e-12
    )


@pytest.mark.parametrize("method", ["jets", "autodiff"])
def test_without_gradient_recording_there_is_no_graph(method):
    at = points()
    evaluate = evaluator(mlp(dtype=torch.float64), at, method=method)
    expected = evaluate(at)
    with torch.no_grad():
        got = evaluate(at)
    for name in NAMES:
        assert not got[name].requires_grad
        assert expected[name].requires_grad
        assert torch.equal(got[name], expected[name])


def test_a_model_that_ignores_some_coordinates_or_all():
    at = points()
    got = evaluator(lambda p: p[:, :1] ** 3, at)(at)
    assert not got["u_t"].any()
    assert not got["u_xt"].any()
    torch.testing.assert_close(got["u_xxx - 2*u_xtt"], torch.full_like(at[:, 0], 6.0))
    constant = evaluator(lambda p: torch.full((len(p), 1), 2.0, dtype=p.dtype), at)
    assert constant.method == "jets"
    assert {name: values.unique().tolist() for name, values in constant(at).items()} == {
        name: [2.0 if name == "u" else 0.0] for name in NAMES
    }


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rounding_is_no_disagreement(dtype):
    """A harmonic function's Laplacian is nothing but rounding, and so are values where a constraint holds."""
    at = torch.cat([points(16, dtype), torch.zeros(4, 2, dtype=dtype)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        harmonic = evaluator(lambda p: torch.exp(3 * p[:, :1]) * torch.sin(3 * p[:, 1:]), at, ("u_xx + u_tt", "u_x"))
        assert harmonic.method == "jets"
        network = mlp(dtype=dtype)
        wall = torch.tensor([[1.0, k / 16] for k in range(16)], dtype=dtype)
        constrained = evaluator(lambda p: torch.sin(torch.pi * p[:, :1]) ** 2 * network(p), wall, ("u", "u_x", "u_xx"))
        assert constrained.method == "jets"


def test_what_jets_read_wrongly_is_left_to_autodiff():
    """An in-place sum through an alias, which jets cannot follow: noticed by the comparison."""
    linear = nn.Linear(2, 1).double()

    def aliased(p):
        hidden = linear(p)
        alias = hidden
        alias += p[:, :1]
        return hidden**2

    at = points()
    with pytest.warns(UserWarning, match="jets and autodiff differ") as caught:
        evaluate = evaluator(aliased, at)
    assert len(caught) == 1
    assert evaluate.method == "autodiff"
    expected = nested_partials(aliased, at, ("u",), ("x", "t"), NAMES)
    for name, values in evaluate(at).items():
        torch.testing.assert_close(values, expected[name], rtol=1e-10, atol=1e-12)


def test_insisting_on_jets_for_a_model_that_they_do_not_know():
    model = nn.Sequential(nn.Linear(2, 4), nn.GroupNorm(2, 4), nn.Linear(4, 1)).double()
    with pytest.raises(InputError, match=r"jets cannot read this model: received UnsupportedOperation: group_norm"):
        evaluator(model, points(), method="jets")


def test_insisting_on_autodiff_warns_of_nothing():
    assert (
        evaluator(
            nn.Sequential(nn.Linear(2, 4), nn.GroupNorm(2, 4), nn.Linear(4, 1)).double(), points(), ("u_x",), "autodiff"
        ).method
        == "autodiff"
    )


class WithoutBackward(torch.autograd.Function):
    @staticmethod
    def forward(context, x):
        return x.sinh()

    @staticmethod
    def backward(context, gradient):
        raise NotImplementedError("no backward pass")


def test_a_model_that_nothing_can_differentiate():
    linear = nn.Linear(2, 1).double()
    with (
        pytest.warns(UserWarning, match="nested autodiff is used instead"),
        pytest.raises(InputError, match="cannot be differentiated: received NotImplementedError: no backward pass"),
    ):
        evaluator(lambda p: WithoutBackward.apply(linear(p)), points(), ("u_xx",))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (nn.Linear(3, 1), r"cannot be applied to points of shape \(16, 2\).*a model of 2 inputs"),
        (nn.Linear(2, 2), r"outputs.*received shape \(16, 2\); expected 1 outputs \('u',\)"),
        (nn.Sequential(nn.Linear(2, 1), nn.Flatten(0)), r"received shape \(16,\)"),
        (lambda p: (p[:, :1], p), "received tuple"),
        (lambda p: p[:, :1].numpy(), "received ndarray"),
        (lambda p: p[:, :1] + 1j, "received torch.complex64; expected real numbers"),
        (nn.Linear(2, 1).double(), "torch.float32 on cpu"),
        (lambda: 0, "TypeError"),
    ],
)
def test_models_that_do_not_fit(model, message):
    with pytest.raises(InputError, match=message):
        evaluator(model, points(dtype=torch.float32))


def test_bad_names():
    at = points()
    with pytest.raises(InputError, match="unreadable partial derivative"):
        evaluator(mlp(dtype=torch.float64), at, ("v_x",))
    with pytest.raises(InputError, match="'auto', 'jets' or 'autodiff'"):
        evaluator(mlp(dtype=torch.float64), at, method="magic")
