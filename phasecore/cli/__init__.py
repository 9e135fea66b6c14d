"""The command line: `phasecore run`, `compare`, `detect`, `report` and `plugins`.

Exit status: 0 for success, 2 for bad arguments or input, 1 for a failure in training or where standard output cannot be
written, 130 for an interruption.
Errors are one message on standard error.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from typing import Any, final

import click

import phasecore
from phasecore.errors import PhasecoreError, TrainingError

COMMANDS = {
    "run": "phasecore.cli.run",
    "compare": "phasecore.cli.compare",
    "detect": "phasecore.cli.detect",
    "report": "phasecore.cli.report",
    "plugins": "phasecore.cli.plugins",
}


@final
class Commands(click.Group):
    """The group of commands: each module is imported when its command is asked for, and has a `command`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order in which the help shows them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command, or None for an unknown name."""
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(COMMANDS[cmd_name]).command
        assert isinstance(command, click.Command)
        return command

    def main(self, *args: Any, **options: Any) -> Any:
        """Run the command line; where standard output takes nothing more, say so: exit status 1."""
        try:
            return super().main(*args, **options)
        except OSError as error:
            if error.filename is not None or not _is_output_broken():
                raise
            with contextlib.suppress(OSError):
                click.echo(f"Error: cannot write standard output ({error.strerror}).", err=True)
            sys.exit(1)

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; an error that phasecore raises on purpose becomes a message and an exit status."""
        try:
            return super().invoke(ctx)
        except PhasecoreError as error:
            click.echo(f"Error: {printable(str(error))}", err=True)
            ctx.exit(1 if isinstance(error, TrainingError) else 2)
        except KeyboardInterrupt:
            click.echo("Interrupted.", err=True)
            ctx.exit(130)


def _is_output_broken() -> bool:
    """Return whether standard output takes nothing more; it goes nowhere then, so that nothing fails over it later."""
    try:
        sys.stdout.write("\n")  # what could not be written before is forgotten
        sys.stdout.flush()
    except OSError:
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return True
    return False


def printable(text: str) -> str:
    r"""Return a text whose control characters, which could command a terminal, are written out.

    Example:
        >>> printable("a\x1b[2Jb")
        'a\\x1b[2Jb'
    """
    return "".join(letter if letter.isprintable() or letter in "\n\t" else repr(letter)[1:-1] for letter in text)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(phasecore.__version__, prog_name="phasecore")
def main() -> None:
    """Train physics-informed networks and see which learning phase they are in."""
