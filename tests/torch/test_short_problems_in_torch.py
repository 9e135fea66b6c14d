"""Problems in short on torch: trained, compiled, in blocks, and gone on with, the same numbers as the long form's."""

# ruff: noqa: RUF012

import json
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch
from campaigns import campaign

import phasecore
from phasecore.errors import PluginError
from phasecore_torch import PhaseMonitor, PhysicsLoss

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:torch.compile does not go through nested autodiff"),
]


class Wave(phasecore.Problem):
    domain = {"x": (0, 1), "t": (0, 1)}
    outputs = ("u",)
    speed = 2.0

    def conditions(self):
        return [phasecore.Prescribed("initial", ("t", 0), {"u": lambda at: np.sin(np.pi * at["x"]), "u_t": 0})]

    def residuals(self, x, u, xp):
        return u["u_tt"] - self.speed**2 * u["u_xx"] + xp.sin(x["x"])


@dataclass(frozen=True)
class LongWave(phasecore.Problem):
    speed: float = 2.0

    name: ClassVar = "long_wave"
    coordinates: ClassVar = ("x", "t")
    outputs: ClassVar = ("u",)
    equations: ClassVar = {"pde": ("u_tt", "u_xx")}
    grid: ClassVar = (11, 11)
    reference_accuracy: ClassVar = "exact"
    presets: ClassVar = Wave.presets

    @property
    def domain(self):
        return {"x": (0.0, 1.0), "t": (0.0, 1.0)}

    @property
    def conditions(self):
        return Wave().conditions

    def residuals(self, coordinates, partials, xp):
        residual = partials["u_tt"] - self.speed**2 * partials["u_xx"] + xp.sin(coordinates["x"])
        return {"pde": residual}

    def reference(self, points):
        x, t = self.check_points(points).T
        return {"u": np.sin(np.pi * x) * np.cos(np.pi * self.speed * t)}


class Coupled(phasecore.Problem):
    domain = {"t": (0, 1)}
    outputs = ("a", "b")

    def residuals(self, x, u, xp):
        return u["a_t"] - u["b"], u["b_t"] + u["a"]


def mlp(inputs=2, outputs=1):
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(inputs, 8), torch.nn.Tanh(), torch.nn.Linear(8, outputs)).double()


