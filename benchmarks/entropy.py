"""Time of the entropies of a network's layers, against other ways to count the patterns that its neurons make.

    python benchmarks/entropy.py

Six layers of 128 tanh neurons at 25 600 points, float32, 30 bins, as in arXiv 2403.18494. All start from the
activations and return the entropy of each layer in bits; every way is checked to give the same numbers before it is
timed. They run in turn, the medians and their ratios to `layer_entropy` are printed.

- unique rows: each neuron binned by `numpy.digitize`, the rows counted by `numpy.unique(axis=0)`
- rows as bytes: the same, the rows counted as single values of many bytes, as in the published code of Shwartz-Ziv and
  Tishby (arXiv 1703.00810)
- rows as tuples: the same, the rows counted by a `collections.Counter`
- rows as strings: the same, each row's bins joined to a text
"""

from __future__ import annotations

import argparse
import collections
import math
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from phasecore.probes.layer_entropy import LayerEntropy
from phasecore.probes.saturation import Saturation
from phasecore.signals import Signals

BINS = 30
Values = NDArray[Any]


def activations(points: int, neurons: int, layers: int) -> dict[str, Values]:
    generator = np.random.default_rng(0)
    values = generator.uniform(-1, 1, (points, 2))
    found = {}
    for k in range(layers):
        weights = generator.standard_normal((values.shape[1], neurons)) * math.sqrt(2 / (values.shape[1] + neurons))
        values = np.tanh(3 * values @ weights)
        found[f"layer{k}"] = values.astype(np.float32)
    return found


def digitized(values: Values) -> NDArray[np.int64]:
    values = values.astype(np.float64)
    low, high = values.min(axis=0), values.max(axis=0)
    width = np.mean(high - low) / BINS
    binned = np.empty(values.shape, dtype=np.int64)
    for k in range(values.shape[1]):
        count = max(1, math.floor((high[k] - low[k]) / width + 1e-5))
        binned[:, k] = np.digitize(values[:, k], np.linspace(low[k], high[k], count + 1)[1:-1])
    return binned


def entropy(counts: Any) -> float:
    shares = np.asarray(counts) / np.sum(counts)
    return float(-np.sum(shares * np.log2(shares)))


def unique_rows(values: Values) -> float:
    return entropy(np.unique(digitized(values), axis=0, return_counts=True)[1])


def rows_as_bytes(values: Values) -> float:
    binned = digitized(values)
    whole = binned.view(np.dtype((np.void, binned.dtype.itemsize * binned.shape[1]))).ravel()
    return entropy(np.unique(whole, return_counts=True)[1])


def rows_as_tuples(values: Values) -> float:
    return entropy(list(collections.Counter(map(tuple, digitized(values).tolist())).values()))


def rows_as_strings(values: Values) -> float:
    rows = [" ".join(map(str, row)) for row in digitized(values).tolist()]
    return entropy(np.unique(rows, return_counts=True)[1])


def loop_saturation(values: Values) -> float:
    values = values.astype(np.float64)
    low, high = values.min(axis=0), values.max(axis=0)
    width = np.mean(high - low) / BINS
    shares = []
    for k in range(values.shape[1]):
        count = max(1, math.floor((high[k] - low[k]) / width + 1e-5))
        own = (high[k] - low[k]) / count
        inner = np.digitize(values[:, k], [low[k] + own, np.nextafter(high[k] - own, np.inf)])
        shares.append(np.mean(inner != 1))
    return float(np.mean(shares))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=25_600)
    parser.add_argument("--neurons", type=int, default=128)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    layers = activations(chosen.points, chosen.neurons, chosen.layers)
    signals = Signals({"activations": layers}, np)

    def by_loop(function: Callable[[Values], float]) -> Callable[[], list[float]]:
        return lambda: [function(values) for values in layers.values()]

    groups: dict[str, dict[str, Callable[[], list[float]]]] = {
        "entropy": {
            "layer_entropy": lambda: list(LayerEntropy(BINS).measure(signals).values()),
            "unique rows": by_loop(unique_rows),
            "rows as bytes": by_loop(rows_as_bytes),
            "rows as tuples": by_loop(rows_as_tuples),
            "rows as strings": by_loop(rows_as_strings),
        },
        "saturation": {
            "saturation": lambda: list(Saturation(BINS).measure(signals).values()),
            "digitize by neuron": by_loop(loop_saturation),
        },
    }
    print(f"{chosen.points} points, {chosen.neurons} neurons, {chosen.layers} layers, medians of {chosen.rounds}")
    for title, ways in groups.items():
        results = {name: way() for name, way in ways.items()}
        ours = next(iter(results.values()))
        for name, result in results.items():
            if not np.allclose(result, ours, rtol=1e-12, atol=1e-12):
                raise SystemExit(f"{name} gives {result}, not {ours}")
        times: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(chosen.rounds):
            for name, way in ways.items():
                start = time.perf_counter()
                way()
                times[name].append(time.perf_counter() - start)
        base = statistics.median(next(iter(times.values())))
        print(f"\n{title}: {', '.join(f'{value:.3f}' for value in ours)}")
        for name, measured in times.items():
            median = statistics.median(measured)
            print(f"  {name:20} {median:8.4f} s  {median / base:6.1f}")


if __name__ == "__main__":
    main()
