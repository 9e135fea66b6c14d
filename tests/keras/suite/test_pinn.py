import warnings

import keras
import numpy as np
import pytest
from keras import ops
from keras_models import BACKEND, Batches, mlp, pinn, rba, residuals, still, variables_of
from repeats import further, repeated

import phasecore
from phasecore import InputError
from phasecore.signals import RESIDUALS
from phasecore.weighting import WeightingScheme
from phasecore_keras import PINN, PhaseMonitor, PhysicsLoss
from phasecore_keras.autodiff import to_numpy

NOT_TORCH = pytest.mark.skipif(BACKEND == "torch", reason="Keras itself refuses steps_per_execution with torch")


def weights_of(model, term="pde"):
    return to_numpy(model.physics.point_weights()[term]).astype(np.float64)


def test_fit_lowers_the_loss_and_reports_every_term():
    model, points = pinn("uniform", depth=2)
    history = model.fit(points, epochs=40, verbose=0).history
    assert sorted(history) == ["boundary_loss", "initial_loss", "loss", "pde_loss"]
    assert history["loss"][-1] < 0.9 * history["loss"][0]
    terms = [history[f"{term}_loss"][0] for term in model.problem.terms]
    assert history["loss"][0] == pytest.approx(sum(terms), rel=1e-5)
    assert int(to_numpy(model.optimizer.iterations.value)) == 40


def test_the_loss_is_the_definition():
    model, points = still()
    loss = model.fit(points, epochs=1, verbose=0).history["loss"][0]
    residual = residuals(model)["pde"]
    weight = rba(residual, [np.arange(60)])
    conditions = sum(
        model.evaluate(points, verbose=0, return_dict=True)[f"{term}_loss"] for term in ("initial", "boundary")
    )
    assert loss == pytest.approx(np.mean((weight * residual) ** 2) + conditions, rel=1e-5)
    np.testing.assert_allclose(weights_of(model), weight, rtol=1e-5, atol=1e-9)


def test_weights_follow_their_points_through_shuffled_mini_batches_and_a_short_last_one():
    model, points = still()
    generator = np.random.default_rng(1)
    epochs = [np.array_split(generator.permutation(60), [16, 32, 48]) for _ in range(3)]
    for batches in epochs:
        model.fit(Batches(points, batches), epochs=1, shuffle=False, verbose=0)
    expected = rba(residuals(model)["pde"], [batch for batches in epochs for batch in batches])
    np.testing.assert_allclose(weights_of(model), expected, rtol=1e-5, atol=1e-9)


@repeated
def test_keras_own_batches_and_shuffling():
    model, points = still()
    model.fit(points, batch_size=25, epochs=2, verbose=0)
    visited = to_numpy(model.weighting.parts[0].state.visited["pde"])
    np.testing.assert_array_equal(visited, 2.0)
    residual = np.abs(residuals(model)["pde"])
    # each of the two updates adds between eta r / max over all and eta
    weight = weights_of(model)
    assert (weight >= 0.999 * 0.001 * 2 * residual / residual.max()).all()
    assert (weight <= 0.002).all()


@NOT_TORCH
def test_steps_per_execution():
    model, points = still(compile_options={"steps_per_execution": 3})
    batches = [np.arange(0, 20), np.arange(20, 40), np.arange(40, 60), np.arange(0, 30), np.arange(30, 60)]
    model.fit(Batches(points, batches), epochs=1, shuffle=False, verbose=0)
    np.testing.assert_allclose(weights_of(model), rba(residuals(model)["pde"], batches), rtol=1e-5, atol=1e-9)


@NOT_TORCH
def test_an_epoch_on_all_points_is_one_step_whatever_an_execution_has():
    model, points = pinn(compile_options={"steps_per_execution": 3})
    model.fit(points, epochs=2, verbose=0)
    assert int(to_numpy(model.optimizer.iterations.value)) == 2