@pytest.mark.parametrize("options", [{}, {"compiled": True}, {"block": 7}, {"derivatives": "autodiff"}], ids=str)
def test_losses_and_gradients_are_those_of_the_long_form(options):
    model, found = mlp(), []
    for problem, how in ((Wave(), options), (LongWave(), {})):
        loss_fn = PhysicsLoss(problem, model, problem.sample(40, seed=0), weighting="rba", **how)
        model.zero_grad()
        loss = loss_fn()
        loss.backward()
        found.append((loss.item(), model[0].weight.grad.clone(), loss_fn.losses.unweighted["pde"].item()))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-12)
    assert found[0][2] == pytest.approx(found[1][2], rel=1e-12)
    torch.testing.assert_close(found[0][1], found[1][1], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("compiled", [False, *campaign(True)])
def test_a_system_in_a_tuple_without_conditions_is_trained(compiled):
    problem, model = Coupled(), mlp(1, 2)
    loss_fn = PhysicsLoss(problem, model, problem.sample(30), weighting="vrba+grad_norm", compiled=compiled)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    monitor = PhaseMonitor(loss_fn, optimizer, every=1, batches=5)
    for _ in range(3):
        with monitor:
            optimizer.zero_grad()
            loss = loss_fn()
            loss.backward()
            optimizer.step()
    assert loss_fn.losses.unweighted.keys() == {"pde_1", "pde_2"}
    assert "snr" in monitor.history[-1]
    assert "relative_l2_error" not in monitor.history[-1]


def test_the_error_against_data_is_taken_at_their_points(tmp_path):
    points = np.random.default_rng(0).uniform(0, 1, (17, 2))
    problem = type("Known", (Wave,), {"reference": phasecore.ReferenceData(points, points.sum(axis=1))})()
    model = mlp()
    loss_fn = PhysicsLoss(problem, model, problem.sample(40, seed=0))
    monitor = PhaseMonitor(loss_fn, torch.optim.Adam(model.parameters()), every=1, batches=5)
    with torch.no_grad():
        found = model(torch.as_tensor(points))[:, 0].numpy()
    with monitor:
        loss_fn().backward()
    expected = np.linalg.norm(found - points.sum(axis=1)) / np.linalg.norm(points.sum(axis=1))
    assert monitor.capture.measure()["relative_l2_error"] == pytest.approx(expected, rel=1e-6)


def test_a_run_on_a_class_goes_on_as_if_it_had_not_stopped(tmp_path, monkeypatch):
    from phasecore.runs import execute, open_run, prepare, prepare_resumed

    monkeypatch.chdir(tmp_path)
    (tmp_path / "wave.py").write_text(
        "import phasecore\n\nclass Wave(phasecore.Problem):\n    domain = {'x': (0, 1), 't': (0, 1)}\n"
        "    outputs = ('u',)\n    speed = 2.0\n    def residuals(self, x, u, xp):\n"
        "        return u['u_tt'] - self.speed**2 * u['u_xx'] + x['x']\n"
    )
    options = {"backend": "torch", "points": 40, "width": 6, "depth": 1, "every": 5, "weighting": "rba"}
    execute(prepare("wave.py:Wave:speed=3", iterations=20, output="whole", **options))
    execute(prepare("wave.py:Wave:speed=3", iterations=10, output="parts", **options))
    execute(prepare_resumed("parts", problem="wave.py:Wave", iterations=20), resume=True)
    one, other = open_run("whole"), open_run("parts")
    np.testing.assert_array_equal(one.history["loss_pde"], other.history["loss_pde"])
    assert one.outcome["relative_l2_error"] is None
    assert "field_u" in one.snapshot(20)
    assert "reference_u" not in one.snapshot(20)
    assert json.loads((tmp_path / "parts/run.json").read_text())["problem_parameters"] == {"speed": 3}


class Cooled(phasecore.Problem):
    domain = {("x", "y"): phasecore.Box((-1, -1), (1, 1)) - phasecore.Disk((0, 0), 0.4), "t": (0, 1)}
    outputs = ("u",)
    cooling = 2.0

    def conditions(self):
        def robin(x, u, normal, xp):
            return u["u_x"] * normal["x"] + u["u_y"] * normal["y"] + self.cooling * u["u"] - xp.sin(x["t"])

        mass = phasecore.Integral("mass", {"x": (-1.0, 1.0)}, lambda x, u, xp: u["u"], 0.0, nodes=4)
        return [phasecore.ResidualCondition("cooled", "boundary", robin), mass]

    def residuals(self, x, u, xp):
        return u["u_t"] - u["u_xx + u_yy"]


@pytest.mark.parametrize("compiled", [False, *campaign(True)])
def test_a_robin_condition_on_a_shape_has_the_loss_of_autograd(compiled):
    class BothSigns(Cooled):
        def conditions(self):
            return super().conditions[:1]

    problem, model = BothSigns(), mlp(3, 1)
    points = problem.sample(60, seed=0, condition_points=30)
    loss_fn = PhysicsLoss(problem, model, points, weighting="self_adaptive", compiled=compiled)
    loss_fn().backward()
    at = torch.as_tensor(points.conditions[0]).requires_grad_()
    u = model(at)[:, 0]
    (slopes,) = torch.autograd.grad(u.sum(), at)
    normals = torch.as_tensor(problem.normals(points.conditions[0]))
    expected = ((slopes * normals).sum(1) + 2 * u - torch.sin(at[:, 2])).square().mean()
    assert loss_fn.losses.unweighted["cooled"].item() == pytest.approx(expected.item(), rel=1e-10)


class NumpyOfPartials(Wave):
    def residuals(self, x, u, xp):
        return np.sin(u["u_t"]) - u["u_xx"]


@pytest.mark.filterwarnings("ignore:__array_wrap__ must accept:DeprecationWarning")  # what torch does without gradients
def test_functions_of_numpy_are_refused_with_what_to_use():
    model = torch.nn.Sequential(torch.nn.Linear(2, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1))
    with pytest.raises(PluginError, match=r"residuals\(\).*[Cc]ompute with the functions of xp"):
        PhysicsLoss(NumpyOfPartials(), model, NumpyOfPartials().sample(20, seed=0))()


class Noisy(Wave):
    def conditions(self):
        measured = phasecore.Data("measured", np.asarray([[0.5, 0.5]]), {"u": np.random.default_rng().normal(size=1)})
        return [*super().conditions(), measured]


def test_a_loss_refuses_conditions_that_are_others_each_time():
    problem = Noisy()
    with pytest.raises(phasecore.InputError, match=r"conditions\(\): received another 'u' .* in term 'measured'"):
        PhysicsLoss(problem, torch.nn.Linear(2, 1), problem.sample(20))
