"""The end of fitting: a fall of the SNR, followed bin by bin.

While a network fits, batches agree and the SNR is high, or climbs; then it falls to where noise takes over (arXiv
2403.18494; the drift and diffusion of Shwartz-Ziv and Tishby, arXiv 1703.00810). What is looked for is the first
time at which the level of the SNR, over a short window, lies well below the highest that it ever was, and has
stopped falling; the Adam SNR and the residual order are counted in. Where noise hides that, longer windows are tried.
For 0.6 decades the end found follows the SNR further down, as far as it goes on falling at more than a quarter of
the rate of the fall, unless the SNR turns up first; if it is then back where it came from, there was no fall. Slower
and later falls are what diffusion is made of, and so are steps down, after a rest, while Adam's SNR, which had fallen
with the SNR, has turned up and does not come down again, unless such a step is deeper than the fall before it. Heights
count, levels do not: the level of the SNR depends on how many points a batch holds. The same steps serve the offline
and the online detector: neither looks ahead.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from phasecore.phases.channels import ADAM_SNR, RESIDUAL_ORDER, SNR
from phasecore.phases.configuration import DetectorConfiguration

FloatArray = npt.NDArray[np.float64]

SOURCES = (SNR, ADAM_SNR, RESIDUAL_ORDER)
SCALES = (1.0, 2.0, 4.0)
LEAST_BINS = 6
NOISE_BINS = 20
VALLEY_BINS = 3
EXTREMES = 1.5
MOST, LEAST = 2.0, -0.5
DEPTH_SHARE = 0.05
GOES_ON, GOES_ON_LEAST = 0.08, 0.22
SLOW, SLOW_SHARE = 0.25, 0.15
TURN_SHARE = 0.5
STILL_OPEN = 0.6
AS_DEEP, DEEPENS = 1.0, 0.3
PATH = 64
EARLY, LATE = 1.5, 2.5


class Fall(NamedTuple):
    """A fall of the SNR as far as it has been followed; NaN where there is nothing yet.

    Args:
        adam_peak, order_peak: highest Adam SNR and most uniform residuals so far.
        scale: length of the window that the fall was found with, in units of `hold`; 0 until one is found.
        at: logarithmic time at which the fall ended, back-dated.
        declared: logarithmic time at which that was found, NaN again while the fall goes on.
        settled: level at that time.
        top, bottom: levels between which the SNR fell.
        adam_depth, order_depth: how far the Adam SNR and the residual order had fallen by then.
        slow: rate, decades per decade, up to which what the SNR falls further is not of this fall.
        until: logarithmic time from which the SNR is not of this fall any more, NaN where that is not known.
        extreme, up: lowest level since the SNR last went up, or highest since, and whether it has: 1 or 0.
        closed: 1 when the end is final, else 0.
        peaks: highest level over a window of each length so far, shape `(3,)`.
        odds: log odds from the SNR, the Adam SNR and the residual order, shape `(3,)`.
        path: the way down: logarithmic times and levels, shape `(2, 64)`, NaN where unused.
    """

    adam_peak: float = math.nan
    order_peak: float = math.nan
    scale: float = 0.0
    at: float = math.nan
    declared: float = math.nan
    settled: float = math.nan
    top: float = math.nan
    bottom: float = math.nan
    adam_depth: float = math.nan
    order_depth: float = math.nan
    slow: float = math.nan
    until: float = math.nan
    extreme: float = math.inf
    up: float = 0.0
    closed: float = 0.0
    peaks: FloatArray = np.full(len(SCALES), -math.inf)
    odds: FloatArray = np.full(len(SOURCES), math.nan)
    path: FloatArray = np.full((2, PATH), math.nan)

    def total(self, configuration: DetectorConfiguration) -> float:
        """Return the log odds of the fall found; few end before iteration 30, or are the first after 300."""
        late = max(self.at - LATE, EARLY - self.at, 0.0)
        return float(np.nansum(self.odds)) - configuration.fall_doubt - configuration.lateness * late


FALL_NUMBERS = Fall._fields[:-3]


def fall_to_array(fall: Fall) -> FloatArray:
    """Return a fall as one array, shape `(149,)`."""
    return np.concatenate([fall[:-3], fall.peaks, fall.odds, fall.path[0], fall.path[1]])


def fall_from_array(numbers: FloatArray) -> Fall:
    """Return the fall that `fall_to_array` made an array of.

    Example:
        >>> fall_from_array(fall_to_array(Fall(at=2.0))).at
        2.0
    """
    scalars, peaks, odds, path = np.split(numbers, np.cumsum([len(FALL_NUMBERS), len(SCALES), len(SOURCES)]))
    fields = dict(zip(FALL_NUMBERS, scalars.tolist(), strict=True))
    return Fall(**fields, peaks=peaks, odds=odds, path=path.reshape(2, PATH))


class Level(NamedTuple):
    """The SNR over the last window: since when, how high, how high before, with what error, and whether it rests."""

    start: float
    level: float
    before: float
    error: float
    rests: bool


def last_level(times: FloatArray, snr: FloatArray, length: float, configuration: DetectorConfiguration) -> Level | None:
    """Return the level of the last bins, or None where there are too few of them.

    The level rests when it has stopped falling over twice the window, or when the SNR has turned up again from a
    valley at least three bins wide.

    Args:
        times: logarithmic times of bins in which the SNR was recorded, increasing, shape `(bins,)`.
        snr: log10 of the SNR in them.
        length: of the window, decades; it holds six bins at least.
        configuration: of the detector.
    """
    start = min(_place(times, times[-1] - length), times.size - LEAST_BINS)
    if start < LEAST_BINS // 2:
        return None
    earlier = max(min(_place(times, times[start] - length), start - LEAST_BINS // 2), 0)
    steps = np.square(np.diff(snr[-NOISE_BINS:]))
    steps.sort()
    noise = math.sqrt(0.5 * float(np.minimum(steps, 10.0 * steps[steps.size // 2]).mean()))
    after = snr[start:]
    third = (times.size - earlier) // 3
    falling = float(snr[-2 * third : -third].mean() - snr[-third:].mean())
    error = noise * math.sqrt(1.0 / after.size + 1.0 / (start - earlier))
    before = _trimmed_mean(snr[earlier:start])
    lowest = float(after.min())
    wide = int((after < lowest + configuration.turn).sum()) >= VALLEY_BINS
    turned = wide and float(after[-1]) > lowest + configuration.turn + configuration.caution * noise
    rests = turned or falling <= configuration.valley + noise / math.sqrt(2.0 * third)
    return Level(float(times[start]), _trimmed_mean(after), before, error, rests)


def _trimmed_mean(values: FloatArray) -> float:
    """Return the mean without the highest and the lowest."""
    if values.size < 3:
        return float(values.mean())
    return float(values.sum() - values.max() - values.min()) / (values.size - 2)


def _place(times: FloatArray, time: float) -> int:
    return int(np.searchsorted(times, time - 1e-9))


def follow_fall(
    fall: Fall,
    times: FloatArray,
    snr: FloatArray,
    newest: FloatArray,
    now: float,
    configuration: DetectorConfiguration,
    adam: Fall | None = None,
    first_rest: bool = False,
) -> Fall:
    """Take in one more bin; the fall given is left as it was.

    Args:
        fall: what is known so far.
        times: logarithmic times of the last bins with an SNR, the newest last, shape `(bins,)`.
        snr: log10 of the SNR in them.
        newest: the channels of the newest bin, shape `(6,)`.
        now: logarithmic time of the last capture.
        configuration: of the detector.
        adam: Adam's fall up to this bin, beside that of the SNR.
        first_rest: whether the fall ends where the SNR first rests, however far it falls afterwards.
    """
    adam_level, order = float(newest[ADAM_SNR]), float(newest[RESIDUAL_ORDER])
    fall = fall._replace(adam_peak=_higher(fall.adam_peak, adam_level), order_peak=_higher(fall.order_peak, order))
    if fall.closed:
        return fall
    if fall.scale:
        return _follow_found(fall, times, snr, newest, now, configuration, adam, first_rest)
    peaks = fall.peaks.copy()
    for place, scale in enumerate(SCALES):
        window = last_level(times, snr, scale * configuration.hold, configuration)
        if window is None:
            continue
        peaks[place] = max(peaks[place], window.before)
        found = _weighed(fall, float(peaks[place]), window.level, window.error, (adam_level, order), configuration)
        found = found._replace(scale=scale, at=window.start)
        if not window.rests or found.odds[0] < 0.0 or found.total(configuration) < configuration.certainty:
            continue
        path = np.full((2, PATH), math.nan)
        path[:, 0] = window.start, window.level
        slow = _slow_rate(times, snr, found)
        until = now if first_rest else math.nan
        return found._replace(peaks=peaks, declared=now, settled=window.level, slow=slow, until=until, path=path)
    return fall._replace(peaks=peaks)


def _follow_found(
    fall: Fall,
    times: FloatArray,
    snr: FloatArray,
    newest: FloatArray,
    now: float,
    configuration: DetectorConfiguration,
    adam: Fall | None,
    first_rest: bool,
) -> Fall:
    window = last_level(times, snr, fall.scale * configuration.hold, configuration)
    if window is None:
        return fall
    used = int(np.isfinite(fall.path[0]).sum())
    declared = now if math.isnan(fall.declared) else fall.declared
    step = (fall.bottom - window.level) / (fall.top - fall.bottom)
    deepens = step > DEEPENS and not window.rests
    if (now - fall.at > STILL_OPEN and not deepens) or used == PATH:
        return fall._replace(closed=1.0, declared=declared)
    if window.level > fall.bottom + configuration.turn + configuration.caution * window.error:
        if fall.top - window.level < 0.5 * configuration.fall:
            return Fall(adam_peak=fall.adam_peak, order_peak=fall.order_peak, peaks=fall.peaks)
        if not first_rest:
            return fall._replace(closed=1.0, declared=declared, until=now)
    path = fall.path.copy()
    path[:, used] = window.start, window.level
    fall = _swung(fall, window, configuration)
    if not first_rest and not math.isnan(fall.declared):
        turned = adam is not None and bool(adam.up) and abs(adam.at - fall.at) <= configuration.reach
        turned = turned and step < AS_DEEP
        fall = fall._replace(until=math.nan if not turned else now if math.isnan(fall.until) else fall.until)
        if turned:
            return fall._replace(path=path)
    bottom = float(path[1, : used + 1].min())
    near = configuration.valley + DEPTH_SHARE * (fall.top - bottom)
    at = fall.at if first_rest else _entered(path[:, : used + 1], near, fall.slow)
    declared, settled = fall.declared, fall.settled
    if at > fall.at and settled - bottom > GOES_ON_LEAST + GOES_ON * (fall.top - bottom):
        declared, settled = math.nan, bottom
    if (math.isnan(declared) and window.rests) or at > declared:
        declared, settled = now, bottom
    fall = fall._replace(at=at, bottom=bottom, path=path, declared=declared, settled=settled)
    if now - at > 2.0 * fall.scale * configuration.hold:
        return fall
    adam_level, order = float(newest[ADAM_SNR]), float(newest[RESIDUAL_ORDER])
    return _weighed(fall, fall.top, bottom, window.error, (adam_level, order), configuration)


def _swung(fall: Fall, window: Level, configuration: DetectorConfiguration) -> Fall:
    """Say whether the SNR has turned up from its lowest level, and not down again from its highest since."""
    swing = TURN_SHARE * configuration.turn + configuration.caution * window.error
    if fall.up:
        up = window.level > fall.extreme - swing
        return fall._replace(up=float(up), extreme=max(window.level, fall.extreme) if up else window.level)
    up = window.level > fall.extreme + swing
    return fall._replace(up=float(up), extreme=window.level if up else min(window.level, fall.extreme))


def _slow_rate(times: FloatArray, snr: FloatArray, found: Fall) -> float:
    """Return a quarter of the rate at which the SNR fell, from where it was last near its top."""
    depth = found.top - found.bottom
    high = np.flatnonzero((snr >= found.top - SLOW * depth) & (times < found.at))
    began = float(times[high[-1] if high.size else 0])
    return min(SLOW * depth / max(found.at - began, 1e-6), SLOW_SHARE * depth)


def _entered(path: FloatArray, near: float, slow: float) -> float:
    """Return the first time from which on the SNR falls no further than `near`, and slowly."""
    further = path[1, :, None] - path[1, None, :] - slow * (path[0, None, :] - path[0, :, None])
    stays = np.triu(further).max(axis=1) <= near
    return float(path[0, np.argmax(stays)])


def _weighed(
    fall: Fall,
    top: float,
    bottom: float,
    error: float,
    companions: tuple[float, float],
    configuration: DetectorConfiguration,
) -> Fall:
    adam_depth, order_depth = fall.adam_peak - companions[0], fall.order_peak - companions[1]
    sure = top - bottom - EXTREMES * configuration.caution * error
    odds = [
        _odds(sure, configuration.fall, configuration.fall_weight, -1.0),
        _odds(adam_depth, configuration.fall, configuration.adam_fall_weight),
        _odds(order_depth, configuration.order_loss, configuration.order_loss_weight),
    ]
    return fall._replace(top=top, bottom=bottom, adam_depth=adam_depth, order_depth=order_depth, odds=np.array(odds))


def _odds(change: float, height: float, weight: float, least: float = LEAST) -> float:
    return weight * min(max(change / height - 1.0, least), MOST) if not math.isnan(change) else math.nan


def _higher(known: float, value: float) -> float:
    if math.isnan(known):
        return value
    return known if math.isnan(value) else max(known, value)
