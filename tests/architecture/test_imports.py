"""The dependency rules, read from the imports: which module may know of which."""

import ast
import json
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from processes import python

ROOT = Path(__file__).parents[2]
PACKAGES = ("phasecore", "phasecore_torch", "phasecore_keras")
FRAMEWORKS = {"torch", "keras", "tensorflow", "jax", "jaxlib", "array_api_compat"}
LAZY = {"scipy", "click", "rich", "matplotlib", "plotly", "ruptures", "array_api_strict", "pytest"}
LAZY |= {"tensorboard", "mlflow", "wandb", "platformdirs", "jinja2", "markupsafe", "joblib", "shapely"}
IMPORTED_AT_ONCE = {"numpy", "pluggy"}

LAYERS = [
    ("vocabulary", ("errors", "arrays", "partials", "signals", "specifications", "arguments", "files", "foreign")),
    ("mathematics", ("phases", "jets", "quasi_newton")),
    (
        "contracts",
        (
            *("problems.base", "problems.conditions", "problems.sampling", "problems.checks", "problems.finite"),
            *(
                "problems.short",
                *("problems.reserved", "problems.condition_rehearsal", "problems.pointwise"),
                *("problems.given_values", "problems.repeated", "problems.partition"),
                "problems.where",
                "problems.rehearsal",
                "problems.standins",
                "problems.reference_data",
            ),
            *("problems.domains", "problems.placement", "problems.coefficients", "problems.unmoved"),
            "problems.training_set",
            *("sampling.base", "sampling.checks", "sampling.places"),
            *("weighting.base", "weighting.states", "weighting.writes", "weighting.checks", "weighting.composition"),
            *("probes.base", "probes.checks"),
            *("policies.base", "policies.actions", "policies.checks"),
        ),
    ),
    ("contracts of trainings and plugins", ("backends", "hookspecs")),
    ("implementations", ("problems", "weighting", "sampling", "probes", "policies", "losses")),
    ("registry", ("builtin", "plugins", "given", "lookup", "origins", "registry")),
    ("recording", ("recording",)),
    ("what records, shows and tests", ("runs", "monitoring", "reporting", "testing", "loggers", "deepxde")),
    ("command line", ("cli", "__main__")),
]
"""From the bottom up; the most specific prefix counts. A module imports from its own layer and those below."""

SHARED = {
    "problems": {
        *("problems.base", "problems.conditions", "problems.sampling", "problems.references"),
        *("problems.checks", "problems.finite"),
        *("problems.short", "problems.reserved", "problems.rehearsal", "problems.standins", "problems.reference_data"),
        "problems.condition_rehearsal",
        *("problems.given_values", "problems.repeated", "problems.partition"),
        "problems.where",
        *(
            "problems.domains",
            "problems.placement",
            "problems.coefficients",
            "problems.unmoved",
            "problems.measured",
            "problems.parameters",
            "problems.parts",
            "problems.pointwise",
        ),
        "problems.training_set",
    },
    "weighting": {
        "weighting.base",
        "weighting.writes",
        "weighting.states",
        "weighting.arithmetic",
        "weighting.options",
        "weighting.checks",
        "weighting.composition",
    },
    "sampling": {"sampling.base", "sampling.options", "sampling.checks", "sampling.places", "sampling.densities"},
    "loggers": {"loggers.content", "loggers.identity"},
    "policies": {"policies.base", "policies.actions", "policies.checks", "policies.options"},
    "probes": {"probes.base", "probes.binning", "probes.norms", "probes.checks"},
}
"""What the implementations of one kind share; they import none of one another."""

FACADES = {"probes"}
"""Packages whose `__init__` names their contract only, and counts as part of it."""

TOP = "phasecore"
"""`phasecore/__init__`, the facade for users: it may import anything below the runs; nothing inside imports it."""


class Import(NamedTuple):
    module: str
    line: int
    target: str
    """The module, or module.attribute, that is imported."""
    lazy: bool
    typed: bool = False
    """Whether it is imported for type checkers alone."""


def files(package):
    return sorted((ROOT / package).rglob("*.py"))


