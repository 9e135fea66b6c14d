"""Distributions made up on disk, as an installer would leave them: modules, METADATA and entry_points.txt."""

import importlib.metadata
import sys
import textwrap

import pytest

from phasecore import lookup, plugins


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Return `install(name, version, entry_points, **modules)`, which makes a distribution importable."""
    monkeypatch.syspath_prepend(tmp_path)
    written = []

    def install(name, version, entry_points, **modules):
        folder = tmp_path / f"{name.replace('-', '_')}-{version}.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        lines = "".join(f"{point} = {target}\n" for point, target in entry_points.items())
        (folder / "entry_points.txt").write_text(f"[phasecore]\n{lines}")
        for module, source in modules.items():
            (tmp_path / f"{module}.py").write_text(textwrap.dedent(source))
            written.append(module)
        return tmp_path

    yield install
    for module in written:
        sys.modules.pop(module, None)


@pytest.fixture
def load(tmp_path, monkeypatch):
    """Return `load()`, which loads the built-ins and the made-up distributions, and makes the registry use them."""

    def load():
        points = [
            point
            for distribution in importlib.metadata.distributions(path=[str(tmp_path)])
            for point in distribution.entry_points
            if point.group == plugins.GROUP
        ]
        result = plugins.load(points)
        monkeypatch.setattr(lookup, "loaded", lambda: result)
        return result

    return load
