"""What people have of points is taken as it is, and the rest refused at set-up by name."""

from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, RandomSampler, TensorDataset

import phasecore
from phasecore.errors import InputError
from phasecore_torch import PhaseMonitor, PhysicsLoss
from phasecore_torch.points import Batches

X = torch.linspace(0, 1, 23)[:, None]
Y = torch.cos(X)


class Pairs(Dataset):
    def __init__(self, item):
        self.item = item

    def __len__(self):
        return len(X)

    def __getitem__(self, place):
        return self.item(place)


class Stream(IterableDataset):
    def __iter__(self):
        return iter(zip(X, Y, strict=True))


class Two(NamedTuple):
    x: torch.Tensor
    y: torch.Tensor


SEVERAL = {
    "tuple": lambda: (X, Y),
    "list": lambda: [X, Y],
    "named tuple": lambda: Two(X, Y),
    "numpy": lambda: (X.numpy().astype(np.float64), Y.numpy()),
    "mixed": lambda: [X, Y.numpy()],
    "numbers": lambda: (X.tolist(), Y.tolist()),
    "tensor data set": lambda: TensorDataset(X, Y),
    "data set": lambda: Pairs(lambda place: (X[place], Y[place])),
    "data set of numpy": lambda: Pairs(lambda place: (X[place].numpy(), Y[place].numpy())),
    "loader": lambda: DataLoader(TensorDataset(X, Y), batch_size=5),
    "loader of a data set": lambda: DataLoader(Pairs(lambda place: (X[place], Y[place])), batch_size=4),
}
ONE = {
    "dictionary": lambda: {"x": X, "y": Y},
    "dictionary of numpy": lambda: {"x": X.numpy(), "y": Y.numpy()},
    "data set": lambda: Pairs(lambda place: {"x": X[place], "y": Y[place]}),
    "loader": lambda: DataLoader(Pairs(lambda place: {"x": X[place], "y": Y[place]}), batch_size=6),
}


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(1, 4), nn.Tanh(), nn.Linear(4, 1))


def row_of(points, loss=None):
    net = network()
    own = (lambda x, y: (net(x) - y).square().mean()) if loss is None else (lambda batch: loss(net, batch))
    return PhaseMonitor(own, torch.optim.SGD(net.parameters(), lr=0.1), every=1, points=points, batches=4).step()


@pytest.fixture(scope="module")
def expected():
    return {**row_of((X, Y)), "seconds": 0}


@pytest.mark.parametrize("kind", SEVERAL)
def test_several_parts_are_several_arguments(kind, expected):
    assert {**row_of(SEVERAL[kind]()), "seconds": 0} == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("kind", ONE)
def test_a_dictionary_is_one_argument(kind, expected):
    row = row_of(ONE[kind](), lambda net, batch: (net(batch["x"]) - batch["y"]).square().mean())
    assert {**row, "seconds": 0} == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("points", [X, X.numpy(), X.tolist(), TensorDataset(X), DataLoader(X, batch_size=5)])
def test_points_alone(points):
    row = row_of(points, lambda net, x: net(x).square().mean())
    assert row["snr"] > 0


def test_numpy_points_are_cast_to_what_the_network_computes_in():
    (batch,) = Batches(np.zeros((4, 2)), 2, torch.zeros(1, dtype=torch.float16)).first
    assert batch.dtype == torch.float16
    (labels,) = Batches(np.arange(4), 2, torch.zeros(1)).first
    assert labels.dtype == torch.int64


def test_points_that_require_gradients_still_do():
    (batch,) = Batches(X.clone().requires_grad_(), 2, X).first
    assert batch.requires_grad
    assert batch.is_leaf


def test_reading_a_shuffling_loader_changes_nothing():
    generator = torch.Generator().manual_seed(3)
    sampler = RandomSampler(X, generator=torch.Generator().manual_seed(4))
    loaders = [
        DataLoader(TensorDataset(X, Y), batch_size=5, shuffle=True, generator=generator),
        DataLoader(TensorDataset(X, Y), batch_size=5, shuffle=True),
        DataLoader(TensorDataset(X, Y), batch_size=5, sampler=sampler),
    ]
    before = torch.random.get_rng_state(), generator.get_state(), sampler.generator.get_state()
    for loader in loaders:
        assert row_of(loader)["snr"] > 0
    after = torch.random.get_rng_state(), generator.get_state(), sampler.generator.get_state()
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))


