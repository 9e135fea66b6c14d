"""`phasecore plugins` lists what is registered and what failed."""

import json
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
