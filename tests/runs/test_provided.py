"""`run.json` keeps which packages a run is made of; going on with it under another package is refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from phasecore import InputError, lookup, plugins, registry
from phasecore.backends import Monitored
from phasecore.errors import PluginError, PluginWarning
from phasecore.plugins import Plugins, Source
from phasecore.problems.helmholtz import Helmholtz
from phasecore.recording.provided import recorded_plugins
from phasecore.recording.recorder import Recorder
from phasecore.runs import execute, prepare, prepare_resumed

KIT = Source("kit", "kit-a", "1.0")


def provide(monkeypatch: pytest.MonkeyPatch, kind: str, name: str, source: Source | None) -> None:
    """Let a built-in be what another package offers; None: nobody."""
    found = plugins.loaded()
    entries = [(e, source if (e.kind, e.name) == (kind, name) else s) for e, s in found.entries]
    kept = tuple((entry, origin) for entry, origin in entries if origin is not None)
    changed = Plugins(found.manager, kept, found.failures, found.sources)
    monkeypatch.setattr(lookup, "loaded", lambda: changed)


def started(folder: Path, **options: Any) -> dict[str, Any]:
    asked = {"backend": "synthetic", "points": 60, "iterations": 20, "output": folder, "weighting": "rba", **options}
    execute(prepare("helmholtz", **asked), loggers=["csv"])
    return json.loads((folder / "run.json").read_text())  # type: ignore[no-any-return]


def test_a_run_says_what_provides_each_of_its_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    provide(monkeypatch, "weighting", "rba", KIT)
    found = recorded_plugins(started(tmp_path / "run", probes=["adam_snr"]))
    of = {(item["kind"], item["name"]): (item["distribution"], item["version"]) for item in found}
    own = ("phasecore", plugins.loaded().sources["builtin"].version)
    assert of["weighting", "rba"] == ("kit-a", "1.0")
    assert of["problem", "helmholtz"] == of["probe", "adam_snr"] == of["logger", "csv"] == own
    assert of["backend", "synthetic"][0] == "synthetic-backend"


def test_objects_of_ones_own_have_no_package(tmp_path: Path) -> None:
    class Own(Helmholtz):  # type: ignore[misc]
        name = "helmholtz"

    training = prepare(Own(), backend="synthetic", points=60, iterations=20, output=tmp_path / "run", probes=[])
    execute(training)
    (problem, *_) = recorded_plugins(json.loads((tmp_path / "run" / "run.json").read_text()))
    assert problem == {"kind": "problem", "name": "helmholtz", "distribution": None, "version": None}


@pytest.mark.parametrize(("kind", "name"), [("weighting", "rba"), ("problem", "helmholtz"), ("probe", "adam_snr")])
def test_going_on_under_another_package_is_refused_naming_both(
    kind: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started(tmp_path / "run", probes=["adam_snr"])
    provide(monkeypatch, kind, name, KIT)
    with pytest.raises(InputError, match=rf"took {kind} '{name}' from phasecore .*kit-a 1\.0.*Install phasecore"):
        prepare_resumed(tmp_path / "run", iterations=40)


def test_going_on_without_the_package_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as before:
        provide(before, "weighting", "rba", KIT)
        started(tmp_path / "run")
    provide(monkeypatch, "weighting", "rba", None)
    with pytest.raises(InputError, match=r"took weighting 'rba' from kit-a 1\.0.*Install kit-a again"):
        prepare_resumed(tmp_path / "run", iterations=40)


def test_another_version_is_told_once_and_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as before:
        provide(before, "weighting", "rba", KIT)
        started(tmp_path / "run")
    provide(monkeypatch, "weighting", "rba", Source("kit", "kit-a", "1.1"))
    with pytest.warns(RuntimeWarning, match=r"another version: kit-a 1\.0, now 1\.1"):
        execute(prepare_resumed(tmp_path / "run", iterations=40), resume=True)
    recorded = json.loads((tmp_path / "run" / "run.json").read_text())
    assert "1.1" in {item["version"] for item in recorded_plugins(recorded)}
    execute(prepare_resumed(tmp_path / "run", iterations=60), resume=True)


def test_a_run_of_an_older_version_is_gone_on_with(tmp_path: Path) -> None:
    recorded = started(tmp_path / "run")
    del recorded["plugins"]
    (tmp_path / "run" / "run.json").write_text(json.dumps(recorded))
    assert execute(prepare_resumed(tmp_path / "run", iterations=40), resume=True).iterations == 40


def test_the_folder_of_a_monitor_keeps_and_compares_them_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    training = Monitored("torch", Helmholtz(), "rba+grad_norm", probes=[registry.probe("adam_snr")])

    def begin(*, resume: bool = True) -> None:
        Recorder(tmp_path / "run", resume=resume).begin(training)

    begin(resume=False)
    begin()
    provide(monkeypatch, "weighting", "grad_norm", Source("builtin", "phasecore", "99"))
    with pytest.warns(PluginWarning, match=r"another version: phasecore .*, now 99"):
        begin()
    provide(monkeypatch, "weighting", "grad_norm", KIT)
    with pytest.raises(InputError, match=r"took weighting 'grad_norm' from phasecore 99.*kit-a"):
        begin()


@pytest.mark.parametrize(
    "row", [{"iteration": 1, "snr": "high"}, {"iteration": 1, "snr": [1.0]}, {"snr": 1.0}, [("iteration", 1)], None]
)
def test_a_row_of_a_backend_that_is_none_never_reaches_the_history(
    row: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import synthetic_backend

    monkeypatch.setattr(synthetic_backend, "synthetic_row", lambda training, iteration: row)
    with pytest.raises(PluginError, match=r"backend 'synthetic', row of the history"):
        started(tmp_path / "run")
    assert not (tmp_path / "run" / "history.jsonl").exists()
