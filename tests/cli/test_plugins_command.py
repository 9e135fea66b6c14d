"""`phasecore plugins` lists what is registered and what failed."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from phasecore import plugins
from phasecore.cli import main


@pytest.fixture
def _broken_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    information = tmp_path / "site" / "broken_plugin-0.3.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-plugin\nVersion: 0.3\n")
    (information / "entry_points.txt").write_text("[phasecore]\nbroken = broken_plugin\n")
    (tmp_path / "site" / "broken_plugin.py").write_text("raise RuntimeError('no licence')\n")
    monkeypatch.syspath_prepend(tmp_path / "site")
    plugins.loaded.cache_clear()
    yield
    plugins.loaded.cache_clear()


def test_the_table_says_kind_name_and_origin() -> None:
    result = CliRunner().invoke(main, ["plugins"])
    assert result.exit_code == 0
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["problem", "helmholtz", "phasecore"] in [line[:3] for line in lines]
    assert ["backend", "synthetic", "synthetic-backend", "1.0"] in lines
    assert "needs not_a_package: pip install" in " ".join(result.stdout.split())


@pytest.mark.usefixtures("_broken_plugin")
def test_a_plugin_that_fails_is_named_with_version_and_reason() -> None:
    result = CliRunner().invoke(main, ["plugins"])
    assert result.exit_code == 0
    assert "broken-plugin 0.3 (plugin 'broken'): RuntimeError: no licence" in result.stdout


@pytest.mark.usefixtures("_broken_plugin")
def test_json_has_everything_and_the_traceback() -> None:
    result = CliRunner().invoke(main, ["plugins", "--json"])
    document = json.loads(result.stdout)
    assert {
        "kind": "backend",
        "name": "synthetic",
        "distribution": "synthetic-backend",
        "version": "1.0",
    }.items() <= next(item for item in document["registered"] if item["name"] == "synthetic").items()
    failed = document["failed"][0]
    assert (failed["distribution"], failed["version"]) == ("broken-plugin", "0.3")
    assert "raise RuntimeError('no licence')" in failed["traceback"]


BOUND = """
from dataclasses import dataclass

import phasecore
from phasecore.probes import Probe


@dataclass(frozen=True)
class Bound(Probe):
    name = "bound"
    requires = frozenset({"term_losses"})

    def measure(self, signals):
        return {"bound": float(signals["term_losses"]["momentum_x"])}


@phasecore.hookimpl
def phasecore_entries():
    return [phasecore.Entry("probe", "bound", "bound_plugin:Bound")]
"""


@pytest.fixture
def _bound_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    information = tmp_path / "site" / "bound_plugin-0.3.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: bound-plugin\nVersion: 0.3\n")
    (information / "entry_points.txt").write_text("[phasecore]\nbound = bound_plugin\n")
    (tmp_path / "site" / "bound_plugin.py").write_text(BOUND)
    monkeypatch.syspath_prepend(tmp_path / "site")
    plugins.loaded.cache_clear()
    yield
    plugins.loaded.cache_clear()
    sys.modules.pop("bound_plugin", None)


@pytest.mark.parametrize(("outcome", "status"), [("passed", 0), ("not checked", 0), ("failed", 1)])
def test_the_status_says_whether_a_check_failed(outcome: str, status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    checked = [{"kind": "weighting", "name": "mine", "outcome": outcome}]
    monkeypatch.setattr("phasecore.cli.plugin_checks.check_entries", lambda loaded, problem: checked)
    result = CliRunner().invoke(main, ["plugins", "--check", "--json"])
    assert (result.exit_code, json.loads(result.stdout)["checked"]) == (status, checked)


@pytest.mark.usefixtures("_bound_plugin")
def test_a_probe_of_one_problems_terms_is_checked_with_them() -> None:
    def checked(*options: str) -> dict[str, str]:
        result = CliRunner().invoke(main, ["plugins", "--check", "--json", *options])
        (found,) = (item for item in json.loads(result.stdout)["checked"] if item["name"] == "bound")
        return dict(found)

    assert checked("--problem", "lid_driven_cavity:reynolds=400")["outcome"] == "passed"
    alone = checked()
    assert alone["outcome"] == "failed"
    assert "phasecore plugins --check --problem NAME" in alone["reason"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--problem", "helmholtz"], "--problem: received no --check"),
        (["--check", "--problem", "helmholz"], "Did you mean 'helmholtz'"),
        (["--check", "--problem", "helmholtz:a1"], "--problem: received 'helmholtz:a1'"),
    ],
)
def test_a_problem_that_probes_cannot_be_checked_with_is_refused(options: list[str], message: str) -> None:
    result = CliRunner().invoke(main, ["plugins", *options])
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr
