import numpy as np
import pytest

from phasecore.errors import InputError, PluginError
from phasecore.runs.host_weighting import HostWeighting, check_points_stay
from phasecore.weighting import WeightingScheme

VALUES = {
    "residuals": {"pde": np.asarray([1.0, -2.0], dtype=np.float32)},
    "term_gradients": {"pde": {"w": np.asarray([3.0])}, "initial": {"w": np.asarray([1.0])}},
}


def made(weighting):
    return HostWeighting(weighting, "test", VALUES)


def constant(weight):
    return WeightingScheme(lambda signals: (), lambda signals, state: ({"pde": weight}, state), frozenset())


def test_weights_of_several_schemes_are_multiplied_those_of_squares_as_roots():
    weighting = made("rba:gamma=0.0,eta=1.0+grad_norm:alpha=0.0")
    assert weighting.factor("pde").tolist() == 1.0
    weighting.update(VALUES, iteration=0)
    weighting.check({"pde": 2, "initial": 5})
    np.testing.assert_allclose(weighting.factor("pde"), np.asarray([0.5, 1.0]) * np.sqrt(4 / 3))
    np.testing.assert_allclose(weighting.factor("initial"), 2.0)
    assert weighting.factor("another").tolist() == 1.0
    assert weighting.attention()["pde"].tolist() == [0.5, 1.0]
    assert made("grad_norm").attention() is None


def test_a_scheme_rests_between_its_updates():
    weighting = made("grad_norm:alpha=0.5,every=3")
    seen = []
    for iteration in range(5):
        seen.append((weighting.required(), float(weighting.factor("initial"))))
        weighting.update(VALUES if seen[-1][0] else {}, iteration)
    due = frozenset({"term_gradients"})
    assert [required for required, _ in seen] == [due, frozenset(), frozenset(), due, frozenset()]
    assert [factor**2 for _, factor in seen] == pytest.approx([1, 2.5, 2.5, 2.5, 3.25])


def test_what_is_refused():
    with pytest.raises(InputError, match="'tangent_kernel_traces'"):
        made("ntk")
    weighting = made(constant(np.ones(3)))
    weighting.update({}, iteration=0)
    with pytest.raises(PluginError, match=r"shape \(3,\)"):
        weighting.check({"pde": 2})
    with pytest.raises(PluginError, match="iteration 7"):
        made(constant(np.asarray(np.nan))).update({}, iteration=7)
    check_points_stay(made("grad_norm"), "callback")
    with pytest.raises(InputError, match="callback of a scheme"):
        check_points_stay(made("rba"), "callback")
