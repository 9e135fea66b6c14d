"""The adapters mirror each other: files of one name have the same classes, methods and parameters.

What a class inherits from the core counts as its own. Of private names, those that both have must take the same.
"""

import ast
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
FRAMEWORKS = {"phasecore_torch": "Torch", "phasecore_keras": "Keras"}

SAME_METHOD = {"forward": "__call__"}
"""torch calls a module's `forward` where Python, and Keras' functions, have `__call__`."""

CALLED_BY_A_FRAMEWORK = {"build", "get_config"}
"""Methods of Keras' own protocol of layers."""

DIFFERENCES: dict[str, set[str]] = {
    "a compiled Keras model brings its loss and its optimizer": {
        "capture.py: Capture.__init__",
        "record.py: Snapshots.__init__",
        "sources.py: CustomSource.__init__",
        "sources.py: PhysicsSource.__init__",
    },
    "`fit` calls a monitor, and shows it the optimizer's learning rates; a loop of one's own calls it": {
        "monitor.py",
        "optimizers.py: learning_rates",
        "resampling.py",
    },
    "each backend of DeepXDE is evaluated in its own way": {"deepxde_evaluation.py"},
    "a Keras model is made, and saved, before its points are known": {
        "loss.py: PhysicsLoss.set_points",
        "weighting.py: IndexedWeighting.__init__",
        "weighting.py: IndexedWeighting.allocate",
        "weighting.py: Weighting.__init__",
        "weighting.py: Weighting.allocate",
        "weighting.py: Weighting.points",
    },
    "Keras compiles functions, which are handed what they are to see, and are made anew where that is another": {
        "conditions.py: Conditions.take_over",
        "conditions.py: Conditions.variables",
        "conditions.py: check_targets",
        "derivatives.py: PartialDerivatives.renew",
        "loss.py: PhysicsLoss.let_move",
        "loss.py: PhysicsLoss.point_variables",
        "loss.py: PhysicsLoss.evaluate",
        "loss.py: PhysicsLoss.has_changed",
        "loss.py: PhysicsLoss.renew",
        "loss.py: PhysicsLoss.trainable_variables",
        "loss.py: PhysicsLoss.variables",
    },
    "torch's loss takes batches by indices and updates weights in a step; `fit` makes the batches, what is costly is "
    "updated between steps": {
        "loss.py: PhysicsLoss.__call__",
        "loss.py: PhysicsLoss.residuals",
        "loss.py: PhysicsLoss.tangent_kernel_traces",
        "loss.py: PhysicsLoss.term_gradients",
        "tangents.py: Tangents",
        "weighting.py: IndexedWeighting.following",
        "weighting.py: IndexedWeighting.is_due",
        "weighting.py: IndexedWeighting.refresh",
        "weighting.py: IndexedWeighting.update_between_steps",
        "weighting.py: Weighting.point_factors",
        "weighting.py: Weighting.required",
        "weighting.py: Weighting.update",
        "weighting.py: check_indices",
    },
    "a capture of `fit` comes before the first step has any weights": {
        "sources.py: PhysicsSource.weighted_as_in_first_step",
        "weighting.py: IndexedWeighting.has_seen_none",
        "weighting.py: IndexedWeighting.kept_as_it_is",
        "weighting.py: Weighting.as_in_first_step",
        "weighting.py: Weighting.unstarted",
    },
    "the backward pass of a torch training is there to be listened to; that of `fit` is compiled": {
        "capture.py: Capture._values",
        "capture.py: Capture.backward",
        "capture.py: Capture.heard",
        "capture.py: Capture.is_moved_by",
        "capture.py: Capture.prepare_backward",
        "loss.py: PhysicsLoss.evaluate_through",
        "moments.py: MomentAccumulator",
        "sources.py: CustomSource.backward",
        "sources.py: CustomSource.heard",
        "sources.py: CustomSource.listen",
        "sources.py: PhysicsSource.backward",
        "sources.py: PhysicsSource.heard",
        "sources.py: PhysicsSource.listen",
        "sources.py: Source",
    },
    "a loop of one's own makes its optimizer, and may forget what it is to train; `compile` is given one that trains "
    "all variables of the model at one rate": {
        "coefficients.py: Coefficients.forgotten",
        "coefficients.py: Coefficients.parameter_groups",
        "coefficients.py: Coefficients.set_rates",
        "coefficients.py: Coefficients.warn_of_forgotten",
        "loss.py: PhysicsLoss.parameter_groups",
    },
    "torch is told whose state to keep, and which parameters to use; Keras has scopes for all variables": {
        "derivatives.py: PartialDerivatives.__call__",
        "derivatives.py: PartialDerivatives._by_autodiff",
        "derivatives.py: PartialDerivatives._by_jets",
        "derivatives.py: PartialDerivatives._summands",
        "loss.py: PhysicsLoss.residuals_at",
        "sources.py: CustomSource.undisturbed",
        "sources.py: PhysicsSource.undisturbed",
        "undisturbed.py: undisturbed",
        "weighting.py: with_or_without_attention",
    },
    "a saved PINN may be loaded into one whose weighting was changed otherwise": {
        "loss.py: PhysicsLoss.forget_attention"
    },
    "the backends of Keras cut, compile and place by themselves": {
        "loss.py: PhysicsLoss.__init__",
        "loss.py: PhysicsLoss.fields",
        "points.py: Batches.__init__",
        "points.py: coordinates_given",
    },
    "a torch loop has its optimizers changed; `fit` keeps the one that it was compiled with": {
        "acting.py",
        "capture.py: Capture.moved_by",
    },
    "torch's L-BFGS is an optimizer like others; scipy's parts work on arrays of any backend's variables": {
        "quasi_newton.py: LBFGS.__init__",
        "quasi_newton.py: LBFGS.step",
    },
    "`fit` has metrics and regularizers": {"evaluation.py: Losses", "loss.py: PhysicsLoss.penalty"},
    "each process of torch has its own points; a strategy of Keras sees those of all": {
        "distribution.py",
        "loss.py: PhysicsLoss.layout",
        "conditions.py: Conditions.points",
        "points.py: arguments_of",
        "points.py: leaves_of",
        "sources.py: CustomSource.layout",
        "sources.py: PhysicsSource.layout",
    },
    "a rule takes what the function of the framework takes that it is for": {"propagation.py"},
}
"""Why, and where the adapters differ, because their frameworks do: a file, a class or function in it, or a method."""