def module_name(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path):
    """Every import statement of a file, with whether it runs only when a function is called."""
    found = []

    def visit(node, lazy, typed=False):
        for child in ast.iter_child_nodes(node):
            inside = lazy or isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
            if isinstance(child, ast.If) and ast.unparse(child.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
                for item in child.body:
                    visit(ast.Module(body=[item], type_ignores=[]), True, True)
                for item in child.orelse:
                    visit(ast.Module(body=[item], type_ignores=[]), lazy)
                continue
            if isinstance(child, ast.Import):
                found.extend(Import(module_name(path), child.lineno, alias.name, lazy, typed) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                assert child.level == 0, f"{path}:{child.lineno}: relative import; write the whole name"
                found.extend(
                    Import(module_name(path), child.lineno, f"{child.module}.{alias.name}", lazy, typed)
                    for alias in child.names
                )
            visit(child, inside, typed)

    visit(ast.parse(path.read_text(encoding="utf-8")), False)
    return found


MODULES = {package: [module_name(path) for path in files(package)] for package in PACKAGES}
IMPORTS = {package: [item for path in files(package) for item in imports_of(path)] for package in PACKAGES}


def imported_module(target):
    """The module of ours that `from a import b` reads: a.b if it is a module, else a."""
    known = {name for names in MODULES.values() for name in names}
    while target and target not in known:
        target = target.rpartition(".")[0]
    return target


def inner(module):
    return module.partition(".")[2]


def layer(module):
    name = inner(module)
    if name in FACADES:
        name += ".base"
    best = max(
        (
            (len(prefix), number)
            for number, (_, prefixes) in enumerate(LAYERS)
            for prefix in prefixes
            if name == prefix or name.startswith(prefix + ".")
        ),
        default=None,
    )
    assert best is not None, f"{module} is in no layer; add it to LAYERS in {Path(__file__).name}"
    return best[1]


def tell(item, complaint):
    return f"{item.module}, line {item.line}: imports {item.target}; {complaint}"


def test_the_import_reader_sees_lazy_and_type_checking_imports(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    path = tmp_path / "phasecore" / "example.py"
    path.parent.mkdir()
    path.write_text(
        "import a\nfrom b import c, d\nif TYPE_CHECKING:\n    import e\n"
        "try:\n    import f\nexcept ImportError:\n    pass\n"
        "class K:\n    import g\n    def m(self):\n        import h.i\n"
    )
    assert [(item.target, item.lazy, item.typed) for item in imports_of(path)] == [
        ("a", False, False),
        ("b.c", False, False),
        ("b.d", False, False),
        ("e", True, True),
        ("f", False, False),
        ("g", False, False),
        ("h.i", True, False),
    ]


def cycles(imported):
    """The modules that import one another, however many stand between, each set of them once.

    Args:
        imported: the modules that each one imports.
    """
    reached = {module: set(own) for module, own in imported.items()}
    for between in imported:
        for own in reached.values():
            if between in own:
                own |= reached[between]
    return {
        frozenset(other for other in own if module in reached.get(other, ())) for module, own in reached.items()
    } - {frozenset()}


def test_cycles_are_found_however_long():
    assert cycles({"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": set(), "e": {"a"}}) == {frozenset("abc")}
    assert cycles({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == set()


@pytest.mark.parametrize("package", PACKAGES)
def test_modules_never_import_one_another_in_a_cycle(package):
    """Not from within functions either; imports for type checkers alone are none."""
    imported = {module: set() for module in MODULES[package]}
    for item in IMPORTS[package]:
        target = imported_module(item.target)
        if target in imported and target != item.module and not item.typed:
            imported[item.module].add(target)
    assert cycles(imported) == set()


def test_the_core_never_imports_a_framework():
    wrong = [
        tell(item, "the core knows no framework, not even lazily")
        for item in IMPORTS["phasecore"]
        if item.target.partition(".")[0] in FRAMEWORKS | {"phasecore_torch", "phasecore_keras"}
    ]
    assert not wrong, "\n".join(wrong)


def test_the_core_names_framework_modules_as_text_only_to_test_on_them():
    """`importlib.import_module("torch...")` is an import too; the conformance suite alone may do it, on demand."""
    wrong = []
    for path in files("phasecore"):
        if path == ROOT / "phasecore" / "testing" / "libraries.py":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
                named = [value.value for value in node.args if isinstance(value, ast.Constant)]
                wrong += [f"{path}:{node.lineno}" for name in named if str(name).partition(".")[0] in FRAMEWORKS]
    assert not wrong, wrong


def test_the_core_imports_at_once_only_the_standard_library_numpy_and_pluggy():
    wrong = []
    for item in IMPORTS["phasecore"]:
        package = item.target.partition(".")[0]
        if package in sys.stdlib_module_names or package in {TOP, *IMPORTED_AT_ONCE}:
            continue
        if package == "click" and inner(item.module).partition(".")[0] == "cli":
            continue
        if package in LAZY and item.lazy:
            continue
        wrong.append(tell(item, "import it inside the function that needs it, and list it in LAZY if it is new"))
    assert not wrong, "\n".join(wrong)


def test_nothing_in_the_core_imports_a_layer_above_its_own():
    wrong = []
    for item in IMPORTS["phasecore"]:
        if item.module == TOP or item.target.partition(".")[0] != TOP:
            continue
        target = imported_module(item.target)
        if target == TOP:
            if inner(item.module).partition(".")[0] not in ("cli", "recording", "runs", "testing"):
                wrong.append(tell(item, "import from the module that defines it, the top package is for users"))
        elif layer(target) > layer(item.module):
            here, there = LAYERS[layer(item.module)][0], LAYERS[layer(target)][0]
            wrong.append(tell(item, f"{there} is above {here}"))
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("package", PACKAGES)
def test_runs_monitoring_and_reporting_know_nothing_of_one_another(package):
    """The page of a report is made for the command line and users; `runs` offers it under its old name."""
    apart = ("runs", "monitoring", "reporting")
    wrong = []
    for item in IMPORTS[package]:
        here, there = inner(item.module).partition(".")[0], inner(imported_module(item.target)).partition(".")[0]
        if not item.target.startswith("phasecore.") or there not in apart or here == there:
            continue
        if here in apart and item.module != "phasecore.runs":
            wrong.append(tell(item, "all three import `recording`, none another"))
        if there == "reporting" and here != "cli" and item.module != "phasecore.runs":
            wrong.append(tell(item, "only the command line imports reporting"))
        if package != "phasecore" and there == "runs" and not item.module.endswith(".training"):
            wrong.append(tell(item, "only an adapter's training is driven by runs"))
    assert not wrong, "\n".join(wrong)


def test_importing_the_top_package_imports_neither_runs_nor_testing_nor_the_command_line():
    wrong = [
        tell(item, "it would be imported by everyone")
        for item in IMPORTS["phasecore"]
        if item.module == TOP and layer(imported_module(item.target)) >= layer("phasecore.recording")
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("kind", SHARED)
def test_implementations_of_one_kind_do_not_import_one_another(kind):
    prefix = f"phasecore.{kind}."
    wrong = []
    for item in IMPORTS["phasecore"]:
        target = imported_module(item.target)
        if not (item.module.startswith(prefix) and target.startswith(prefix)):
            continue
        shared = any(inner(target) == name or inner(target).startswith(name + ".") for name in SHARED[kind])
        if not shared:
            wrong.append(tell(item, f"siblings share {sorted(SHARED[kind])} only"))
    assert not wrong, "\n".join(wrong)


def test_implementations_import_only_the_contract_of_other_kinds():
    wrong = []
    for item in IMPORTS["phasecore"]:
        kind, target = inner(item.module).partition(".")[0], imported_module(item.target)
        other = inner(target).partition(".")[0]
        if kind in SHARED and other in SHARED and other != kind and layer(target) > layer("phasecore.problems.base"):
            wrong.append(tell(item, "import its contract, not an implementation"))
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("package", ["phasecore_torch", "phasecore_keras"])
def test_adapters_use_public_names_of_the_core_and_never_each_other(package):
    others = set(PACKAGES) - {package, "phasecore"}
    wrong = []
    for item in IMPORTS[package]:
        top, _, rest = item.target.partition(".")
        if top in others:
            wrong.append(tell(item, "adapters know nothing of each other"))
        if top == "phasecore" and any(part.startswith("_") for part in rest.split(".")):
            wrong.append(tell(item, "adapters use public names only"))
        if top == "phasecore" and rest.partition(".")[0] in ("cli", "testing"):
            wrong.append(tell(item, "adapters are below the command line and the conformance suite"))
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("package", ["phasecore_torch", "phasecore_keras"])
def test_adapters_reach_for_no_private_attribute_of_the_core(package):
    wrong = []
    for path in files(package):
        names = {item.target.rpartition(".")[2] for item in imports_of(path) if item.target.startswith("phasecore.")}
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in names:
                private = node.attr.startswith("_") and not node.attr.startswith("__")
                if private and node.attr != "_replace":
                    wrong.append(f"{path.relative_to(ROOT)}:{node.lineno}: {node.value.id}.{node.attr}")
    assert not wrong, wrong


def framework_parts(package):
    root = ROOT / package
    return {path.relative_to(root).as_posix() for path in root.rglob("*.py")}


KERAS_ALONE = {
    "autodiff.py",
    "blank.py",
    "callbacks.py",
    "closed.py",
    "configuration.py",
    "data.py",
    "differentiation.py",
    "internals.py",
    "jax_autodiff.py",
    "layer_normalization.py",
    "model.py",
    "moving.py",
    "penalties.py",
    "precision.py",
    "reading.py",
    "saved.py",
    "scaling.py",
    "scopes.py",
    "second_order.py",
    "steps.py",
    "storing.py",
    "threads.py",
    "updates.py",
    "watching.py",
}
"""What torch has no need of: ways to differentiate, what `fit` is given, the model that it trains, on which devices and
in which precision, Keras' private parts, the threads of what is under Keras, what a saved model is made from, what
happens between compiled steps, and which variables and attributes those have read."""


TORCH_ALONE = {
    "arrays.py",
    "batches.py",
    "blocks.py",
    "compiling.py",
    "device.py",
    "exchange.py",
    "gradients.py",
    "keeping.py",
    "layout.py",
    "lightning.py",
    "memory.py",
    "movements.py",
    "normalization.py",
    "own_buffers.py",
    "parts.py",
    "pina.py",
    "processes.py",
    "rates.py",
    "rewritten.py",
    "same_points.py",
    "term_signals.py",
    "workers.py",
    "wrapped.py",
}
"""What the backends of Keras do by themselves, packages for torch alone, and that a state is of some points: one of
Keras brings its points along."""


def test_the_adapters_have_the_same_files():
    """The same names for the same tasks."""
    keras, torch = framework_parts("phasecore_keras"), framework_parts("phasecore_torch")
    assert keras - KERAS_ALONE == torch - TORCH_ALONE


@pytest.mark.parametrize("name", sorted(framework_parts("phasecore_keras") & framework_parts("phasecore_torch")))
def test_files_of_one_name_have_public_functions_of_one_signature(name):
    def signatures(package):
        tree = ast.parse((ROOT / package / name).read_text(encoding="utf-8"))
        return {
            node.name: [argument.arg for argument in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
            for node in tree.body
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
        }

    torch, keras = signatures("phasecore_torch"), signatures("phasecore_keras")
    shared = torch.keys() & keras.keys()
    assert {key: keras[key] for key in shared} == {key: torch[key] for key in shared}


OPTIONAL = ["torch", "keras", "tensorflow", "jax", "scipy", "click", "rich", "matplotlib", "plotly", "mlflow", "wandb"]
OPTIONAL += ["jinja2", "tensorboard", "lightning", "pytorch_lightning", "pina", "deepxde"]


@pytest.mark.parametrize("statement", ["import phasecore", "import phasecore_torch", "import phasecore_keras"])
def test_importing_a_package_imports_no_framework(statement):
    code = f"{statement}; import sys, json; print(json.dumps([n for n in {OPTIONAL!r} if n in sys.modules]))"
    done = python("-c", code, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == []


def test_listing_what_is_registered_imports_no_framework():
    code = (
        "import phasecore, sys, json; [phasecore.names(k) for k in phasecore.hookspecs.KINDS]; "
        f"print(json.dumps([n for n in {OPTIONAL!r} if n in sys.modules]))"
    )
    done = python("-c", code, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == []
