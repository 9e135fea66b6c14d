"""Online tracking: one capture at a time, bounded state, never looking ahead.

The tracker keeps the last 96 bins of the profile and asks of them what the offline detector asks of the whole curve.
A transition is declared when its log odds exceed the configured certainty, and is back-dated. Until the plateau after
it has been seen in full it is taken back when they fall below minus the certainty, and after that when they fall
below zero; its place and its odds are kept up to date for a decade. The evidence is weighed every second bin while
there is some, else every sixth. One spike therefore flips nothing: it is one value in the median of its bin.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from phasecore.errors import InputError
from phasecore.phases.channels import ADAM_SNR, CHANNELS, SNR, channels_of_capture, lost_in_capture
from phasecore.phases.configuration import DetectorConfiguration
from phasecore.phases.fall import FALL_NUMBERS, LATE, fall_from_array, fall_to_array
from phasecore.phases.falls import Falls, follow_falls, knee_of
from phasecore.phases.findings import (
    MINIMUM_BINS,
    MINIMUM_CAPTURES,
    NEIGHBOURHOOD,
    Extent,
    Finding,
    adam_finding,
    fall_finding,
    may_begin,
    rise_finding,
    timeline_of,
    told_by_snr,
)
from phasecore.phases.nonfinite import CAPTURES as GAP_CAPTURES
from phasecore.phases.nonfinite import no_gaps, told, with_capture
from phasecore.phases.profile import BINS_PER_DECADE, Profile
from phasecore.phases.rise import rise_evidence
from phasecore.phases.timeline import Timeline

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

RECENT_BINS = 96
BUFFER = 16
IDLE, ALERT = 6, 2
ALERT_ODDS = -4.0
SETTLED = 1.0
CAPTURES, BINS, BIN, HELD, STRIDE, SKIPPED, SEEN_SNR = range(7)
LAST, FIRST, TIME_SUM, TIME_COUNT = range(4)
ODDS = 3
DECLARED_FALL = FALL_NUMBERS.index("declared")
CLOSED_FALL = FALL_NUMBERS.index("closed")


class TrackerState(NamedTuple):
    """The state of a tracker: arrays only, of fixed shapes, so that `np.savez(file, **state._asdict())` saves it.

    Restore it with `TrackerState(**np.load(file))`.

    Args:
        counts: captures with an SNR, bins closed, the bin being filled, how many captures its buffer holds, every how
            many captures are kept, how many were left out since, and whether the SNR was ever recorded; shape `(7,)`.
        clock: last iteration, first logarithmic time, sum and number of the logarithmic times in the bin being
            filled; shape `(4,)`.
        buffer: channels of the captures in the bin being filled, shape `(6, 16)`.
        times: logarithmic times of the last bins, newest last, shape `(96,)`, NaN where there were none yet.
        values: their channels, shape `(6, 96)`.
        fall: the ends of fitting by the SNR and by Adam's, as `fall_to_array` writes them, shape `(2, 149)`.
        rise: time, interval, log odds and declaration of total diffusion, shape `(5,)`.
        rise_table: the evidence for it, shape `(6, 4)`.
        gaps: captures at which a channel was measured and is no number, as `no_gaps` has them, shape `(6, 5)`.
    """

    counts: IntArray
    clock: FloatArray
    buffer: FloatArray
    times: FloatArray
    values: FloatArray
    fall: FloatArray
    rise: FloatArray
    rise_table: FloatArray
    gaps: FloatArray = no_gaps()


class Tracker(NamedTuple):
    """A tracker: pure functions over an explicit state.

    Args:
        init: makes the state of a training that has not begun.
        update: takes a capture and a state, and returns the timeline so far and the next state; the state given
            is left as it was.
    """

    init: Callable[[], TrackerState]
    update: Callable[[Mapping[str, float | None], TrackerState], tuple[Timeline, TrackerState]]


def tracker(configuration: DetectorConfiguration | None = None) -> Tracker:
    """Make an online tracker.

    Args:
        configuration: of the detector; one serves all trainings.

    Returns:
        `init() -> state` and `update(capture, state) -> (timeline, state)`. A capture maps the column names of
        a recorded curve to numbers; `iteration` is required, None and a missing key stand for "not recorded", NaN and
        infinity for a measurement that is no number, other keys are ignored. `update` raises InputError on an
        iteration that is missing, not whole or not after the last, and on a negative quantity.

    Example:
        >>> init, update = tracker()
        >>> state = init()
        >>> for iteration in range(1, 20000, 5):
        ...     snr = 30.0 if iteration < 100 else 0.03 if iteration < 5000 else 3.0
        ...     timeline, state = update({"iteration": iteration, "snr": snr}, state)
        >>> [(str(found.phase), found.iteration, found.declared_at) for found in timeline.transitions]
        [('diffusion', 101, 126), ('total_diffusion', 5014, 7586)]
    """
    configuration = configuration or DetectorConfiguration()
    return Tracker(_init, functools.partial(_update, configuration=configuration))


def _init() -> TrackerState:
    nan = math.nan
    return TrackerState(
        np.array([0, 0, 0, 0, 1, 0, 0]),
        np.array([-1.0, nan, 0.0, 0.0]),
        np.full((len(CHANNELS), BUFFER), nan),
        np.full(RECENT_BINS, nan),
        np.full((len(CHANNELS), RECENT_BINS), nan),
        np.stack([fall_to_array(fall) for fall in Falls()]),
        np.full(5, nan),
        np.full((len(CHANNELS), 4), nan),
        no_gaps(),
    )


def _update(
    capture: Mapping[str, float], state: TrackerState, configuration: DetectorConfiguration
) -> tuple[Timeline, TrackerState]:
    iteration, channels = channels_of_capture(capture)
    if iteration <= state.clock[LAST]:
        raise InputError(
            "capture out of order",
            received=f"iteration {iteration:.0f} after {state.clock[LAST]:.0f}",
            expected="strictly increasing iterations",
        )
    if any(channel == channel for channel in channels):
        state = _followed_on(state, iteration, channels, configuration)
    else:
        state = state._replace(clock=np.concatenate([[iteration], state.clock[1:]]))
    captures, bins = int(state.counts[CAPTURES]), int(state.counts[BINS])
    extent = Extent(min(captures, MINIMUM_CAPTURES), min(bins + 1, MINIMUM_BINS), float(state.clock[FIRST]))
    numbers = state.fall.tobytes(), state.rise.tobytes(), state.rise_table.tobytes()
    timeline = _timeline(*numbers, bool(state.counts[SEEN_SNR]), extent, configuration)
    lost = lost_in_capture(capture, channels)
    if lost is not None or state.gaps[:, GAP_CAPTURES].any():
        state = state._replace(gaps=with_capture(state.gaps, iteration, channels, lost))
        timeline = told(timeline, state.gaps)
    return timeline, state


def _followed_on(
    state: TrackerState, iteration: float, channels: list[float], configuration: DetectorConfiguration
) -> TrackerState:
    """Take a capture that measured something."""
    time = math.log10(max(iteration, 1.0))
    place = math.floor(time * BINS_PER_DECADE + 1e-6)
    if state.counts[HELD] and state.counts[BIN] != place:
        state = _with_bin_closed(state, time, configuration)
    state = _with_capture(state, iteration, time, place, channels)
    held = int(state.counts[HELD])
    if held & (held - 1) == 0 and not state.fall[0, DECLARED_FALL] > 0.0:
        state = _with_fall_declared(state, time, configuration)
    return state


def _with_capture(
    state: TrackerState, iteration: float, time: float, place: int, channels: list[float]
) -> TrackerState:
    """Put a capture into the bin being filled, which keeps every capture, or every second, fourth, ..."""
    counts, clock, buffer = state.counts.tolist(), state.clock.tolist(), state.buffer
    if clock[FIRST] != clock[FIRST]:
        clock[FIRST] = time
    if counts[SKIPPED] + 1 == counts[STRIDE]:
        buffer = buffer.copy()
        if counts[HELD] == BUFFER:
            buffer[:, : BUFFER // 2] = buffer[:, ::2]
            counts[HELD], counts[STRIDE] = BUFFER // 2, 2 * counts[STRIDE]
        buffer[:, counts[HELD]] = channels
        counts[HELD] += 1
        counts[SKIPPED] = 0
    else:
        counts[SKIPPED] += 1
    counts[CAPTURES] += int(channels[SNR] == channels[SNR] or channels[ADAM_SNR] == channels[ADAM_SNR])
    counts[BIN] = place
    counts[SEEN_SNR] |= int(channels[SNR] == channels[SNR])
    clock[LAST], clock[TIME_SUM], clock[TIME_COUNT] = iteration, clock[TIME_SUM] + time, clock[TIME_COUNT] + 1.0
    return state._replace(counts=np.array(counts), clock=np.array(clock), buffer=buffer)


def _with_newest_bin(state: TrackerState) -> tuple[FloatArray, FloatArray]:
    """Return the last bins with the one being filled as the newest, without those that were never there."""
    times, values = np.empty_like(state.times), np.empty_like(state.values)
    times[:-1], values[:, :-1] = state.times[1:], state.values[:, 1:]
    times[-1] = state.clock[TIME_SUM] / state.clock[TIME_COUNT]
    for place, held in enumerate(state.buffer[:, : state.counts[HELD]].tolist()):
        ordered = sorted(value for value in held if value == value)
        middle = len(ordered) // 2
        values[place, -1] = 0.5 * (ordered[middle] + ordered[~middle]) if ordered else math.nan
    return times, values


def _followed(state: TrackerState, now: float, configuration: DetectorConfiguration) -> TrackerState:
    """Follow the falls of the SNR and of Adam's into the bin being filled."""
    times, values = _with_newest_bin(state)
    seen_snr = bool(state.counts[SEEN_SNR])
    before = Falls(*map(fall_from_array, state.fall))
    falls = list(follow_falls(before, times, values, now, seen_snr, configuration))
    for place, fall in enumerate(falls):
        if fall.closed and not before[place].closed:
            source = SNR if seen_snr and place == 0 else ADAM_SNR
            fitted = knee_of(times, values, source, fall.at, float(np.fmin(now, fall.until)))
            at = fall.at if fitted is None else fitted.time
            falls[place] = fall._replace(at=at, declared=now if place or at > fall.declared else fall.declared)
    return state._replace(fall=np.stack([fall_to_array(fall) for fall in falls]))


