"""Lightning, PINA, DeepXDE and other optimizers, each against the real package, in an environment that has them.

Of DeepXDE's tests PyTorch runs all, the other backends those that are not marked `any_backend`; what the suites leave
out is a campaign. Without that environment these tests fail, and say how to make it. To run one suite by hand:
`PHASECORE_INTEGRATIONS_SUITE=1 .venv/integrations/bin/python -m pytest tests/integrations/suite/test_pina.py`.
"""

from contextlib import ExitStack
from pathlib import Path

import pytest
from processes import Started, python

ROOT = Path(__file__).parents[2]
SUITE = Path(__file__).parent / "suite"
PYTHON = ROOT / ".venv" / "integrations" / "bin" / "python"
DEEPXDE_BACKENDS = ["pytorch", "tensorflow", "jax"]
RUNS = {
    "lightning": (["test_lightning.py", "test_lightning_policies.py"], {}),
    "pina": (["test_pina.py"], {}),
    "optimizers": (["test_optimizers.py"], {}),
    **{
        f"deepxde-{backend}": (
            ["test_deepxde.py", "test_deepxde_policies.py", "test_deepxde_states.py"],
            {"DDE_BACKEND": backend},
        )
        for backend in DEEPXDE_BACKENDS
    },
}
RUNS["deepxde-pytorch"][0].append("test_deepxde_examples.py")
COMPILED = ["deepxde-tensorflow", "deepxde-jax"]


def start(name, output, chosen):
    files, variables = RUNS[name]
    command = [str(PYTHON), "-m", "pytest", *(str(SUITE / file) for file in files), "-q", "-p", "no:cacheprovider"]
    return Started([*command, "-m", chosen], output, **variables, PHASECORE_INTEGRATIONS_SUITE="1")


def chosen(name):
    return "not campaign and not any_backend" if name in COMPILED else "not campaign"


@pytest.fixture(scope="module")
def suites(tmp_path_factory, request):
    """The suites that are asked for, side by side."""
    assert PYTHON.exists(), f"{PYTHON} is missing: make .venv/for-test"
    folder = tmp_path_factory.mktemp("suites")
    ours = [item for item in request.session.items if item.path == request.path and "suites" in item.fixturenames]
    asked = {item.callspec.params["name"] for item in ours}
    with ExitStack() as stack:
        yield {name: stack.enter_context(start(name, folder / name, chosen(name))) for name in RUNS if name in asked}


@pytest.mark.parametrize("name", RUNS)
def test_the_suite_passes_on(name, suites):
    status, output = suites[name].finish()
    assert status == 0, output[-8000:]
    assert " passed" in output
    assert " skipped" not in output


def test_no_file_of_the_suites_is_left_out():
    asked = {file for files, _ in RUNS.values() for file in files}
    assert asked == {path.name for path in SUITE.glob("test_*.py")}


@pytest.mark.campaign
@pytest.mark.parametrize(("name", "left_out"), [("pina", "campaign"), *((name, "any_backend") for name in COMPILED)])
def test_what_the_suite_leaves_out_passes_on(name, left_out, tmp_path):
    with start(name, tmp_path / "output", left_out) as process:
        status, output = process.finish()
    assert status == 0, output[-8000:]
    assert " passed" in output


@pytest.mark.parametrize(
    ("module", "hidden", "package"),
    [
        ("phasecore_torch.lightning", ["lightning", "pytorch_lightning"], "lightning"),
        ("phasecore_torch.pina", ["pina"], "pina-mathlab"),
        ("phasecore_torch.pina", ["lightning", "pytorch_lightning"], "lightning"),
        ("phasecore_torch.deepxde", ["deepxde"], "deepxde"),
        ("phasecore_keras.deepxde", ["deepxde"], "deepxde"),
    ],
)
def test_an_absent_package_is_named_with_how_to_install_it(module, hidden, package):
    code = (
        "import sys, types\n"
        f"sys.modules.update(dict.fromkeys({hidden!r}))\n"
        # where Lightning is not installed, the error about PINA must be PINA's own
        "if 'lightning' not in sys.modules:\n"
        "    stand_in = types.ModuleType('phasecore_torch.lightning')\n"
        "    stand_in.LossFinder = object\n"
        "    sys.modules['phasecore_torch.lightning'] = stand_in\n"
        "from phasecore.errors import MissingDependencyError\n"
        "try:\n"
        f"    import {module}\n"
        "except MissingDependencyError as error:\n"
        "    print(error)\n"
    )
    done = python("-c", code, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert "Install with: pip install" in done.stdout
    assert package in done.stdout


def test_importing_the_adapter_imports_no_integration():
    code = "import phasecore_torch, sys; print({'lightning', 'pytorch_lightning', 'pina'} & set(sys.modules))"
    done = python("-c", code, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "set()"
