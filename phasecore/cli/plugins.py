"""`phasecore plugins`: what is registered, from where, and what failed to load."""

from __future__ import annotations

import importlib.util
import json
from typing import Any

import click

from phasecore.hookspecs import KINDS
from phasecore.plugins import Plugins, loaded


@click.command("plugins", short_help="Say what is registered, and what failed to load.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document, with the tracebacks of what failed.")
def command(as_json: bool) -> None:
    """List problems, weighting schemes, probes and backends, where they come from, and what failed to load."""
    document = describe(loaded())
    if as_json:
        click.echo(json.dumps(document))
    else:
        _print(document)


def describe(plugins: Plugins) -> dict[str, Any]:
    """Return what is registered and what failed, as plain dictionaries and lists."""
    registered = [
        {
            "kind": entry.kind,
            "name": entry.name,
            "target": entry.target,
            "plugin": source.plugin,
            "distribution": source.distribution,
            "version": source.version,
            "missing_packages": [name for name in entry.needs if importlib.util.find_spec(name) is None],
            "install": entry.extra or " ".join(entry.needs),
        }
        for entry, source in sorted(plugins.entries, key=lambda item: KINDS.index(item[0].kind))
    ]
    hooks = [
        {"plugin": name, "hooks": sorted(caller.name for caller in plugins.manager.get_hookcallers(plugin) or [])}
        for name, plugin in plugins.manager.list_name_plugin()
    ]
    failed = [
        {
            "plugin": failure.source.plugin,
            "distribution": failure.source.distribution,
            "version": failure.source.version,
            "reason": failure.reason,
            "traceback": failure.traceback,
        }
        for failure in plugins.failures
    ]
    return {"registered": registered, "hooks": hooks, "failed": failed}


def _print(document: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for title in ("kind", "name", "from", "note"):
        table.add_column(title, overflow="fold")
    for item in document["registered"]:
        missing = " and ".join(item["missing_packages"])
        note = f"needs {missing}: pip install '{item['install']}'" if missing else ""
        table.add_row(item["kind"], item["name"], f"{item['distribution']} {item['version']}", Text(note, "yellow"))
    console.print(table)
    for item in document["hooks"]:
        listening = [name for name in item["hooks"] if name != "phasecore_entries"]
        if listening:
            console.print(Text(f"\nplugin {item['plugin']} listens to {', '.join(listening)}"))
    if document["failed"]:
        console.print(Text("\nfailed", "bold red"))
        for item in document["failed"]:
            where = f"{item['distribution']} {item['version']} (plugin {item['plugin']!r})"
            console.print(Text(f"{where}: {item['reason']}"), soft_wrap=True)
        console.print(Text("tracebacks: phasecore plugins --json", "dim"))
