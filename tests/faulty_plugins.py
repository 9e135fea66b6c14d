"""Problems, schemes and probes that break their contract in one way each, and what they are to be told."""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from phasecore.probes import Probe
from phasecore.problems import Condition, Prescribed, Preset, Problem
from phasecore.weighting import WeightingScheme


@dataclass(frozen=True)
class Decay(Problem):
    """`u_t + rate u = 0` on t in [0, 1], u(0) = 1: sound, with one coordinate."""

    rate: float = 2.0

    name = "decay"
    coordinates = ("t",)
    outputs = ("u",)
    equations: ClassVar = {"ode": ("u", "u_t")}
    grid = (31,)
    reference_accuracy = "exact"
    presets: ClassVar = {"quick": Preset(points=60, width=8, depth=2, iterations=10)}

    @property
    def domain(self):
        return {"t": (0.0, 1.0)}

    @property
    def conditions(self):
        return [Prescribed("initial", ("t", 0.0), {"u": 1.0})]

    def residuals(self, coordinates, partials, xp):
        return {"ode": partials["u_t"] + self.rate * partials["u"]}

    def reference(self, points):
        return {"u": np.exp(-self.rate * self.check_points(points)[:, 0])}


def spoiled(**members):
    """Decay with other members."""
    return dataclass(frozen=True)(type("Decay", (Decay,), {"__module__": __name__, **members}))()


def with_residuals(function):
    return spoiled(residuals=lambda self, at, partials, xp: function(at, partials, xp))


class Own(Condition):
    """A condition of term "initial" whose residuals, targets and number of points are given."""

    term = "initial"
    partials = ("u",)

    def __init__(self, residuals, targets=None, count=None):
        self._residuals, self._targets, self._count = residuals, targets, count

    def sample(self, count, coordinates, bounds, generator):
        return generator.uniform(*bounds, (self._count or count, len(coordinates)))

    def targets(self, coordinates):
        return self._targets(coordinates) if self._targets else {}

    def residuals(self, partials, targets, xp):
        return self._residuals(partials, targets, xp)


def with_condition(residuals, targets=None, count=None):
    return spoiled(conditions=property(lambda self: [Own(residuals, targets, count)]))


def deviation(partials, targets, xp):
    return partials["u"] - targets["u"]


RESIDUALS = {
    "a column": (with_residuals(lambda at, p, xp: {"ode": xp.reshape(p["u_t"], (-1, 1))}), r"'ode'.*shape \(\d+, 1\)"),
    "a scalar": (with_residuals(lambda at, p, xp: {"ode": xp.mean(p["u_t"])}), r"'ode'.*shape \(\)"),
    "one short": (with_residuals(lambda at, p, xp: {"ode": p["u_t"][1:]}), r"'ode'.*one value for each point"),
    "a number": (with_residuals(lambda at, p, xp: {"ode": 0.0}), r"'ode'.*a float, 0\.0"),
    "of numpy": (with_residuals(lambda at, p, xp: {"ode": np.ones(at["t"].shape)}), r"'ode'.*numpy\.ndarray"),
    "a list": (with_residuals(lambda at, p, xp: [p["u_t"]]), r"a list.*a mapping with \['ode'\]"),
    "an array": (with_residuals(lambda at, p, xp: p["u_t"]), r"a mapping with \['ode'\]"),
    "None": (with_residuals(lambda at, p, xp: None), r"received None; expected a mapping with \['ode'\]"),
    "a missing term": (with_residuals(lambda at, p, xp: {}), r"received \[\]; expected \['ode'\]"),
    "an additional term": (with_residuals(lambda at, p, xp: {"ode": p["u"], "more": p["u"]}), r"\['ode', 'more'\]"),
    "an undeclared partial": (with_residuals(lambda at, p, xp: {"ode": p["u_tt"]}), r"KeyError: 'u_tt'"),
    "an error": (with_residuals(lambda at, p, xp: 1 / 0), r"ZeroDivisionError"),
    "not finite": (
        with_residuals(lambda at, p, xp: {"ode": p["u_t"] + 0 * xp.sqrt(at["t"] - 0.5)}),
        r"before the first iteration.*residual of 'ode' is not finite at \d+ of \d+ points, the first t=0\.",
    ),
}
"""{what `residuals` returns: (the problem, what is said of it)}."""

