"""Two packages that offer one name: the one that is taken is named wherever the name is used, and the other too."""

import importlib.metadata
import json
import warnings

import pytest
from click.testing import CliRunner

import phasecore
from phasecore import lookup, plugins, registry
from phasecore.cli import main
from phasecore.errors import PluginWarning
from phasecore.hookspecs import KINDS

OFFERS = """
    import phasecore
    from phasecore.weighting.uniform import uniform

    @phasecore.hookimpl
    def phasecore_entries():
        return [
            phasecore.Entry("weighting", "shared", "{module}:uniform"),
            phasecore.Entry("problem", "burgers", "phasecore.problems.burgers:Burgers"),
            phasecore.Entry("weighting", "of_{module}", "{module}:uniform"),
        ]
"""


@pytest.fixture
def rivals(install, monkeypatch):
    """Two packages that offer the weighting "shared", and both the problem "burgers" of phasecore."""
    for name, version in (("kit_a", "1.0"), ("kit_b", "2.5")):
        install(name.replace("_", "-"), version, {name: name}, **{name: OFFERS.format(module=name)})
    loaded = plugins.load(importlib.metadata.entry_points(group=plugins.GROUP))
    monkeypatch.setattr(lookup, "loaded", lambda: loaded)
    return loaded


def test_the_first_keeps_the_name_and_each_use_of_it_names_both(rivals):
    with pytest.warns(PluginWarning, match=r"'shared' is taken from kit-a 1\.0 .*; kit-b 2\.5 .* offers the name too"):
        phasecore.weighting_scheme("shared")
    with pytest.warns(PluginWarning, match=r"'burgers' is taken from phasecore .*kit-a 1\.0.* and kit-b 2\.5.*offer "):
        phasecore.problem("burgers")


def test_a_name_of_one_package_is_used_without_a_word(rivals):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in ("of_kit_a", "of_kit_b", "rba"):
            phasecore.weighting_scheme(name)
        phasecore.problem("helmholtz")


def test_two_packages_with_one_module_are_told_apart_by_no_one_and_said_to_be_so(install, load):
    install("kit-a", "1.0", {"kit_a": "kit"}, kit=OFFERS.format(module="kit"))
    install("kit-b", "2.5", {"kit_b": "kit"})
    loaded = load()
    (failure,) = [failure for failure in loaded.failures if failure.source.distribution == "kit-b"]
    assert "module 'kit' is that of kit-a 1.0" in failure.reason
    with pytest.warns(PluginWarning, match=r"'shared' is taken from kit-a 1\.0 .*; kit-b 2\.5 .* offers the name too"):
        phasecore.weighting_scheme("shared")


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_contested_among_the_built_ins(kind):
    assert not any(registry.rivalry(kind, name) for name in registry.names(kind))


@pytest.mark.parametrize("command", ["run", "compare"])
def test_the_command_line_says_so_once_in_one_line(command, rivals, tmp_path):
    pytest.importorskip("torch")
    chosen = {"run": ["--weighting", "shared"], "compare": ["--weightings", "shared,uniform"]}[command]
    arguments = ["burgers", *chosen, "--iterations", "2", "--points", "20", "--width", "4", "--depth", "1"]
    result = CliRunner().invoke(main, [command, *arguments, "--output", str(tmp_path / "out"), "--json"])
    assert result.exit_code == 0, result.output
    told = [line for line in result.stderr.splitlines() if line.startswith("Warning:")]
    assert sum("weighting 'shared' is taken from kit-a 1.0" in line for line in told) == 1
    assert sum("problem 'burgers' is taken from phasecore" in line for line in told) == 1
    assert json.loads(result.stdout)
