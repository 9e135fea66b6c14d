"""What surrounds a training on the command line: a clean standard output, and an orderly interruption."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import shlex
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from phasecore.cli.consoles import tell
from phasecore.errors import PluginWarning
from phasecore.recording.folder import has_checkpoint
from phasecore.recording.history import HISTORY, read_rows

OUTPUT, ERROR = 1, 2
"""The descriptors of standard output and standard error."""


@contextlib.contextmanager
def standard_output_kept_clean() -> Iterator[None]:
    """Send what frameworks and plugins print to standard error; standard output is for results.

    Also what they print past Python, as libraries in C and processes that they start do.
    """
    with _descriptor_redirected(), contextlib.redirect_stdout(sys.stderr), _plugin_warnings_told():
        yield


@contextlib.contextmanager
def _descriptor_redirected() -> Iterator[None]:
    sys.stdout.flush()
    try:
        kept = os.dup(OUTPUT)
        os.dup2(ERROR, OUTPUT)
    except OSError:  # one of them is closed
        yield
        return
    try:
        yield
    finally:
        os.dup2(kept, OUTPUT)
        os.close(kept)


def print_json(document: Any) -> None:
    """Print the one document on standard output; whatever is printed as the process ends is sent elsewhere."""
    click.echo(json.dumps(document, allow_nan=False))
    atexit.register(_nothing_more)


def _nothing_more() -> None:
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        os.dup2(ERROR, OUTPUT)
        sys.stdout = sys.stderr


@contextlib.contextmanager
def _plugin_warnings_told() -> Iterator[None]:
    """Say each warning about a plugin once, in one line."""
    told: set[str] = set()
    with warnings.catch_warnings():
        warnings.simplefilter("always", PluginWarning)
        show = warnings.showwarning

        def tell_once(message: Warning | str, category: type[Warning], *where: Any, **options: Any) -> None:
            if not issubclass(category, PluginWarning):
                show(message, category, *where, **options)
            elif str(message) not in told:
                told.add(str(message))
                tell(f"Warning: {message}")

        warnings.showwarning = tell_once
        yield


@contextlib.contextmanager
def interruptible(ctx: click.Context, folders: Sequence[Path], again: Sequence[str]) -> Iterator[None]:
    """Answer Ctrl-C with what is kept and how to go on, and exit status 130.

    Args:
        ctx: click's.
        folders: the run folders.
        again: the command that goes on.
    """
    try:
        yield
    except KeyboardInterrupt:
        kept = [line for folder in folders if (line := _kept(folder))]
        tell("\n".join(["Interrupted.", *kept, f"Go on with: {shlex.join(again)}"]))
        ctx.exit(130)


def _kept(folder: Path) -> str:
    rows = read_rows(folder / HISTORY) if (folder / HISTORY).exists() else []
    if not rows:
        return ""
    line = f"Kept in {folder}: the history to iteration {rows[-1]['iteration']}"
    return f"{line}, and a checkpoint." if has_checkpoint(folder) else f"{line}; no checkpoint was saved yet."