@pytest.mark.parametrize("batch_size", [25, *further(None, 16, 60)])
def test_the_losses_of_the_terms_add_up_to_the_loss_of_an_epoch_whatever_the_batches(batch_size):
    """Of training and validation, which Keras weights by the number of points in a batch."""
    model, points = pinn("uniform", optimizer=keras.optimizers.SGD(0.05))
    options = {"validation_data": points, "validation_batch_size": batch_size}
    logs = model.fit(points, batch_size=batch_size, epochs=2, verbose=0, **options).history
    for prefix in ("", "val_"):
        total = np.sum([logs[f"{prefix}{term}_loss"] for term in model.problem.terms], axis=0)
        np.testing.assert_allclose(total, logs[f"{prefix}loss"], rtol=1e-5)
    found = model.evaluate(points, batch_size=batch_size, verbose=0, return_dict=True)
    assert found["pde_loss"] == pytest.approx(np.mean(residuals(model)["pde"] ** 2), rel=1e-5)


WAYS = [{"run_eagerly": True}]
if BACKEND == "tensorflow":
    WAYS.append({"jit_compile": True})
if BACKEND == "jax":
    WAYS += further({"jit_compile": False})


@pytest.mark.parametrize("options", WAYS)
def test_ways_to_run_a_step(options):
    reference, points = pinn()
    model, _ = pinn(compile_options=options)
    for variable, other in zip(model.network.variables, reference.network.variables, strict=True):
        variable.assign(to_numpy(other.value))
    expected = reference.fit(points, epochs=3, shuffle=False, verbose=0).history["loss"]
    found = model.fit(points, epochs=3, shuffle=False, verbose=0).history["loss"]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.usefixtures("compiled_by_default")
def test_a_step_of_jets_is_compiled_by_default_where_the_backend_compiles():
    model = PINN(mlp(), phasecore.problem("burgers"))
    model.compile(optimizer="adam")
    assert model.jit_compile is (BACKEND != "torch")
    model.network.layers[-2].activation = keras.activations.relu
    with pytest.warns(UserWarning, match="nested autodiff is used instead"):
        model.renew()
    assert model.jit_compile is (BACKEND == "jax")
    model.network.layers[-2].activation = keras.activations.tanh
    model.renew()
    assert model.jit_compile is (BACKEND != "torch")
    model.compile(optimizer="adam", jit_compile=False)
    assert not model.jit_compile
    model.compile(optimizer="adam", run_eagerly=True)
    assert not model.jit_compile


@pytest.mark.parametrize("policy", ["mixed_float16", *further("mixed_bfloat16")])
def test_mixed_precision(policy):
    keras.config.set_dtype_policy(policy)
    try:
        model, points = pinn(depth=1)
    finally:
        keras.config.set_dtype_policy("float32")
    history = model.fit(points, epochs=3, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    assert {keras.backend.standardize_dtype(v.dtype) for v in model.weighting.variables} == {"float32"}


@pytest.mark.filterwarnings("ignore:Explicitly requested dtype float64:UserWarning")  # JAX has none by default
@pytest.mark.parametrize(
    ("first", "last"), [("float64", "float64"), *further(("float32", "float64"), ("float64", "float32"))]
)
def test_layers_of_float64_under_float32_train_or_are_refused(first, last):
    layers = [keras.layers.Dense(4, activation="tanh", dtype=first), keras.layers.Dense(1, dtype=last)]
    network = keras.Sequential([keras.Input((2,)), *layers])
    problem = phasecore.problem("burgers")
    if BACKEND == "tensorflow":
        with pytest.raises(InputError, match=r"float64.*sequential.*computes in float32.*set_floatx"):
            PINN(network, problem, "rba+grad_norm")
        return
    model = PINN(network, problem, "rba+grad_norm")
    model.compile(optimizer="adam")
    monitor = PhaseMonitor(every=1, batches=5)
    assert np.isfinite(model.fit(model.points(20), epochs=2, verbose=0, callbacks=[monitor]).history["loss"]).all()
    assert np.isfinite(monitor.history[-1]["snr"])


@pytest.mark.skipif(BACKEND != "tensorflow", reason="tf.data belongs to TensorFlow")
def test_tf_data():
    import tensorflow as tf

    model, points = still()
    data = tf.data.Dataset.from_tensor_slices(points)
    model.fit(data.shuffle(60, seed=0).batch(25), epochs=2, verbose=0)
    np.testing.assert_array_equal(to_numpy(model.weighting.parts[0].state.visited["pde"]), 2.0)
    model.fit(data.repeat().batch(25), epochs=1, steps_per_epoch=3, verbose=0)


@pytest.mark.skipif(BACKEND != "torch", reason="a DataLoader belongs to torch")
def test_data_loader():
    import torch

    model, points = still()
    rows = [{name: values[k] for name, values in points.items()} for k in range(60)]
    model.fit(torch.utils.data.DataLoader(rows, batch_size=25), epochs=1, verbose=0)
    np.testing.assert_array_equal(to_numpy(model.weighting.parts[0].state.visited["pde"]), 1.0)


def test_evaluate_and_predict_leave_everything_as_it_is():
    model, points = pinn()
    model.fit(points, epochs=2, verbose=0)
    before = [to_numpy(v.value) for v in (*model.network.variables, *model.weighting.variables)]
    model.evaluate(points, verbose=0)
    plain = model.predict(points["coordinates"], verbose=0)
    np.testing.assert_allclose(plain, model.predict(points, verbose=0), rtol=1e-6)
    after = [to_numpy(v.value) for v in (*model.network.variables, *model.weighting.variables)]
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one, other)


