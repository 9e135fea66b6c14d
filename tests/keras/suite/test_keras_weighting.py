"""Several schemes, weights of conditions' points, costly signals, and weights that must not be."""

from typing import Any, NamedTuple

import keras
import numpy as np
import pytest
from keras import ops
from keras_models import BACKEND, Batches, pinn, rba, residuals, still, variables_of
from repeats import further, repeated

import phasecore
from phasecore import InputError, PluginError
from phasecore.signals import (
    CONDITION_RESIDUALS,
    COORDINATES,
    RESIDUALS,
    TANGENT_KERNEL_TRACES,
    TERM_GRADIENTS,
    TERM_LOSSES,
)
from phasecore.weighting import WeightingScheme
from phasecore_keras.autodiff import autodiff, to_numpy
from phasecore_keras.namespace import namespace


class Kept(NamedTuple):
    sums: Any


class Updates(NamedTuple):
    count: Any


def summed(multiplies="squared_residual"):
    """Every term's points weigh the sum of their absolute residuals so far."""

    def init(signals):
        xp = signals.namespace
        every = {**signals[RESIDUALS], **signals[CONDITION_RESIDUALS]}
        return Kept({term: xp.zeros_like(residual) for term, residual in every.items()})

    def update(signals, state):
        xp = signals.namespace
        every = {**signals[RESIDUALS], **signals[CONDITION_RESIDUALS]}
        sums = {term: state.sums[term] + xp.abs(residual) for term, residual in every.items()}
        return sums, Kept(sums)

    requires = frozenset({RESIDUALS, CONDITION_RESIDUALS})
    return WeightingScheme(init, update, requires, multiplies=multiplies, per_point=("sums",))


def counted(every=1, requires=frozenset({TERM_LOSSES}), weight=lambda count, signals: {"initial": count}, **options):
    """A weight made of the number of updates."""

    def init(signals):
        return Updates(0.0 * sum(signals[TERM_LOSSES].values()))

    def update(signals, state):
        count = state.count + 1.0
        return weight(count, signals), Updates(count)

    options = {"multiplies": "squared_residual", **options}
    return WeightingScheme(init, update, requires | {TERM_LOSSES}, every=every, **options)


def balanced(every=2):
    """The norm of each term's gradient, and a state that counts."""

    def weights(count, signals):
        xp = signals.namespace
        gradients = signals[TERM_GRADIENTS]
        return {
            term: xp.sqrt(sum(xp.sum(xp.square(value)) for value in own.values())) for term, own in gradients.items()
        }

    return counted(every, frozenset({TERM_GRADIENTS}), weights)


def traced(every=2):
    return counted(every, frozenset({TANGENT_KERNEL_TRACES}), lambda _, signals: dict(signals[TANGENT_KERNEL_TRACES]))


def gradients(model, function):
    """Return the gradient of a function of the network at arguments, in all its variables, in float64."""
    variables = list(model.network.trainable_variables)
    others = [v for v in model.network.variables if not v.trainable]
    gradient = autodiff().gradients(function, variables, others)

    def flat(*arguments):
        return np.concatenate([to_numpy(value).astype(np.float64).ravel() for value in gradient(*arguments)])

    return flat


def term_residuals(model):
    points = ops.convert_to_tensor(model.physics.points)
    return {**model.physics.residuals_at(points), **model.physics.condition_residuals()}


def gradient_norms(model):
    return norms_of(model)()


def norms_of(model):
    """What computes the norm of each term's gradient, where the network is then."""
    each = {
        term: gradients(model, lambda term=term: ops.mean(ops.square(term_residuals(model)[term])))
        for term in model.problem.terms
    }
    return lambda: {term: np.linalg.norm(gradient()) for term, gradient in each.items()}


def traces(model):
    """Each residual by itself."""
    found = {}
    for term, residual in term_residuals(model).items():
        gradient = gradients(model, lambda chosen, term=term: ops.sum(chosen * term_residuals(model)[term]))
        found[term] = sum(
            np.square(gradient(ops.convert_to_tensor(one))).sum() for one in np.eye(len(residual), dtype="float32")
        )
    return found


def scalars(model, place=0):
    part = model.weighting.parts[place]
    return {term: float(to_numpy(part.weight(term))) for term in part.weighted}


