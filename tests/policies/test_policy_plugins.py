"""Policies of a plugin: `plugins --check`, `checks_of`, and in a run one that breaks its contract."""

import json
import sys

import pytest
from click.testing import CliRunner

from phasecore import plugins
from phasecore.cli import main
from phasecore.cli.plugin_checks import check_entries
from phasecore.runs import open_run
from phasecore.testing import POLICY_LAWS, checks_of

PLUGIN = """
from typing import NamedTuple

import phasecore
from phasecore.policies import Policy, Stop


class Count(NamedTuple):
    seen: int = 0


def policy(update):
    return Policy(Count, update, frozenset({"stop"}))


def sound(at=20):
    def update(timeline, row, state):
        new = Count(state.seen + 1)
        return ((Stop(reason=f"capture {at}"),) if new.seen == at else ()), new

    return policy(update)


def shaky():
    return policy(lambda timeline, row, state: 1 / 0)


def forgetful():
    seen = []

    def update(timeline, row, state):
        seen.append(row["iteration"])
        return ((Stop(reason="enough"),) if len(seen) % 7 == 0 else ()), state

    return policy(update)


def wrong():
    return policy(lambda timeline, row, state: ("stop", state))


@phasecore.hookimpl
def phasecore_entries():
    names = ("sound", "shaky", "forgetful", "wrong")
    return [phasecore.Entry("policy", name, f"policy_plugin:{name}") for name in names]
"""


@pytest.fixture
def policy_plugin(synthetic_backend, tmp_path, monkeypatch):
    information = tmp_path / "site" / "policy_plugin-0.3.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: policy-plugin\nVersion: 0.3\n")
    (information / "entry_points.txt").write_text("[phasecore]\npolicies = policy_plugin\n")
    (tmp_path / "site" / "policy_plugin.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.chdir(tmp_path)
    plugins.loaded.cache_clear()
    import policy_plugin

    yield policy_plugin
    sys.modules.pop("policy_plugin", None)


def test_plugins_check_holds_policies_to_their_laws(policy_plugin):
    found = {item["name"]: item for item in check_entries(plugins.loaded()) if item["kind"] == "policy"}
    assert {name: item["outcome"] for name, item in found.items()} == {
        "sound": "passed", "shaky": "failed", "forgetful": "failed", "wrong": "failed"
    }  # fmt: skip
    assert "is_deterministic" in found["forgetful"]["reason"]
    assert "ZeroDivisionError" in found["shaky"]["reason"]


def test_a_check_for_each_law_of_a_policy(policy_plugin):
    checks = checks_of(policy_plugin.sound)
    assert [check.name for check in checks] == [f"sound-{law.__name__}" for law in POLICY_LAWS]
    for check in checks:
        check()
    (broken,) = (check for check in checks_of(policy_plugin.forgetful()) if check.name.endswith("is_deterministic"))
    assert broken.name == "forgetful-is_deterministic"
    with pytest.raises(AssertionError):
        broken()


@pytest.mark.parametrize("name", ["shaky", "wrong"])
@pytest.mark.usefixtures("policy_plugin")
def test_a_policy_that_breaks_its_contract_is_disabled_once_and_the_run_goes_on(name):
    command = ["run", "helmholtz", "--backend", "acting", "--points", "60", "--iterations", "100", "--json"]
    result = CliRunner().invoke(main, [*command, "--policy", f"{name}+sound:at=15", "--output", "here"])
    assert result.exit_code == 0, result.output
    assert result.stderr.count("is disabled for the rest of this run") == 1
    assert f"policy '{name}'" in result.stderr
    assert [item["policy"] for item in json.loads(result.stdout)["actions"]] == ["sound:at=15"], "the other goes on"
    assert open_run("here").outcome["iterations"] < 100
