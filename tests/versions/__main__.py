"""`make versions`: try phasecore with the lowest and the newest versions that `pyproject.toml` allows.

What passed with the same versions and the same code is not run again, unless --again is given.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from versions.environments import ENVIRONMENTS, ROOT, Environment, interpreter
from versions.results import code, keep, stored
from versions.suite import QUIETLY, Step, steps

MINUTES = 90
"""For a step, on a machine that is busy with other things."""

VERSION = Step("version", ("-c", "import platform; print(platform.python_version())"))


def main() -> None:
    """Try the environments that are named, and exit with 1 if something failed."""
    parser = argparse.ArgumentParser(prog="make versions", description=__doc__)
    parser.add_argument("environments", nargs="+", metavar="NAME", help=f"all, or of {', '.join(ENVIRONMENTS)}")
    parser.add_argument("--again", action="store_true", help="run what has passed, too")
    asked = parser.parse_args()
    names = list(ENVIRONMENTS) if asked.environments == ["all"] else asked.environments
    unknown = [name for name in names if name not in ENVIRONMENTS]
    if unknown:
        parser.error(f"no such environment: {', '.join(unknown)}; there are {', '.join(ENVIRONMENTS)}")
    for name in names:
        interpreter(ENVIRONMENTS[name].python)  # all are looked for before any is made
    failed = [f"{name}: {step}" for name in names for step in tried(ENVIRONMENTS[name], again=asked.again)]
    sys.exit("\n".join(["failed:", *failed]) if failed else 0)


def tried(environment: Environment, *, again: bool) -> list[str]:
    """Run the suite in an environment, and return the names of the steps that failed."""
    name, version = environment.name, code()
    before = stored().get(name, {})
    same = not again and (before.get("pins"), before.get("code")) == (environment.pins, version)
    done = dict(before["steps"]) if same else {}
    left = [step for step in steps(environment.kind) if step.name not in done]
    if not left:
        print(f"{name}: has passed with these versions and this code")
        return []
    print(f"{name}: installing", flush=True)
    environment.install()
    python = said_by(environment, VERSION)
    failed = []
    for step in left:
        print(f"{name}: {step.name}: ", end="", flush=True)
        try:
            done[step.name] = said_by(environment, step)
        except subprocess.SubprocessError:
            failed.append(step.name)
            print(f"failed, see {log_of(environment, step).relative_to(ROOT)}")
            continue
        print(done[step.name])
        keep(name, {"python": python, "pins": environment.pins, "code": version, "steps": done})
    return failed


def log_of(environment: Environment, step: Step) -> Path:
    """Return the file that holds what a step says."""
    return environment.folder / f"{step.name.replace(' ', '_')}.log"


def said_by(environment: Environment, step: Step) -> str:
    """Run a step in an empty folder, and return its last words, without how long it took.

    Raises:
        subprocess.SubprocessError: if it fails, or does not end.
    """
    log = log_of(environment, step)
    with tempfile.TemporaryDirectory() as folder, log.open("w") as output:
        command = [environment.executable, *step.arguments]
        variables = {**os.environ, **QUIETLY, **step.variables}
        subprocess.run(command, cwd=folder, env=variables, stdout=output, stderr=subprocess.STDOUT,
                       timeout=60 * MINUTES, check=True)  # fmt: skip
    return re.sub(r" in [\d.]+s.*", "", log.read_text().strip().splitlines()[-1])


if __name__ == "__main__":
    main()
