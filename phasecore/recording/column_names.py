"""Which columns of a file are which quantity, whatever the tool that wrote it calls them.

A name is ours if its last part is, in any case and with spaces or hyphens for underscores: what comes before a slash, a
dot or " - " is the tool's ("train/snr", "run-7 - snr"). The step has many names; "iteration" goes before all of them.
"""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from phasecore.errors import InputError
from phasecore.phases.curve import KNOWN_COLUMNS, RATIOS, is_known_column
from phasecore.recording.delimited import Table

STEPS = (
    ("iteration", "iterations", "iter", "it"),
    ("global_step", "_step", "step", "steps", "training_step", "train_step", "optimizer_step"),
    ("epoch", "epochs"),
)
VALUE = "value"
LABELS = ("metric", "key", "tag", "metric_name", "name", "variable")
RUNS = ("run", "run_id", "run_name", "run_uuid")
EXAMPLE = "--columns iteration=Step,snr=train/snr"


def parse_columns(texts: Sequence[str]) -> dict[str, str]:
    """Return what `--columns` says: names of phasecore's, and what the file calls them.

    A name of the file may hold commas and equal signs; what follows a comma is a new pair if it begins with one of our
    names and an equal sign.

    Raises:
        InputError: for a text that is no such pairs, a name that is none of ours, or one that is there twice.

    Example:
        >>> parse_columns(["iteration=Step,snr=lr=0.1, seed=2 - snr"])
        {'iteration': 'Step', 'snr': 'lr=0.1, seed=2 - snr'}
    """
    found: dict[str, str] = {}
    for piece in (piece for text in texts for piece in _pairs(text)):
        ours, equals, theirs = (part.strip() for part in piece.partition("="))
        if not (equals and theirs):
            raise InputError("--columns", received=repr(piece), expected="pairs of names", fix=f"As in {EXAMPLE}.")
        if not _is_ours(ours):
            near = difflib.get_close_matches(ours, ["iteration", *KNOWN_COLUMNS], n=1)
            raise InputError(
                "--columns",
                received=f"{ours!r}, which is no column of a history",
                expected=f"names of phasecore's before the equal sign: iteration, {', '.join(KNOWN_COLUMNS)}, ...",
                fix=f"Did you mean {near[0]}?" if near else f"As in {EXAMPLE}.",
            )
        if ours in found:
            raise InputError("--columns", received=f"{ours!r} twice", expected="each name once")
        found[ours] = theirs
    return found


def choose_columns(file: Path, table: Table, given: Mapping[str, str]) -> dict[str, str]:
    """Return our names and those of the columns that hold them, "iteration" among them.

    Args:
        file: that the table was read from.
        table: what it holds.
        given: the choice of the user, which goes before everything.

    Raises:
        InputError: if there is no step or no signal-to-noise ratio, several columns could be one, or one that
            was given is not there; the message names the columns found.
    """
    chosen = {ours: _given(file, table, ours, theirs) for ours, theirs in given.items()}
    kept = {_family(theirs) for ours, theirs in chosen.items() if ours != "iteration"}
    candidates: dict[str, list[str]] = {}
    for name in table.names:
        candidates.setdefault(_last_part(name), []).append(name)
    for ours, names in candidates.items():
        if is_known_column(ours) and ours not in chosen:
            names = [ours] if ours in names else [name for name in names if not kept or _family(name) in kept]
            if len(names) > 1:
                _refuse_several(file, ours, names)
            if names:
                chosen[ours] = names[0]
    if "iteration" not in chosen:
        chosen["iteration"] = _step(file, table, candidates, {_family(name) for name in chosen.values()})
    if not _has_ratio(chosen) and (scalar := _scalar_named_by(file)) and len(candidates.get(VALUE, ())) == 1:
        chosen[scalar] = candidates[VALUE][0]
    if not _has_ratio(chosen):
        raise InputError(
            f"{file}: curve without a signal-to-noise ratio",
            received=f"the columns {table.listing}",
            expected="'snr', or 'gradient_mean_norm' and 'gradient_std_norm'",
            fix=f"If one of the columns is it, say which: {_example(chosen, table)}. Losses alone tell no phases.",
        )
    return chosen