FIELDS = {
    "a column": (spoiled(fields=lambda self, at, p, xp: {"u": xp.reshape(p["u"], (-1, 1))}), r"'u'.*shape \(\d+, 1\)"),
    "a list": (spoiled(fields=lambda self, at, p, xp: [p["u"]]), r"fields\(\): received a list"),
    "None": (spoiled(fields=lambda self, at, p, xp: None), r"fields\(\): received None"),
    "an undeclared partial": (spoiled(fields=lambda self, at, p, xp: {"u": p["u_t"]}), r"fields\(\).*KeyError: 'u_t'"),
}
"""{what `fields` returns: (the problem, what is said of it)}."""

CONDITIONS = {
    "a scalar of several points": (
        with_condition(lambda p, t, xp: xp.mean(p["u"])),
        r"shape \(\).*return shape \(1,\)",
    ),
    "a column": (with_condition(lambda p, t, xp: xp.reshape(p["u"], (-1, 1))), r"shape \(\d+, 1\).*one axis"),
    "nothing": (with_condition(lambda p, t, xp: p["u"][:0]), r"shape \(0,\)"),
    "None": (with_condition(lambda p, t, xp: None), r"residuals\(\): received None"),
    "a mapping": (with_condition(lambda p, t, xp: {"u": p["u"]}), r"a mapping with \['u'\]"),
    "of numpy": (with_condition(lambda p, t, xp: np.ones(3)), r"numpy\.ndarray"),
    "an error": (with_condition(lambda p, t, xp: 1 / 0), r"ZeroDivisionError"),
    "not finite": (
        with_condition(lambda p, t, xp: xp.log(0 * p["u"] - 1)),
        r"the residual of 'initial' is not finite at \d+ of \d+ points, the first t=0\.",
    ),
    "targets in a column": (
        with_condition(deviation, lambda at: {"u": at["t"][:, None]}),
        r"target 'u'.*shape \(\d+, 1\)",
    ),
    "targets one short": (with_condition(deviation, lambda at: {"u": at["t"][1:]}), r"target 'u'.*one for each point"),
    "a single target": (with_condition(deviation, lambda at: {"u": at["t"][:1]}), r"target 'u'.*one for each point"),
    "complex targets": (with_condition(deviation, lambda at: {"u": at["t"] * 1j}), r"target 'u'.*complex"),
    "targets that are not finite": (
        with_condition(deviation, lambda at: {"u": at["t"] * np.nan}),
        r"target 'u'.*not finite at \d+ of \d+ points",
    ),
    "a list of targets": (with_condition(deviation, lambda at: [at["t"]]), r"targets\(\): received a list"),
    "targets of text": (with_condition(deviation, lambda at: {"u": ["a"] * len(at["t"])}), r"target 'u'.*dtype"),
}
"""{what a condition returns: (the problem, what is said of it)}; always with the term."""


def with_reference(function):
    return spoiled(reference=lambda self, points: function(np.asarray(points, dtype=np.float64)[:, 0]))


REFERENCES = {
    "a column": (with_reference(lambda t: {"u": np.exp(-2 * t)[:, None]}), r"'u'.*shape \(\d+, 1\)"),
    "one short": (with_reference(lambda t: {"u": np.exp(-2 * t)[1:]}), r"'u'.*one for each point"),
    "a scalar": (with_reference(lambda t: {"u": 1.0}), r"'u'.*shape \(\)"),
    "complex": (with_reference(lambda t: {"u": np.exp(-2j * t)}), r"'u'.*complex"),
    "not finite": (with_reference(lambda t: {"u": np.where(t > 0.5, np.nan, t)}), r"'u'.*not finite at \d+ of \d+"),
    "text": (with_reference(lambda t: {"u": ["a"] * len(t)}), r"'u'.*dtype"),
    "another name": (with_reference(lambda t: {"v": t}), r"\['v'\]; expected \['u'\]"),
    "a name more": (with_reference(lambda t: {"u": t, "v": t}), r"\['u', 'v'\]; expected \['u'\]"),
    "an array": (with_reference(lambda t: t), r"numpy\.ndarray.*a mapping with \['u'\]"),
    "None": (with_reference(lambda t: None), r"reference\(\): received None"),
    "an error": (with_reference(lambda t: 1 / 0), r"ZeroDivisionError"),
}
"""{what `reference` returns: (the problem, what is said of it)}."""


