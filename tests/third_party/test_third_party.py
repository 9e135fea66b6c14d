"""A third party's package through the command line and both adapters; broken ones beside it harm nothing."""

import json
import re
import shutil

import pytest
from campaigns import campaign

RUN = ("run", "advection", "--weighting", "tempered:temperature=2.0", "--iterations", 40, "--seed", 3)
FULL = (*RUN, "--probe", "loss_imbalance")
OFFERED = {("problem", "advection"), ("weighting", "tempered"), ("probe", "loss_imbalance"), ("logger", "diary")}


def history(folder):
    return [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]


def of(document, part, distribution):
    return [item for item in document[part] if item["distribution"] == distribution]


def one_error(done, status):
    """The one line that the command says it with."""
    assert done.returncode == status, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("Error:")]
    return line


def warnings_of(done):
    return [line for line in done.stderr.splitlines() if line.startswith("Warning:")]


def test_what_the_package_offers_is_listed_under_its_name_and_version(clean):
    document = clean.json("plugins")
    offered = of(document, "registered", "advection-kit")
    assert {(item["kind"], item["name"]) for item in offered} == OFFERED
    assert {item["version"] for item in offered} == {"2.3.0"}
    assert not document["failed"]
    table = clean.run("phasecore", "plugins").stdout
    assert re.search(r"weighting +tempered +advection-kit 2\.3\.0", table)


def test_the_wheel_brings_what_a_report_is_set_with(clean):
    run = clean.work / "recorded"
    run.mkdir()
    (run / "run.json").write_text(json.dumps({"problem": "advection", "weighting": "tempered"}))
    (run / "history.jsonl").write_text("".join(json.dumps({"iteration": k, "snr": 9 / k}) + "\n" for k in range(1, 99)))
    clean.json("report", run)
    assert "<title>advection: tempered</title>" in (run / "report.html").read_text(encoding="utf-8")


def trained(clean, backend):
    """What a training with all that the package offers prints, in the run folder of the backend's name."""
    logger = f"diary:path={clean.work / f'{backend}.diary'}"
    output = clean.work / backend
    return clean.json(*FULL, "--backend", backend, "--logger", logger, "--output", output, KERAS_BACKEND="jax")


@pytest.fixture(scope="module")
def whole(clean):
    """A training with the package alone, in the run folder "torch"."""
    return trained(clean, "torch")


@pytest.mark.parametrize("backend", ["torch", "keras"])
def test_the_command_line_trains_with_it_on(backend, clean, whole):
    result = whole if backend == "torch" else trained(clean, backend)
    diary, output = clean.work / f"{backend}.diary", clean.work / backend
    assert (result["problem"], result["weighting"]) == ("advection", "tempered:temperature=2.0")
    assert 0 < result["relative_l2_error"] < 2
    measured = {row["iteration"]: row["loss_imbalance"] for row in history(output)}
    assert min(measured.values()) >= 1
    lines = [json.loads(line) for line in diary.read_text().splitlines()]
    assert lines[0] == {"started": "advection", "resumed": False}
    assert lines[-1] == {"finished": 40}
    heard = {line["captured"]: line["loss_imbalance"] for line in lines if "captured" in line}
    assert heard == measured


def test_a_checkpoint_keeps_the_state_of_its_scheme(clean, whole):
    probe, output = ("--probe", "loss_imbalance"), ("--output", clean.work / "halves")
    clean.json("run", "advection", *RUN[2:4], "--iterations", 20, "--seed", 3, *output, *probe)
    resumed = clean.json("run", "advection", "--iterations", 40, *output, "--resume", *probe)
    assert resumed["relative_l2_error"] == pytest.approx(whole["relative_l2_error"], rel=1e-5)


LOOP = """
import phasecore, phasecore_torch, torch
torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Linear(2, 16), torch.nn.Tanh(), torch.nn.Linear(16, 1))
problem = phasecore.problem("advection", speed=0.25)
loss = phasecore_torch.PhysicsLoss(problem, model, problem.sample(200, seed=0), weighting="tempered")
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
values = []
for _ in range(100):
    optimizer.zero_grad()
    value = loss()
    value.backward()
    optimizer.step()
    values.append(float(value))
print(values[-1] / values[0])
"""


def test_it_works_in_a_torch_loop(clean):
    done = clean.run("python", "-c", LOOP)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 0.2


FAILED_TO_LOAD = {
    "broken-import": ("0.1.0", "ModuleNotFoundError.*no_such_module"),
    "broken-collision": ("0.3.0", "weighting 'rba' is already registered by phasecore"),
    "broken-hook": ("0.4.0", "unknown hook 'phasecore_capture'.*phasecore_captured"),
    "broken-kind": ("0.5.0", "'optimizer'.*one of problem, weighting, probe, policy, backend, logger"),
}


@pytest.fixture(scope="module")
def listed(crowded):
    """What `phasecore plugins` says of the broken ones, as JSON and as a table without its line ends."""
    return crowded.json("plugins"), " ".join(crowded.run("phasecore", "plugins").stdout.split())


def test_what_cannot_be_loaded_is_reported_by_distribution_and_version(listed):
    document, table = listed
    failed = {item["distribution"]: (item["version"], item["reason"]) for item in document["failed"]}
    assert failed.keys() == FAILED_TO_LOAD.keys()
    for distribution, (version, reason) in FAILED_TO_LOAD.items():
        assert failed[distribution][0] == version
        assert re.search(reason, failed[distribution][1])
        assert f"{distribution} {version} (plugin {distribution.replace('-', '_')!r}): " in table
    assert len(of(document, "registered", "advection-kit")) == len(OFFERED)


