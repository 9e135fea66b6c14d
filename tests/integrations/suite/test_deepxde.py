"""DeepXDE's Burgers example, smaller, on the backend that DDE_BACKEND names: captures, weights and refusals.

TensorFlow and JAX compile for seconds, so `any_backend` marks what PyTorch shows for all, and campaigns go through on
the others too: files, messages, and the parts of what is shown in one there.
"""

import doctest
import importlib
import json
import random
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from captures import due
from click.testing import CliRunner
from listeners import Listener
from processes import python

with warnings.catch_warnings():
    # what DeepXDE and TensorFlow Probability import is theirs
    warnings.simplefilter("ignore")
    import deepxde as dde

from phasecore.cli import main
from phasecore.errors import InputError, UnknownNameError
from phasecore.recording.history import plain
from phasecore.runs import open_run
from phasecore.weighting import WeightingScheme

BACKEND = dde.backend.backend_name
ADAPTER, OTHER = ("torch", "keras") if BACKEND == "pytorch" else ("keras", "torch")
ROOT = Path(__file__).parents[3]
adapter = importlib.import_module(f"phasecore_{ADAPTER}.deepxde")
pytestmark = [
    # TensorFlow Probability asks for its version when it is first used
    pytest.mark.filterwarnings("ignore:distutils Version classes are deprecated:DeprecationWarning"),
]
PhaseMonitor, Weighting = adapter.PhaseMonitor, adapter.Weighting


def values_of(outputs):
    return outputs[0] if BACKEND == "jax" else outputs


def derivative(outputs, inputs, order=1, **which):
    return values_of((dde.grad.jacobian if order == 1 else dde.grad.hessian)(outputs, inputs, **which))


def burgers(inputs, outputs):
    u_x, u_t = (derivative(outputs, inputs, i=0, j=axis) for axis in (0, 1))
    return u_t + values_of(outputs) * u_x - 0.01 / np.pi * derivative(outputs, inputs, order=2, i=0, j=0)


def rotation(inputs, outputs):
    """Two equations for two outputs."""
    outputs_now = values_of(outputs)
    return [
        derivative(outputs, inputs, i=0, j=1) - outputs_now[:, 1:2],
        derivative(outputs, inputs, i=1, j=1) + outputs_now[:, 0:1],
    ]


def problem(pde=burgers, periodic=False, **options):
    dde.config.set_random_seed(0)
    space = dde.geometry.GeometryXTime(dde.geometry.Interval(-1, 1), dde.geometry.TimeDomain(0, 0.99))
    conditions = [
        dde.icbc.DirichletBC(space, lambda x: np.zeros((len(x), 1)), lambda _, on_boundary: on_boundary),
        dde.icbc.IC(space, lambda x: -np.sin(np.pi * x[:, 0:1]), lambda _, on_initial: on_initial),
    ]
    if periodic:
        conditions.append(dde.icbc.PeriodicBC(space, 0, lambda _, on_boundary: on_boundary))
    return dde.data.TimePDE(space, pde, conditions, num_domain=30, num_boundary=10, num_initial=6, **options)


def network(outputs=1, regularization=None):
    return dde.nn.FNN([2, 8, 8, outputs], "tanh", "Glorot normal", regularization)


def with_dropout():
    """A network that draws random numbers as it trains, where DeepXDE's backend has one."""
    if BACKEND == "tensorflow":
        return dde.nn.FNN([2, 8, 8, 1], "tanh", "Glorot normal", dropout_rate=0.1)
    made = network()
    if BACKEND == "pytorch":
        import torch

        made.apply_feature_transform(lambda inputs: torch.nn.functional.dropout(inputs, 0.1, made.training))
    return made


def compiled(data=None, make=network, optimizer="sgd", seed=0, rate=0.01, **options):
    dde.config.set_random_seed(seed)
    model = dde.Model(data if data is not None else problem(), make())
    model.compile(optimizer, lr=rate, verbose=0, **options)
    return model


def train(model, *callbacks, iterations=1):
    model.train(iterations=iterations, callbacks=list(callbacks), verbose=0, display_every=10**6)


def parameters(model):
    """Every parameter of the network, as numpy arrays, in the network's order (layers are at most ten)."""
    if BACKEND == "pytorch":
        return [p.detach().numpy().copy() for p in model.net.parameters()]
    if BACKEND == "tensorflow":
        return [v.numpy() for v in model.net.trainable_variables]
    import jax

    return [np.array(leaf) for leaf in jax.tree.leaves(model.params[0])]