EXPECTED = set().union(*DIFFERENCES.values())


class Surface(NamedTuple):
    """What others can use of a class, or of the functions of a module."""

    parameters: dict[str, list[str]]
    """Of each method or function."""
    attributes: set[str]
    """Properties, annotations, and what methods assign to."""
    properties: set[str]


def parameters_of(function: ast.FunctionDef) -> list[str]:
    given = function.args
    names = [argument.arg for argument in (*given.posonlyargs, *given.args)]
    names += [f"*{given.vararg.arg}"] if given.vararg else []
    names += [argument.arg for argument in given.kwonlyargs]
    names += [f"**{given.kwarg.arg}"] if given.kwarg else []
    return names[1:] if names[:1] in (["self"], ["cls"]) else names


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def bases_in_the_core(tree: ast.Module, node: ast.ClassDef) -> list[tuple[ast.Module, ast.ClassDef]]:
    """The classes of the core that a class inherits from, with the modules that they are read in."""
    places = {
        alias.asname or alias.name: (ROOT / item.module.replace(".", "/"), alias.name)
        for item in ast.walk(tree)
        if isinstance(item, ast.ImportFrom) and item.module and item.module.startswith("phasecore.")
        for alias in item.names
    }
    own = {item.name: item for item in tree.body if isinstance(item, ast.ClassDef)}
    found = []
    for base in node.bases:
        name = ast.unparse(base)
        module, _, attribute = name.partition(".")
        if attribute and module in places:
            folder, original = places[module]
            places[name] = folder / original, attribute
        if name in own:
            found.append((tree, own[name]))
        elif name in places:
            folder, original = places[name]
            path = folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")
            theirs = tree_of(path)
            found += [
                (theirs, item) for item in theirs.body if isinstance(item, ast.ClassDef) and item.name == original
            ]
    return found


def surface_of(tree: ast.Module, node: ast.ClassDef) -> Surface:
    parameters: dict[str, list[str]] = {}
    attributes: set[str] = set()
    properties: set[str] = set()
    for module, base in bases_in_the_core(tree, node):
        inherited = surface_of(module, base)
        parameters |= inherited.parameters
        attributes |= inherited.attributes
        properties |= inherited.properties
    for item in node.body:
        if isinstance(item, ast.AnnAssign):
            attributes.add(ast.unparse(item.target))
        if not isinstance(item, ast.FunctionDef):
            continue
        attributes |= {
            target.attr
            for target in ast.walk(item)
            if isinstance(target, ast.Attribute)
            and isinstance(target.ctx, ast.Store)
            and ast.unparse(target.value) == "self"
        }
        if any(ast.unparse(decorator).endswith(("property", ".setter")) for decorator in item.decorator_list):
            properties.add(item.name)
        elif item.name not in CALLED_BY_A_FRAMEWORK:
            parameters[SAME_METHOD.get(item.name, item.name)] = parameters_of(item)
    return Surface(parameters, attributes | properties, properties)