REFUSED = {
    "nothing": (lambda: None, "no points"),
    "a stream": (lambda: DataLoader(Stream(), batch_size=4), "has no length"),
    "a stream alone": (lambda: Stream(), "has no length"),
    "an iterator": (lambda: iter([X]), "argument 'points'"),
    "a generator": (lambda: (x for x in X), "argument 'points'"),
    "text": (lambda: "points.csv", "argument 'points'"),
    "objects": (lambda: np.asarray([object()] * 5), "argument 'points'"),
    "other lengths": (lambda: (X, Y[:-1]), r"lengths \[23, 22\]"),
    "numbers": (lambda: 3.0, r"lengths \[0\]"),
    "a part that is none": (lambda: (X, None), "argument 'points'"),
    "sparse": (lambda: torch.eye(5).to_sparse(), "layout"),
    "empty": (lambda: torch.zeros(0, 2), r"lengths \[0\]"),
    "empty data set": (lambda: TensorDataset(X[:0], Y[:0]), r"lengths \[0, 0\]"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_the_rest_is_refused_at_set_up(kind):
    make, message = REFUSED[kind]
    with pytest.raises(InputError, match=message):
        row_of(make())


RETURNED = {
    "a tuple": lambda loss: (loss, loss),
    "a dictionary": lambda loss: {"loss": loss},
    "one value per point": lambda loss: loss * torch.ones(5),
    "a column": lambda loss: loss * torch.ones(5, 1),
    "nothing": lambda loss: None,
    "a number": lambda loss: loss.item(),
    "an integer": lambda loss: loss.long(),
    "a complex number": lambda loss: loss.to(torch.complex64),
}


@pytest.mark.parametrize("kind", RETURNED)
def test_a_loss_that_is_no_scalar_is_refused_at_set_up(kind):
    with pytest.raises(InputError, match=r"a loss of your own: received .*expected a tensor of one real number"):
        row_of(X, lambda net, x: RETURNED[kind](net(x).square().mean()))


def test_a_loss_of_one_value_may_have_axes():
    plain = row_of(X, lambda net, x: net(x).square().mean())
    shaped = row_of(X, lambda net, x: net(x).square().mean().reshape(1, 1))
    assert {**plain, "seconds": 0} == pytest.approx({**shaped, "seconds": 0})


PROBLEM = phasecore.problem("burgers")
SAMPLE = PROBLEM.sample(40, seed=0).interior
COLLOCATION = {
    "array": lambda: SAMPLE,
    "tensor": lambda: torch.as_tensor(SAMPLE),
    "lists": lambda: SAMPLE.tolist(),
    "columns by name": lambda: {"t": SAMPLE[:, 1], "x": torch.as_tensor(SAMPLE[:, 0])},
    "columns": lambda: [SAMPLE[:, :1], SAMPLE[:, 1:]],
    "data set": lambda: TensorDataset(torch.as_tensor(SAMPLE)),
    "loader": lambda: DataLoader(TensorDataset(torch.as_tensor(SAMPLE)), batch_size=7),
    "data set of columns": lambda: TensorDataset(torch.as_tensor(SAMPLE[:, :1]), torch.as_tensor(SAMPLE[:, 1:])),
}


@pytest.mark.parametrize("kind", COLLOCATION)
def test_collocation_points_of_any_kind(kind):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1)).double()
    loss = PhysicsLoss(PROBLEM, model, COLLOCATION[kind]())
    torch.testing.assert_close(loss.points, torch.as_tensor(SAMPLE))


@pytest.mark.parametrize(
    ("points", "told"),
    [
        ({"x": SAMPLE[:, 0]}, r"by name: received columns \['x'\]"),
        ({"a": SAMPLE[:, 0], "b": SAMPLE[:, 1]}, r"by name: received columns \['a', 'b'\]; .* \['x', 't'\]"),
        ("points.csv", "of problem 'burgers'"),
        ([SAMPLE[:, :1], SAMPLE[:-1, 1:]], "of problem 'burgers'"),
    ],
)
def test_collocation_points_that_are_none(points, told):
    with pytest.raises(InputError, match=f"collocation points {told}"):
        PhysicsLoss(PROBLEM, nn.Linear(2, 1), points)
