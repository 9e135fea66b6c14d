"""A problem's class as a user types it: a file or a module, its class, its parameters."""

import pickle
import sys

import cloudpickle
import pytest
from processes import python

import phasecore
from phasecore import InputError
from phasecore.problems.loading import load_problem, parse_class

DECAY = """
import phasecore
from beside import RATE

class Decay(phasecore.Problem):
    domain = {"t": (0, 1)}
    outputs = ("u",)
    rate = RATE

    def residuals(self, x, u, xp):
        return u["u_t"] + self.rate * u["u"]

class Unfinished(phasecore.Problem):
    domain = {"t": (0, 1)}

def function():
    return Decay()

number = 3
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in ("beside", "package_of_mine", "package_of_mine.decay"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.chdir(tmp_path)
    package = tmp_path / "package_of_mine"
    package.mkdir()
    (tmp_path / "beside.py").write_text("RATE = 2.0\n")
    (tmp_path / "decay.py").write_text(DECAY)
    (package / "__init__.py").write_text("")
    (package / "beside.py").write_text("RATE = 2.0\n")
    (package / "decay.py").write_text(DECAY)
    yield tmp_path
    for name in ("beside", "package_of_mine", "package_of_mine.decay"):
        sys.modules.pop(name, None)


def load(text):
    return load_problem(parse_class(text))


@pytest.mark.parametrize("where", ["decay.py", "./decay.py", "package_of_mine/decay.py", "package_of_mine.decay"])
def test_files_and_modules_are_loaded_with_what_lies_beside(where):
    problem = load(f"{where}:Decay")
    assert (problem.name, problem.rate) == ("decay", 2.0)
    assert load(f" {where}:Decay:rate=3 ").parameters == {"rate": 3}
    assert type(load(f"{where}:Decay")) is type(problem)


def test_a_changed_file_is_loaded_anew(folder):
    before = load("decay.py:Decay")
    (folder / "decay.py").write_text(DECAY.replace("rate = RATE", "rate = 7.0"))
    assert load("decay.py:Decay").rate == 7.0
    assert before.rate == 2.0


@pytest.mark.parametrize("text", ["helmholtz", "helmholtz:a1=1,a2=4", "rba:gamma=0.9", "a name", ""])
def test_other_specifications_are_left(text):
    assert parse_class(text) is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "decay.py:Decy",
            r"unknown class in decay.py: received 'Decy'; expected one of Decay, Unfinished.*Did you",
        ),
        ("decay.py", r"received 'decay.py'; expected file.py:Class.*Name the class in decay.py"),
        ("decay.py:rate=3", "expected file.py:Class"),
        ("decay.py:Decay:rate", r'expected "name" or "name:key=value,key=value"'),
        ("decay.py:Decay:rat=3", r"unknown parameter of problem 'decay': received 'rat'.*Did you mean 'rate'"),
        ("decay.py:Decay:rate=fast", "parameter 'rate': received 'fast'; expected a number"),
        ("decay.py:function", "received a function.*expected a subclass of phasecore.Problem"),
        ("decay.py:number", "received a int, 3|received an? int, 3"),
        ("decay.py:Unfinished", "a class without 'residuals'; expected a domain, outputs and residuals"),
        ("dekay.py:Decay", r"no file at .*dekay.py; expected a Python file. There are: beside.py, decay.py"),
        ("nowhere/decay.py:Decay", "no file at .*nowhere/decay.py"),
        ("package_of_yours.decay:Decay", "no module 'package_of_yours'; expected a registered name"),
        ("package_of_mine.dekay:Decay", "no module 'package_of_mine.dekay'"),
        ("package_of_mine.decay:Dekay", r"unknown class in package_of_mine.decay.*Did you mean 'Decay'"),
    ],
)
def test_what_cannot_be_loaded_is_told(text, told):
    with pytest.raises(InputError, match=told) as caught:
        load(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("x = 1\ny = 1 / 0\n", r"ZeroDivisionError: division by zero \(line 2 of bad.py\)"),
        ("x = 1\ny = (\n", r"SyntaxError: '\(' was never closed \(line 2 of bad.py\)"),
        ("import not_installed_anywhere\n", r"No module named 'not_installed_anywhere' \(line 1 of bad.py\)"),
        ("raise SystemExit(3)\n", r"SystemExit: 3 \(line 1 of bad.py\)"),
        ("raise ValueError()\n", "ValueError"),
    ],
)
def test_a_file_that_raises_is_told_with_its_line(source, told, folder):
    (folder / "bad.py").write_text(source)
    for _ in range(2):
        with pytest.raises(InputError, match=rf"problem 'bad.py:Decay': received .*{told}.*; expected a file that can"):
            load("bad.py:Decay")
    (folder / "package_of_mine" / "bad.py").write_text(source)
    with pytest.raises(InputError, match=r"'package_of_mine.bad:Decay'.*expected a module that can be exe"):
        load("package_of_mine.bad:Decay")


def test_a_class_named_as_a_registered_one_is_ones_own(folder):
    from phasecore.recording.own_problem import is_own

    (folder / "burgers.py").write_text(DECAY.replace("class Decay", "class Burgers"))
    problem = load("burgers.py:Burgers")
    assert problem.name == "burgers"
    assert is_own(problem)
    assert not is_own(phasecore.problem("burgers"))


RECEIVE = """
import pickle, sys
sys.path[:] = pickle.loads(bytes.fromhex(sys.argv[1]))
for sent in sys.argv[2:]:
    problem = pickle.loads(bytes.fromhex(sent))
    print(problem, problem.parameters, problem.residuals({}, {"u_t": 1.0, "u": 2.0}, None))
"""


def told_elsewhere(*problems):
    sent = [cloudpickle.dumps(problem).hex() for problem in problems]
    return python("-c", RECEIVE, pickle.dumps(sys.path).hex(), *sent)


def test_a_problem_is_the_same_in_another_process():
    problems = [
        load("decay.py:Decay:rate=3"),
        load("package_of_mine/decay.py:Decay"),
        load("package_of_mine.decay:Decay"),
    ]
    told = told_elsewhere(*problems)
    assert told.returncode == 0, told.stderr
    assert told.stdout.splitlines() == [
        "Decay(rate=3) {'rate': 3} 7.0",
        "Decay(rate=2.0) {'rate': 2.0} 5.0",
        "Decay(rate=2.0) {'rate': 2.0} 5.0",
    ]


def test_a_file_that_has_changed_meanwhile_is_refused_in_another_process(folder):
    problem = load("decay.py:Decay")
    (folder / "decay.py").write_text(DECAY.replace("+ self.rate", "- self.rate"))
    assert pickle.loads(cloudpickle.dumps(problem)) == problem
    told = told_elsewhere(problem)
    assert "a file that does not change while its problem is sent to processes" in told.stderr
