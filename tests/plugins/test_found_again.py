"""What a run is made of is found again by what its `run.json` says, whatever it calls itself and whatever makes it."""

import copy
import dataclasses
import json
import pickle
from dataclasses import replace

import pytest
from click.testing import CliRunner

import phasecore
from phasecore import lookup, registry
from phasecore.cli import main
from phasecore.plugins import Plugins
from phasecore.problems.identity import fingerprint
from phasecore.recording.own_problem import is_own
from phasecore.recording.provided import recorded_plugins
from phasecore.runs import prepare_resumed

KIT = """
    from dataclasses import dataclass

    import phasecore
    from phasecore.policies.stop_when_done import stop_when_done
    from phasecore.probes import Probe
    from phasecore.sampling.halton import halton
    from phasecore.weighting.rba import rba


    class Heat(phasecore.Problem):
        domain = {"t": (0, 1)}
        outputs = ("u",)
        rate = 2.0

        def residuals(self, x, u, xp):
            return u["u_t"] + self.rate * u["u"]


    class Decay(Heat):
        name = "decay"


    class Burgers(Heat):
        pass


    class Positional(Heat):
        def __init__(self, speed=1.0):
            object.__setattr__(self, "rate", speed**2)


    def squared(speed=1.0, name="squared"):
        return Heat(rate=speed**2)


    def burgers(speed=1.0):
        return Burgers(rate=speed**2)


    def passed_on(**options):
        return Heat(**options)


    SHARED = Heat()


    def shared():
        return SHARED


    @dataclass(frozen=True)
    class Ratio(Probe):
        power: int = 1
        name = "ratio"
        requires = frozenset({"term_losses"})

        def measure(self, signals):
            return {"ratio": 0.5**self.power}


    class Saturation(Ratio):
        name = "saturation"


    class Undecorated(Probe):
        name = "undecorated"
        requires = frozenset({"term_losses"})

        def __init__(self, window=3):
            self.window = window

        def measure(self, signals):
            return {"window": float(self.window)}


    def cubed(by=1, other=2):
        return Ratio(power=3 * by).paced(10)


    class Quiet:
        @phasecore.hookimpl
        def phasecore_captured(self, row):
            pass


    ENTRIES = {
        "problem": {"heat_s": "Heat", "heat_too": "Heat", "decay_a": "Decay", "burgers_mine": "Burgers",
                    "positional_a": "Positional", "squared": "squared", "heat": "squared", "burgers_made": "burgers",
                    "passed_on": "passed_on", "one": "shared", "other": "shared"},
        "probe": {"ratio2": "Ratio", "my_sat": "Saturation", "undecorated_a": "Undecorated", "cubed": "cubed"},
        "weighting": {"rba_a": "rba"},
        "sampling": {"halton_a": "halton"},
        "policy": {"stopping": "stop_when_done"},
        "logger": {"quiet_a": "Quiet"},
    }


    @phasecore.hookimpl
    def phasecore_entries():
        return [
            phasecore.Entry(kind, name, f"kit:{target}")
            for kind, names in ENTRIES.items()
            for name, target in names.items()
        ]
"""

PROBLEMS = [
    "heat_s", "heat_s:rate=3", "heat_too", "decay_a:rate=3", "burgers_mine", "positional_a", "positional_a:speed=2",
    "squared:speed=3", "squared", "heat:speed=2", "burgers_made:speed=2", "passed_on:rate=3", "passed_on", "one",
    "other",
]  # fmt: skip
PROBES = [
    "ratio2", "ratio2:power=3", "ratio2:power=1", "ratio2:every=5", "my_sat", "my_sat:power=2,every=5", "undecorated_a",
    "undecorated_a:window=4", "cubed", "cubed:by=2", "cubed:by=1,other=5", "cubed:every=5",
]  # fmt: skip
ASKED = [
    *(("problem", name) for name in PROBLEMS),
    *(("probe", name) for name in PROBES),
    *(("weighting", name) for name in ("rba_a", "rba_a:gamma=0.9")),
    ("sampling", "halton_a"),
    *(("policy", name) for name in ("stopping", "stopping+at_phase:phase=diffusion,do=snapshot")),
    ("logger", "quiet_a"),
    ("backend", "acting"),
]


@pytest.fixture
def kit(synthetic_backend, install, load):
    install("lab", "1.0", {"lab": "synthetic_backend"})
    install("kit", "1.0", {"kit": "kit"}, kit=KIT)
    load()
    import kit

    return kit


def command(kind, asked, folder, *further):
    problem = asked if kind == "problem" else "heat_s"
    small = ["--points", "20", "--width", "4", "--depth", "1", "--every", "5"]
    given = [] if kind in ("problem", "backend") else [f"--{kind}", asked]
    result = CliRunner().invoke(
        main, ["run", problem, *given, *small, "--backend", "acting", "--output", str(folder), *further]
    )
    assert result.exit_code == 0, result.output
    return result.stderr


def another_version(monkeypatch, distribution):
    now = lookup.loaded()
    entries = tuple(
        (entry, replace(source, version="1.1") if source.distribution == distribution else source)
        for entry, source in now.entries
    )
    changed = Plugins(now.manager, entries, now.failures, now.sources)
    monkeypatch.setattr(lookup, "loaded", lambda: changed)


