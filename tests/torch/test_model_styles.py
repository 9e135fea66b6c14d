"""Models as people write them: read by jets where they can be, else by autodiff with one warning; the same numbers."""

import math
import warnings

import pytest
import torch
from normalized import Normalized
from torch import nn
from torch.nn.utils.parametrizations import weight_norm
from torch_oracles import double, mlp, nested_partials, relative

import phasecore
from phasecore_torch import PartialDerivatives, PhysicsLoss

NAMES = ("u", "u_x", "u_y", "u_xx + u_yy", "u_xy", "u_xxy")


class Style(nn.Module):
    """A model from parts and a function of them and the points."""

    def __init__(self, function, **parts):
        super().__init__()
        self.function = function
        for name, part in parts.items():
            if isinstance(part, nn.Module | nn.Parameter):
                setattr(self, name, part)
            else:
                self.register_buffer(name, part)

    def forward(self, points):
        return self.function(self, points)


def linear(inputs, outputs):
    return nn.Linear(inputs, outputs)


def sequential(activation):
    return lambda: mlp(2, 1, activation)


def residual_connections():
    def forward(m, p):
        h = m.first(p)
        for block in m.blocks:
            h = h + torch.tanh(block(h))
        return m.last(h)

    return Style(forward, first=linear(2, 8), blocks=nn.ModuleList([linear(8, 8), linear(8, 8)]), last=linear(8, 1))


def modified_mlp():
    def forward(m, p):
        u, v = torch.tanh(m.u(p)), torch.tanh(m.v(p))
        h = torch.tanh(m.first(p))
        h = torch.tanh(m.second(h))
        h = h * u + (1 - h) * v
        h = torch.mul(1 - h, u) + torch.mul(h, v)
        return m.last(h)

    return Style(forward, u=linear(2, 8), v=linear(2, 8), first=linear(2, 8), second=linear(8, 8), last=linear(8, 1))


def fourier_features():
    def forward(m, p):
        angles = 2 * math.pi * p @ m.frequencies
        return m.net(torch.cat([torch.sin(angles), torch.cos(angles)], dim=-1))

    return Style(forward, frequencies=torch.randn(2, 6), net=mlp(12, 1))


def shared_layers():
    def forward(m, p):
        h = torch.tanh(m.first(p))
        for _ in range(3):
            h = torch.tanh(m.shared(h))
        return m.last(h)

    return Style(forward, first=linear(2, 8), shared=linear(8, 8), last=linear(8, 1))


def tied_modules():
    shared = nn.Linear(8, 8)
    return nn.Sequential(nn.Linear(2, 8), nn.Tanh(), shared, nn.Tanh(), shared, nn.Sigmoid(), nn.Linear(8, 1))


def hard_constraint():
    def forward(m, p):
        x, y = p[:, 0:1], p[:, 1:2]
        return (1 - x**2) * (1 - y.pow(2)) * m.net(p) + x * y / 2

    return Style(forward, net=mlp())


def tensor_methods():
    def forward(m, p):
        h = m.first(p).tanh()
        h = h.mul(0.5).add(h.sin()).sub(h.cos(), alpha=0.3).div(1.5)
        return m.last(h.sigmoid() * h.exp() + h.square() + h.neg())

    return Style(forward, first=linear(2, 8), last=linear(8, 1))


def torch_functions():
    def forward(m, p):
        h = torch.tanh(torch.nn.functional.linear(p, m.first.weight, m.first.bias))
        h = torch.add(h, torch.sin(h), alpha=2.0) - torch.rsub(h, 1.0)
        h = torch.square(h) + torch.pow(h, 3) + torch.exp(-h) + torch.sqrt(2.0 + h * h) + torch.log(3.0 + h * h)
        return m.last(torch.reciprocal(4.0 + h * h) + torch.div(h, 2.0) - torch.sub(1.0, h))

    return Style(forward, first=linear(2, 8), last=linear(8, 1))


def sliced_columns():
    def forward(m, p):
        x, y = p[..., 0], p[..., 1]
        return m.net(torch.stack([torch.sin(x), y * y, x * y], dim=-1))

    return Style(forward, net=mlp(3, 1))


def chunked_columns():
    def forward(m, p):
        x, y = p.chunk(2, dim=1)
        a, b = torch.split(p, 1, dim=1)
        return m.net(torch.cat((x, y.sin(), a * b), 1))

    return Style(forward, net=mlp(3, 1))


def unbound_columns():
    def forward(m, p):
        x, y = p.unbind(-1)
        s, t = torch.unbind(p, dim=1)
        return m.net(torch.hstack([x.unsqueeze(-1), y[:, None], (s * t).reshape(-1, 1)]))

    return Style(forward, net=mlp(3, 1))


def normalized_inputs():
    def forward(m, p):
        return m.net((p - m.mean) / m.scale) * 3.0 + torch.ones_like(p[:, :1])

    return Style(forward, mean=torch.tensor([0.1, -0.2]), scale=torch.tensor([0.5, 2.0]), net=mlp())