def surfaces(package: str, name: str) -> dict[str, Surface]:
    """Of each class of a file, and under the empty name that of its functions."""
    tree, functions, found = tree_of(ROOT / package / name), {}, {}
    for item in tree.body:
        if isinstance(item, ast.FunctionDef):
            functions[item.name] = parameters_of(item)
        elif isinstance(item, ast.ClassDef):
            found[item.name.removeprefix(FRAMEWORKS[package])] = surface_of(tree, item)
    return {**found, "": Surface(functions, set(), set())}


def is_private(name: str) -> bool:
    return name.startswith("_") and name not in ("__init__", "__call__")


def differences_between(torch: dict[str, Surface], keras: dict[str, Surface]) -> dict[str, str]:
    """By class, function or method: what one has and the other lacks, or has otherwise."""
    found = {}
    nothing = Surface({}, set(), set())
    for owner in torch.keys() | keras.keys():
        if owner and not (owner in torch and owner in keras):
            if not owner.startswith("_"):
                found[owner] = "a class of torch's alone" if owner in torch else "a class of Keras' alone"
            continue
        mine, theirs = torch.get(owner, nothing), keras.get(owner, nothing)
        prefix = f"{owner}." if owner else ""
        for name in mine.parameters.keys() | theirs.parameters.keys():
            both = mine.parameters.get(name), theirs.parameters.get(name)
            if both[0] != both[1] and not (is_private(name) and None in both):
                found[prefix + name] = f"torch {both[0]}, Keras {both[1]}"
        lacking = (mine.properties - theirs.attributes) | (theirs.properties - mine.attributes)
        found |= {prefix + name: "a property that one of them lacks" for name in lacking if not is_private(name)}
    return found


def files(package: str) -> set[str]:
    root = ROOT / package
    return {path.relative_to(root).as_posix() for path in root.rglob("*.py")}


SHARED = sorted(files("phasecore_torch") & files("phasecore_keras"))
FOUND = {
    name: differences_between(surfaces("phasecore_torch", name), surfaces("phasecore_keras", name)) for name in SHARED
}


def allowed(name: str, where: str) -> str | None:
    """The entry that covers a difference: the whole place, or one that it is part of."""
    keys = [name, f"{name}: {where}", f"{name}: {where.partition('.')[0]}"]
    return next((key for key in keys if key in EXPECTED), None)


@pytest.mark.parametrize("name", SHARED)
def test_files_of_one_name_have_the_same_classes_methods_and_parameters(name):
    wrong = {where: told for where, told in sorted(FOUND[name].items()) if allowed(name, where) is None}
    assert not wrong, "\n".join(f"{name}: {where}: {told}" for where, told in wrong.items())


def test_each_difference_that_is_allowed_is_there():
    used = {allowed(name, where) for name, found in FOUND.items() for where in found}
    assert not EXPECTED - used, "no such difference is left; take these out of the table"


def parsed(source: str) -> dict[str, Surface]:
    tree = ast.parse(source)
    return {item.name: surface_of(tree, item) for item in tree.body if isinstance(item, ast.ClassDef)}


def test_the_comparison_sees_classes_methods_parameters_and_properties():
    torch = parsed(
        "from phasecore.monitoring.sources import Source\n"
        "class A(Source):\n  def f(self, x, *, y): ...\n  def forward(self, z): ...\n  def g(self): ...\n"
        "  def _p(self, a): ...\n  def _mine(self): ...\n  @property\n  def q(self): ...\nclass B: ...\n"
    )
    keras = parsed(
        "class A:\n  def __init__(self):\n    self.q = 1\n  def f(self, x, z): ...\n  def __call__(self, z): ...\n"
        "  def prepare(self, required): ...\n  def signals(self): ...\n  def gradient_moments(self): ...\n"
        "  @property\n  def batched_points(self): ...\n"
        "  def _p(self, b): ...\n  def build(self): ...\n  @property\n  def r(self): ...\n"
    )
    assert differences_between(torch, keras).keys() == {"A.__init__", "A.f", "A.g", "A._p", "A.r", "A.signals", "B"}
