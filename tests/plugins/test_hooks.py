"""Hooks reach plugins with the arguments that their specifications name, and the documented logger works."""

import inspect
import json
import re
import tomllib
from pathlib import Path
from types import SimpleNamespace

from phasecore import Phase, Transition, hookimpl
from phasecore.hookspecs import Hooks

DOCUMENT = (Path(__file__).parents[2] / "docs" / "hooks.md").read_text(encoding="utf-8")

RECORDER = """
    import phasecore

    heard = []

    @phasecore.hookimpl
    def phasecore_entries():
        heard.append(("phasecore_entries", {}))
        return []

    @phasecore.hookimpl
    def phasecore_run_started(training, resumed):
        heard.append(("phasecore_run_started", locals()))

    @phasecore.hookimpl
    def phasecore_captured(training, row):
        heard.append(("phasecore_captured", locals()))

    @phasecore.hookimpl
    def phasecore_phase_changed(training, transition):
        heard.append(("phasecore_phase_changed", locals()))

    @phasecore.hookimpl
    def phasecore_policy_acted(training, acted):
        heard.append(("phasecore_policy_acted", locals()))

    @phasecore.hookimpl
    def phasecore_run_finished(training, outcome):
        heard.append(("phasecore_run_finished", locals()))

    @phasecore.hookimpl
    def phasecore_run_stopped(training, error):
        heard.append(("phasecore_run_stopped", locals()))
"""


def arguments(hook):
    return {name: object() for name in list(inspect.signature(getattr(Hooks, hook)).parameters)[1:]}


def test_every_hook_reaches_a_plugin_with_its_arguments(install, load):
    install("recorder", "1.0", {"recorder": "recorder_plugin"}, recorder_plugin=RECORDER)
    loaded = load()
    assert not loaded.failures
    heard = loaded.manager.get_plugin("recorder:recorder").heard
    assert [name for name, _ in heard] == ["phasecore_entries"], "entries are asked for once, on loading"
    hooks = [name for name in vars(Hooks) if name.startswith("phasecore_")]
    assert len(hooks) == 7
    for hook in hooks[1:]:
        sent = arguments(hook)
        getattr(loaded.manager.hook, hook)(**sent)
        assert heard.pop() == (hook, sent)


def test_an_implementation_may_leave_arguments_out(install, load):
    source = """
        import phasecore

        heard = []

        @phasecore.hookimpl
        def phasecore_captured(row):
            heard.append(row)
    """
    install("brief", "1.0", {"brief": "brief_plugin"}, brief_plugin=source)
    loaded = load()
    loaded.manager.hook.phasecore_captured(**arguments("phasecore_captured") | {"row": {"iteration": 3}})
    assert loaded.manager.get_plugin("brief:brief").heard == [{"iteration": 3}]


def test_the_marker_is_the_one_that_plugins_are_checked_for():
    assert hasattr(hookimpl(lambda: None), "phasecore_impl")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", DOCUMENT, flags=re.DOTALL)


def test_the_documented_logger_works(install, load, tmp_path):
    (source,) = [block for block in blocks("python") if "phases.log" in block]
    install("phase-log", "1.0", {"phase_log": "phase_log"}, phase_log=source)
    loaded = load()
    assert not loaded.failures
    hook = loaded.manager.hook
    training = SimpleNamespace(folder=tmp_path)
    hook.phasecore_run_started(training=training, resumed=False)
    hook.phasecore_captured(training=training, row={"iteration": 10})
    transition = Transition(Phase.DIFFUSION, 150, (120, 190), 0.9, ())
    hook.phasecore_phase_changed(training=training, transition=transition)
    outcome = SimpleNamespace(iterations=1000, relative_l2_error=0.25)
    hook.phasecore_run_finished(training=training, outcome=outcome)
    hook.phasecore_run_finished(training=SimpleNamespace(folder=None), outcome=outcome)
    lines = (tmp_path / "phases.log").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == [
        {"phase": "diffusion", "iteration": 150},
        {"finished": 1000, "relative_l2_error": 0.25},
    ]


def test_the_documented_project_file_declares_the_documented_module():
    (project,) = map(tomllib.loads, blocks("toml"))
    assert project["project"]["entry-points"]["phasecore"] == {"phase_log": "phase_log"}
    assert project["tool"]["hatch"]["build"]["targets"]["wheel"]["include"] == ["phase_log.py"]


def test_the_documented_entry_is_one():
    (source,) = [block for block in blocks("python") if "phasecore.Entry(" in block]
    names = {}
    exec(source, names)
    entry = names["entry"]
    assert (entry.kind, entry.name, entry.needs) == ("weighting", "mine", ("torch",))