def test_a_missing_dependency_and_a_listener_are_listed_with_their_origin(listed):
    document, table = listed
    (entry,) = of(document, "registered", "broken-dependency")
    assert (entry["version"], entry["missing_packages"]) == ("0.2.0", ["a_package_that_nobody_has"])
    (listener,) = of(document, "hooks", "broken-listener")
    assert (listener["version"], listener["hooks"]) == ("0.7.0", ["phasecore_captured"])
    assert "needs a_package_that_nobody_has: pip install 'broken-dependency[all]'" in table
    assert "broken-listener 0.7.0 (plugin 'broken_listener') listens to phasecore_captured" in table


def test_what_is_broken_only_in_use_is_found_by_the_check(crowded):
    document = crowded.json("plugins", "--check", status=1)
    outcomes = {(item["distribution"], item["version"], item["name"]): item for item in document["checked"]}
    short = outcomes["broken-shape", "0.6.0", "one_short"]
    assert short["outcome"] == "failed"
    assert "weights_have_the_right_shape" in short["reason"]
    probe = outcomes["broken-shape", "0.6.0", "a_probe_really"]
    assert probe["outcome"] == "failed"
    assert "AdamSNR" in probe["reason"]
    dependent = outcomes["broken-dependency", "0.2.0", "dependent"]
    assert dependent["outcome"] == "not checked"
    assert "pip install 'broken-dependency[all]'" in dependent["reason"]
    sound = of(document, "checked", "advection-kit")
    assert {(item["kind"], item["name"]) for item in sound} == OFFERED
    assert {item["outcome"] for item in sound} == {"passed"}, sound


def test_broken_packages_do_not_change_a_run_that_does_not_use_them(clean, crowded, whole):
    done = crowded.run("phasecore", *FULL, "--output", crowded.work / "beside", "--json")
    assert done.returncode == 0, done.stderr
    beside = json.loads(done.stdout)
    assert beside["relative_l2_error"] == whole["relative_l2_error"]
    (warning,) = warnings_of(done)
    assert re.search(
        r"broken-listener 0\.7\.0 \(plugin 'broken_listener'\): .*ConnectionError: the server is gone.*disabled",
        warning,
    )
    assert len(history(crowded.work / "beside")) == len(history(clean.work / "torch"))


def test_a_logger_that_raises_is_switched_off_with_one_warning(crowded):
    output = crowded.work / "fragile"
    done = crowded.run("phasecore", *RUN, "--logger", "fragile", "--output", output, "--json")
    assert done.returncode == 0, done.stderr
    (own,) = [line for line in warnings_of(done) if "fragile" in line]
    assert re.search(r"logger 'fragile' of broken-listener 0\.7\.0 .*OSError: no space left.*disabled", own)
    assert history(output)[-1]["iteration"] == 40


USED = {
    "one_short": (None, r"one_short.*'pde'.*shape"),
    "a_probe_really": (2, r"weighting 'a_probe_really' of broken-shape 0\.6\.0 .*AdamSNR"),
    "dependent": (2, r"weighting 'dependent' of broken-dependency 0\.2\.0 .*pip install 'broken-dependency\[all\]'"),
}


@pytest.mark.parametrize("scheme", USED)
def test_using_a_broken_scheme_is_one_clear_error(scheme, crowded):
    status, complaint = USED[scheme]
    done = crowded.run("phasecore", "run", "advection", "--weighting", scheme, "--iterations", 10)
    assert done.returncode in ((1, 2) if status is None else (status,))
    assert re.search(complaint, one_error(done, done.returncode))


def test_the_name_of_a_built_in_keeps_its_meaning(crowded):
    code = "import phasecore; print(phasecore.weighting_scheme('rba').update.__module__)"
    assert crowded.run("python", "-c", code).stdout.strip() == "phasecore.weighting.rba"


@pytest.mark.parametrize("backends", [["torch"], *campaign(["torch", "keras"])], ids="+".join)
def test_a_plugin_made_from_the_template_passes_its_tests_and_trains(backends, make_environment):
    environment = make_environment()
    made = environment.run("phasecore", "plugins", "new", "my-scheme", "--problem", "--probe", "--logger")
    assert made.returncode == 0, made.stderr
    assert "pip install --editable my-scheme" in made.stdout
    environment.install("--no-build-isolation", environment.work / "my-scheme")
    tests = environment.run("python", "-m", "pytest", "-q", "-p", "no:cacheprovider", "my-scheme")
    assert tests.returncode == 0, tests.stdout
    assert "4 passed" in tests.stdout
    result = environment.json(
        *("run", "my_scheme_problem:kappa=0.2", "--weighting", "my_scheme:decay=0.5"),
        *("--iterations", 30, "--points", 100, "--probe", "my_scheme_probe", "--logger", "my_scheme_logger"),
        *("--output", "first"),
    )
    assert result["problem_parameters"] == {"kappa": 0.2}
    assert "my_scheme_probe" in history(environment.work / "first")[-1]
    assert json.loads((environment.work / "first" / "phases.log").read_text().splitlines()[-1])["finished"] == 30
    for other in backends[1:]:
        named = ("run", "helmholtz", "--backend", other, "--weighting", "my_scheme")
        run = environment.json(*named, "--iterations", 10, "--points", 100, KERAS_BACKEND="jax")
        assert run["weighting"] == "my_scheme"
    again = environment.run("phasecore", "plugins", "new", "my-scheme", "--output", "elsewhere")
    assert "which is taken" in one_error(again, 2)
    shutil.rmtree(environment.work / "my-scheme")
