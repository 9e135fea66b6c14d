"""A recorded curve: validated columns of a training history.

A curve tolerates what histories really contain: irregular spacing, gaps, cells that are empty, NaN or
infinite; it tells what was not recorded (None) from what was measured and is no number (NaN, infinity). It does not
tolerate what makes an answer meaningless: iterations that repeat or go backwards, columns of different lengths,
negative norms.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, final

import numpy as np
import numpy.typing as npt

from phasecore.errors import InputError, described
from phasecore.phases.rows import recorded_columns
from phasecore.phases.statistics import snr_of_order

FloatArray = npt.NDArray[np.float64]
Column = npt.ArrayLike | Sequence[float | None]
Recorded: TypeAlias = "Curve | Mapping[str, Column] | Iterable[Mapping[str, Any]]"

KNOWN_COLUMNS = (
    "snr",
    "gradient_mean_norm",
    "gradient_std_norm",
    "adam_snr",
    "adam_first_moment_norm",
    "adam_second_moment_root_norm",
    "gradient_order",
    "residual_order",
    "relative_l2_error",
    "training_loss",
)
MAY_BE_NEGATIVE = ("training_loss",)
"""The loss of a training that is not ours may be an energy, or minus the logarithm of a likelihood."""

LAYER_COLUMN = re.compile(r"layer(\d+)_(mean|std)_norm")
HOMOGENEOUS = 1e12
RATIOS = {
    "snr": ("gradient_mean_norm", "gradient_std_norm"),
    "adam_snr": ("adam_first_moment_norm", "adam_second_moment_root_norm"),
}


def is_known_column(name: str) -> bool:
    """Return whether the detector has a use for a column.

    Example:
        >>> is_known_column("layer3_std_norm"), is_known_column("seconds")
        (True, False)
    """
    return name in KNOWN_COLUMNS or LAYER_COLUMN.fullmatch(name) is not None


@final
@dataclass(frozen=True)
class Curve:
    """The columns of a training history, one value per capture. Make one with `Curve.from_columns`.

    Args:
        iteration: optimizer iterations, strictly increasing, shape `(captures,)`.
        columns: the known quantities, each of shape `(captures,)`, NaN where there is no number.
        nonfinite: of the columns that were measured as NaN or infinity somewhere, those values, and 0 everywhere else.
    """

    iteration: FloatArray
    columns: Mapping[str, FloatArray]
    nonfinite: Mapping[str, FloatArray] = field(default_factory=dict)

    @classmethod
    def of(cls, recorded: Recorded) -> Curve:
        """Return the curve of what was recorded: a curve itself, its columns, or rows such as `monitor.history`.

        Raises:
            InputError: it is none of these, or makes no curve (see `from_columns`).

        Example:
            >>> Curve.of([{"iteration": 1, "snr": 8.0}, {"iteration": 2, "snr": 4.0}]).captures
            2
        """
        if isinstance(recorded, Curve):
            return recorded
        given: Any = recorded
        if hasattr(given, "keys"):  # columns, also those of a data frame, which is no Mapping
            return cls.from_columns(given)
        is_sequence = isinstance(given, Iterable) and not isinstance(given, str | bytes)
        rows = list(given) if is_sequence else [given]
        for row in rows:
            if not isinstance(row, Mapping):
                raise InputError(
                    "curve",
                    received=described(row),
                    expected="a mapping of columns, or rows, one mapping for each capture",
                    fix="Give `monitor.history`, or what `phasecore.recording.reading.read_curve` makes of a file.",
                )
        return cls.from_columns(recorded_columns(rows))

    @classmethod
    def from_columns(cls, columns: Mapping[str, Column]) -> Curve:
        """Validate columns and make a curve of them.

        Args:
            columns: `iteration` and at least one signal-to-noise ratio (`snr`; or `gradient_mean_norm` and
                `gradient_std_norm`; or `gradient_order`; or `adam_snr` or its two norms), each of shape
                `(captures,)`. Other known columns are used where they help, unknown ones ignored. None stands
                for "not recorded", NaN and infinity for a measurement that is no number; neither is used, but a curve
                that ends in the latter says so.

        Raises:
            InputError: a column is missing, not numeric, not of shape `(captures,)` or negative; an iteration
                is not a whole number, repeats or goes backwards (the message names the row, counted from 1).

        Example:
            >>> curve = Curve.from_columns({"iteration": [1, 2, 4], "snr": [8.0, None, 2.0]})
            >>> curve.captures, curve.columns["snr"].tolist()
            (3, [8.0, nan, 2.0])
        """
        if "iteration" not in columns:
            raise InputError(
                "curve without iterations",
                received="the columns " + (", ".join(map(str, columns)) or "(none)"),
                expected="a column 'iteration'",
            )
        iteration = _numbers("iteration", columns["iteration"])
        known = {name: _numbers(name, values) for name, values in columns.items() if is_known_column(str(name))}
        for name, values in known.items():
            if values.shape != iteration.shape:
                raise InputError(
                    f"column {name!r}",
                    received=f"{values.size} values",
                    expected=f"{iteration.size}, one per iteration",
                )
        _check_iterations(iteration)
        nonfinite = {}
        for name, values in known.items():
            lost = ~np.isfinite(values) & _recorded(columns[name])
            if lost.any():
                nonfinite[name] = np.where(lost, values, 0.0)
            values[~np.isfinite(values)] = np.nan
            negative = np.flatnonzero(values < 0)
            if negative.size and name not in MAY_BE_NEGATIVE:
                row = int(negative[0])
                raise InputError(
                    f"column {name!r}, row {row + 1}",
                    received=f"{values[row]:g}",
                    expected="a value that is not negative",
                    fix="A norm, a ratio of norms, an error or an order parameter cannot be negative.",
                )
        curve = cls(iteration, known, nonfinite)
        if curve.ratio("snr") is None and curve.ratio("adam_snr") is None:
            raise InputError(
                "curve without a signal-to-noise ratio",
                received="the columns " + ", ".join(map(str, columns)),
                expected="'snr', or 'gradient_mean_norm' and 'gradient_std_norm'",
                fix="The column names are those of a phasecore history.",
            )
        return curve

    @property
    def captures(self) -> int:
        """The number of captures (rows)."""
        return int(self.iteration.size)

    @property
    def layers(self) -> tuple[int, ...]:
        """The layers for which both norms were recorded, in order."""
        matches = [LAYER_COLUMN.fullmatch(name) for name in self.columns]
        numbers = [int(match.group(1)) for match in matches if match is not None and match.group(2) == "mean"]
        return tuple(number for number in sorted(numbers) if f"layer{number}_std_norm" in self.columns)

    def values(self, name: str) -> list[float | None]:
        """Return a column as `from_columns` takes it: None where not recorded, NaN and infinity where measured so."""
        lost = self.nonfinite.get(name, np.zeros(self.captures))
        pairs = zip(self.columns[name].tolist(), lost.tolist(), strict=True)
        return [value if value == value else missing if missing else None for value, missing in pairs]

    def ratio(self, name: str) -> tuple[FloatArray, FloatArray] | None:
        """Return the numerator and denominator of a signal-to-noise ratio, each of shape `(captures,)`.

        A ratio that was recorded as such is its own numerator over ones; the gradient order stands in for
        the SNR where neither the SNR nor its norms were recorded.

        Args:
            name: "snr", "adam_snr", or "layer3" for that of one layer.

        Returns:
            The pair, NaN where either was not recorded, or None where neither ever was.
        """
        numerator, denominator = RATIOS.get(name, (f"{name}_mean_norm", f"{name}_std_norm"))
        if numerator in self.columns and denominator in self.columns:
            above, below = self.columns[numerator], self.columns[denominator]
        elif name in self.columns:
            above, below = self.columns[name], np.ones(self.captures)
        elif name == "snr" and "gradient_order" in self.columns:
            above = np.minimum(snr_of_order(self.columns["gradient_order"]), HOMOGENEOUS)
            below = np.ones(self.captures)
        else:
            return None
        absent = ~(np.isfinite(above) & np.isfinite(below))
        return np.where(absent, np.nan, above), np.where(absent, np.nan, below)


def _numbers(name: str, values: Column) -> FloatArray:
    try:
        numbers = np.array(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"column {name!r}", received=f"something not numeric ({error})", expected="numbers") from None
    if numbers.ndim != 1:
        raise InputError(f"column {name!r}", received=f"shape {numbers.shape}", expected="one value per capture")
    return numbers


def _recorded(values: Column) -> npt.NDArray[np.bool_]:
    """Return which values are not None, shape `(captures,)`."""
    given = np.asarray(values)
    if given.dtype != object:
        return np.ones(given.shape, dtype=bool)
    return np.array([value is not None for value in given], dtype=bool)


def _check_iterations(iteration: FloatArray) -> None:
    whole = np.isfinite(iteration) & (iteration >= 0) & (iteration == np.floor(iteration))
    if not whole.all():
        row = int(np.flatnonzero(~whole)[0])
        raise InputError(
            f"iteration in row {row + 1}",
            received=f"{iteration[row]:g}",
            expected="a whole number, 0 or more",
        )
    backwards = np.flatnonzero(np.diff(iteration) <= 0)
    if backwards.size:
        row = int(backwards[0]) + 1
        kind = "is repeated" if iteration[row] == iteration[row - 1] else "goes backwards"
        raise InputError(
            f"iteration in row {row + 1} {kind}",
            received=f"{iteration[row]:.0f} after {iteration[row - 1]:.0f}",
            expected="strictly increasing iterations",
            fix="Sort the rows, and keep one per iteration.",
        )