@repeated
def test_validation_at_other_points_is_not_weighted():
    model, points = still()
    other = model.problem.sample(40, seed=5).interior.astype("float32")
    history = model.fit(points, validation_data={"coordinates": other}, epochs=1, verbose=0).history
    terms = sum(history[f"val_{term}_loss"][0] for term in model.problem.terms)
    assert history["val_loss"][0] == pytest.approx(terms, rel=1e-5)


@repeated
def test_a_scheme_of_ones_own_with_scalar_weights():
    from typing import NamedTuple

    class Counted(NamedTuple):
        updates: object

    def init(signals):
        xp = signals.namespace
        return Counted(xp.sum(xp.zeros_like(signals[RESIDUALS]["pde"])))

    def update(signals, state):
        return {"initial": 2.0 + 0.0 * state.updates}, Counted(state.updates + 1.0)

    scheme = WeightingScheme(init, update, requires=frozenset({RESIDUALS}), multiplies="squared_residual")
    model, points = still(scheme)
    history = model.fit(points, epochs=3, verbose=0).history
    expected = history["pde_loss"][0] + 2 * history["initial_loss"][0] + history["boundary_loss"][0]
    assert history["loss"][0] == pytest.approx(expected, rel=1e-5)
    assert float(to_numpy(model.weighting.parts[0].state.updates)) == 3.0


def test_regularizers_count():
    problem = phasecore.problem("burgers")
    network = keras.Sequential(
        [keras.Input((2,)), keras.layers.Dense(1, kernel_regularizer=keras.regularizers.L2(0.1))]
    )
    model = PINN(network, problem)
    model.compile(optimizer=keras.optimizers.SGD(0.0))
    history = model.fit(model.points(50), epochs=1, verbose=0).history
    kernel = to_numpy(network.layers[0].kernel.value)
    terms = sum(history[f"{term}_loss"][0] for term in problem.terms)
    assert history["loss"][0] == pytest.approx(terms + 0.1 * float((kernel**2).sum()), rel=1e-5)


class Penalized(keras.layers.Layer):
    def call(self, x):
        self.add_loss(7.0 + 0.0 * ops.mean(x))
        return x


@pytest.mark.filterwarnings("ignore:Taylor-mode")
@pytest.mark.parametrize("what", ["add_loss", "activity_regularizer", "kernel_regularizer"])
def test_losses_that_layers_add_are_left_out_and_a_warning_says_so(what):
    added = [Penalized()] if what == "add_loss" else []
    options = {what: "l2"} if what.endswith("regularizer") else {}
    network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(4, **options), *added, keras.layers.Dense(1)])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = PINN(network, phasecore.problem("burgers"))
    told = [str(item.message) for item in caught if "losses of their own" in str(item.message)]
    assert len(told) == (what != "kernel_regularizer")
    model.compile(optimizer=keras.optimizers.SGD(0.0))
    points, monitor = model.points(20), PhaseMonitor(every=1, batches=5, probes=["term_losses"])
    history = model.fit(points, epochs=1, callbacks=[monitor], verbose=0).history
    terms = sum(history[f"{term}_loss"][0] for term in model.problem.terms)
    assert (history["loss"][0] == pytest.approx(terms, rel=1e-5)) == bool(told)
    assert monitor.history[-1]["training_loss"] == pytest.approx(history["loss"][0], rel=1e-5)


