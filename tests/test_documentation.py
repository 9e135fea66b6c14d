"""Every python block of the README and of the documentation runs, in order, page by page.

Those of Keras run on torch, which compiles nothing, and on the other backends as a campaign.
"""

from __future__ import annotations

import importlib
import os
import re
import sys
import types
from pathlib import Path

import pytest
from processes import QUIET, python

from phasecore.problems import Problem
from phasecore.testing import check_problem

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


HERE = [page for page in PAGES if page.name != "integrations.md"]
"""Whose examples run here; those of the others run in the environment of `tests/integrations`."""


@pytest.mark.parametrize("page", HERE, ids=lambda page: page.name)
def test_python_blocks_run(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KERAS_BACKEND", os.environ.get("KERAS_BACKEND", "torch"))
    module = types.ModuleType("documentation")
    monkeypatch.setitem(sys.modules, "documentation", module)
    for number, block in enumerate(BLOCK.findall(page.read_text()), start=1):
        exec(compile(block, f"{page.name}, block {number}", "exec"), module.__dict__)
    for shown in [item for item in vars(module).values() if is_problem(item)]:
        check_problem(shown())


@pytest.mark.campaign
@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_blocks_of_keras_run_on(backend: str) -> None:
    pages = [page.name for page in HERE if any("keras" in block for block in BLOCK.findall(page.read_text()))]
    chosen = f"test_python_blocks_run and ({' or '.join(pages)})"
    variables = os.environ | QUIET | {"KERAS_BACKEND": backend}
    done = python("-m", "pytest", "-q", "-p", "no:cacheprovider", __file__, "-k", chosen, env=variables, cwd=ROOT)
    assert done.returncode == 0, done.stdout[-8000:]
    assert f"{len(pages)} passed" in done.stdout


def is_problem(item: object) -> bool:
    """Whether a page defines a problem: it must keep the contract that the page tells of."""
    return isinstance(item, type) and issubclass(item, Problem) and item.__module__ == "documentation"


def test_a_problem_is_shown_somewhere() -> None:
    assert any("(Problem):" in block for page in HERE for block in BLOCK.findall(page.read_text()))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text())
    missing = [target for target in targets if not (page.parent / target).exists()]
    assert not missing


@pytest.mark.parametrize("package", ["phasecore", "phasecore_torch", "phasecore_keras"])
def test_every_public_name_is_listed(package: str) -> None:
    listed = (ROOT / "docs" / "api.md").read_text()
    missing = [name for name in importlib.import_module(package).__all__ if f"`{name}`" not in listed]
    assert not missing