@pytest.mark.parametrize(("kind", "asked"), ASKED)
def test_the_command_that_started_a_run_resumes_it_and_the_packages_are_compared(
    kind, asked, kit, tmp_path, monkeypatch
):
    folder = tmp_path / "runs" / "a"
    command(kind, asked, folder, "--iterations", "20")
    recorded = json.loads((folder / "run.json").read_text())
    distribution = "lab" if kind == "backend" else "kit"
    name = asked.partition(":")[0].partition("+")[0]
    assert {"kind": kind, "name": name, "distribution": distribution, "version": "1.0"} in recorded_plugins(recorded)
    assert "problem_source" not in recorded
    before = prepare_resumed(folder)
    another_version(monkeypatch, distribution)
    assert f"{distribution} 1.0, now 1.1" in command(kind, asked, folder, "--iterations", "40", "--resume")
    after = prepare_resumed(folder, iterations=60)
    assert fingerprint(after.problem) == fingerprint(before.problem)
    assert [vars(probe) for probe in after.probes] == [vars(probe) for probe in before.probes]
    assert json.loads((folder / "run.json").read_text())["probes"] == recorded["probes"]


@pytest.mark.parametrize("asked", PROBLEMS)
def test_a_recorded_problem_is_the_one_that_was_asked_for(asked, kit, tmp_path):
    name, options = phasecore.specifications.parse_specification(asked, "problem")
    wanted = phasecore.problem(name, **options)
    command("problem", asked, tmp_path / "a", "--iterations", "20")
    found = prepare_resumed(tmp_path / "a").problem
    assert type(found) is type(wanted)
    assert found.rate == wanted.rate
    assert fingerprint(found) == fingerprint(wanted)


@pytest.mark.parametrize("asked", PROBES)
def test_a_recorded_probe_is_the_one_that_was_asked_for(asked, kit, tmp_path):
    wanted = registry.as_probe(asked)
    command("probe", asked, tmp_path / "a", "--iterations", "20")
    probes = [probe for probe in prepare_resumed(tmp_path / "a").probes if type(probe) is type(wanted)]
    assert [probe.measure({}) for probe in probes] == [wanted.measure({})]
    assert [probe.every for probe in probes] == [wanted.every]


@pytest.mark.parametrize("name", ["heat_s", "decay_a", "burgers_mine"])
@pytest.mark.parametrize(
    "again",
    [copy.copy, copy.deepcopy, replace, lambda made: pickle.loads(pickle.dumps(made)), lambda made: type(made)()],
    ids=["copied", "copied deeply", "replaced", "pickled", "made by its class"],
)
def test_a_problem_is_of_its_package_however_it_is_handed_on(name, again, kit):
    made = phasecore.problem(name)
    other = again(made)
    assert other == made
    assert hash(other) == hash(made)
    assert registry.origin_of("problem", other).made_as.name == name
    assert not is_own(other)


def test_one_object_under_two_names_is_told_apart(kit):
    one, other = phasecore.problem("one"), phasecore.problem("other")
    found = [registry.origin_of("problem", made).made_as.name for made in (one, other)]
    assert found == ["one", "other"]
    assert one == other == kit.SHARED


def test_a_class_derived_from_a_registered_one_is_ones_own(kit):
    own = dataclasses.dataclass(frozen=True)(type("Own", (kit.Heat,), {"__module__": __name__}))()
    assert is_own(own)


@pytest.mark.parametrize("asked", ["kit:Heat", "kit:Heat:rate=3", "kit:Burgers:rate=3"])
def test_a_registered_class_that_is_written_as_a_class_is_resumed_so(asked, kit, tmp_path):
    command("problem", asked, tmp_path / "a", "--iterations", "20")
    for again in (asked, ":".join(asked.split(":")[:2])):
        command("problem", again, tmp_path / "a", "--iterations", "20", "--resume")


@pytest.mark.parametrize(("asked", "later"), [("squared:speed=3", "name"), ("squared", "speed"), ("squared", "name")])
def test_an_option_of_a_function_that_came_later_is_no_difference(asked, later, kit, tmp_path):
    """As for runs of before the function had it, or of versions that wrote only what was given."""
    command("problem", asked, tmp_path, "--iterations", "20")
    recorded = json.loads((tmp_path / "run.json").read_text())
    del recorded["problem_parameters"][later]
    (tmp_path / "run.json").write_text(json.dumps(recorded))
    command("problem", asked, tmp_path, "--iterations", "40", "--resume")


def test_what_a_package_leaves_for_later_is_not_imported_to_find_an_origin(kit, monkeypatch):
    def lazy(name):
        raise ModuleNotFoundError(f"what {name} needs")

    monkeypatch.setattr(kit, "__getattr__", lazy, raising=False)
    monkeypatch.delattr(kit, "Decay")
    own = type("Own", (kit.Heat,), {"__module__": "__main__"})()
    assert registry.origin_of("problem", own) is None
    assert registry.origin_of("problem", kit.Heat()).made_as.name.startswith("heat")