def naive_gradients(model, rows=slice(None), terms=None):
    """Gradient of DeepXDE's own losses (of some terms) at rows of the training points, by parameter, in float64."""
    data = model.data
    given = [None if values is None else values[rows] for values in (data.train_x, data.train_y, data.train_aux_vars)]

    def total(losses):
        return sum(losses[k] for k in (range(losses.shape[0]) if terms is None else terms))

    if BACKEND == "pytorch":
        import torch

        loss = total(model.outputs_losses_train(*given)[1])
        found = torch.autograd.grad(loss, list(model.net.parameters()), materialize_grads=True, allow_unused=True)
    elif BACKEND == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            loss = total(model.outputs_losses_train(*given)[1])
        found = tape.gradient(loss, [v.value for v in model.net.trainable_variables], unconnected_gradients="zero")
    else:
        import jax

        def loss(own):
            return total(model.outputs_losses_train([own, model.params[1]], *given[:2])[1])

        found = jax.tree.leaves(jax.grad(loss)(model.params[0]))
    return [np.asarray(gradient, dtype=np.float64) for gradient in found]


def naive_snr(model, batches):
    """The definition, slowly: gradients of every batch's loss with all conditions, stacked, of the weight matrices."""
    start = sum(model.data.num_bcs)
    order = start + np.random.default_rng(0).permutation(len(model.data.train_x) - start)
    stacked = []
    for batch in np.array_split(order, batches):
        gradients = naive_gradients(model, np.concatenate([np.arange(start), batch]))
        stacked.append(np.concatenate([gradient.ravel() for gradient in gradients if gradient.ndim >= 2]))
    return float(np.linalg.norm(np.mean(stacked, axis=0)) / np.linalg.norm(np.std(stacked, axis=0)))


SYSTEM = {
    "data": lambda: problem(rotation),
    "make": lambda: network(2, ["l1", 1e-3]),
    "loss": ["MSE", "MAE", "MSE", "MSE"],
}
SCHEME = "rba:gamma=0.5,eta=0.5+grad_norm:every=2"
REGULARIZERS = [4.0] if BACKEND == "tensorflow" else []
"""Weights of what TensorFlow alone has as a loss of its own."""

WEIGHTED_SYSTEM = {**SYSTEM, "loss_weights": [2.0, 1.0, 5.0, 3.0, *REGULARIZERS]}
ONE = pytest.mark.any_backend
CAPTURED = [
    pytest.param({"loss_weights": [2.0, 1.0, 5.0]}, None, 7, id="loss_weights, batches of two sizes", marks=ONE),
    pytest.param(SYSTEM, None, 23, id="system, losses of its own, regularizer", marks=ONE),
    pytest.param({}, SCHEME, 23, id="weighted", marks=ONE),
    pytest.param(WEIGHTED_SYSTEM, SCHEME, 7, id="all at once"),
]


@pytest.mark.parametrize(("options", "scheme", "batches"), CAPTURED)
def test_the_snr_is_that_of_naive_batch_gradients(options, scheme, batches):
    options = dict(options)
    model = compiled(options.pop("data", problem)(), **options)
    expected = []
    # within a capture, while the weights are there
    monitor = PhaseMonitor(every=2, batches=batches, on_capture=lambda row: expected.append(naive_snr(model, batches)))
    train(model, monitor, *([Weighting(scheme)] if scheme else []), iterations=4)
    assert [row["iteration"] for row in monitor.history] == due(2, 4)
    assert [row["snr"] for row in monitor.history] == pytest.approx(expected, rel=1e-3)
    row = monitor.history[-1]
    assert row["gradient_order"] == pytest.approx(row["snr"] / np.hypot(1, row["snr"]))
    losses = [value for name, value in row.items() if name.startswith("weighted_loss_")]
    assert row["training_loss"] == pytest.approx(sum(losses)) == pytest.approx(float(sum(model.train_state.loss_train)))
    assert "layer2_std_norm" in row
    assert "layer3_std_norm" not in row


