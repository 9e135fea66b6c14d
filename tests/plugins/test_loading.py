"""Plugins that work, and every way in which one can be broken: reported with its origin, the others unharmed."""

import os
import re
import sys

import pytest
from processes import python

import phasecore
from phasecore import InputError, MissingDependencyError, PluginError, builtin
from phasecore.plugins import load as load_entry_points

GOOD = """
    import phasecore
    from phasecore.weighting.uniform import uniform

    @phasecore.hookimpl
    def phasecore_entries():
        return [phasecore.Entry("weighting", "good", "good_plugin:uniform")]
"""

BUILT_IN = {(entry.kind, entry.name) for entry in builtin.phasecore_entries()}


def names(loaded):
    return {(entry.kind, entry.name) for entry, _ in loaded.entries}


@pytest.fixture
def beside(install, load):
    """Return `beside(source)`: the failures of a broken plugin installed beside a good one, which must be unharmed."""

    def beside(source):
        install("good-scheme", "2.5", {"good": "good_plugin"}, good_plugin=GOOD)
        install("broken-scheme", "1.2.3", {"broken": "broken_plugin"}, broken_plugin=source)
        loaded = load()
        assert names(loaded) >= BUILT_IN | {("weighting", "good")}
        assert phasecore.weighting_scheme("good").multiplies == "residual"
        return [failure for failure in loaded.failures if failure.source.plugin == "broken"]

    return beside


def entries(body):
    return f"""
    import phasecore
    from phasecore import Entry

    @phasecore.hookimpl
    def phasecore_entries():
        {body}
"""


def test_without_plugins_the_built_ins_are_there_under_phasecores_name_and_version():
    loaded = load_entry_points([])
    assert names(loaded) == BUILT_IN
    assert not loaded.failures
    assert {(source.plugin, source.distribution, source.version) for _, source in loaded.entries} == {
        ("builtin", "phasecore", phasecore.__version__)
    }


def test_a_plugin_is_found_with_its_origin(install, load):
    install("good-scheme", "2.5", {"good": "good_plugin"}, good_plugin=GOOD)
    loaded = load()
    assert not loaded.failures
    (source,) = [source for entry, source in loaded.entries if entry.name == "good"]
    assert str(source) == "good-scheme 2.5 (plugin 'good')"


BROKEN = {
    "import error": ("import no_such_package_at_all", "No module named 'no_such_package_at_all'"),
    "syntax error": ("def", "SyntaxError"),
    "error at import": ("1 / 0", "ZeroDivisionError"),
    "exit at import": ("import sys; sys.exit(3)", "SystemExit"),
    "misspelled hook": (
        "import phasecore\n    @phasecore.hookimpl\n    def phasecore_entrys(): return []",
        "unknown hook 'phasecore_entrys'.*phasecore_entries.*phasecore_run_finished",
    ),
    "misspelled hook, not marked": ("def phasecore_capture(row): pass", "unknown hook 'phasecore_capture'"),
    "hook not marked": ("def phasecore_entries(): return []", "'phasecore_entries' is not marked.*hookimpl"),
    "unknown argument": (
        "import phasecore\n    @phasecore.hookimpl\n    def phasecore_captured(values): pass",
        "values",
    ),
    "hook raises": (entries("raise RuntimeError('no network')"), "RuntimeError: no network"),
    "hook raises in the middle": (
        entries("yield Entry('weighting', 'half', 'a:b')\n        raise RuntimeError('in the middle')"),
        "in the middle",
    ),
    "hook exits": (entries("raise SystemExit(3)"), "SystemExit"),
    "nothing returned": (entries("pass"), "returned None.*Entry"),
    "a number returned": (entries("return 3"), "int"),
    "a name returned": (entries("return 'rba'"), "returned.*'r'.*Entry"),
    "tuples returned": (entries("return [('weighting', 'mine', 'a:b')]"), "mine.*expected Entry"),
    "unknown kind": (entries("return [Entry('optimizer', 'mine', 'a:b')]"), "'optimizer'.*problem, weighting, probe"),
    "bad name": (entries("return [Entry('weighting', 'my scheme', 'a:b')]"), "'my scheme'.*letters"),
    "name of a wrong type": (entries("return [Entry('weighting', 7, 'a:b')]"), "7.*letters"),
    "no attribute": (entries("return [Entry('weighting', 'mine', 'package.module')]"), "module:attribute"),
    "target of a wrong type": (entries("return [Entry('weighting', 'mine', print)]"), "module:attribute"),
    "needs as text": (entries("return [Entry('weighting', 'mine', 'a:b', needs='torch')]"), "tuple of package"),
    "name of a built-in": (
        entries("return [Entry('weighting', 'rba', 'a:b')]"),
        r"weighting 'rba' is already registered by phasecore .*\(plugin 'builtin'\)",
    ),
    "the same name twice": (
        entries("return [Entry('weighting', 'mine', 'a:b'), Entry('weighting', 'mine', 'a:c')]"),
        "'mine' is already registered by broken-scheme 1.2.3",
    ),
}
WITHOUT_EXCEPTION = {"a name returned", "tuples returned", "name of a built-in", "the same name twice"}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_plugin_is_reported_and_takes_nothing_else_down(beside, kind):
    source, reason = BROKEN[kind]
    failures = beside(source if source.startswith("\n") else f"\n    {source}\n")
    assert [str(failure.source) for failure in failures] == ["broken-scheme 1.2.3 (plugin 'broken')"]
    (failure,) = failures
    assert re.search(reason, failure.reason, re.DOTALL), failure.reason
    assert bool(failure.traceback) == (kind not in WITHOUT_EXCEPTION)
    if failure.traceback:
        assert failure.traceback.startswith("Traceback")


