"""A problem's class where a user keeps it: "wave.py:Wave", "package.module:Class", with parameters behind.

Only what a user types is loaded. A file that is loaded is executed, as `python wave.py` would do.
"""

from __future__ import annotations

import copyreg
import hashlib
import importlib
import importlib.util
import re
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from phasecore.errors import InputError, PhasecoreError, UnknownNameError, described
from phasecore.problems.base import Problem
from phasecore.problems.coefficients import as_trained
from phasecore.specifications import parse_specification

FORM = "file.py:Class or package.module:Class, with :key=value,... behind"

_WRITTEN = re.compile(r"(?P<where>.+?\.py|[A-Za-z_][\w.]*)(?::(?P<rest>.*))?", re.DOTALL)


class Written(NamedTuple):
    """A class as a user writes it.

    Attributes:
        where: the file, or the name of the module.
        name: of the class.
        parameters: those that are given.
    """

    where: str
    name: str
    parameters: Mapping[str, Any]

    def __str__(self) -> str:
        return f"{self.where}:{self.name}"


def parse_class(text: str) -> Written | None:
    """Read "file.py:Class" or "package.module:Class", with ":key=value,..." behind; None for another form.

    Raises:
        InputError: for a file without a class, or parameters of another form.

    Example:
        >>> parse_class("problems/wave.py:Wave:speed=2")
        Written(where='problems/wave.py', name='Wave', parameters={'speed': 2})
        >>> parse_class("helmholtz:a1=1") is parse_class("helmholtz") is None
        True
    """
    text = text.strip()
    match = _WRITTEN.fullmatch(text)
    if match is None:
        return None
    where, rest = match["where"], match["rest"]
    is_file = where.endswith(".py")
    name, colon, options = (rest or "").partition(":")
    if not name.strip().isidentifier():
        if is_file:
            raise InputError("problem", received=repr(text), expected=FORM, fix=f"Name the class in {where}.")
        return None
    parameters = parse_specification(f"{name}:{options}", "problem")[1] if colon else {}
    return Written(where, name.strip(), parameters)


def load_problem(written: Written, preset: Mapping[str, Any] | None = None) -> Problem:
    """Return the problem that a class makes with its parameters.

    Args:
        written: the class and its parameters.
        preset: parameters that apply where none is given.

    Raises:
        InputError: for a file or module that is not there or raises, a class that is not in it or is no problem, or
            parameters that it does not have or refuses.
    """
    cls = load_class(written)
    try:
        given = {**(preset or {}), **written.parameters}
        problem = cls(**{name: as_trained(value) for name, value in given.items()})
    except PhasecoreError:
        raise
    except Exception as error:
        lacking = sorted(getattr(cls, "__abstractmethods__", ()))
        raise InputError(
            f"problem {str(written)!r} could not be made",
            received=f"a class without {' and '.join(map(repr, lacking))}"
            if lacking
            else f"{type(error).__name__}: {error}",
            expected="a domain, outputs and residuals" if lacking else None,
        ) from error
    return problem


def load_class(written: Written) -> type[Problem]:
    """Return the class.

    Raises:
        InputError: as `load_problem`.
    """
    module = _file(written) if written.where.endswith(".py") else _module(written)
    found = getattr(module, written.name, None)
    if found is None:
        own = [
            name for name, value in vars(module).items() if _is_problem(value) and value.__module__ == module.__name__
        ]
        raise UnknownNameError(f"class in {written.where}", written.name, own)
    if not _is_problem(found):
        what = f"the class {found.__name__}" if isinstance(found, type) else described(found)
        raise InputError(f"problem {str(written)!r}", received=what, expected="a subclass of phasecore.Problem")
    if written.where.endswith(".py"):
        copyreg.pickle(found, _sent)
    return found  # type: ignore[no-any-return]


def _sent(problem: Problem) -> tuple[Any, ...]:
    """Return how another process makes a problem whose class is in a file: it executes the file, too."""
    cls = type(problem)
    return _received, (sys.modules[cls.__module__].__file__, cls.__module__, cls.__name__), vars(problem)


def _received(file: str, module: str, name: str) -> Problem:
    if module not in sys.modules and load_class(Written(file, name, {})).__module__ != module:
        raise InputError(
            f"problem '{Path(file).name}:{name}' in another process",
            received=f"another text of {file} than the one that was loaded",
            expected="a file that does not change while its problem is sent to processes",
            fix="Start again.",
        )
    made: Problem = object.__new__(getattr(sys.modules[module], name))
    return made


def _is_problem(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, Problem) and value is not Problem


def _file(written: Written) -> ModuleType:
    path = Path(written.where).expanduser().resolve()
    if not path.is_file():
        near = sorted(other.name for other in path.parent.glob("*.py")) if path.parent.is_dir() else []
        raise InputError(
            f"problem {str(written)!r}",
            received=f"no file at {path}",
            expected="a Python file",
            fix=f"There are: {', '.join(near[:10])}." if near else "",
        )
    source = path.read_bytes()
    # a changed file is another module, so that both can be there
    name = f"{re.sub(r'[^0-9A-Za-z_]', '_', path.stem)}_{hashlib.sha256(bytes(path) + source).hexdigest()[:12]}"
    if name in sys.modules:
        return sys.modules[name]
    _importable(path.parent)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[name]
        if isinstance(error, KeyboardInterrupt):
            raise
        raise _failed(written, error, str(path)) from error
    return module


def _module(written: Written) -> ModuleType:
    _importable(Path.cwd())
    try:
        return importlib.import_module(written.where)
    except ModuleNotFoundError as error:
        missing = str(error.name)
        if written.where != missing and not written.where.startswith(f"{missing}."):
            raise _failed(written, error, "") from error
        raise InputError(
            f"problem {str(written)!r}",
            received=f"no module {missing!r}",
            expected=f"a registered name, see 'phasecore plugins', or {FORM}",
        ) from None
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise _failed(written, error, "") from error


def _importable(folder: Path) -> None:
    """Let what lies beside be imported, behind all that is installed."""
    if str(folder) not in sys.path:
        sys.path.append(str(folder))


def _failed(written: Written, error: BaseException, file: str) -> InputError:
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    line = error.lineno if isinstance(error, SyntaxError) else frames[-1].lineno if frames else None
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    return InputError(
        f"problem {str(written)!r}",
        received=f"{type(error).__name__}: {text}" + (f" (line {line} of {written.where})" if line else ""),
        expected=f"{'a file' if file else 'a module'} that can be executed",
    )