@pytest.mark.parametrize("weighting", ["rba", *further("uniform", "rba+grad_norm:every=2", "soft_adapt")])
@pytest.mark.parametrize("regularizer", [keras.regularizers.L2(0.1), *further(None)])
def test_the_training_loss_of_a_row_is_that_of_the_step(weighting, regularizer):
    """The network does not move: each row has what `fit` logs and `evaluate` returns."""
    network = mlp(kernel_regularizer=regularizer)
    model = PINN(network, phasecore.problem("burgers"), weighting=weighting)
    model.compile(optimizer=keras.optimizers.SGD(0.0))
    points, monitor = model.points(50), PhaseMonitor(every=1, batches=5, probes=["term_losses"])
    losses = model.fit(points, epochs=3, callbacks=[monitor], verbose=0).history["loss"]
    rows = monitor.history
    assert [row["training_loss"] for row in rows[1:]] == pytest.approx(losses, rel=1e-4)
    assert rows[-1]["training_loss"] == pytest.approx(model.evaluate(points, verbose=0, return_dict=True)["loss"])
    parts = [value for name, value in rows[-1].items() if name.startswith("weighted_loss_")]
    assert rows[-1]["training_loss"] == pytest.approx(sum(parts), rel=1e-6)
    squares = sum(float((to_numpy(layer.kernel.value) ** 2).sum()) for layer in network.layers)
    found = rows[-1].get("weighted_loss_regularizers")
    assert found == (regularizer and pytest.approx(0.1 * squares, rel=1e-5))


@repeated
def test_another_number_of_points_has_new_weights():
    model, points = still()
    model.fit(points, epochs=1, verbose=0)
    points = model.points(30, seed=0)
    assert weights_of(model).shape == (30,)
    model.fit(points, epochs=1, verbose=0)
    assert (weights_of(model) > 0).all()


@repeated
def test_a_system_of_equations():
    model, points = pinn("rba", "lid_driven_cavity", points=30, depth=1)
    assert np.isfinite(model.fit(points, epochs=2, verbose=0).history["loss"]).all()
    assert set(model.physics.point_weights()) == set(model.problem.equations)


@pytest.mark.any_backend
def test_the_same_seed_gives_the_same_points():
    model, _ = pinn(points=40)
    np.testing.assert_array_equal(model.points(40, seed=3)["coordinates"], model.points(40, seed=3)["coordinates"])
    given = model.problem.sample(40, seed=3)
    np.testing.assert_allclose(model.points(given)["coordinates"], given.interior, rtol=1e-6)
    np.testing.assert_allclose(model.points(given.interior)["coordinates"], given.interior, rtol=1e-6)


BAD_FIT = {
    "without indices": (lambda p: (p["coordinates"],), {}, "data without the indices"),
    "only coordinates": (lambda p: ({"coordinates": p["coordinates"]},), {}, r"received keys \['coordinates'\]"),
    "unknown index": (lambda p: ({**p, "indices": p["indices"] + 1},), {}, "received 60, one of 1 that are unknown"),
    "negative index": (lambda p: ({**p, "indices": p["indices"] - 1},), {}, "received -1"),
    "floating index": (lambda p: ({**p, "indices": p["indices"] * 1.0},), {}, "indices of float64"),
    "other coordinates": (lambda p: ({**p, "coordinates": p["coordinates"][::-1]},), {}, "of collocation point 0"),
    "in a data set": (
        lambda p: (Batches({"coordinates": p["coordinates"], "indices": p["indices"] + 50}, [np.arange(60)]),),
        {},
        "one of 50 that are unknown",
    ),
    "targets": (lambda p: (p, np.zeros(60)), {}, "argument 'y' of PINN.fit"),
    "sample weights": (lambda p: (p,), {"sample_weight": np.ones(60)}, "argument 'sample_weight'"),
    "nothing": (lambda p: (), {}, "data without the indices"),
    "a part for validation": (lambda p: (p,), {"validation_split": 0.2}, "argument 'validation_split' of PINN.fit"),
    "targets by position": (
        lambda p: (p, None, None, 1, 0, None, 0.0, None, True, {0: 1.0}),
        {},
        "argument 'class_weight' of PINN.fit",
    ),
    "validation data as an array": (
        lambda p: (p,),
        {"validation_data": np.zeros((5, 2))},
        "data that PINN.fit is given: received ndarray",
    ),
    "validation data with targets": (
        lambda p: (p,),
        {"validation_data": ({"coordinates": np.zeros((60, 2))}, np.zeros(60))},
        "argument 'y' of PINN.fit",
    ),
}


