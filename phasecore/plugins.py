"""Guarded, lazy loading of plugins: a broken one is reported and takes nothing else down."""

from __future__ import annotations

import functools
import importlib.metadata
import inspect
import traceback
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, final

import pluggy

from phasecore import builtin
from phasecore.errors import PluginError
from phasecore.foreign import named_if_slow, random_state_kept
from phasecore.hookspecs import Entry, Hooks

GROUP = "phasecore"
PREFIX = "phasecore_"


@final
@dataclass(frozen=True)
class Source:
    """Where a plugin comes from.

    Attributes:
        plugin: the entry point's name.
        distribution: the installed distribution that declares it, with its version.
        version: its version.
    """

    plugin: str
    distribution: str
    version: str

    def __str__(self) -> str:
        return f"{self.distribution} {self.version} (plugin {self.plugin!r})"


@final
@dataclass(frozen=True)
class Failure:
    """Why a plugin, or one of its entries, is not there.

    Attributes:
        source: the plugin.
        reason: one sentence.
        traceback: the whole traceback, or "" where there was no exception.
    """

    source: Source
    reason: str
    traceback: str = ""


class Listener(NamedTuple):
    """An object with run hooks: an installed plugin, or a logger that was asked for.

    Attributes:
        label: what to call it in messages: its name, and the distribution and version that it comes from.
        plugin: the object.
    """

    label: str
    plugin: object


@final
@dataclass(frozen=True)
class Plugins:
    """What was loaded.

    Attributes:
        manager: pluggy's, for calling hooks.
        entries: what can be looked up, with its plugin, in order of registration.
        failures: what could not be loaded.
        sources: where each of the manager's plugins comes from, by the name that the manager knows it by.
        rivals: by kind and name, the plugins that offer what another one was registered for first.
    """

    manager: pluggy.PluginManager
    entries: tuple[tuple[Entry, Source], ...]
    failures: tuple[Failure, ...]
    sources: Mapping[str, Source] = field(default_factory=dict)
    rivals: Mapping[tuple[str, str], tuple[Source, ...]] = field(default_factory=dict)

    def listeners(self) -> list[Listener]:
        """Return the plugins that listen to every training, in order of registration."""
        return [
            Listener(str(self.sources.get(name, f"plugin {name!r}")), plugin)
            for name, plugin in self.manager.list_name_plugin()
            if run_hooks_of(plugin)
        ]


@functools.cache
def loaded() -> Plugins:
    """Load the built-ins and every installed plugin, once, on first use."""
    return load(importlib.metadata.entry_points(group=GROUP))


def load(entry_points: Iterable[importlib.metadata.EntryPoint]) -> Plugins:
    """Load the built-ins, then the plugins of `entry_points`, each guarded."""
    manager = pluggy.PluginManager("phasecore")
    manager.add_hookspecs(Hooks)
    own = Source("builtin", "phasecore", _version("phasecore"))
    manager.register(builtin, "builtin")
    sources = {"builtin": own}
    failures: list[Failure] = []
    twins: dict[str, tuple[Source, ...]] = {}
    for point in sorted(entry_points, key=lambda point: (_distribution(point) != "phasecore", point.name)):
        source = Source(point.name, _distribution(point), point.dist.version if point.dist else "unknown")
        unique = f"{source.distribution}:{source.plugin}"
        try:
            with named_if_slow(f"loading {source}"), random_state_kept():
                plugin = point.load()
            check_hook_names(plugin)
            first = manager.get_name(plugin)
            if first in sources:
                twins[first] = (*twins.get(first, ()), source)
                raise PluginError(
                    f"module {point.value!r} is that of {sources[first]} too", expected="a module of each package's own"
                )
            manager.register(plugin, unique)
            sources[unique] = source
        except (Exception, SystemExit) as error:
            if manager.has_plugin(unique):
                manager.unregister(name=unique)
            failures.append(Failure(source, _reason(error), traceback.format_exc()))
    entries, rivals = _collect(manager, sources, failures, twins)
    return Plugins(manager, entries, tuple(failures), sources, rivals)


def _collect(
    manager: pluggy.PluginManager,
    sources: dict[str, Source],
    failures: list[Failure],
    twins: Mapping[str, tuple[Source, ...]],
) -> tuple[tuple[tuple[Entry, Source], ...], dict[tuple[str, str], tuple[Source, ...]]]:
    entries: dict[tuple[str, str], tuple[Entry, Source]] = {}
    rivals: dict[tuple[str, str], tuple[Source, ...]] = {}
    for unique, source in sources.items():
        plugin = manager.get_plugin(unique)
        others = [other for other in manager.get_plugins() if other is not plugin]
        try:
            with named_if_slow(f"asking {source} for its entries"), random_state_kept():
                answers = manager.subset_hook_caller("phasecore_entries", others)()
                if hasattr(plugin, "phasecore_entries") and not answers:
                    raise PluginError("phasecore_entries returned None", expected="an iterable of Entry objects")
                offered = [entry for answer in answers for entry in answer]
        except (Exception, SystemExit) as error:
            failures.append(Failure(source, _reason(error), traceback.format_exc()))
            continue
        others_returned = [entry for entry in offered if not isinstance(entry, Entry)]
        if others_returned:
            failures.append(Failure(source, f"phasecore_entries returned {others_returned!r}; expected Entry objects"))
        for entry in offered:
            if not isinstance(entry, Entry):
                continue
            key = (entry.kind, entry.name)
            if key in entries:
                failures.append(
                    Failure(source, f"{entry.kind} {entry.name!r} is already registered by {entries[key][1]}")
                )
                rivals[key] = (*rivals.get(key, ()), source)
                continue
            entries[key] = (entry, source)
            if unique in twins:
                rivals[key] = twins[unique]
    return tuple(entries.values()), rivals


def run_hooks_of(plugin: object) -> set[str]:
    """Return the names of the run hooks that a plugin implements.

    Example:
        >>> from phasecore import builtin
        >>> run_hooks_of(builtin)
        set()
    """
    return _hook_names(plugin) - {"phasecore_entries"}


def check_hook_names(plugin: object) -> None:
    """Refuse a plugin with a function that looks like a hook and is none, whether marked or not.

    Raises:
        PluginError: naming the function and the hooks that there are, or an argument that the hook does not have.
    """
    known = _hook_names(Hooks)
    found = _hook_names(plugin)
    for name in sorted(found - known):
        raise PluginError(
            f"unknown hook {name!r}",
            expected=f"one of {', '.join(sorted(known))}",
            fix="Correct the function's name.",
        )
    for name in sorted(found):
        if not hasattr(getattr(plugin, name), "phasecore_impl"):
            raise PluginError(f"hook {name!r} is not marked", fix="Decorate it with @phasecore.hookimpl.")
        there = [argument for argument in inspect.signature(getattr(Hooks, name)).parameters if argument != "self"]
        for argument in inspect.signature(getattr(plugin, name)).parameters:
            if argument not in there:
                raise PluginError(
                    f"hook {name!r}",
                    received=f"an implementation with argument {argument!r}",
                    expected=f"some of {there}, by name" if there else "no argument",
                )


def _hook_names(plugin: object) -> set[str]:
    return {name for name in dir(plugin) if name.startswith(PREFIX) and callable(getattr(plugin, name))}


def _reason(error: BaseException) -> str:
    return str(error) if isinstance(error, PluginError) else f"{type(error).__name__}: {error}"


def _distribution(point: importlib.metadata.EntryPoint) -> str:
    return point.dist.name if point.dist else "unknown"


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
