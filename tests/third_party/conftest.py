"""Distributions of other people, built into wheels and installed beside phasecore's own wheel in fresh environments.

The frameworks come from the environment that runs the tests; nothing is downloaded.
"""

import json
import os
import subprocess
import sysconfig
import venv
from dataclasses import dataclass
from pathlib import Path

import pytest
from processes import SECONDS, python

collect_ignore = ["distributions"]

ROOT = Path(__file__).parents[2]
DISTRIBUTIONS = Path(__file__).parent / "distributions"
GOOD = "advection-kit"
BROKEN = sorted(path.name for path in DISTRIBUTIONS.iterdir() if path.name.startswith("broken-"))
QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "OMP_NUM_THREADS": "1", "COLUMNS": "200"}


def pip(*arguments):
    done = python("-m", "pip", "--disable-pip-version-check", "--no-input", *arguments)
    assert done.returncode == 0, done.stdout + done.stderr


def build(folder, *sources):
    """Build wheels, with the build backend that is installed here."""
    pip("wheel", "--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", folder, *sources)


@dataclass(frozen=True)
class Environment:
    """A virtual environment of its own, and a folder to work in."""

    folder: Path
    work: Path

    @property
    def scripts(self):
        return self.folder / ("Scripts" if os.name == "nt" else "bin")

    def install(self, *what):
        pip("--python", self.scripts / "python", "install", "--quiet", "--no-deps", "--no-index", *what)

    def run(self, *command, **variables):
        """Run a script of the environment, such as "phasecore" or "python"."""
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        return subprocess.run(
            [self.scripts / command[0], *map(str, command[1:])],
            cwd=self.work,
            env={**environment, **QUIET, **variables},
            capture_output=True,
            text=True,
            check=False,
            timeout=SECONDS,
        )

    def json(self, *arguments, status=0, **variables):
        """Return what `phasecore ... --json` prints."""
        done = self.run("phasecore", *arguments, "--json", **variables)
        assert done.returncode == status, done.stdout + done.stderr
        return json.loads(done.stdout)


@pytest.fixture(scope="session")
def wheels(tmp_path_factory):
    """Every wheel by the name of its distribution."""
    folder = tmp_path_factory.mktemp("wheels")
    build(folder, ROOT, *(DISTRIBUTIONS / name for name in (GOOD, *BROKEN)))
    return {path.name.partition("-")[0].replace("_", "-"): path for path in folder.glob("*.whl")}


@pytest.fixture(scope="session")
def make_environment(wheels, tmp_path_factory):
    """Return `make_environment(*distributions)`: phasecore's wheel and these, and the frameworks from here."""

    def make_environment(*names):
        folder = tmp_path_factory.mktemp("environment")
        venv.create(folder / "venv")
        environment = Environment(folder / "venv", folder)
        (packages,) = (folder / "venv").rglob("site-packages")
        (packages / "frameworks.pth").write_text(sysconfig.get_path("purelib") + "\n")
        environment.install(*(wheels[name] for name in ("phasecore", *names)))
        return environment

    return make_environment


@pytest.fixture(scope="session")
def clean(make_environment):
    """The environment with the good distribution alone."""
    return make_environment(GOOD)


@pytest.fixture(scope="session")
def crowded(make_environment):
    """The environment with the good distribution and every broken one."""
    return make_environment(GOOD, *BROKEN)