class Empty(NamedTuple):
    """No state."""


class Kept(NamedTuple):
    kept: dict


class KeptTwice(NamedTuple):
    kept: dict
    twice: dict


def ones(signals):
    return {term: signals.namespace.ones_like(residual) for term, residual in signals["residuals"].items()}


def scheme(update, init=lambda signals: Empty(), requires=frozenset({"residuals"}), **options):
    return WeightingScheme(init, update, requires, **options)


def kept(signals):
    return Kept(ones(signals))


def half(array):
    """An array of any framework in float16, which holds no 1e-8."""
    if hasattr(array, "half"):
        return array.half()
    if hasattr(array, "astype"):
        return array.astype("float16")
    import tensorflow as tf

    return tf.cast(array, "float16")


def positive(signals):
    return {term: signals.namespace.abs(residual) > 0 for term, residual in signals["residuals"].items()}


OF_DTYPES = {
    "weights of float16": (
        scheme(lambda s, state: ({"ode": half(1e-8 * ones(s)["ode"])}, state)),
        r"weights of term 'ode': received dtype float16; expected float(32|64), as the signals.*Python numbers only",
    ),
    "weights of truths": (scheme(lambda s, state: (positive(s), state)), r"weights of term 'ode'.*dtype bool"),
    "a state of float16": (
        scheme(lambda s, state: (ones(s), state), lambda s: Kept({"ode": half(ones(s)["ode"])})),
        r"state 'kept_ode': received dtype float16; expected float(32|64), as the signals.*xp\.zeros_like",
    ),
    "a state of truths": (
        scheme(lambda s, state: (ones(s), state), lambda s: Kept(positive(s))),
        r"state 'kept_ode': received dtype bool",
    ),
    "a state whose dtype changes": (
        scheme(lambda s, state: (ones(s), Kept({"ode": half(state.kept["ode"])})), kept),
        r"state 'kept_ode' after an update: received shape \(60,\) of float16; expected shape \(60,\) of float(32|64)",
    ),
    "a state of numpy's arrays": (
        scheme(lambda s, state: (ones(s), state), lambda s: Kept({"ode": np.ones(60)})),
        r"init\(signals\), state 'kept_ode': received a numpy\.ndarray.*signals\.namespace",
    ),
    "a numpy array as state": (
        scheme(lambda s, state: (ones(s), state), lambda s: Kept(np.ones(()))),
        r"init\(signals\), state 'kept': received a numpy\.ndarray",
    ),
    "points of no term": (
        scheme(lambda s, state: (ones(s), state), lambda s: Kept(ones(s)["ode"]), per_point=("kept",)),
        r"per_point: received 'kept', which is an array; expected fields that are mappings",
    ),
}
"""Schemes whose arrays are of another dtype or framework than the signals, as `SCHEMES`."""

FORGETFUL = {
    "sums": lambda s, old: {"ode": old["ode"] + s.namespace.abs(s["residuals"]["ode"])},
    "the last": lambda s, old: {"ode": s.namespace.abs(s["residuals"]["ode"])},
}
"""{what a scheme keeps of each point without saying so: the function of signals and old values that makes it}."""


def forgetful(what):
    def update(signals, state):
        values = FORGETFUL[what](signals, state.kept)
        return values, Kept(values)

    return scheme(update, lambda s: Kept({"ode": 0.0 * ones(s)["ode"]}))