def test_two_plugins_with_one_name_keep_the_first_in_order_and_report_the_second(install, load):
    for number, point in ((1, "alpha"), (2, "beta")):
        source = entries(f"return [Entry('weighting', 'mine', 'taken_{number}:mine')]")
        install(f"dist-{number}", "1.0", {point: f"plugin_{number}"}, **{f"plugin_{number}": source})
    loaded = load()
    assert [entry.target for entry, _ in loaded.entries if entry.name == "mine"] == ["taken_1:mine"]
    (failure,) = loaded.failures
    assert failure.source.distribution == "dist-2"
    assert "already registered by dist-1 1.0" in failure.reason


def test_what_a_broken_plugin_offers_rightly_is_kept(beside):
    failures = beside(entries("return [Entry('weighting', 'rba', 'a:b'), Entry('probe', 'mine', 'a:b'), None]"))
    assert len(failures) == 2
    assert "mine" in phasecore.names("probe")


def test_a_plugin_that_fails_is_named_when_something_is_not_found(beside):
    beside("\n    import no_such_package_at_all\n")
    with pytest.raises(InputError, match=r"unknown weighting.*failed to load: broken-scheme 1.2.3"):
        phasecore.weighting_scheme("mine")


@pytest.fixture
def offer(install, load):
    """Return `offer(entry, source)`: install a plugin that offers an entry of a module "offered"."""

    def offer(entry, source=""):
        install(
            "offering",
            "3.1",
            {"offering": "offering_plugin"},
            offering_plugin=entries(f"return [{entry}]"),
            offered=source,
        )
        loaded = load()
        assert not loaded.failures
        return loaded

    return offer


def test_nothing_of_an_entry_is_imported_until_it_is_looked_up(offer):
    offer("Entry('weighting', 'mine', 'offered:uniform')", "from phasecore.weighting.uniform import uniform")
    assert "mine" in phasecore.names("weighting")
    assert "offered" not in sys.modules
    assert phasecore.weighting_scheme("mine").per_point == ()
    assert "offered" in sys.modules


@pytest.mark.parametrize("package", ["no_such_package_at_all", "no_such_package_at_all.part"])
def test_a_missing_dependency_says_what_to_install(offer, package):
    offer(f"Entry('weighting', 'mine', 'offered:mine', needs=({package!r},), extra='offering[torch]')", "1 / 0")
    with pytest.raises(MissingDependencyError, match=r"'mine' of offering 3.1.*pip install 'offering\[torch\]'"):
        phasecore.weighting_scheme("mine")


def test_a_missing_dependency_without_an_extra_names_the_package(offer):
    offer("Entry('probe', 'mine', 'offered:mine', needs=('numpy', 'no_such_package_at_all'))")
    with pytest.raises(
        MissingDependencyError, match=r"needs no_such_package_at_all, not.*install 'no_such_package_at_"
    ):
        phasecore.probe("mine")


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("1 / 0", "could not be loaded from 'offered:mine'.*ZeroDivisionError"),
        ("raise SystemExit(3)", "could not be loaded.*SystemExit"),
        ("", "could not be loaded.*AttributeError"),
        ("mine = 3", "received an object of type int; expected a class or function"),
        ("mine = lambda: 3", "received an object of type int; expected a .*WeightingScheme"),
        ("def mine(): return len(3)", "could not be made.*TypeError"),
        ("from phasecore.probes.base import Probe as mine", "could not be made.*abstract"),
        ("from phasecore.probes.adam_snr import AdamSNR as mine", "type AdamSNR; expected a .*WeightingScheme"),
    ],
)
def test_an_entry_that_does_not_make_what_it_says_is_refused_by_origin(offer, source, complaint):
    offer("Entry('weighting', 'mine', 'offered:mine')", source)
    with pytest.raises(PluginError, match=rf"weighting 'mine' of offering 3.1 \(plugin 'offering'\).*{complaint}"):
        phasecore.weighting_scheme("mine")
    assert phasecore.weighting_scheme("rba")


def test_an_option_that_must_be_given_is_asked_for(offer):
    source = "from phasecore.weighting.uniform import uniform\ndef mine(target): return uniform()"
    offer("Entry('weighting', 'mine', 'offered:mine')", source)
    assert phasecore.weighting_scheme("mine", target=3)
    with pytest.raises(InputError, match=r"target.*expected mine\(target\)"):
        phasecore.weighting_scheme("mine")


def run(code, path):
    environment = {**os.environ, "PYTHONPATH": f"{path}{os.pathsep}{os.getcwd()}"}
    done = python("-c", code, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_plugins_load_on_first_use_and_once(install):
    source = "    print('loaded')\n" + GOOD.replace("good", "noisy")
    path = install("noisy", "1.0", {"noisy": "noisy_plugin"}, noisy_plugin=source)
    code = "import phasecore; print('imported'); {}; print('done')"
    assert run(code.format("pass"), path) == ["imported", "done"]
    assert run(code.format("phasecore.names('weighting'); phasecore.weighting_scheme('noisy')"), path) == [
        "imported",
        "loaded",
        "done",
    ]


def test_an_installed_plugin_that_is_broken_does_not_break_a_process(install):
    path = install("broken-scheme", "1.2.3", {"broken": "broken_plugin"}, broken_plugin="1 / 0")
    code = (
        "import phasecore; from phasecore.plugins import loaded; print(phasecore.weighting_scheme('rba').multiplies); "
        "print([f.source.version for f in loaded().failures if f.source.distribution == 'broken-scheme'])"
    )
    assert run(code, path) == ["residual", "['1.2.3']"]
