"""A package for a plugin, made from the files in `template/`."""

from __future__ import annotations

import keyword
import re
import shlex
import string
import sys
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import NamedTuple

from phasecore import registry
from phasecore.errors import InputError
from phasecore.hookspecs import Kind

ALWAYS = ("pyproject.toml", "README.md", "package/__init__.py", "tests/test_conformance.py")
FRAMEWORKS = frozenset(
    {"torch", "keras", "tensorflow", "jax", "numpy", "scipy", "lightning", "deepxde", "pina", "optax"}
)
"""Packages whose names would be hidden by a plugin's module."""
_TARGETS: dict[Kind, tuple[str, str]] = {
    "weighting": ("name", "name"),
    "problem": ("problem_name", "problem_class"),
    "sampling": ("sampling_name", "sampling_name"),
    "probe": ("probe_name", "probe_class"),
    "policy": ("policy_name", "policy_name"),
    "logger": ("logger_name", "logger_class"),
}
_TESTS: dict[Kind, str] = {
    "problem": 'testing.check_problem(phasecore.problem("$problem_name"))',
    "sampling": 'testing.check_sampling(phasecore.sampling_scheme("$sampling_name"))',
    "probe": 'testing.check_probe(phasecore.probe("$probe_name")$probe_problem)',
    "policy": 'testing.check_policy(phasecore.policy("$policy_name"))',
    "logger": 'testing.check_logger("$logger_name")',
}


class WrittenPlugin(NamedTuple):
    """What was written.

    Attributes:
        files: the files.
        next_steps: what to type next, one command a line.
    """

    files: tuple[Path, ...]
    next_steps: str


def write_plugin(name: str, folder: Path, kinds: Sequence[Kind] = ("weighting",)) -> WrittenPlugin:
    """Write a package that offers one thing of each kind, with its conformance test.

    Args:
        name: of the distribution, such as "my-scheme"; the module and the scheme have it with underscores.
        folder: where to write; must not exist, or be empty.
        kinds: "weighting", and "problem", "sampling", "probe", "policy" and "logger" if wanted.

    Raises:
        InputError: if the name is not one of a package, or is taken, or the folder holds something.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> [str(file.relative_to(folder)) for file in write_plugin("my-scheme", folder).files][2:4]
        ['my_scheme/__init__.py', 'tests/test_conformance.py']
    """
    package = _check_name(name)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"output {folder}", received="a file or folder that holds something", expected="a new folder")
    words = "".join(word.capitalize() for word in package.split("_"))
    values = {"distribution": name, "package": package, "name": package}
    for kind in ("problem", "sampling", "probe", "policy", "logger"):
        values |= {f"{kind}_name": f"{package}_{kind}", f"{kind}_class": f"{words}{kind.capitalize()}"}
    values["entries"] = "\n".join(
        f'        phasecore.Entry("{kind}", "{values[called]}", "{package}.{kind}:{values[target]}"),'
        for kind, (called, target) in _TARGETS.items()
        if kind in kinds
    )
    values["probe_problem"] = _fill(', problem="$problem_name"', values) if "problem" in kinds else ""
    tests = [f"\n\ndef test_{kind}():\n    {_fill(_TESTS[kind], values)}\n" for kind in kinds if kind in _TESTS]
    values["more_tests"] = "".join(tests).rstrip("\n")
    written = []
    for part in [*ALWAYS, *(f"package/{kind}.py" for kind in kinds)]:
        template = resources.files("phasecore.cli").joinpath("template", f"{part}.template").read_text(encoding="utf-8")
        file = folder / part.replace("package/", f"{package}/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(_fill(template, values).rstrip("\n") + "\n", encoding="utf-8")
        written.append(file)
    steps = [
        f"pip install --editable {shlex.quote(str(folder))}",
        f"python -m pytest {shlex.quote(str(folder))}",
        f"phasecore run helmholtz --weighting {package} --iterations 300",
    ]
    edit = f"then put your own formula into {folder / package / 'weighting.py'}"
    return WrittenPlugin(tuple(written), "\n".join(["  " + step for step in steps] + [edit]))


def _fill(text: str, values: dict[str, str]) -> str:
    return string.Template(text).substitute(values)


def _check_name(name: str) -> str:
    package = name.replace("-", "_").lower()
    taken = {"phasecore", "phasecore_torch", "phasecore_keras", "tests"} | sys.stdlib_module_names
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9]*([-_][A-Za-z0-9]+)*", name) or keyword.iskeyword(package):
        raise InputError("name", received=repr(name), expected="letters and digits, joined by hyphens: my-scheme")
    if package in taken or package in registry.names("weighting") or package in FRAMEWORKS:
        raise InputError("name", received=f"{name!r}, which is taken", expected="a name of your own")
    return package