def turning(weights=lambda sound: sound, state=lambda sound: sound, updates=2):
    """Return a scheme whose weights and state are what they should be for so many updates, and others then."""
    done = []

    def update(signals, before):
        done.append(1)
        sound = ones(signals), Kept(before.kept)
        return sound if len(done) <= updates else (weights(sound[0]), Kept(state(sound[1].kept)))

    return scheme(update, kept)


TURNING = {
    "an entry more": (
        {"state": lambda kept: {**kept, "heat": kept["ode"]}},
        r"state 'kept_heat' after an update: received shape \(\d+,\) of float\d+; expected nothing, as before.*entries",
    ),
    "no entry": ({"state": lambda kept: {}}, r"state 'kept_ode' after an update: received nothing; expected shape"),
    "another entry": ({"state": lambda kept: {"heat": kept["ode"]}}, r"state 'kept_(ode|heat)' after an update"),
    "an entry of fewer points": ({"state": lambda kept: {"ode": kept["ode"][1:]}}, r"'kept_ode'.*shape \(\d+,\)"),
    "a number as entry": ({"state": lambda kept: {"ode": 1.0}}, r"'kept_ode' after an update: received a float, 1\.0"),
    "no weights": ({"weights": lambda sound: {}}, r"weights of \[\]; expected weights of \['ode'\]"),
    "weights of a term more": (
        {"weights": lambda sound: {**sound, "heat": sound["ode"]}},
        r"weights of \['ode', 'heat'\]; expected weights of \['ode'\]",
    ),
}
"""{what a scheme turns to after some updates: (options of `turning`, what is said of it)}."""


SCHEMES = {
    "weights alone": (
        scheme(lambda s, state: ones(s)),
        r"update.*a mapping with \['ode'\]; expected a tuple \(weights",
    ),
    "a pair of weights": (scheme(lambda s, state: dict.fromkeys("ab", 1.0)), r"expected a tuple \(weights, state\)"),
    "None": (scheme(lambda s, state: None), r"update.*received None"),
    "the state alone": (scheme(lambda s, state: state, kept), r"expected a tuple \(weights, state\)"),
    "a state of two fields alone": (
        scheme(lambda s, state: state, lambda s: KeptTwice(ones(s), ones(s))),
        r"a state that is .*expected a KeptTwice",
    ),
    "state and weights": (scheme(lambda s, state: (state, ones(s)), kept), r"expected a tuple \(weights, state\)"),
    "three things": (scheme(lambda s, state: (ones(s), state, 1)), r"expected a tuple \(weights, state\)"),
    "another kind of state": (scheme(lambda s, state: (ones(s), Empty()), kept), r"expected a Kept, as init"),
    "a state without an entry": (scheme(lambda s, state: (ones(s), Kept({})), kept), r"state 'kept_ode'.*nothing"),
    "a state of another shape": (
        scheme(lambda s, state: (ones(s), Kept({"ode": s["residuals"]["ode"][:3]})), kept),
        r"state 'kept_ode'.*shape \(3,\)",
    ),
    "a state that is a mapping": (scheme(lambda s, state: (ones(s), state), ones), r"init.*expected a NamedTuple"),
    "no state": (scheme(lambda s, state: (ones(s), state), lambda s: None), r"init.*received None"),
    "numbers": (scheme(lambda s, state: ({"ode": 1.0}, state)), r"'ode'.*a float, 1\.0"),
    "numpy's arrays": (scheme(lambda s, state: ({"ode": np.ones(60)}, state)), r"'ode'.*numpy\.ndarray"),
    "a weight of no term": (scheme(lambda s, state: ({"heat": ones(s)["ode"]}, state)), r"'heat'"),
    "too few weights": (scheme(lambda s, state: ({"ode": ones(s)["ode"][1:]}, state)), r"'ode'.*shape \(\d+,\)"),
    "not finite": (
        scheme(lambda s, state: ({"ode": float("nan") * ones(s)["ode"]}, state)),
        r"'ode'.*from nan to nan.*look at the scheme's formula",
    ),
    "an error": (scheme(lambda s, state: 1 / 0), r"update.*ZeroDivisionError"),
    "an error of init": (scheme(lambda s, state: (ones(s), state), lambda s: 1 / 0), r"init.*ZeroDivisionError"),
    "an undeclared signal": (
        scheme(lambda s, state: ({"ode": ones(s)["ode"] + s["term_losses"]["ode"]}, state)),
        r"'term_losses' is not available to weighting .*which does not declare it.*\['residuals'\].*'requires'",
    ),
    "an undeclared signal in init": (
        scheme(lambda s, state: (ones(s), state), lambda s: Kept({"ode": s["coordinates"]})),
        r"'coordinates' is not available to weighting",
    ),
    "requirements in a text": (scheme(lambda s, state: (ones(s), state), requires="residuals"), r"requires.*frozenset"),
    "another factor": (scheme(lambda s, state: (ones(s), state), multiplies="square"), r"multiplies.*'square'"),
    "no interval": (scheme(lambda s, state: (ones(s), state), every=0), r"every.*positive integer"),
    "fields in a text": (scheme(lambda s, state: (ones(s), state), kept, per_point="kept"), r"per_point.*tuple"),
    "unknown fields": (scheme(lambda s, state: (ones(s), state), kept, per_point=("old",)), r"\['old'\].*\['kept'\]"),
    **OF_DTYPES,
}
"""{what a scheme returns or declares: (the scheme, what is said of it)}."""