@pytest.mark.any_backend
@pytest.mark.parametrize("case", BAD_FIT)
def test_bad_data_is_refused_before_the_first_epoch(case):
    arguments, options, message = BAD_FIT[case]
    model, points = pinn()
    before, given = variables_of(model), arguments(points)
    options = options if len(given) > 3 else {"epochs": 1, "verbose": 0, **options}
    with pytest.raises(InputError, match=message):
        model.fit(*given, **options)
    for one, other in zip(before, variables_of(model), strict=True):
        np.testing.assert_array_equal(one, other)


def endless(*batch):
    while True:
        yield batch


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        ((np.zeros(60, "float32"),), "argument 'y' of PINN.{}"),
        *further(((None, np.full(60, 7.0, "float32")), "argument 'sample_weight' of PINN.{}")),
    ],
)
def test_a_generator_that_yields_targets_or_sample_weights_is_refused_at_its_first_batch(targets, message):
    model, points = pinn()
    with pytest.raises(InputError, match=message.format("fit")):
        model.fit(endless(points, *targets), steps_per_epoch=1, verbose=0)
    model, points = pinn()
    with pytest.raises(InputError, match=message.format("evaluate")):
        model.evaluate(endless(points, *targets), steps=1, verbose=0)


BAD_EVALUATION = {
    "an array": (lambda p: (p["coordinates"],), {}, "received ndarray"),
    "a list": (lambda p: ([p["coordinates"]],), {}, "received ndarray"),
    "no coordinates": (lambda p: ({"x": p["coordinates"]},), {}, r"received keys \['x'\]"),
    "three coordinates": (lambda p: ({"coordinates": np.zeros((5, 3))},), {}, r"received shape \(5, 3\)"),
    "indices of other points": (lambda p: ({**p, "coordinates": 0.5 * p["coordinates"]},), {}, "coordinates of coll"),
    "unknown indices": (lambda p: ({**p, "indices": p["indices"] + 1},), {}, "received 60"),
    "targets": (lambda p: (p, np.zeros(60)), {}, "argument 'y' of PINN.evaluate"),
    "sample weights": (lambda p: (p,), {"sample_weight": np.ones(60)}, "argument 'sample_weight'"),
}


@pytest.mark.any_backend
@pytest.mark.parametrize("case", BAD_EVALUATION)
def test_bad_data_is_refused_before_the_evaluation_is_compiled(case):
    arguments, options, message = BAD_EVALUATION[case]
    model, points = pinn()
    with pytest.raises(InputError, match=message):
        model.evaluate(*arguments(points), verbose=0, **options)
    assert model.test_function is None


@pytest.mark.parametrize("wrap", [tuple, list])
def test_points_alone_in_a_tuple_are_these_points(wrap):
    model, points = still("uniform")
    losses = [model.fit(x, epochs=1, verbose=0).history["loss"] for x in (points, wrap([points]))]
    losses += [[model.evaluate(x, verbose=0, return_dict=True)["loss"]] for x in (points, wrap([points]))]
    assert np.ptp(losses) < 1e-5 * losses[0][0]


@pytest.mark.any_backend
@pytest.mark.parametrize("method", ["train_on_batch", "test_on_batch"])
def test_single_batches_are_looked_at_too(method):
    model, points = pinn()
    step = getattr(model, method)
    for given, message in [((points["coordinates"],), "received ndarray"), ((points, np.zeros(60)), "argument 'y'")]:
        with pytest.raises(InputError, match=message):
            step(*given)
    assert model.train_function is None
    assert model.test_function is None


@pytest.mark.any_backend
@pytest.mark.parametrize("bound", [True, False])
def test_a_list_of_callbacks_of_keras(bound):
    model, points = pinn("grad_norm:every=1")
    seen = []
    own = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(logs["loss"]))
    callbacks = keras.callbacks.CallbackList([own], **({"model": model, "add_history": True} if bound else {}))
    for _ in range(2):
        history = model.fit(points, epochs=2, verbose=0, callbacks=callbacks)
        assert history.history["loss"][-2:] == seen[-2:]
    assert len(seen) == 4
    assert sum(isinstance(one, keras.callbacks.History) for one in callbacks.callbacks) == int(bound)


