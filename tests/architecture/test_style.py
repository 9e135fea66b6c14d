"""Rules of the source: classes abstract or final, everything documented, modules short, hooks known."""

import ast
import dataclasses
import enum
import importlib
import inspect
import pkgutil
import typing
from pathlib import Path

import pytest

import phasecore
from phasecore.hookspecs import Hooks

ROOT = Path(__file__).parents[2]
PACKAGES = ("phasecore", "phasecore_torch", "phasecore_keras")
FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
CORE = ["phasecore", *(item.name for item in pkgutil.walk_packages(phasecore.__path__, "phasecore."))]
LONGEST = 400


def classes_of(name):
    module = importlib.import_module(name)
    return [item for item in vars(module).values() if inspect.isclass(item) and item.__module__ == module.__name__]


def is_open_by_nature(cls):
    """Abstract, or of a kind without behaviour to override: errors, enumerations, tuples, typed dictionaries."""
    return (
        inspect.isabstract(cls)
        or typing.is_typeddict(cls)
        or issubclass(cls, (BaseException, enum.Enum))
        or (issubclass(cls, tuple) and hasattr(cls, "_fields"))
        or getattr(cls, "_is_protocol", False)
    )


@pytest.mark.parametrize("name", [name for name in CORE if not name.endswith("__main__")])
def test_every_class_of_the_core_is_abstract_or_final(name):
    for cls in classes_of(name):
        assert is_open_by_nature(cls) or getattr(cls, "__final__", False), (
            f"{name}.{cls.__qualname__} is neither abstract nor final; decorate it with @final"
        )


@pytest.mark.parametrize("name", [name for name in CORE if not name.endswith("__main__")])
def test_every_dataclass_of_the_core_is_frozen(name):
    for cls in classes_of(name):
        if dataclasses.is_dataclass(cls):
            assert cls.__dataclass_params__.frozen, f"{name}.{cls.__qualname__}: use @dataclass(frozen=True)"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_everything_public_is_documented(path):
    def check(node, where):
        for child in node.body:
            if not isinstance(child, (ast.FunctionDef, ast.ClassDef)) or child.name.startswith("_"):
                continue
            decorators = {ast.unparse(item) for item in child.decorator_list}
            if decorators & {"overload", "typing.overload"}:
                continue
            assert ast.get_docstring(child), f"{where}{child.name}, line {child.lineno}, has no docstring"
            is_protocol = isinstance(child, ast.ClassDef) and "Protocol" in {ast.unparse(base) for base in child.bases}
            if isinstance(child, ast.ClassDef) and not is_protocol:
                check(child, f"{child.name}.")

    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree), "the module has no docstring"
    check(tree, "")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_modules_are_short(path):
    length = len(path.read_text(encoding="utf-8").splitlines())
    assert length <= LONGEST, f"{length} lines: more than one idea lives here"


HOOKS = sorted(name for name in vars(Hooks) if name.startswith("phasecore_"))


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_is_documented_with_its_arguments(hook):
    text = (ROOT / "docs" / "hooks.md").read_text(encoding="utf-8")
    assert f"`{hook}" in text
    section = text.split(f"`{hook}", 1)[1].split("\n## ")[0]
    for argument in list(inspect.signature(getattr(Hooks, hook)).parameters)[1:]:
        assert argument in section, f"docs/hooks.md does not say what {hook} receives as {argument!r}"


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_is_tested(hook):
    own = Path(__file__).name
    tests = [path for path in (ROOT / "tests").rglob("*.py") if path.name != own]
    assert any(f"def {hook}(" in path.read_text(encoding="utf-8") for path in tests), f"no test implements {hook}"


STARTING = ("run", "call", "check_call", "check_output")
WAITING = ("wait", "communicate", "join")


def endless_waits(source):
    """Lines that wait for a process for as long as it may take, or start one in a way that this cannot follow."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module in ("subprocess", "multiprocessing"):
            found.append(node.lineno)
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        owner, name = ast.unparse(node.func.value), node.func.attr
        limited = any(keyword.arg == "timeout" for keyword in node.keywords)
        starts = owner == "subprocess" and name in STARTING
        waits = name in WAITING and not node.args
        if (owner, name) in (("os", "system"), ("os", "popen")) or ((starts or waits) and not limited):
            found.append(node.lineno)
    return found


def test_no_process_is_waited_for_without_end():
    files = [*FILES, *sorted((ROOT / "tests").rglob("*.py"))]
    waits = {path: endless_waits(path.read_text(encoding="utf-8")) for path in files}
    found = [f"{path.relative_to(ROOT)}:{line}" for path, lines in waits.items() for line in lines]
    assert not found, "give these a timeout (tests/processes.py has both ways to start a process)"


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("subprocess.run(command, check=True)", True),
        ("subprocess.run(command, timeout=5)", False),
        ("subprocess.check_output(command)", True),
        ("from subprocess import run", True),
        ("process.communicate(timeout=5)", False),
        ("process.wait()", True),
        ("process.wait(5)", False),
        ("process.join()", True),
        ("', '.join(names)", False),
        ("os.system('ls')", True),
    ],
)
def test_a_wait_without_end_is_found(code, found):
    assert bool(endless_waits(code)) is found
