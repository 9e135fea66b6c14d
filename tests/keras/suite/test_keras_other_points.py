"""Other points of a PINN, given by `points`: what is known of a point goes with it, and steps are on what there is."""

import numpy as np
import pytest
from keras_models import still
from repeats import further, repeated

import phasecore
from phasecore.problems import CollocationPoints
from phasecore_keras.autodiff import to_numpy

BURGERS = phasecore.problem("burgers")


def state_of(model):
    return [to_numpy(variable.value).copy() for variable in model.weighting.variables]


def others(model, how):
    """As many points as there are: in another order, one half new, all new, or those of the conditions new too."""
    now, drawn = model.physics.collocation, BURGERS.sample(60, seed=9)
    interior = now.interior.astype(np.float64)
    return {
        "another order": CollocationPoints(interior[::-1], now.conditions),
        "half new": CollocationPoints(np.concatenate([interior[30:], drawn.interior[:30]]), now.conditions),
        "all new": CollocationPoints(drawn.interior, now.conditions),
        "conditions new": drawn,
        "the same": now,
    }[how]


@pytest.mark.parametrize("how", ["half new", *further("another order", "all new", "conditions new", "the same")])
@pytest.mark.parametrize("weighting", ["rba+self_adaptive", *further("vrba", "brdr", "rba+grad_norm:every=2")])
def test_what_is_known_of_a_point_goes_with_it(weighting, how):
    model, points = still(weighting)
    model.fit(points, epochs=3, verbose=0)
    before, kept = state_of(model), model.physics.collocation
    chosen = others(model, how)
    model.points(chosen)
    given = state_of(model)
    model.physics.set_points(kept, restored=True)
    for variable, value in zip(model.weighting.variables, before, strict=True):
        variable.assign(value)
    model.resample(chosen)
    for own, other in zip(given, state_of(model), strict=True):
        np.testing.assert_array_equal(own, other)


@pytest.mark.any_backend
def test_points_in_another_order_have_their_own_weights():
    model, points = still("rba:gamma=0.9,eta=0.1")
    model.fit(points, epochs=3, verbose=0)
    before = to_numpy(model.physics.point_weights()["pde"]).copy()
    again = model.points(points["coordinates"][::-1])
    np.testing.assert_array_equal(to_numpy(model.physics.point_weights()["pde"]), before[::-1])
    np.testing.assert_array_equal(again["indices"], np.arange(60))


@pytest.mark.any_backend
def test_a_scheme_that_forbids_moves_starts_anew_with_other_points():
    scheme = phasecore.weighting_scheme("rba")._replace(on_move="refused")
    model, points = still(scheme)
    model.fit(points, epochs=3, verbose=0)
    before = state_of(model)
    model.points(points["coordinates"])
    for own, other in zip(before, state_of(model), strict=True):
        np.testing.assert_array_equal(own, other)
    model.points(points["coordinates"][::-1])
    assert model.weighting.parts[0].has_seen_none()


@repeated
def test_other_points_leave_a_tracked_attention_with_its_points():
    model, points = still("uniform")
    model.physics.track_attention()
    model.renew()
    model.fit(points, epochs=3, verbose=0)
    before = to_numpy(model.physics.residual_attention()["pde"]).copy()
    model.points(points["coordinates"][::-1])
    np.testing.assert_array_equal(to_numpy(model.physics.residual_attention()["pde"]), before[::-1])