@pytest.mark.any_backend
@pytest.mark.parametrize("made", ["inputs", "list", "dictionary"])
def test_networks_of_another_shape_are_told_how_to_be_wrapped(made):
    x, t = keras.Input((1,)), keras.Input((1,))
    u = keras.layers.Dense(1)(keras.layers.Concatenate()([x, t]))
    at = keras.Input((2,))
    out = keras.layers.Dense(1)(at)
    network = {
        "inputs": lambda: keras.Model([x, t], u),
        "list": lambda: keras.Model(at, [out, out]),
        "dictionary": lambda: keras.Model(at, {"u": out}),
    }[made]()
    with pytest.raises(InputError, match=r"'Several inputs, lists and dictionaries' in docs/keras\.md"):
        PINN(network, phasecore.problem("burgers"))


@pytest.mark.any_backend
def test_fit_takes_what_keras_fit_takes_by_position():
    model, points = pinn()
    model.fit(points, None, 30, 2, 0)
    assert int(to_numpy(model.optimizer.iterations.value)) == 4


@pytest.mark.any_backend
def test_fitting_before_there_are_points():
    model = PINN(mlp(), phasecore.problem("burgers"))
    model.compile(optimizer="adam")
    with pytest.raises(InputError, match=r"Call pinn\.points"):
        model.fit({"coordinates": np.zeros((3, 2)), "indices": np.arange(3)})


@pytest.mark.any_backend
@pytest.mark.parametrize("option", ["loss", "metrics", "loss_weights", "weighted_metrics"])
def test_a_loss_or_metrics_of_compile_are_refused(option):
    model = PINN(mlp(), phasecore.problem("burgers"))
    with pytest.raises(InputError, match=f"argument {option!r} of PINN.compile.*the loss is made of the problem"):
        model.compile(optimizer="adam", **{option: ["mse"]})


@pytest.mark.any_backend
@pytest.mark.parametrize(
    ("network", "message"),
    [
        (lambda: mlp(inputs=3), "the model cannot be applied"),
        (lambda: mlp(outputs=2), "the model's outputs"),
        (lambda: len, "the network of a PINN"),
    ],
)
def test_networks_that_do_not_fit(network, message):
    with pytest.raises(InputError, match=message):
        PINN(network(), phasecore.problem("burgers"))


@pytest.mark.any_backend
def test_other_bad_arguments():
    problem = phasecore.problem("burgers")
    with pytest.raises(InputError, match=r"argument 'problem': received 'burgers'; .*phasecore.problem\('burgers'\)"):
        PINN(mlp(), "burgers")
    with pytest.raises(InputError, match="unknown weighting"):
        PINN(mlp(), problem, weighting="rbaa")
    with pytest.raises(InputError, match="derivatives"):
        PINN(mlp(), problem, derivatives="exact")
    model = PINN(mlp(), problem)
    with pytest.raises(InputError, match="number of points"):
        model.points(0)
    with pytest.raises(InputError, match="outside the domain"):
        model.points(np.full((3, 2), 9.0))
    with pytest.raises(InputError, match="points for 1 conditions"):
        model.points(phasecore.problem("helmholtz").sample(10).__class__(np.zeros((3, 2)), (np.zeros((3, 2)),)))


@pytest.mark.any_backend
def test_a_scheme_that_needs_an_unknown_signal():
    scheme = WeightingScheme(lambda s: None, lambda s, state: ({}, state), requires=frozenset({"curvature"}))
    with pytest.raises(InputError, match="requires signal 'curvature'"):
        PhysicsLoss(phasecore.problem("burgers"), mlp(), weighting=scheme)


def test_the_network_is_trained_in_place():
    model, points = pinn()
    before = to_numpy(model.network.layers[0].kernel.value).copy()
    model.fit(points, epochs=1, verbose=0)
    assert np.abs(to_numpy(model.network.layers[0].kernel.value) - before).max() > 0
    inputs = ops.convert_to_tensor(points["coordinates"])
    np.testing.assert_array_equal(to_numpy(model(inputs)), to_numpy(model.network(inputs)))
