"""The environments that are tested: each Python of `pyproject.toml`, with the lowest and the newest versions it allows.

Nothing is listed here: the Pythons are the classifiers' and the versions are what uv resolves the requirements to,
from wheels alone. So what `pyproject.toml` promises is what is tried.
"""

from __future__ import annotations

import shutil
import subprocess
import tomllib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".venv-versions"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

RESOLUTIONS = {"lowest": "lowest-direct", "newest": "highest"}
"""How uv calls them. What is required by others only, and never asked for by us, is the newest in both."""

EXTRAS = ("torch", "keras", "jax", "report")
TOOLS = ("pytest", "hypothesis", "array_api_strict")
"""What the tests need besides; as in constraints.txt, for they are no part of what is tested."""

MINUTES = 60
"""For one call of uv: torch brings several GB of CUDA libraries, without which its wheels do not load."""


@dataclass(frozen=True)
class Environment:
    """A Python with one set of versions."""

    python: str
    """"3.12", say."""
    kind: str
    """"lowest" or "newest"."""

    @property
    def name(self) -> str:
        """How it is called on the command line, and its folder."""
        return f"{self.python}-{self.kind}"

    @property
    def folder(self) -> Path:
        """Where it lies."""
        return FOLDER / self.name

    @property
    def executable(self) -> Path:
        """Its Python."""
        return self.folder / "bin" / "python"

    @cached_property
    def pins(self) -> dict[str, str]:
        """The version of everything that belongs in it, by name, as the package index has it today."""
        FOLDER.mkdir(exist_ok=True)
        tools = FOLDER / f"{self.name}.tools.txt"
        tools.write_text("".join(line for line in lines(ROOT / "constraints.txt") if line.split("==")[0] in TOOLS))
        extras = [word for extra in EXTRAS for word in ("--extra", extra)]
        uv("pip", "compile", "--quiet", "--no-header", "--no-annotate", ROOT / "pyproject.toml", tools, *extras,
           "--resolution", RESOLUTIONS[self.kind], "--only-binary", ":all:", "--python", interpreter(self.python),
           "--output-file", self._lock, "--upgrade")  # fmt: skip
        return dict(line.strip().split("==") for line in lines(self._lock))

    def install(self) -> None:
        """Make it, or bring it up to date."""
        assert self.pins  # written down
        uv("venv", "--quiet", "--allow-existing", "--python", interpreter(self.python), self.folder)
        uv("pip", "sync", "--quiet", "--python", self.executable, self._lock)
        uv("pip", "install", "--quiet", "--python", self.executable, "--no-deps", "--editable", ROOT)

    @property
    def _lock(self) -> Path:
        return FOLDER / f"{self.name}.txt"


PREFIX = "Programming Language :: Python :: 3."
PYTHONS = [text.rpartition(" ")[2] for text in PROJECT["classifiers"] if text.startswith(PREFIX)]
ENVIRONMENTS = {each.name: each for each in (Environment(python, kind) for python in PYTHONS for kind in RESOLUTIONS)}


def interpreter(python: str) -> str:
    """Return the path of a Python that is installed on this machine, wherever it came from.

    Raises:
        SystemExit: if there is none.
    """
    import findpython  # of the tools' environment, which the test of the table does not have

    found = findpython.find(*map(int, python.split(".")))
    if found is None:
        raise SystemExit(f"Python {python} is not installed here (looked on PATH, in pyenv, asdf, rye and uv)")
    return str(found.executable)


def lines(path: Path) -> list[str]:
    """Return those that are no comment, with their ends."""
    return [line for line in path.read_text().splitlines(keepends=True) if not line.lstrip().startswith("#")]


def uv(*arguments: object) -> None:
    """Run uv.

    Raises:
        SystemExit: if it cannot do what is asked for; it has said why.
    """
    program = shutil.which("uv", path=str(FOLDER / "tools" / "bin"))
    if program is None:
        raise SystemExit("uv is missing: `make versions` installs it")
    done = subprocess.run([program, *map(str, arguments)], check=False, timeout=60 * MINUTES)
    if done.returncode:
        raise SystemExit(f"failed: uv {' '.join(map(str, arguments))}")