def _ended(falls: FloatArray, seen_snr: bool, configuration: DetectorConfiguration) -> Finding | None:
    """Return the end of fitting, by the SNR or else by Adam's."""
    found = fall_finding(fall_from_array(falls[0]), configuration, SNR if seen_snr else ADAM_SNR)
    hint = adam_finding(fall_from_array(falls[1]), configuration)
    found = told_by_snr(found, hint, configuration)
    return hint if found is None else found


def _with_fall_declared(state: TrackerState, now: float, configuration: DetectorConfiguration) -> TrackerState:
    """Declare the end of fitting before the bin is full, where what there is of it suffices."""
    ahead = _followed(state, now, configuration)
    return ahead if ahead.fall[0, DECLARED_FALL] > 0.0 else state


def _with_bin_closed(state: TrackerState, now: float, configuration: DetectorConfiguration) -> TrackerState:
    if not state.fall[0, CLOSED_FALL]:
        state = _followed(state, now, configuration)
    times, values = _with_newest_bin(state)
    counts, clock = state.counts.copy(), state.clock.copy()
    counts[BINS] += 1
    counts[HELD], counts[STRIDE], counts[SKIPPED] = 0, 1, 0
    clock[TIME_SUM] = clock[TIME_COUNT] = 0.0
    state = state._replace(counts=counts, clock=clock, times=times, values=values)
    every = ALERT if state.rise[ODDS] > ALERT_ODDS else IDLE
    return _with_rise_weighed(state, now, configuration) if counts[BINS] % every == 0 else state


