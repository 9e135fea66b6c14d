"""Under which registered name something was made, so that what is recorded of it makes the same again.

What a problem or a probe calls itself need not be the name that it is registered under.
"""

from __future__ import annotations

import copy
import inspect
import sys
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, NamedTuple, TypeVar

from phasecore.hookspecs import Entry, Kind
from phasecore.lookup import find, names, package_of
from phasecore.plugins import Source

Made = TypeVar("Made")

MADE_AS = "_made_as"
"""Attribute of what was looked up that holds its `MadeAs`: copies and pickles have it too."""


class MadeAs(NamedTuple):
    """How something was looked up.

    Attributes:
        name: that it was asked for by.
        options: that were given.
        defaults: of the function that made it, as far as they can be written; None where the class itself is
            registered and made from its fields, which say more.
    """

    name: str
    options: Mapping[str, Any]
    defaults: Mapping[str, Any] | None = None

    def parameters(self, own: Mapping[str, Any]) -> dict[str, Any]:
        """Return by which parameters it is made again.

        Args:
            own: those that it says it has.

        Example:
            >>> MadeAs("wave", {"speed": 2}).parameters({"speed": 2, "length": 1})
            {'speed': 2, 'length': 1}
            >>> MadeAs("wave", {"speed": 2}, {"speed": 1, "ends": 0}).parameters({"square": 4})
            {'speed': 2, 'ends': 0}
        """
        return {**self.options, **own} if self.defaults is None else {**self.defaults, **self.options}


class Origin(NamedTuple):
    """What provides something, and how it is made again.

    Attributes:
        source: the plugin.
        made_as: how it is looked up.
    """

    source: Source
    made_as: MadeAs


def remembered(kind: Kind, name: str, options: Mapping[str, Any], made: Made) -> Made:
    """Return what was looked up, which knows from now on how.

    Args:
        kind: what it is.
        name: that it was asked for by.
        options: that were given.
        made: what the entry made of them.
    """
    module, _, attribute = find(kind, name)[0].target.partition(":")
    factory = getattr(sys.modules.get(module), attribute, type(made))
    defaults = None if factory is type(made) and _takes_fields(factory) else _defaults(factory)
    made_as = MadeAs(name, dict(options), defaults)
    if MADE_AS in vars(made):
        # an object that several entries return, or one that was looked up by what makes it
        made = copy.copy(made)
    object.__setattr__(made, MADE_AS, made_as)
    return made


def origin_of(kind: Kind, made: Any) -> Origin | None:
    """Return where something comes from that was looked up or is of a registered class; None for one's own.

    Example:
        >>> from phasecore import registry
        >>> origin_of("probe", registry.probe("adam_snr")).source.distribution
        'phasecore'
        >>> Own = type("Own", (type(registry.probe("adam_snr")),), {"__module__": "__main__"})
        >>> origin_of("probe", Own()) is None
        True
    """
    made_as = getattr(made, MADE_AS, None)
    if made_as is not None and made_as.name in names(kind):
        return Origin(find(kind, made_as.name)[1], made_as)
    return origin_of_class(kind, type(made), getattr(made, "name", None))


def origin_of_class(kind: Kind, cls: type, name: object = None) -> Origin | None:
    """Return where a class comes from that is registered, or None.

    Args:
        kind: what it is.
        cls: the class.
        name: that it calls itself by, which decides among several entries of a class. Where functions make it, that
            and the package tell whose it is.
    """
    entries = [find(kind, known) for known in names(kind)]
    of_class = [found for found in entries if _target(found[0]) is cls]
    of_class.sort(key=lambda found: found[0].name != name)
    of_name = [
        found
        for found in entries
        if found[0].name == name and package_of(found[0].target) == package_of(cls.__module__)
    ]
    for entry, source in [*of_class, *of_name]:
        return Origin(source, MadeAs(entry.name, {}))
    return None


def _target(entry: Entry) -> Any:
    """What an entry makes things with, as far as that was imported: nobody has one of a class that was not."""
    module, _, attribute = entry.target.partition(":")
    # not by `getattr`, which may import what a package leaves for later
    return vars(sys.modules[module]).get(attribute) if module in sys.modules else None


def _takes_fields(cls: Any) -> bool:
    """Whether a class is made from its fields: one with `__init__` of its own may be made from something else."""
    taken = inspect.signature(cls).parameters
    named = {item.name for item in fields(cls) if item.init} if is_dataclass(cls) else set()
    return named <= taken.keys() or any(item.kind is item.VAR_KEYWORD for item in taken.values())


def _defaults(factory: Any) -> dict[str, Any]:
    parameters = inspect.signature(factory).parameters.items()
    return {name: item.default for name, item in parameters if isinstance(item.default, str | int | float | None)}
