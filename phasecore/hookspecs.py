"""The hooks that a plugin can implement; the built-ins use the same ones.

A plugin is a module or object named by an entry point of group "phasecore"; its functions marked with
`phasecore.hookimpl` implement hooks by name. Every argument may be left out of an implementation's signature.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, final, get_args

import pluggy

from phasecore.errors import PluginError

if TYPE_CHECKING:
    from phasecore.backends import Acted, Monitored, Outcome, Training
    from phasecore.phases import Transition

hookspec = pluggy.HookspecMarker("phasecore")
hookimpl = pluggy.HookimplMarker("phasecore")

Kind = Literal["problem", "weighting", "probe", "policy", "backend", "logger", "sampling"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@final
@dataclass(frozen=True)
class Entry:
    """One thing that a plugin offers, as data: nothing is imported until it is looked up.

    Attributes:
        kind: "problem", "weighting", "probe", "policy", "backend", "logger" or "sampling".
        name: what users call it by.
        target: where it lives, "module:attribute": a class or factory that is called with the user's options.
        needs: names of the packages that the module imports, to be able to say what is missing.
        extra: what to install for them, such as "phasecore[torch]".

    Raises:
        PluginError: if a field is malformed.

    Example:
        >>> Entry("weighting", "rba", "phasecore.weighting.rba:rba").name
        'rba'
    """

    kind: Kind
    name: str
    target: str
    needs: tuple[str, ...] = ()
    extra: str = ""

    def __post_init__(self) -> None:
        where = f"entry {self.name!r}"
        if self.kind not in KINDS:
            raise PluginError(f"{where}, kind", received=repr(self.kind), expected=f"one of {', '.join(KINDS)}")
        if not isinstance(self.name, str) or not self.name.replace("_", "").replace("-", "").isalnum():
            raise PluginError(
                "entry, name", received=repr(self.name), expected="letters, digits, underscores and hyphens"
            )
        if not isinstance(self.needs, tuple):
            raise PluginError(f"{where}, needs", received=repr(self.needs), expected="a tuple of package names")
        module, colon, attribute = str(self.target).partition(":")
        if not (module and colon and attribute):
            raise PluginError(f"{where}, target", received=repr(self.target), expected='"module:attribute"')


@final
class Hooks:
    """The specifications; pluggy reads them, nobody calls them directly."""

    @hookspec
    def phasecore_entries(self) -> Iterable[Entry]:  # type: ignore[empty-body]
        """Return problems, weighting schemes, samplings, probes, policies, backends and loggers that the plugin offers.

        Called once, on first use of the registry. Import nothing heavy here: name it in `Entry.target`.
        """

    @hookspec
    def phasecore_run_started(self, training: Training | Monitored, resumed: bool) -> None:
        """Hear that a training starts, with its whole configuration, or goes on.

        One that phasecore does not drive is described by a `phasecore.backends.Monitored`: the same attributes, None
        for what is not known. Going on, the first capture tells from which iteration: what was heard of later ones is
        void. That is also heard after an end, or in the middle, where a training goes back to an earlier state.
        """

    @hookspec
    def phasecore_captured(self, training: Training | Monitored, row: Mapping[str, Any]) -> None:
        """Hear of a capture: the row that the history keeps, with its "iteration"."""

    @hookspec
    def phasecore_phase_changed(self, training: Training | Monitored, transition: Transition) -> None:
        """Hear that the online tracker declared a phase, with the iteration at which it began and the evidence."""

    @hookspec
    def phasecore_policy_acted(self, training: Training | Monitored, acted: Acted) -> None:
        """Hear that a policy had something done: when, what and why."""

    @hookspec
    def phasecore_run_finished(self, training: Training | Monitored, outcome: Outcome) -> None:
        """Hear that a training ended, with its duration, error and phases."""

    @hookspec
    def phasecore_run_stopped(self, training: Training | Monitored, error: BaseException) -> None:
        """Hear that a training ended early, by an error or an interruption: close what was opened.

        Also called on a listener that is switched off because one of its hooks raised, with what it raised.
        """