def _with_rise_weighed(state: TrackerState, now: float, configuration: DetectorConfiguration) -> TrackerState:
    """Declare total diffusion, keep its place up to date, or take it back."""
    used = slice(RECENT_BINS - min(int(state.counts[BINS]), RECENT_BINS), RECENT_BINS)
    profile = Profile(state.times[used], state.values[:, used])
    time, _, _, _, declared = state.rise.tolist()
    known = not math.isnan(declared)
    if profile.times.size < 2 or (known and now - time > SETTLED):
        return state
    ended = _ended(state.fall, bool(state.counts[SEEN_SNR]), configuration)
    peak = fall_from_array(state.fall[0]).adam_peak
    evidence = rise_evidence(profile, configuration, peak, LATE if ended is None else ended.time)
    allowed = np.abs(evidence.times - time) <= NEIGHBOURHOOD if known else may_begin(evidence.times, ended)
    finding = rise_finding(evidence, allowed, configuration)
    if finding is None:
        return state._replace(rise=np.full(5, math.nan)) if known else state
    if not known:
        declared = now if finding.log_odds > configuration.certainty else math.nan
    elif finding.log_odds < (-configuration.certainty if now - finding.time < configuration.plateau else 0.0):
        declared = math.nan
    elif finding.time > declared:
        declared = now
    rise = np.array([finding.time, finding.earliest, finding.latest, finding.log_odds, declared])
    return state._replace(rise=rise, rise_table=finding.table)


@functools.lru_cache(maxsize=64)
def _timeline(
    fall: bytes,
    rise: bytes,
    rise_table: bytes,
    seen_snr: bool,
    extent: Extent,
    configuration: DetectorConfiguration,
) -> Timeline:
    """Return the timeline of a state; one object serves the many captures between two changes."""
    fall_found = _ended(np.frombuffer(fall).reshape(2, -1), seen_snr, configuration)
    time, earliest, latest, log_odds, declared = np.frombuffer(rise).tolist()
    table = np.frombuffer(rise_table).reshape(len(CHANNELS), 4)
    rise_found = Finding(time, earliest, latest, log_odds, table, declared)
    return timeline_of(
        fall_found,
        None if math.isnan(time) else rise_found,
        extent,
        not math.isnan(declared),
        configuration,
        online=True,
    )
