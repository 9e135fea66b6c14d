"""What passed, and with which versions: kept in `results`, shown in `docs/versions.md`."""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any

from versions.environments import ENVIRONMENTS, ROOT
from versions.suite import CORE, KERAS, TORCH, steps

FOLDER = Path(__file__).with_name("results")
PAGE = ROOT / "docs" / "versions.md"
TABLE = re.compile(r"(?<=<!-- made by `make versions` -->\n).*?(?=<!-- end -->)", re.DOTALL)

SHOWN = ("numpy", "scipy", "torch", "keras", "tensorflow", "jax")

Passed = dict[str, Any]
"""Of an environment: `python`, `pins` by name, `code`, and what each of the `steps` said last."""


def stored() -> dict[str, Passed]:
    """Return what passed so far, by environment."""
    files = {name: FOLDER / f"{name}.json" for name in ENVIRONMENTS}
    return {name: json.loads(file.read_text()) for name, file in files.items() if file.exists()}


def keep(name: str, passed: Passed) -> None:
    """Write down what passed in an environment, and bring the page up to date."""
    FOLDER.mkdir(exist_ok=True)
    replace(FOLDER / f"{name}.json", json.dumps(passed, indent=1) + "\n")
    replace(PAGE, TABLE.sub(lambda _: table(), PAGE.read_text()))


def code() -> str:
    """Return a digest of the packages and of the tests that are run."""
    files = [path for package in ("phasecore", "phasecore_torch", "phasecore_keras")
             for path in (ROOT / package).rglob("*") if path.suffix != ".pyc" and path.is_file()]  # fmt: skip
    files += {ROOT / "tests" / test.partition("::")[0] for test in (*CORE, *TORCH, *KERAS)}
    digest = hashlib.sha256()
    for path in sorted(files):
        digest.update(f"{path.relative_to(ROOT)}\n".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def table() -> str:
    """Return the table of the page."""
    head = ["Python", "", *SHOWN, "passed"]
    there = stored()
    rows = [row(name, there.get(name)) for name in ENVIRONMENTS]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *rows)) + "\n"


def row(name: str, passed: Passed | None) -> list[str]:
    """Return the cells of an environment."""
    environment = ENVIRONMENTS[name]
    if passed is None:
        return [environment.python, environment.kind, *[""] * len(SHOWN), "not tried yet"]
    missing = [step.name for step in steps(environment.kind) if step.name not in passed["steps"]]
    counted = sum(int(count) for said in passed["steps"].values() for count in re.findall(r"(\d+) passed", said))
    versions = [passed["pins"][package] for package in SHOWN]
    said = f"{counted} tests" if not missing else f"not: {', '.join(missing)}"
    return [passed["python"], environment.kind, *versions, said]


def replace(file: Path, text: str) -> None:
    """Write a file whole, or not at all."""
    partial = file.with_suffix(".partial")
    partial.write_text(text)
    os.replace(partial, file)
