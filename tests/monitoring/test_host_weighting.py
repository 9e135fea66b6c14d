import faulty_plugins as faulty
import numpy as np
import pytest

from phasecore.errors import InputError, PluginError, TrainingError
from phasecore.monitoring.host_weighting import HostWeighting, check_points_stay
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
    np.testing.assert_allclose(weighting.factor("pde"), np.asarray([0.5, 1.0]) * np.sqrt(2 / 3))
    np.testing.assert_allclose(weighting.factor("initial"), np.sqrt(2))
    assert weighting.factor("another").tolist() == 1.0
    assert weighting.attention()["pde"].tolist() == [0.5, 1.0]
    assert made("grad_norm").attention() is None


@pytest.mark.parametrize(("multiplies", "expected"), [("residual", 4.0), ("squared_residual", 2.0)])
@pytest.mark.parametrize(
    ("balance", "sizes"),
    [
        ("grad_norm:alpha=0.0", {"term_gradients": {t: {"w": np.asarray([3.0, 4.0])} for t in ("pde", "initial")}}),
        (
            "ntk",
            {
                "tangent_kernel_traces": {"pde": np.asarray(6.0), "initial": np.asarray(6.0)},
                "condition_residuals": {"initial": np.ones(2)},
            },
        ),
    ],
)
@pytest.mark.parametrize("turned", [False, True])
def test_halved_points_are_made_up_for(multiplies, expected, balance, sizes, turned):
    """Point weights of one half, equal gradients or traces: the halved term gets four times the weight, or twice."""
    values = {"residuals": VALUES["residuals"], **sizes}
    halves = WeightingScheme(
        lambda signals: (), lambda signals, state: ({"pde": np.asarray([0.5, 0.5])}, state), frozenset(), multiplies
    )
    weighting = HostWeighting([balance, halves] if turned else [halves, balance], "test", values)
    asked = []

    def further(required):
        asked.append(required)
        factor = np.unique(weighting.point_factor("pde")).item() ** 2
        assert weighting.point_factor("initial").tolist() == 1.0
        scaled = {"pde": factor, "initial": 1.0}
        (name,) = required
        return {
            name: {
                term: {"w": scaled[term] * value["w"]} if isinstance(value, dict) else scaled[term] * value
                for term, value in values[name].items()
            }
        }

    weighting.update({name: value for name, value in values.items() if "term_g" not in name}, 0, further)
    assert asked == [frozenset(sizes) - {"condition_residuals"}]
    points = weighting.point_factor("pde")
    ratio = (weighting.factor("pde") / points) ** 2 / weighting.factor("initial") ** 2
    np.testing.assert_allclose(ratio, expected)


@pytest.mark.parametrize(("turns", "told"), faulty.TURNING.values(), ids=[*faulty.TURNING])
def test_a_scheme_that_returns_something_else_later_is_refused_and_nothing_kept_of_it(turns, told):
    weighting = HostWeighting(faulty.turning(**turns), "test", ["residuals"])
    values = {"residuals": {"ode": np.asarray([1.0, -2.0])}}
    weighting.update(values, iteration=0)
    weighting.update(values, iteration=1)
    before = str(weighting.state_dict())
    with pytest.raises(PluginError, match=told):
        weighting.update(values, iteration=2)
    assert str(weighting.state_dict()) == before


def test_a_scheme_rests_between_its_updates():
    weighting = made("grad_norm:alpha=0.5,every=3")
    seen = []
    for iteration in range(5):
        seen.append((weighting.required(), float(weighting.factor("initial"))))
        weighting.update(VALUES if seen[-1][0] else {}, iteration)
    due = frozenset({"term_gradients"})
    assert [required for required, _ in seen] == [due, frozenset(), frozenset(), due, frozenset()]
    assert [factor**2 for _, factor in seen] == pytest.approx([1, 1.5, 1.5, 1.5, 1.75])


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


def test_weights_that_follow_residuals_that_are_not_finite_are_told_as_those():
    by_size = WeightingScheme(
        lambda signals: (), lambda signals, state: (dict(signals["residuals"]), state), frozenset({"residuals"})
    )
    with pytest.raises(
        TrainingError, match=r"iteration 7.*the residual of 'pde', which is not finite at 1 of 2 points"
    ):
        made(by_size).update({"residuals": {"pde": np.asarray([1.0, np.nan])}}, iteration=7)


def test_a_scheme_sees_what_it_declared_and_returns_what_it_is_to():
    greedy = WeightingScheme(
        lambda signals: (), lambda signals, state: (signals["term_gradients"], state), frozenset({"residuals"})
    )
    with pytest.raises(PluginError, match=r"'term_gradients' is not available to weighting .*\['residuals'\]"):
        made(greedy).update(VALUES, iteration=0)
    with pytest.raises(PluginError, match=r"expected a tuple \(weights, state\)"):
        made(WeightingScheme(lambda signals: (), lambda signals, state: {}, frozenset())).update(VALUES, iteration=0)
    with pytest.raises(PluginError, match=r"'pde'.*a str"):
        made(constant("heavy")).update(VALUES, iteration=0)