@pytest.mark.filterwarnings("ignore:.*dropout")
def test_a_training_with_the_monitor_is_bitwise_that_without():
    def trained(*callbacks):
        optimizer = "adam"
        if BACKEND == "tensorflow":
            import keras

            optimizer = keras.optimizers.Adam(1e-2)
        model = compiled(make=with_dropout, optimizer=optimizer)
        train(model, *callbacks, iterations=6)
        state = {"python": random.getstate(), "numpy": repr(np.random.get_state())}  # noqa: NPY002
        if BACKEND == "pytorch":
            import torch

            kept = [value.numpy() for entry in model.opt.state.values() for value in entry.values()]
            state["torch"] = torch.random.get_rng_state().numpy().tobytes()
        elif BACKEND == "tensorflow":
            kept = [variable.numpy() for variable in [*optimizer.variables, *model.net.variables]]
        else:
            import jax

            kept = [np.array(leaf) for leaf in jax.tree.leaves((model.opt_state, model.params))]
        return [array.tobytes() for array in [*kept, *parameters(model)]], state, model

    monitor = PhaseMonitor(
        every=2, batches=23, probes=["gradient_snr", "adam_snr", "term_losses", "residual_order", "gradient_alignment"]
    )
    alone, alone_state, _ = trained()
    watched, watched_state, model = trained(monitor)
    assert [row["iteration"] for row in monitor.history] == due(2, monitor.iteration)
    assert watched == alone
    assert watched_state == alone_state
    assert {"adam_snr", "residual_order", "snr", "loss_pde"} <= monitor.history[-1].keys()
    if BACKEND == "pytorch":
        assert all(p.requires_grad for p in model.net.parameters())


def test_adams_moments_are_corrected_for_their_start():
    """After one step they are the gradient and its square, whose ratio is one."""
    optimizer = "adam"
    if BACKEND == "tensorflow":
        import keras

        optimizer = keras.optimizers.Adam(1e-3)
    monitor = PhaseMonitor(every=1, batches=23)
    train(compiled(optimizer=optimizer), monitor, iterations=2)
    first, second = (row["adam_snr"] for row in monitor.history)
    assert first == pytest.approx(1, rel=1e-3)
    assert second == pytest.approx(1, rel=0.2)


def test_an_optimizer_that_is_not_adam_has_no_adam_snr_and_all_the_rest():
    """Lion has Adam's decay rates and its momentum."""
    optimizer = "sgd"
    if BACKEND == "tensorflow":
        import keras

        optimizer = keras.optimizers.Lion(1e-3)
    elif BACKEND == "jax":
        import optax

        # DeepXDE hands an optimizer no parameters, which optax.lion wants for its weight decay
        optimizer = optax.chain(optax.scale_by_lion(), optax.scale(-1e-3))
    monitor = PhaseMonitor(every=2, batches=23)
    train(compiled(optimizer=optimizer), monitor, iterations=4)
    row = monitor.history[-1]
    assert "snr" in row
    assert not [name for name in row if name.startswith("adam")]
    with pytest.raises(InputError, match="requires signal 'adam_moments'"):
        train(compiled(optimizer=optimizer), PhaseMonitor(batches=23, probes=["adam_snr"]), iterations=1)


