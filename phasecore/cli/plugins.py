"""`phasecore plugins`: what is registered, from where, and what failed to load; `phasecore plugins new` starts one."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import click

from phasecore.cli.session import print_json, standard_output_kept_clean
from phasecore.errors import InputError
from phasecore.hookspecs import KINDS, Kind
from phasecore.plugins import Plugins, loaded, run_hooks_of


@click.group("plugins", invoke_without_command=True, short_help="Say what is registered, check it, start a new plugin.")
@click.option(
    "--check", is_flag=True, help="Make everything that plugins offer, and check it; exit status 1 if broken."
)
@click.option(
    "--problem",
    metavar="NAME[:key=value,...]",
    help="With --check: the problem whose terms the probes read by name. Default: made-up terms.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document, with the tracebacks of what failed.")
@click.pass_context
def command(ctx: click.Context, check: bool, problem: str | None, as_json: bool) -> None:
    """List problems, schemes, samplings, probes, backends and loggers, where from, and what failed to load."""
    if ctx.invoked_subcommand is not None:
        return
    if problem is not None and not check:
        raise InputError("--problem", received="no --check", expected="--check with it: it is for checking probes")
    with standard_output_kept_clean():
        document = describe(loaded())
        if check:
            from phasecore.cli.plugin_checks import check_entries

            document["checked"] = check_entries(loaded(), problem)
    if as_json:
        print_json(document)
    else:
        _print(document)
    if check and (document["failed"] or any(item["outcome"] == "failed" for item in document["checked"])):
        ctx.exit(1)


@command.command("new", short_help="Start a package with a weighting scheme of your own.")
@click.argument("name")
@click.option("--output", type=click.Path(path_type=Path), metavar="DIR", help="Folder to make. Default: NAME.")
@click.option("--problem", is_flag=True, help="With a problem too.")
@click.option("--sampling", is_flag=True, help="With a sampling too.")
@click.option("--probe", is_flag=True, help="With a probe too.")
@click.option("--policy", is_flag=True, help="With a policy too.")
@click.option("--logger", is_flag=True, help="With a logger too.")
def new(name: str, output: Path | None, problem: bool, sampling: bool, probe: bool, policy: bool, logger: bool) -> None:
    """Make the package NAME, such as my-scheme: a weighting scheme that works, and its conformance test that passes."""
    from phasecore.cli.plugin_template import write_plugin

    further: dict[Kind, bool] = {
        "problem": problem, "sampling": sampling, "probe": probe, "policy": policy, "logger": logger
    }  # fmt: skip
    kinds: list[Kind] = ["weighting", *(kind for kind, wanted in further.items() if wanted)]
    plugin = write_plugin(name, output or Path(name), kinds)
    click.echo("\n".join(f"wrote {file}" for file in plugin.files))
    click.echo(f"\nnext:\n{plugin.next_steps}")


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
            "missing_packages": [name for name in entry.needs if not _is_installed(name)],
            "install": entry.extra or " ".join(entry.needs),
        }
        for entry, source in sorted(plugins.entries, key=lambda item: KINDS.index(item[0].kind))
    ]
    hooks = [
        {
            "plugin": name,
            "distribution": plugins.sources[name].distribution if name in plugins.sources else "unknown",
            "version": plugins.sources[name].version if name in plugins.sources else "unknown",
            "hooks": sorted(run_hooks_of(plugin)),
        }
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


def _is_installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except (ImportError, ValueError):
        return False


def _print(document: dict[str, Any]) -> None:
    from rich.text import Text

    from phasecore.cli.consoles import make_console
    from phasecore.cli.whole_table import WholeTable

    console = make_console()
    table = WholeTable()
    for title in ("kind", "name", "from"):
        table.add_column(title, "left", kept=True)
    table.add_column("note", "left")
    checked = {(item["kind"], item["name"]): item for item in document.get("checked", [])}
    for item in document["registered"]:
        missing = " and ".join(item["missing_packages"])
        note = Text(f"needs {missing}: pip install '{item['install']}'" if missing else "", "yellow")
        if (item["kind"], item["name"]) in checked and not missing:
            outcome = checked[item["kind"], item["name"]]["outcome"]
            note = Text(outcome, {"passed": "green", "failed": "red"}.get(outcome, "yellow"))
        table.add_row(item["kind"], item["name"], f"{item['distribution']} {item['version']}", note)
    console.print(table)
    for item in document["hooks"]:
        if item["hooks"]:
            where = f"{item['distribution']} {item['version']} (plugin {item['plugin'].rpartition(':')[2]!r})"
            console.print(Text(f"\n{where} listens to {', '.join(item['hooks'])}"), soft_wrap=True)
    broken = [item for item in document.get("checked", []) if item["outcome"] != "passed"]
    if document["failed"] or broken:
        console.print(Text("\nfailed" if document["failed"] or not broken else "\nchecked", "bold red"))
        for item in document["failed"]:
            where = f"{item['distribution']} {item['version']} (plugin {item['plugin']!r})"
            console.print(Text(f"{where}: {item['reason']}"), soft_wrap=True)
        for item in broken:
            where = f"{item['distribution']} {item['version']} (plugin {item['plugin']!r})"
            console.print(
                Text(f"{where}: {item['kind']} {item['name']!r}, {item['outcome']}: {item['reason']}"), soft_wrap=True
            )
    if document["failed"]:
        console.print(Text("tracebacks: phasecore plugins --json", "dim"))