def test_the_weights_of_several_schemes_are_multiplied():
    model, points = still(["rba", counted(weight=lambda count, _: {"pde": 3 * count, "initial": 2 * count})])
    history = model.fit(points, epochs=2, shuffle=False, verbose=0).history
    residual = residuals(model)["pde"]
    weight = rba(residual, [np.arange(60)] * 2)
    expected = 6 * np.mean((weight * residual) ** 2) + 4 * history["initial_loss"][1] + history["boundary_loss"][1]
    assert history["loss"][1] == pytest.approx(expected, rel=1e-5)
    np.testing.assert_allclose(to_numpy(model.physics.point_weights()["pde"]), 6 * weight**2, rtol=1e-4, atol=1e-10)
    assert set(model.physics.point_weights()) == {"pde"}


@pytest.mark.parametrize("shape", ["points", *further("scalar")])
def test_a_scheme_may_use_weights_before_it_updates_them(shape):
    """What it returns is the state that it was given, which is assigned to in the same step."""

    def init(signals):
        xp = signals.namespace
        ones = xp.ones_like(signals[RESIDUALS]["pde"])
        return Kept({"pde": ones if shape == "points" else xp.mean(ones)})

    def update(signals, state):
        return state.sums, Kept({"pde": 2.0 * state.sums["pde"]})

    per_point = ("sums",) if shape == "points" else ()
    scheme = WeightingScheme(init, update, frozenset({RESIDUALS}), "squared_residual", per_point)
    model, points = still(scheme)
    history = model.fit(points, epochs=3, shuffle=False, verbose=0).history
    rest = [history["initial_loss"][k] + history["boundary_loss"][k] for k in range(3)]
    expected = [2.0**k * history["pde_loss"][k] + rest[k] for k in range(3)]
    assert history["loss"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.any_backend
def test_schemes_by_name_are_composed_and_saved(tmp_path):
    model, points = pinn("rba+uniform")
    model.fit(points, epochs=3, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert [part.scheme_name for part in loaded.weighting.parts] == ["rba", "uniform"]
    for one, other in zip(variables_of(loaded), variables_of(model), strict=True):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(InputError, match="'rba' twice"):
        pinn(["rba", "rba:gamma=0.9"])


@pytest.mark.parametrize("multiplies", ["residual", *further("squared_residual")])
def test_points_of_conditions_have_weights_and_states_of_their_own(multiplies):
    model, points = still(summed(multiplies))
    every = {term: to_numpy(values).astype(np.float64) for term, values in term_residuals(model).items()}
    batches = [np.arange(0, 60, 2), np.arange(1, 60, 2), np.arange(0, 60, 2)]
    model.fit(Batches(points, batches), epochs=1, shuffle=False, verbose=0)
    times = {"pde": np.where(np.arange(60) % 2, 1, 2), "initial": 3, "boundary": 3}
    weights = {term: to_numpy(values).astype(np.float64) for term, values in model.physics.point_weights().items()}
    assert set(weights) == set(every)
    for term, residual in every.items():
        np.testing.assert_allclose(weights[term], times[term] * np.abs(residual), rtol=1e-5, atol=1e-7)
    last = {"pde": batches[-1], "initial": slice(None), "boundary": slice(None)}
    loss = model.evaluate({name: values[batches[-1]] for name, values in points.items()}, verbose=0)
    power = 2 if multiplies == "residual" else 1
    expected = sum(np.mean((weights[t] ** power * r**2)[last[t]]) for t, r in every.items())
    assert (loss[0] if isinstance(loss, list) else loss) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"pde": np.ones(7)}, r"weights of term 'pde': received shape \(7,\); expected \(\) .* or \(60,\)"),
        *further(
            (
                {"initial": np.ones(60)},
                r"term 'initial': received shape \(60,\); expected \(\) .* or \(\d+,\), one for each",
            ),
            ({"wall": np.ones(())}, "received weights of term 'wall'; expected .*'pde'"),
        ),
    ],
)
def test_weights_of_a_wrong_shape_are_refused(weights, message):
    made = {term: ops.convert_to_tensor(value.astype("float32")) for term, value in weights.items()}
    with pytest.raises(PluginError, match=message):
        still(counted(weight=lambda count, signals: made))