@ONE
def test_the_history_goes_on_over_trainings_and_into_a_file(tmp_path):
    file = tmp_path / "history.jsonl"
    monitor = PhaseMonitor(every=4, batches=23, history_file=file)
    model = compiled()
    train(model, monitor, iterations=26)
    train(model, monitor, iterations=26)
    assert [row["iteration"] for row in monitor.history] == due(4, 52)
    assert np.diff([row["seconds"] for row in monitor.history]).min() > 0
    done = CliRunner().invoke(main, ["detect", str(file), "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.output) == monitor.detect().to_json()
    assert monitor.phase is monitor.timeline.current
    assert "at least 10" not in monitor.detect().reason
    with pytest.raises(InputError, match="history_file"):
        PhaseMonitor(history_file=file)


@ONE
def test_loggers_plugins_and_a_run_folder_follow_a_training(tmp_path):
    listener, folder = Listener(), tmp_path / "run"
    monitor = PhaseMonitor(every=4, batches=23, run_folder=folder, snapshots=[6], loggers=["csv", listener])
    model = compiled()
    train(model, monitor, iterations=9)
    assert listener.told == ["run_started", *["captured"] * len(due(4, 9)), "run_finished"]
    described = listener.training
    assert (described.backend, described.problem, described.folder) == (monitor.adapter, None, folder)
    assert (described.settings.every, described.settings.seed) == (4, None)
    assert listener.rows == [plain(row) for row in monitor.history]
    run = open_run(folder)
    assert run.configuration["settings"]["points"] == len(run.snapshot(9)["points"])
    assert run.snapshots == (6, 9)
    assert len(run.snapshot(6)["residual_pde"]) == len(run.snapshot(6)["points"])
    assert run.outcome["iterations"] == 9
    assert run.outcome["phases"] == monitor.detect().to_json()
    assert len((folder / "history.csv").read_text().splitlines()) == 1 + len(due(4, 9))
    told = len(listener.told)
    train(model, monitor, iterations=3)
    assert listener.told[told:] == ["run_started", *["captured"] * len(due(4, 12, after=9)), "run_finished"]
    with pytest.raises(InputError, match="already holds a run"):
        PhaseMonitor(run_folder=folder)
    with pytest.raises(InputError, match="begins at iteration 0"):
        train(compiled(), PhaseMonitor(every=4, batches=23, run_folder=folder, resume=True), iterations=1)


WEIGHTED = [
    pytest.param("rba:gamma=0.5,eta=0.5", burgers, ["pde", "dirichlet", "initial", "periodic"], marks=ONE),
    ("self_adaptive:start=2.0,start_conditions=3.0", burgers, ["pde", "dirichlet", "initial", "periodic"]),
    ("grad_norm:alpha=0.0+rba:eta=1.0", rotation, ["pde_1", "pde_2", "dirichlet", "initial", "periodic"]),
]


@pytest.mark.parametrize(("scheme", "pde", "terms"), WEIGHTED)
def test_a_step_is_that_of_a_loss_written_by_hand(scheme, pde, terms):
    same = {"make": lambda: network(outputs=1 if pde is burgers else 2), "rate": 0.1}
    model = compiled(problem(pde, periodic=True), **same)
    train(model, iterations=0)
    before = parameters(model)
    weighting = Weighting(scheme)
    train(model, weighting)
    factors = weighting.factors
    assert list(factors) == terms
    other = compiled(problem(pde, periodic=True), **same, loss=[by_hand(factor) for factor in factors.values()])
    train(other)
    moved = [np.abs(own - start).max() for own, start in zip(parameters(model), before, strict=True)]
    assert max(moved) > 1e-3
    for own, expected in zip(parameters(model), parameters(other), strict=True):
        np.testing.assert_allclose(own, expected, rtol=1e-4, atol=1e-6)


def by_hand(factor):
    """DeepXDE's own way to weight points: a loss function of a term."""
    column = dde.backend.as_tensor(np.asarray(factor, dtype=np.float32).reshape(-1, 1))
    return lambda true, error: dde.backend.reduce_mean(dde.backend.square((error - true) * column))


@pytest.mark.parametrize(
    "scheme",
    ["rba:gamma=0.5,eta=0.5+grad_norm:alpha=0.0", pytest.param("grad_norm:alpha=0.0+rba:eta=0.5", marks=ONE)],
)
def test_the_weights_are_those_of_the_formulas(scheme):
    """Attention of each point, and a balance of the terms as it weights them."""
    model = compiled(rate=1e-6)
    train(model)
    start = sum(model.data.num_bcs)
    residual = np.abs(model.predict(model.data.train_x, operator=burgers)[start:, 0])
    attention = 0.5 * residual / residual.max()
    other = compiled(rate=1e-6, loss=[by_hand(attention), "MSE", "MSE"])
    train(other)
    gradients = [naive_gradients(other, terms=[term]) for term in range(3)]
    weighting = Weighting(scheme)
    train(model, weighting)
    norms = np.asarray([np.linalg.norm(np.concatenate([part.ravel() for part in own])) for own in gradients])
    balance = np.sqrt(norms.mean() / norms)
    factors = weighting.factors
    np.testing.assert_allclose(factors["pde"], balance[0] * attention, rtol=1e-3, atol=1e-6)
    assert [float(factors["dirichlet"]), float(factors["initial"])] == pytest.approx(balance[1:], rel=1e-3)


def halved(*terms):
    """Every point of some terms weighs one half."""

    def update(signals, state):
        every = {**signals["residuals"], **signals["condition_residuals"]}
        return {term: 0.5 * np.ones_like(every[term]) for term in terms}, state

    return WeightingScheme(lambda signals: (), update, frozenset({"residuals", "condition_residuals"}))


@ONE
@pytest.mark.parametrize("pde", [burgers, rotation])
def test_halved_points_are_made_up_for(pde):
    """A term whose points all weigh one half has a quarter of the gradient, and gets four times the weight."""
    balances = []
    first = "pde" if pde is burgers else "pde_1"
    for weighting in ([halved(first, "initial"), "grad_norm:alpha=0.0"], ["grad_norm:alpha=0.0"]):
        model = compiled(problem(pde), make=lambda: network(outputs=1 if pde is burgers else 2), rate=1e-6)
        weighting = Weighting(weighting)
        train(model, weighting)
        balances.append(dict(weighting.factors))
    beside, alone = balances
    for term in (first, "initial"):
        ratio = (beside[term] / 0.5) ** 2 / beside["dirichlet"] ** 2
        np.testing.assert_allclose(ratio, 4 * alone[term] ** 2 / alone["dirichlet"] ** 2, rtol=1e-3)


@ONE
def test_the_weights_leave_with_the_callback():
    targets = {"solution": lambda x: -np.sin(np.pi * x[:, 0:1])}
    model = compiled(problem(**targets))
    given = model.data.train_y
    monitor = PhaseMonitor(every=1, batches=23)
    train(model, Weighting("rba"), monitor)
    assert monitor.history[-1]["weighted_loss_pde"] < 1e-3 * monitor.history[-1]["loss_pde"]
    assert monitor.history[-1]["residual_order"] > 0
    assert model.data.train_y is given
    assert model.train_state.y_train is given
    assert "losses_train" not in vars(model.data)
    train(model, monitor)
    row = monitor.history[-1]
    assert row["weighted_loss_pde"] == pytest.approx(row["loss_pde"])
    assert float(sum(model.train_state.loss_train)) == pytest.approx(row["unweighted_loss"], rel=1e-4)


@ONE
def test_points_that_change_are_refused_where_each_has_its_weight():
    model = compiled()
    resampler = dde.callbacks.PDEPointResampler(period=2)
    weighting = Weighting("relobralo")
    train(model, weighting, PhaseMonitor(every=1, batches=23), resampler, iterations=4)
    assert sum(float(factor) ** 2 for factor in weighting.factors.values()) == pytest.approx(3)
    weighting = Weighting("rba")
    with pytest.raises(InputError, match="other collocation points"):
        train(model, weighting, dde.callbacks.PDEPointResampler(period=2), iterations=4)
    with pytest.raises(InputError, match=r"call remove\(\)"):
        train(model, Weighting("grad_norm"))
    weighting.remove()
    train(model)


@ONE
def test_refusals_before_the_first_step():
    model = compiled(optimizer="sgd" if BACKEND != "tensorflow" else "adam")
    for callback, named in [
        (PhaseMonitor(batches=1000), "number of batches"),
        (PhaseMonitor(probes=["relative_l2_error"], batches=23), "'fields' and 'reference_fields'"),
        (PhaseMonitor(probes=["adam_snr"], batches=23), "'adam_moments'"),
    ]:
        with pytest.raises(InputError, match=named):
            train(model, callback)
    with pytest.raises(InputError, match=r"rba\+grad_norm"):
        train(model, Weighting("rba"), Weighting("grad_norm"))
    assert model.train_state.iteration == 0
    with pytest.raises(InputError, match="every"):
        PhaseMonitor(every=0)
    with pytest.raises(UnknownNameError, match="rba"):
        Weighting("rbb")


@ONE
def test_data_that_is_no_sum_over_points_is_refused():
    x = np.linspace(0, 1, 8, dtype=np.float32)[:, None]
    data = dde.data.DataSet(X_train=x, y_train=x, X_test=x, y_test=x)
    model = dde.Model(data, dde.nn.FNN([1, 4, 1], "tanh", "Glorot normal"))
    model.compile("sgd", lr=0.1, verbose=0)
    for callback in (PhaseMonitor(), Weighting("rba")):
        with pytest.raises(InputError, match="DataSet"):
            train(model, callback)


def test_the_other_adapter_names_this_one():
    with pytest.raises(InputError, match=f"phasecore_{ADAPTER}.deepxde"):
        importlib.import_module(f"phasecore_{OTHER}.deepxde")


def test_one_import_finds_the_adapter_of_the_backend():
    import phasecore.deepxde as found

    assert (found.PhaseMonitor, found.Weighting) == (PhaseMonitor, Weighting)
    with pytest.raises(AttributeError, match="has no attribute 'Other'"):
        found.Other  # noqa: B018


@ONE
def test_the_adapters_import_deepxde_only_when_asked_to():
    code = (
        "import phasecore_torch, phasecore_keras, sys\n"
        "assert 'deepxde' not in sys.modules\n"
        "sys.modules['deepxde'] = None\n"
        "from phasecore.errors import MissingDependencyError\n"
        f"try: import phasecore_{ADAPTER}.deepxde\n"
        "except MissingDependencyError as error: print(error)\n"
    )
    done = python("-c", code, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert "pip install deepxde" in done.stdout


if BACKEND == "pytorch":

    @pytest.mark.parametrize("halves", [False, True])
    def test_tangent_kernel_weights_are_those_of_naive_traces(halves):
        import torch

        model = compiled(problem(periodic=True))
        traces = []
        for term in range(4):
            kept = []

            def loss(true, error, kept=kept):
                kept.append(error)
                return error.square().mean()

            functions = [loss if place == term else "MSE" for place in range(4)]
            other = compiled(problem(periodic=True), rate=0.1, loss=functions)
            other.outputs_losses_train(other.data.train_x, None, None)
            squares = 0.0
            for value in kept[0].flatten():
                own = torch.autograd.grad(
                    value, list(other.net.parameters()), retain_graph=True, materialize_grads=True, allow_unused=True
                )
                squares += sum(float(part.double().square().sum()) for part in own)
            traces.append((0.25 if halves and term in (0, 2) else 1.0) * squares / len(kept[0]))
        weighting = Weighting([halved("pde", "initial"), "ntk"] if halves else "ntk")
        train(model, weighting)
        factors = weighting.factors
        points = {term: 0.5 if np.ndim(factor) else 1.0 for term, factor in factors.items()}
        assert list(points.values()) == [0.5, 1.0, 0.5, 1.0] if halves else [1.0] * 4
        squared = [float(np.unique(factor / points[term]).item()) ** 2 for term, factor in factors.items()]
        assert squared == pytest.approx([sum(traces) / trace for trace in traces], rel=1e-4)

    def test_an_equation_that_calls_the_network_by_another_way_is_measured_batch_by_batch():
        model = None

        def pde(inputs, outputs):
            return burgers(inputs, outputs) + nets[0](inputs)

        nets = []

        def make():
            nets.append(network())
            return nets[0]

        model = compiled(problem(pde), make=make)
        expected = []
        monitor = PhaseMonitor(every=1, batches=7, on_capture=lambda row: expected.append(naive_snr(model, 7)))
        train(model, monitor)
        assert [row["snr"] for row in monitor.history] == pytest.approx(expected, rel=1e-3)

else:

    def test_tangent_kernel_weights_are_refused():
        with pytest.raises(InputError, match="'tangent_kernel_traces'"):
            Weighting("ntk")


if BACKEND != "jax":

    def test_auxiliary_variables_go_with_their_points():
        def forced(inputs, outputs, force):
            return burgers(inputs, outputs) - force

        model = compiled(problem(forced, auxiliary_var_function=lambda x: np.cos(3 * x[:, 0:1])))
        expected = []
        monitor = PhaseMonitor(every=1, batches=7, on_capture=lambda row: expected.append(naive_snr(model, 7)))
        train(model, monitor)
        assert [row["snr"] for row in monitor.history] == pytest.approx(expected, rel=1e-3)

    def test_lbfgs_after_adam():
        dde.optimizers.set_LBFGS_options(maxiter=12)
        monitor = PhaseMonitor(every=5, batches=23)
        model = compiled(optimizer="adam", rate=1e-3)
        train(model, monitor, iterations=5)
        model.compile("L-BFGS", verbose=0)
        train(model, monitor, iterations=None)
        first, *_, last = (row["iteration"] for row in monitor.history)
        assert first == 1
        assert 10 <= last <= model.train_state.iteration
        if BACKEND == "tensorflow":
            with pytest.raises(InputError, match="L-BFGS"):
                train(model, Weighting("rba"), iterations=None)


if BACKEND != "jax":

    def test_the_examples_run():
        failed, tried = doctest.testmod(adapter)
        assert (failed, tried > 0) == (0, True)

    @ONE
    def test_the_documentation_runs(run_section, monkeypatch):
        """On the page the adapter is torch's; the same lines are right with the other name."""
        monkeypatch.setitem(sys.modules, "phasecore_torch.deepxde", adapter)
        module = run_section("DeepXDE")
        assert module.monitor.history