def adaptive_slopes():
    def forward(m, p):
        h = torch.tanh(m.slope * m.first(p))
        return m.last(torch.sin(10 * m.slopes * h)) * m.slope.exp()

    return Style(
        forward,
        slope=nn.Parameter(torch.tensor(0.7)),
        slopes=nn.Parameter(torch.rand(8)),
        first=linear(2, 8),
        last=linear(8, 1),
    )


def weight_normalized():
    return nn.Sequential(
        weight_norm(nn.Linear(2, 8)), nn.Tanh(), weight_norm(nn.Linear(8, 8)), nn.SiLU(), nn.Linear(8, 1)
    )


def control_flow_on_shape():
    def forward(m, p):
        assert p.shape[1] == p.size(-1) == 2
        assert p.dim() == p.ndim == 2
        h = p
        for k in range(p.shape[1]):
            h = m.mixing(h) if len(p) > k else h
            h = h.tanh().to(p.dtype).to(p.device)
        if h.shape[0] != 1:
            h = h.view(h.size(0), 2, 4).flatten(1)
        return m.last(h) if h.shape[-1] == 8 else m.last(h[:, :8])

    return Style(forward, mixing=SelfSizing(), last=linear(8, 1))


class SelfSizing(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.other = nn.Linear(2, 8), nn.Linear(8, 8)

    def forward(self, h):
        return self.first(h) if h.shape[-1] == 2 else self.other(h)


def sine_representation():
    def forward(m, p):
        return m.last(torch.sin(5 * m.second(torch.sin(5 * m.first(p)))))

    return Style(forward, first=linear(2, 8), second=linear(8, 8), last=linear(8, 1))


def separated_networks():
    """A sum of products of networks of one coordinate each."""

    def forward(m, p):
        return (m.f(p[:, :1]) * m.g(p[:, 1:])).sum(dim=1, keepdim=True)

    return Style(forward, f=mlp(1, 6), g=mlp(1, 6))


def attention_of_two_matrices():
    """A product of two matrices that both depend on the coordinates."""

    def forward(m, p):
        q, k = m.q(p).view(-1, 2, 4), m.k(p).view(-1, 4, 2)
        return m.last(torch.tanh(torch.matmul(q, k)).flatten(1))

    return Style(forward, q=linear(2, 8), k=linear(2, 8), last=linear(4, 1))


def switched_off_dropout():
    return nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Dropout(0.5), nn.Linear(8, 1)).eval()


def activation_list():
    return nn.Sequential(
        nn.Linear(2, 8), nn.GELU(approximate="tanh"), nn.Linear(8, 8), nn.Softplus(beta=2.0), nn.Identity(),
        nn.Unflatten(1, (2, 4)), nn.Flatten(), nn.Linear(8, 1),
    )  # fmt: skip


BY_JETS = {
    **{a.__name__: sequential(a) for a in (nn.Tanh, nn.Sigmoid, nn.SiLU, nn.GELU, nn.Softplus)},
    **{
        function.__name__: function
        for function in (
            residual_connections,
            modified_mlp,
            fourier_features,
            shared_layers,
            tied_modules,
            hard_constraint,
            tensor_methods,
            torch_functions,
            sliced_columns,
            chunked_columns,
            unbound_columns,
            normalized_inputs,
            adaptive_slopes,
            weight_normalized,
            control_flow_on_shape,
            sine_representation,
            separated_networks,
            attention_of_two_matrices,
            switched_off_dropout,
            activation_list,
        )
    },
}


class CubeByHand(torch.autograd.Function):
    @staticmethod
    def forward(context, x):
        context.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(context, gradient):
        (x,) = context.saved_tensors
        return gradient * 3 * x**2


def group_norm():
    return nn.Sequential(nn.Linear(2, 8), nn.GroupNorm(2, 8), nn.Tanh(), nn.Linear(8, 1))


def relu():
    return mlp(2, 1, nn.ReLU)


def custom_operation():
    return Style(lambda m, p: m.last(CubeByHand.apply(m.first(p))), first=linear(2, 8), last=linear(8, 1))


def where():
    def forward(m, p):
        h = m.net(p)
        return torch.where(p[:, :1] > 0, h, 2 * h)

    return Style(forward, net=mlp())


def einsum():
    return Style(
        lambda m, p: torch.einsum("nh,ho->no", torch.tanh(m.first(p)), m.w),
        first=linear(2, 8),
        w=nn.Parameter(torch.randn(8, 1)),
    )


def complex_forward():
    return Style(lambda m, p: (m.net(p) * torch.exp(2j * p[:, :1])).real, net=mlp())


def tracked_inputs():
    return Style(lambda m, p: m.net(p) if isinstance(p, torch.Tensor) else 1 / 0, net=mlp())


def unknown_function():
    return Style(lambda m, p: m.net(p) * nn.functional.softsign(p[:, :1]), net=mlp())


BY_AUTODIFF = (
    group_norm,
    relu,
    custom_operation,
    where,
    einsum,
    complex_forward,
    tracked_inputs,
    unknown_function,
)


def build(style):
    torch.manual_seed(0)
    return style()


def some_points(dtype):
    return torch.rand(24, 2, dtype=dtype, generator=torch.Generator().manual_seed(1)) * 2 - 1