@repeated
def test_gradients_and_traces_are_those_of_each_term_and_point():
    model, points = still([balanced()])
    model.fit(points, epochs=1, verbose=0)
    assert scalars(model) == pytest.approx(gradient_norms(model), rel=1e-4)
    model, points = still(traced(), width=4, points=20, condition_points=5)
    model.fit(points, epochs=1, verbose=0)
    assert scalars(model) == pytest.approx(traces(model), rel=1e-4)


class Oscillator(phasecore.Problem):
    """u' = v, v' = -u."""

    domain = {"t": (0, 1)}  # noqa: RUF012
    outputs = ("u", "v")
    equations = {"position": ("u_t", "v"), "velocity": ("v_t", "u")}  # noqa: RUF012

    def conditions(self):
        return [phasecore.Prescribed("initial", ("t", 0), {"u": 1, "v": 0})]

    def residuals(self, coordinates, partials, xp):
        return {"position": partials["u_t"] - partials["v"], "velocity": partials["v_t"] + partials["u"]}


@repeated
def test_a_system_has_traces_too():
    model, points = still(traced(), problem=Oscillator(), points=8, width=3, condition_points=3)
    model.fit(points, epochs=1, verbose=0)
    assert {"position", "velocity"} < set(scalars(model))
    assert scalars(model) == pytest.approx(traces(model), rel=1e-3)


@repeated
def test_a_model_that_jets_do_not_know_has_traces_too():
    problem = phasecore.problem("burgers")
    network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3), keras.layers.GroupNormalization(groups=3)])
    network.add(keras.layers.Dense(1))
    with pytest.warns(UserWarning, match="nested autodiff"):
        model = phasecore_keras_pinn(network, problem, traced())
    model.fit(model.points(problem.sample(5, seed=0, condition_points=3)), epochs=1, verbose=0)
    assert scalars(model) == pytest.approx(traces(model), rel=1e-3)


def phasecore_keras_pinn(network, problem, weighting):
    from phasecore_keras import PINN

    model = PINN(network, problem, weighting=weighting)
    model.compile(optimizer=keras.optimizers.SGD(0.0))
    return model