@dataclass(frozen=True)
class Sketch(Probe):
    """A probe whose measurement is given."""

    function: Any = None
    name = "sketch"
    requires = frozenset({"residuals"})

    def measure(self, signals):
        return self.function(signals)


SWITCHED_OFF = {
    "None": (Sketch(lambda signals: None), r"received None"),
    "a list": (Sketch(lambda signals: [("size", 1.0)]), r"a list"),
    "a number": (Sketch(lambda signals: 1.0), r"a float"),
    "an array": (Sketch(lambda signals: {"size": np.ones(3)}), r"'size'.*shape \(3,\)"),
    "an array of one": (Sketch(lambda signals: {"size": np.ones(1)}), r"'size'.*shape \(1,\)"),
    "text": (Sketch(lambda signals: {"size": "1.0"}), r"'size'.*a str"),
    "no value": (Sketch(lambda signals: {"size": None}), r"'size': received None"),
    "a complex number": (Sketch(lambda signals: {"size": 1j}), r"'size'.*complex"),
    "a truth value": (Sketch(lambda signals: {"size": True}), r"'size'.*bool"),
    "a mapping of mappings": (Sketch(lambda signals: {"size": {"a": 1.0}}), r"'size'"),
    "a name with a space": (Sketch(lambda signals: {"the size": 1.0}), r"'the size'"),
    "a name that is none": (Sketch(lambda signals: {1: 1.0}), r"name: received 1"),
    "an error": (Sketch(lambda signals: 1 / 0), r"ZeroDivisionError"),
    "an undeclared signal": (
        Sketch(lambda signals: {"size": float(signals["term_losses"]["ode"])}),
        r"'term_losses' is not available to probe 'sketch'.*\['residuals'\].*'requires'",
    ),
}
"""{what a probe returns: (the probe, what is said when it is switched off)}."""

TAKEN = {
    "the measured SNR": (Sketch(lambda signals: {"snr": 5.0}), r"'sketch'.*'snr'.*'gradient_snr'"),
    "a loss of another probe": (Sketch(lambda signals: {"loss_ode": 5.0}), r"'sketch'.*'loss_ode'.*'term_losses'"),
    "the iteration": (Sketch(lambda signals: {"iteration": 5.0}), r"'sketch'.*'iteration'.*the row itself"),
    "the time": (Sketch(lambda signals: {"seconds": 5.0}), r"'sketch'.*'seconds'.*the row itself"),
    "the rate": (Sketch(lambda signals: {"learning_rate": 5.0}), r"'sketch'.*'learning_rate'.*the row itself"),
    "the loss": (Sketch(lambda signals: {"loss": 5.0}), r"'sketch'.*'loss'.*the row itself"),
}
"""{whose name a probe returns: (the probe, what is said)}."""