def as_columns(file: Path, table: Table) -> Table:
    """Return a table of one row per value, a column with the metric's name beside it, as one with a column per metric.

    Any other table is returned as it is.

    Raises:
        InputError: if the values are those of several runs.
    """
    by_part = {_last_part(name): name for name in table.names}
    for run in (by_part[name] for name in RUNS if name in by_part):
        runs = sorted({str(row[run]) for _, row in table.rows if row.get(run)})
        if len(runs) > 1:
            raise InputError(
                f"{file}, column {run!r}", received=f"the runs {', '.join(runs)}", expected="the rows of one run"
            )
    label = next((by_part[name] for name in LABELS if name in by_part), None)
    if label is None or VALUE not in by_part:
        return table
    value = by_part[VALUE]
    labels = list(dict.fromkeys(str(row[label]) for _, row in table.rows if row.get(label)))
    others = [name for name in table.names if name not in (label, value)]
    rows = [
        (line, {**{name: row.get(name) for name in others}, str(row.get(label)): row.get(value)})
        for line, row in table.rows
    ]
    return table._replace(names=[*others, *labels], rows=rows, listing=", ".join([*others, *labels]))


def _pairs(text: str) -> list[str]:
    pieces = re.split(r",(?=\s*\w+\s*=)", text)
    pairs = pieces[:1]
    for piece in pieces[1:]:
        if _is_ours(piece.partition("=")[0].strip()):
            pairs.append(piece)
        else:
            pairs[-1] += f",{piece}"
    return pairs


def _is_ours(name: str) -> bool:
    return name == "iteration" or is_known_column(name)


def _given(file: Path, table: Table, ours: str, theirs: str) -> str:
    """Return the name of a column that the user named, or numbered from 1."""
    if theirs in table.names:
        return theirs
    if theirs.isdecimal() and 1 <= int(theirs) <= len(table.names):
        return table.names[int(theirs) - 1]
    near = difflib.get_close_matches(theirs, table.names, n=1)
    raise InputError(
        f"{file}: --columns {ours}={theirs}",
        received=f"the columns {table.listing}",
        expected=f"a column {theirs!r}",
        fix=f"Did you mean {near[0]!r}?" if near else "",
    )


def _last_part(name: str) -> str:
    part = re.split(r" - |[/.]", name.strip())[-1]
    return re.sub(r"[\s-]+", "_", part.strip()).lower()


def _family(name: str) -> str:
    """Return what a name has before its last part: those of one family are of one run."""
    return name[: len(name) - len(re.split(r" - |[/.]", name)[-1])]


def _step(file: Path, table: Table, candidates: Mapping[str, Sequence[str]], families: set[str]) -> str:
    for group in STEPS:
        names = [name for part in group for name in candidates.get(part, ())]
        plain = [name for name in names if not _family(name)] or [name for name in names if _family(name) in families]
        if plain or names:
            return (plain or names)[0]
    raise InputError(
        f"{file}: curve without iterations",
        received=f"the columns {table.listing}",
        expected="a column 'iteration', or one that is called a step or an epoch",
        fix=f"Say which it is: {EXAMPLE}.",
    )


def _has_ratio(chosen: Mapping[str, str]) -> bool:
    whole = any(name in chosen for name in (*RATIOS, "gradient_order"))
    return whole or any(above in chosen and below in chosen for above, below in RATIOS.values())


def _scalar_named_by(file: Path) -> str | None:
    """Return the quantity that a file of one scalar is named after, as TensorBoard does: run-.-tag-train_snr.csv."""
    stem = _last_part(file.stem)
    named = [ours for ours in KNOWN_COLUMNS if re.search(rf"(^|_){ours}$", stem)]
    return max(named, key=len, default=None)


def _refuse_several(file: Path, ours: str, names: Sequence[str]) -> None:
    raise InputError(
        f"{file}: several columns could be {ours!r}",
        received=", ".join(names),
        expected="one",
        fix=f"Say which: --columns {shlex.quote(f'{ours}={names[0]}')}.",
    )


def _example(chosen: Mapping[str, str], table: Table) -> str:
    step = chosen["iteration"]
    other = next((name for name in reversed(table.names) if name not in chosen.values() and name), "NAME")
    return f"--columns {shlex.quote(f'iteration={step},snr={other}')}"
