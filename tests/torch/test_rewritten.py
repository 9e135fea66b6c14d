"""Functions rewritten for the compiler: their values and gradients beside torch's own."""

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from functorch.compile import make_boxed_func
from torch._dynamo.backends.common import aot_autograd

from phasecore.jets import FUNCTIONS
from phasecore_torch import rewritten
from phasecore_torch.namespace import namespace

pytestmark = [
    pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Torchinductor does not support code generation for complex"),
]


def compiled(function):
    # what was compiled before counts toward torch's limit
    torch.compiler.reset()
    return torch.compile(function, dynamic=False, fullgraph=True)


def arguments():
    small = torch.logspace(-30, -1, 5000)
    positive = torch.cat([small, torch.linspace(0.1, 12, 50_000), torch.tensor([0.0, 0.625, 100.0, 1e30])])
    return torch.cat([positive, -positive])


def test_a_compiled_tanh_is_off_by_one_and_a_quarter_units_in_the_last_place():
    x = arguments()
    found, exact = compiled(rewritten.tanh)(x).double(), torch.tanh(x.double())
    error = torch.where(exact == 0, found.abs(), (found / exact - 1).abs())
    assert 0 < error.max() < 1.25 * 2**-23


def test_a_compiled_tanh_at_what_is_no_number_or_has_no_end():
    x = torch.tensor([torch.inf, -torch.inf, torch.nan])
    torch.testing.assert_close(compiled(rewritten.tanh)(x), torch.tanh(x), rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_dtypes_have_torchs_tanh(dtype, monkeypatch):
    monkeypatch.delattr(rewritten, "_rewritten_tanh")
    x = torch.linspace(-3, 3, 100, dtype=dtype)
    torch.testing.assert_close(compiled(lambda x: rewritten.tanh(x))(x), torch.tanh(x))


def test_without_the_compiler_they_are_torchs():
    x, weight = torch.randn(50, 3), torch.randn(4, 3)
    assert torch.equal(rewritten.tanh(x), torch.tanh(x))
    assert torch.equal(rewritten.linear(x, weight), F.linear(x, weight))


@pytest.mark.parametrize("name", ["tanh", "sigmoid", "silu"])
def test_derivatives_of_functions_made_of_it_and_their_gradients(name):
    x = torch.linspace(-4, 4, 1000)

    def weighted(x):
        return sum(k * values for k, values in enumerate(FUNCTIONS[name](x, 3, namespace), start=1))

    found, exact = x.clone().requires_grad_(), x.double().requires_grad_()
    values = compiled(weighted)(found)
    values.sum().backward()
    weighted(exact).sum().backward()
    torch.testing.assert_close(values.double(), weighted(exact), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found.grad.double(), exact.grad, rtol=1e-5, atol=1e-5)


def image_and_gradients(function, x, weight):
    own = [tensor.detach().requires_grad_() for tensor in (x, weight)]
    image = function(*own)
    pull = torch.sin(torch.arange(image.numel(), dtype=torch.float64)).reshape(image.shape).to(image.dtype)
    return [image, *torch.autograd.grad(image, own, pull)]


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
@pytest.mark.parametrize("parts", [4, 5])
@pytest.mark.parametrize(
    ("points", "weights", "in_dims"),
    [
        ("own", "equal", (0, 0)),
        ("own", "own", (0, 0)),
        ("own", "shared", (0, None)),
        ("shared", "equal", (None, 0)),
        ("last", "equal", (1, 0)),
        ("single", "equal", (0, 0)),
    ],
)
def test_each_part_has_its_gradients(dtype, parts, points, weights, in_dims):
    torch.manual_seed(0)
    x = {"own": (parts, 6, 3), "shared": (6, 3), "last": (6, parts, 3), "single": (parts, 3)}[points]
    weight = torch.randn(7, 3, dtype=dtype)
    if weights != "shared":
        weight = weight.expand(parts, 7, 3) if weights == "equal" else torch.randn(parts, 7, 3, dtype=dtype)
    x = torch.randn(x, dtype=dtype)
    found = image_and_gradients(compiled(torch.func.vmap(rewritten.linear, in_dims)), x, weight)
    expected = image_and_gradients(torch.func.vmap(F.linear, in_dims), x, weight)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
@pytest.mark.parametrize("shape", [(3,), (6, 3), (2, 6, 3)])
def test_without_parts_the_gradients_are_torchs(dtype, shape):
    x, weight = torch.randn(shape, dtype=dtype), torch.randn(7, 3, dtype=dtype)
    found = image_and_gradients(compiled(lambda x, weight: rewritten.linear(x, weight)), x, weight)
    torch.testing.assert_close(found, image_and_gradients(F.linear, x, weight))


@pytest.mark.parametrize(("parts", "products"), [(4, 2), (5, 1)])
def test_equal_weights_take_a_product_for_each_thread(parts, products):
    graphs = []

    def record(graph, inputs):
        graphs.append(graph.graph)
        return make_boxed_func(graph.forward)

    backend = aot_autograd(fw_compiler=record, bw_compiler=record)
    x = torch.randn(parts, 6, 3, requires_grad=True)
    weight = torch.randn(7, 3).expand(parts, 7, 3).requires_grad_()
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    torch.compiler.reset()
    try:
        linear = torch.compile(torch.func.vmap(rewritten.linear), backend=backend, dynamic=False, fullgraph=True)
        linear(x, weight).sum().backward()
    finally:
        torch.set_num_threads(threads)
    shapes = {
        tuple(tuple(factor.meta["val"].shape) for factor in node.args)
        for graph in graphs
        for node in graph.nodes
        if node.target is torch.ops.aten.bmm.default
    }
    rows = parts * 6 // products
    image = ((products, rows, 3), (products, 3, 7))
    of_x = ((products, rows, 7), (products, 7, 3))
    of_weight = ((parts, 7, 6), (parts, 6, 3))
    assert shapes == {image, of_x, of_weight}
