"""Several seeds of each weighting: medians, ranges, and differences paired by seed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, final

import numpy as np
from numpy.typing import NDArray

from phasecore.backends import Acted
from phasecore.phases import Phase, Timeline, Transition

Floats = NDArray[np.float64]

BEGINS = (Phase.DIFFUSION, Phase.TOTAL_DIFFUSION)
"""The phases whose beginnings are compared."""


COMPARABLE = frozenset({"problem", "problem_parameters", "iterations"})
"""What two networks must have in common for any ratio of theirs to be told: what is solved, and for how long."""


class Network(Protocol):
    """A trained network, as statistics over seeds need it."""

    @property
    def weighting(self) -> str:
        """The specification of its weighting."""

    @property
    def seed(self) -> int | None:
        """The seed of its points and first parameters."""

    @property
    def trained(self) -> Mapping[str, Any]:
        """All that was trained, the seed apart: see `phasecore.recording.configuration.trained`."""

    @property
    def is_complete(self) -> bool:
        """Whether it was trained to the end."""

    @property
    def timeline(self) -> Timeline:
        """The phases found in its history."""

    @property
    def error(self) -> float:
        """Its relative L2 error in the end, NaN where there is none."""

    @property
    def seconds(self) -> float:
        """Its training time, NaN where it is not known."""

    @property
    def actions(self) -> Sequence[Acted]:
        """What policies had done in it, in order."""

    def final(self, name: str) -> float:
        """Return what was measured last of a column of its history, or NaN."""


@final
@dataclass(frozen=True)
class Spread:
    """The finite ones of some numbers, at least one.

    Attributes:
        values: the numbers, in the order of the networks.
    """

    values: tuple[float, ...]

    @classmethod
    def of(cls, values: Iterable[float | None]) -> Spread | None:
        """Return the spread of the numbers that are there and finite, or None if there are none.

        Example:
            >>> spread = Spread.of([3.0, None, 1.0, math.nan, 2.5])
            >>> spread.median, spread.low, spread.high, Spread.of([math.nan])
            (2.5, 1.0, 3.0, None)
        """
        there = tuple(float(value) for value in values if value is not None and math.isfinite(value))
        return cls(there) if there else None

    @property
    def median(self) -> float:
        """The median, of an even number the mean of the two in the middle."""
        return float(np.median(self.values))

    @property
    def low(self) -> float:
        """The least."""
        return min(self.values)

    @property
    def high(self) -> float:
        """The greatest."""
        return max(self.values)

    def to_json(self) -> dict[str, Any]:
        """Return median, range and number."""
        return {"median": self.median, "low": self.low, "high": self.high, "count": len(self.values)}


@final
@dataclass(frozen=True)
class Done:
    """One action of a policy, done in some of the networks of a weighting.

    Attributes:
        policy: which asked for it.
        words: the action in words.
        begins: the iterations at which each network that did it did so first.
        reason: the first network's.
    """

    policy: str
    words: str
    begins: Spread
    reason: str

    def to_json(self) -> dict[str, Any]:
        """Return it with the median and range of the iterations, and the number of networks."""
        return {"policy": self.policy, "action": self.words, "iteration": self.begins.to_json()}


@final
@dataclass(frozen=True)
class Group:
    """The networks of one weighting, one for each seed.

    Attributes:
        weighting: its specification, or what else tells the group apart.
        networks: at least one.
    """

    weighting: str
    networks: Sequence[Network]

    @property
    def trained(self) -> Mapping[str, Any]:
        """All that was trained, the seed apart: the same for all of them."""
        return self.networks[0].trained

    @property
    def completed(self) -> list[Network]:
        """Those that were trained to the end: statistics are over these."""
        return [network for network in self.networks if network.is_complete]

    def error(self) -> Spread | None:
        """Return the spread of the errors, None where none is known."""
        return Spread.of(network.error for network in self.completed)

    def start(self, phase: Phase) -> Spread | None:
        """Return the spread of the iterations at which a phase begins, over those networks that reached it."""
        return Spread.of(network.timeline.start(phase) for network in self.completed)

    def final(self, name: str) -> Spread | None:
        """Return the spread of what was measured last of a column, where that is a number."""
        return Spread.of(network.final(name) for network in self.completed)

    def seconds(self) -> Spread | None:
        """Return the spread of the training times."""
        return Spread.of(network.seconds for network in self.completed)

    def done(self) -> list[Done]:
        """Return what policies had done, each action once, in the order of the median iterations."""
        first: dict[tuple[str, str], dict[int, Acted]] = {}
        for place, network in enumerate(self.completed):
            for acted in network.actions:
                first.setdefault((acted.policy, acted.words), {}).setdefault(place, acted)
        done = [
            Done(policy, words, begins, next(iter(own.values())).reason)
            for (policy, words), own in first.items()
            if (begins := Spread.of(acted.iteration for acted in own.values())) is not None
        ]
        return sorted(done, key=lambda item: item.begins.median)

    def timeline(self) -> Timeline:
        """Return the phases that more than half of the networks reached, each from the median of its beginnings.

        The intervals are the ranges, the confidences the medians.
        """
        found: list[Transition] = []
        for phase in BEGINS:
            own = [item for network in self.completed if (item := network.timeline.transition(phase)) is not None]
            begin = Spread.of(item.iteration for item in own)
            if begin is None or 2 * len(own) <= len(self.completed):
                continue
            interval = round(begin.low), round(begin.high)
            sure = float(np.median([item.confidence for item in own]))
            found.append(Transition(phase, round(begin.median), interval, sure, ()))
        found.sort(key=lambda item: item.iteration)
        fitted = [network for network in self.completed if network.timeline.start(Phase.FITTING) is not None]
        last = found[-1].phase if found else Phase.FITTING if 2 * len(fitted) > len(self.completed) else None
        return Timeline(tuple(found), last, "medians over networks")

    def to_json(self) -> dict[str, Any]:
        """Return the statistics; what is not known of any network is absent."""
        spreads = {
            "relative_l2_error": self.error(),
            **{str(phase): self.start(phase) for phase in BEGINS},
            "snr": self.final("snr"),
            "seconds": self.seconds(),
        }
        counts = {"networks": len(self.networks), "completed": len(self.completed)}
        done = [item.to_json() for item in self.done()]
        return {"weighting": self.weighting, **counts, **_json(spreads), **({"actions": done} if done else {})}


@final
@dataclass(frozen=True)
class Paired:
    """A weighting against another, by pairs of networks of one seed.

    Attributes:
        weighting: the one.
        against: the other.
        error: ratios of the errors; None where no pair has both.
        starts: ratios of the iterations at which each phase begins, of pairs in which both reached it.
        count: how many pairs there are, whatever they have.
    """

    weighting: str
    against: str
    error: Spread | None
    starts: Mapping[Phase, Spread | None]
    count: int

    @classmethod
    def of(cls, group: Group, against: Group) -> Paired:
        """Return the ratios of one weighting's networks to another's."""
        other = {network.seed: network for network in against.completed}
        pairs = [(own, other[own.seed]) for own in group.completed if own.seed in other]

        def ratio(own: float | None, base: float | None) -> float | None:
            return None if own is None or not base else own / base

        starts = {
            phase: Spread.of(ratio(own.timeline.start(phase), base.timeline.start(phase)) for own, base in pairs)
            for phase in BEGINS
        }
        error = Spread.of(ratio(own.error, base.error) for own, base in pairs)
        return cls(group.weighting, against.weighting, error, starts, len(pairs))

    def to_json(self) -> dict[str, Any]:
        """Return the ratios; what no pair has is absent."""
        spreads = {"relative_l2_error": self.error, **{str(phase): self.starts[phase] for phase in BEGINS}}
        return {"weighting": self.weighting, "against": self.against, "pairs": self.count, **_json(spreads)}


def grouped_by_weighting(networks: Iterable[Network]) -> list[Group]:
    """Return the networks of each weighting, in the order in which weightings come first."""
    found: dict[str, list[Network]] = {}
    for network in networks:
        found.setdefault(network.weighting, []).append(network)
    return [Group(weighting, own) for weighting, own in found.items()]


def paired(groups: Sequence[Group]) -> list[Paired]:
    """Return the ratios of each group to the one that it is fairly compared with, where they have a seed in common.

    That is the first group of the first weighting that agrees in everything but the weighting; if none does, the first
    group of all, if it was to be trained on the same problem for as many iterations.
    """
    pairs = [(group, against) for group in groups[1:] if (against := _fair(group, groups)) is not None]
    return [item for group, against in pairs if _says_anything(item := Paired.of(group, against))]


def _fair(group: Group, groups: Sequence[Group]) -> Group | None:
    """The group that another one is compared with."""
    first = groups[0].trained
    for other in groups:
        differing = _differing(group.trained, other.trained)
        if other.trained["weighting"] == first["weighting"] and differing == {"weighting"}:
            return other
    return None if _differing(group.trained, first) & COMPARABLE else groups[0]


def _differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> set[str]:
    return {name for name in {*one, *other} if one.get(name) != other.get(name)}


def summary_of(groups: Sequence[Group]) -> dict[str, Any]:
    """Return all statistics as JSON has them."""
    return {
        "weightings": [group.to_json() for group in groups],
        "paired": [item.to_json() for item in paired(groups)],
    }


def median_curve(curves: Sequence[tuple[Floats, Floats]]) -> tuple[Floats, Floats]:
    """Return the median of several curves where more than half of them have a value, and NaN between such places.

    Args:
        curves: iterations, ascending and positive, and values of each, NaN in a gap; between two iterations at which a
            curve has one its value is that of a straight line over their logarithm.

    Example:
        >>> early, late = np.asarray([1.0, 10.0]), np.asarray([1.0, 10.0, 100.0])
        >>> curves = [(early, np.asarray([1.0, 2.0])), (late, np.asarray([3.0, 3.0, 9.0]))]
        >>> [values.tolist() for values in median_curve(curves)]
        [[1.0, 10.0], [2.0, 2.5]]
    """
    curves = [curve for curve in curves if curve[0].size]
    if not curves:
        return np.empty(0), np.empty(0)
    places = np.unique(np.concatenate([iteration for iteration, _ in curves]))
    at = np.log(places)
    values = np.stack([np.interp(at, np.log(own), value, np.nan, np.nan) for own, value in curves])
    enough = 2 * np.isfinite(values).sum(axis=0) > len(curves)
    median = np.full(places.shape, np.nan)
    median[enough] = np.nanmedian(values[:, enough], axis=0)
    within = slice(np.argmax(enough), places.size - np.argmax(enough[::-1])) if enough.any() else slice(0)
    return places[within], median[within]


def _says_anything(item: Paired) -> bool:
    return item.error is not None or any(spread is not None for spread in item.starts.values())


def _json(spreads: Mapping[str, Spread | None]) -> dict[str, Any]:
    return {name: spread.to_json() for name, spread in spreads.items() if spread is not None}