def check(model, names, method, dtype, tolerance):
    model, points = model.to(dtype), some_points(dtype)
    evaluate = PartialDerivatives(model, ("u",), ("x", "y"), names, points)
    assert evaluate.method == method
    exact = nested_partials(double(model), points.double(), ("u",), ("x", "y"), names)
    for name, values in evaluate(points).items():
        assert values.dtype == dtype
        assert values.shape == (len(points),)
        if exact[name].any():
            assert relative(values, exact[name]) < tolerance, name
        else:
            assert not values.any()


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
@pytest.mark.parametrize("style", BY_JETS)
def test_jets_read_the_model(style, dtype, tolerance):
    check(build(BY_JETS[style]), NAMES, "jets", dtype, tolerance)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("style", BY_AUTODIFF, ids=lambda style: style.__name__)
def test_autodiff_reads_the_others(style, dtype):
    with pytest.warns(UserWarning, match="Taylor-mode derivatives do not know this model") as caught:
        check(build(style), NAMES[:5], "autodiff", dtype, 1e-5 if dtype == torch.float32 else 1e-10)
    assert len(caught) == 1


@pytest.mark.parametrize("style", BY_JETS)
def test_gradients_of_the_parameters_equal_autodiffs(style):
    model, points = build(BY_JETS[style]).double(), some_points(torch.float64)
    gradients = []
    for method in ("jets", "autodiff"):
        partials = PartialDerivatives(model, ("u",), ("x", "y"), NAMES[:4], points, method)(points)
        loss = sum(values.square().mean() for values in partials.values())
        gradients.append(torch.autograd.grad(loss, list(model.parameters())))
    for got, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("style", [group_norm, custom_operation], ids=lambda style: style.__name__)
def test_one_warning_for_a_whole_loss_which_points_at_the_users_line(style):
    problem = phasecore.problem("helmholtz")
    with pytest.warns(UserWarning, match="nested autodiff is used instead") as caught:
        loss = PhysicsLoss(problem, build(style), problem.sample(20, seed=0), weighting="rba")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loss().backward()
        loss()
        loss.fields(loss.points)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert loss.method == "autodiff"


@pytest.mark.parametrize("style", ["Tanh", "modified_mlp", "weight_normalized", "tied_modules", "adaptive_slopes"])
def test_training_these_models(style):
    problem = phasecore.problem("helmholtz")
    model = build(BY_JETS[style])
    loss = PhysicsLoss(problem, model, problem.sample(20, seed=0))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    values = []
    for _ in range(20):
        optimizer.zero_grad()
        value = loss()
        value.backward()
        optimizer.step()
        values.append(value.item())
    assert values[-1] < values[0]
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("weighting", ["uniform", "rba"])
def test_short_dtypes_do_not_crash(dtype, weighting):
    problem = phasecore.problem("helmholtz", a1=1, a2=1)
    model = mlp().to(dtype)
    with warnings.catch_warnings():
        # with 3 digits jets and autodiff may differ too much to tell whether the model was read rightly
        warnings.filterwarnings("ignore", message="Taylor-mode derivatives")
        loss = PhysicsLoss(problem, model, problem.sample(20, seed=0), weighting=weighting)
    value = loss()
    value.backward()
    assert value.dtype == torch.float32
    assert value.isfinite()
    assert all(p.grad.isfinite().all() for p in model.parameters())


def test_complex_parameters():
    class Complex(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.randn(2, 8, dtype=torch.complex64))
            self.last = nn.Linear(8, 1)

        def forward(self, p):
            return self.last((p.to(torch.complex64) @ self.w).abs().square())

    problem = phasecore.problem("helmholtz")
    model = build(Complex)
    with pytest.warns(UserWarning, match="nested autodiff"):
        loss = PhysicsLoss(problem, model, problem.sample(20, seed=0))
    assert loss.points.dtype == torch.float32
    loss().backward()
    assert model.w.grad.abs().sum() > 0


def test_setting_up_leaves_buffers_and_random_state_alone():
    problem = phasecore.problem("helmholtz")
    model = nn.Sequential(nn.Linear(2, 8), Normalized(8), nn.Tanh(), nn.Dropout(0.2), nn.Linear(8, 1))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.random.get_rng_state()
    with pytest.warns(UserWarning, match="nested autodiff"):
        PhysicsLoss(problem, model, problem.sample(20, seed=0))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert model.training


def test_plain_callables():
    problem = phasecore.problem("helmholtz")
    exact = PhysicsLoss(
        problem,
        lambda p: torch.sin(math.pi * p[:, :1]) * torch.sin(4 * math.pi * p[:, 1:]),
        torch.tensor(problem.sample(50, seed=0).interior),
    )
    assert exact.points.dtype == torch.float64, "a callable computes in the dtype of the points, if they are a tensor"
    assert exact().item() < 1e-20
    network = mlp()
    loss = PhysicsLoss(problem, lambda p: network(p), problem.sample(20, seed=0))
    loss().backward()
    assert network[0].weight.grad.abs().sum() > 0
    assert PhysicsLoss(problem, network.forward, problem.sample(20, seed=0))().item() == loss().item()