def test_costly_updates_come_every_so_many_iterations_on_all_points_and_the_steps_read_them():
    model, points = pinn(balanced(every=3), optimizer=keras.optimizers.SGD(1e-3))
    seen, norms_now = [], norms_of(model)

    class Norms(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            seen.append(norms_now())

    batches = [np.arange(0, 30), np.arange(30, 60)]
    model.fit(Batches(points, batches), epochs=1, shuffle=False, verbose=0, callbacks=Norms())
    assert scalars(model) == pytest.approx(seen[0], rel=1e-4)
    assert float(to_numpy(model.weighting.parts[0].state.count)) == 1
    history = model.fit(points, epochs=4, verbose=0, callbacks=[Norms()]).history
    # steps 2 to 5 follow: the weights change before the fourth step of all
    assert scalars(model) == pytest.approx(seen[2], rel=1e-4)
    assert float(to_numpy(model.weighting.parts[0].state.count)) == 2
    for epoch, norms in ((0, seen[0]), (1, seen[2]), (2, seen[2])):
        expected = sum(norms[term] * history[f"{term}_loss"][epoch] for term in model.problem.terms)
        assert history["loss"][epoch] == pytest.approx(expected, rel=1e-4)


def test_a_scheme_that_rests_needs_no_costly_signal():
    model, points = still(counted(every=4))
    history = model.fit(points, epochs=10, verbose=0).history
    assert scalars(model) == {"initial": 3.0}
    weights = [
        (loss - pde - boundary) / initial
        for loss, pde, boundary, initial in zip(
            *(history[name] for name in ("loss", "pde_loss", "boundary_loss", "initial_loss")), strict=True
        )
    ]
    np.testing.assert_allclose(weights, [1, 1, 1, 1, 2, 2, 2, 2, 3, 3], rtol=1e-4)


@repeated
def test_steps_by_hand_update_too():
    model, points = still(counted(every=2))
    for _ in range(5):
        model.train_on_batch(points)
    assert scalars(model) == {"initial": 3.0}


@pytest.mark.skipif(BACKEND == "torch", reason="Keras itself refuses steps_per_execution with torch")
def test_updates_come_between_executions():
    model, points = still(counted(every=3), compile_options={"steps_per_execution": 4})
    model.fit(Batches(points, [np.arange(60)] * 12), epochs=1, shuffle=False, verbose=0)
    assert scalars(model) == {"initial": 3.0}  # before steps 0, 4 and 8


@pytest.mark.any_backend
def test_the_schedule_of_updates_is_saved_and_new_points_start_it_anew(tmp_path):
    model, points = still(counted(every=4))
    model.fit(points, epochs=3, verbose=0)
    model.save_weights(tmp_path / "model.weights.h5")
    again, _ = still(counted(every=4))
    again.fit(points, epochs=1, verbose=0)
    again.load_weights(tmp_path / "model.weights.h5")
    again.fit(points, epochs=1, verbose=0)
    assert scalars(again) == {"initial": 1.0}
    again.fit(points, epochs=1, verbose=0)
    assert scalars(again) == {"initial": 2.0}
    again.fit(again.points(30), epochs=1, verbose=0)
    assert scalars(again) == {"initial": 1.0}


def test_a_scheme_reads_the_coordinates_of_its_batch():
    def init(signals):
        return Updates(0.0 * sum(signals[TERM_LOSSES].values()))

    def update(signals, state):
        return {"pde": 2.0 + signals[COORDINATES][:, 0]}, state

    scheme = WeightingScheme(init, update, frozenset({COORDINATES, TERM_LOSSES}))
    model, points = still(scheme)
    model.fit(points, batch_size=25, epochs=1, verbose=0)
    weights = to_numpy(model.physics.point_weights()["pde"])
    np.testing.assert_allclose(weights, 2 + points["coordinates"][:, 0], rtol=1e-6)


BAD_VALUES = {
    "nan between steps": (2, {}, lambda c: c / (3.0 - c), "at iteration 4.*received values from (nan|inf)"),
    "negative between steps": (2, {}, lambda c: 1.5 - c, "at iteration 2.*received values from -0.5.*0 or more"),
    "nan in steps": (1, {}, lambda c: c / (3.0 - c) * 0.0 / (3.0 - c), "at iteration 3.*expected finite"),
    "negative in steps": (
        1,
        {},
        lambda c: 1.5 - 0.5 * c,
        "at iteration 101: received values from .*expected finite numbers, 0 or more",
    ),
}


@pytest.mark.parametrize("case", ["nan in steps", *further(*(case for case in BAD_VALUES if case != "nan in steps"))])
def test_weights_that_are_not_numbers_or_negative_end_the_training(case):
    every, options, value, message = BAD_VALUES[case]
    model, points = still(counted(every, weight=lambda count, _: {"initial": value(count)}, **options))
    with pytest.raises(PluginError, match=f"weights of term 'initial' {message}"):
        model.fit(points, epochs=101 if case == "negative in steps" else 5, verbose=0)


@repeated
def test_a_weight_of_the_residual_may_be_negative():
    model, points = still(counted(weight=lambda count, _: {"initial": -count}, multiplies="residual"))
    model.fit(points, epochs=2, verbose=0)
    assert scalars(model) == {"initial": -2.0}


@repeated
def test_costly_signals_reach_probes_and_their_cost_is_paid_only_if_asked():
    from phasecore_keras.sources import PhysicsSource

    model, points = pinn(width=4, points=20, condition_points=5)
    model.fit(points, epochs=1, verbose=0)
    source = PhysicsSource(model, dict(enumerate(model.trainable_variables)), 5)
    required = frozenset({TERM_GRADIENTS, TANGENT_KERNEL_TRACES})
    source.prepare(required)
    values = source.signals(required)
    norms = {t: np.sqrt(sum(np.square(g).sum() for g in own.values())) for t, own in values[TERM_GRADIENTS].items()}
    assert norms == pytest.approx(gradient_norms(model), rel=1e-4)
    assert values[TANGENT_KERNEL_TRACES] == pytest.approx(traces(model), rel=1e-4)
    assert not required & set(source.signals(frozenset({RESIDUALS})))


@pytest.fixture
def double_precision():
    """Float64 on JAX too."""
    if BACKEND != "jax":
        yield
        return
    import jax

    with jax.enable_x64(True):
        yield


@pytest.mark.parametrize("axis", [None, 0])
@pytest.mark.usefixtures("double_precision")
def test_means_have_the_precision_of_what_they_are_of(axis):
    values = np.random.default_rng(0).normal(size=(50, 3))
    found = to_numpy(namespace.mean(ops.convert_to_tensor(values, dtype="float64"), axis=axis))
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, values.mean(axis=axis), atol=1e-15)
