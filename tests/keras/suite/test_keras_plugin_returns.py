"""Nothing that a plugin returns wrongly trains on any backend of Keras: it is refused or switched off, and named."""

import re
import warnings

import faulty_plugins as faulty
import keras
import numpy as np
import pytest
from keras_models import mlp
from repeats import COMPILES, repeated

from phasecore import PluginError
from phasecore.errors import PluginWarning
from phasecore_keras import PINN, PhaseMonitor, PhysicsLoss
from phasecore_keras.capture import Capture

SOUND = faulty.Decay()


OF_ARRAYS = (
    *("numbers", "numpy's arrays", "too few weights", "not finite", "a state of another shape"),
    *faulty.OF_DTYPES,
)
"""What schemes return wrongly, and another framework might take."""


def cases(*tables, marks=()):
    return [pytest.param(*case, id=what, marks=marks) for table in tables for what, case in table.items()]


def further_cases(*tables):
    return cases(*tables, marks=[pytest.mark.campaign] if COMPILES else [])


def loss_of(problem, weighting="uniform", derivatives="auto"):
    return PhysicsLoss(problem, mlp(1), problem.sample(60, seed=0), weighting=weighting, derivatives=derivatives)


def compiled(problem, weighting="uniform"):
    model = PINN(mlp(1), problem, weighting=weighting)
    model.compile(optimizer=keras.optimizers.Adam(1e-3))
    return model


def train(model, epochs=3, **options):
    monitor = PhaseMonitor(every=1, batches=5, **options)
    model.fit(model.points(60, seed=0), epochs=epochs, verbose=0, callbacks=[monitor])
    return monitor


@pytest.mark.parametrize(
    ("problem", "told"), [*cases(faulty.RESIDUALS), *further_cases(faulty.FIELDS, faulty.CONDITIONS)]
)
def test_a_problem_that_returns_something_else_is_refused_when_the_loss_is_made(problem, told):
    with pytest.raises(PluginError, match=told) as caught:
        loss_of(problem, derivatives="jets")
    assert "decay" in str(caught.value) or "'initial'" in str(caught.value)


@repeated
@pytest.mark.parametrize(("problem", "told"), cases(faulty.RESIDUALS, faulty.FIELDS, faulty.CONDITIONS))
def test_a_problem_that_returns_something_else_is_refused_with_autodiff_too(problem, told):
    with pytest.raises(PluginError, match=told):
        loss_of(problem, derivatives="autodiff")


def test_residuals_that_are_not_finite_are_refused_when_a_pinn_takes_its_points():
    problem, told = faulty.RESIDUALS["not finite"]
    with pytest.raises(PluginError, match=told):
        compiled(problem).points(60, seed=0)


@pytest.mark.any_backend
@pytest.mark.parametrize(("problem", "told"), cases(faulty.REFERENCES))
def test_a_reference_that_is_none_is_refused_before_the_first_epoch(problem, told):
    model = compiled(problem)
    model.points(60, seed=0)
    for probe in ("relative_l2_error", "target_information"):
        with pytest.raises(PluginError, match=told):
            Capture(model, batches=5, probes=[probe])


@pytest.mark.parametrize(
    ("scheme", "told"),
    [
        *cases({what: case for what, case in faulty.SCHEMES.items() if what in OF_ARRAYS}),
        *further_cases({what: case for what, case in faulty.SCHEMES.items() if what not in OF_ARRAYS}),
    ],
)
def test_a_scheme_that_returns_something_else_is_refused_when_points_are_taken(scheme, told):
    with pytest.raises(PluginError, match=told):
        loss_of(SOUND, scheme)


@pytest.mark.parametrize("what", faulty.FORGETFUL)
@pytest.mark.parametrize("count", [1, 7])
def test_a_batch_that_fails_for_points_that_are_not_named_says_where_to_name_them(what, count):
    loss = loss_of(SOUND, faulty.forgetful(what))
    points = keras.ops.convert_to_tensor(loss.points)
    loss(points, keras.ops.arange(60), training=True)
    with pytest.raises(PluginError, match=r"Name fields with a value for each point in per_point\.$"):
        loss(points[:count], keras.ops.arange(count), training=True)


@pytest.mark.parametrize(("turns", "told"), cases(faulty.TURNING))
def test_a_scheme_that_returns_something_else_later_is_refused_then(turns, told):
    loss = loss_of(SOUND, faulty.turning(**turns))
    points, indices = keras.ops.convert_to_tensor(loss.points), keras.ops.arange(60)
    loss(points, indices, training=True)
    with pytest.raises(PluginError, match=told):
        loss(points, indices, training=True)


def test_a_scalar_residual_of_a_condition_with_one_point_is_taken():
    one = faulty.with_condition(lambda p, t, xp: xp.mean(p["u"]) - 1.0, count=1)
    found = loss_of(one).condition_residuals()["initial"]
    assert tuple(found.shape) == (1,)


@pytest.mark.any_backend
@pytest.mark.parametrize(("probe", "told"), cases(faulty.TAKEN))
def test_a_column_that_is_taken_is_refused_before_the_first_epoch_naming_both(probe, told):
    with pytest.raises(PluginError, match=told):
        train(compiled(SOUND), probes=["gradient_snr", "term_losses", probe])


@pytest.mark.any_backend
@pytest.mark.parametrize("what", ["None", "an array", "text", "an error", "an undeclared signal"])
def test_a_probe_that_fails_is_switched_off_with_one_warning_and_leaves_the_rest_alone(what):
    probe, told = faulty.SWITCHED_OFF[what]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", PluginWarning)
        monitor = train(compiled(SOUND), probes=["term_losses", probe])
    (warning,) = [item for item in caught if issubclass(item.category, PluginWarning)]
    assert re.search(told, str(warning.message))
    assert [row["iteration"] for row in monitor.history] == [0, 1, 2, 3]
    assert all(type(value) in (int, float) for row in monitor.history for value in row.values())


@repeated
def test_weights_that_follow_residuals_that_are_not_finite_are_told_as_those():
    by_size = faulty.scheme(lambda s, state: ({"ode": s.namespace.abs(s["residuals"]["ode"])}, state))
    model = compiled(SOUND, by_size)
    points = model.points(60, seed=0)
    kernel = model.network.layers[0].kernel
    kernel.assign(np.full(kernel.shape, np.nan))
    told = r"weights of term 'ode'.*the residual of 'ode' is not finite at 60 of 60 points, the first t="
    with pytest.raises(PluginError, match=told):
        model.fit(points, epochs=2, verbose=0)
