"""Schemes whose states are hard to name: arrays that would share a name, names that frameworks refuse or have."""

from collections import namedtuple

import phasecore
from phasecore.weighting import WeightingScheme
from phasecore.weighting.states import state_entries


class TwoEquations(phasecore.Problem):
    domain = {"x": (0, 1), "t": (0, 1)}  # noqa: RUF012
    outputs = ("u",)

    def residuals(self, x, u, xp):
        return {"pde": u["u_t"] - u["u_xx"], "square_pde": 3 * u["u_x"] + 1}


PROBLEM = TwoEquations()
TERMS = ("pde", "square_pde")

STATES = {
    "two mappings": {"mean": TERMS, "mean_square": TERMS},
    "a mapping and an array": {"mean": TERMS, "mean_pde": None},
    "three at once": {"a": ("b_c", "c"), "a_b": ("c",), "a_b_c": None},
    "with a length before it": {"a": ("1_b", "b"), "a_1": ("b",), "a_b": None},
    "a point": {"norms": ("0.weight", "2.weight")},
    "a slash": {"norms": ("0/weight", "2/weight")},
    "both, and their numbers": {"norms": ("a.b", "a/b", "a%2Eb", "a%2Fb", "a%b", "")},
    "a method": {"dict": None, "dict_": ("pre",), "s": ("",)},
    "numbers": {"layers": (0, 1)},
}
"""{what is hard: {field: its keys, or None for an array}}."""


def made(fields, per_point=()):
    """A scheme whose arrays begin as 0, 100, 200, ... and rise by 1, 2, 3, ... at each update.

    Fields in `per_point` hold an array for each point.
    """
    kind = namedtuple("State", fields)
    entries = [(field, key) for field, keys in fields.items() for key in (keys or (None,))]

    def state_of(signals, value):
        residuals = signals["residuals"]
        some = next(iter(residuals.values()))
        xp = signals.namespace

        def leaf(field, key):
            like = xp.zeros_like(residuals[key]) if field in per_point else xp.sum(xp.zeros_like(some))
            return like + value(field, key)

        return kind(
            *(leaf(f, None) if keys is None else {key: leaf(f, key) for key in keys} for f, keys in fields.items())
        )

    def init(signals):
        return state_of(signals, lambda *entry: 100.0 * entries.index(entry))

    def update(signals, state):
        old = dict(state_entries(state))
        new = state_of(signals, lambda *entry: old[entry] + 1.0 + entries.index(entry))
        xp = signals.namespace
        total = sum(xp.mean(leaf) for _, leaf in state_entries(new))
        return {term: total * xp.ones_like(r) for term, r in signals["residuals"].items()}, new

    return WeightingScheme(init, update, frozenset({"residuals"}), "squared_residual", per_point=per_point)


def expected(fields, updates):
    """What the arrays hold after some updates, by field and key."""
    entries = [(field, key) for field, keys in fields.items() for key in (keys or (None,))]
    return {entry: 100.0 * i + updates * (1.0 + i) for i, entry in enumerate(entries)}
