"""Finding the places where an error can be planted, and planting it in the running code."""

import ast
import copy
import importlib
import random
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import FunctionType

from tests.mutants.operators import OPERATORS

ROOT = Path(__file__).parents[2]
LAWS = {  # page -> the tests of its family, beside those of the catalogue
    "ops/dense": "test_ops test_second_order",
    "ops/dense_act": "test_ops",
    "ops/activation": "test_ops",
    "ops/gaussian": "test_ops",
    "ops/likelihood": "test_ops",
    "ops/noising": "test_ops",
    "ops/coupling": "test_ops test_models",
    "ops/solver": "test_steps",
    "ops/adversarial": "test_ops",
    "ops/embedding": "test_embedding",
    "ops/conv": "test_conv",
    "ops/resample": "test_conv",
    "ops/upsample_conv": "test_conv",
    "ops/join": "test_join",
    "ops/normalization": "test_normalization",
    "ops/batch_norm": "test_normalization",
    "ops/instance_norm": "test_normalization",
    "ops/modulation": "test_normalization",
    "ops/fused": "test_normalization",
    "ops/attention": "test_attention",
    "ops/regularization": "test_regularization",
    "ops/spectral_norm": "test_regularization",
    "layers/conv": "test_conv test_denoisers",
    "layers/resample": "test_conv test_denoisers",
    "layers/residual": "test_denoisers",
    "layers/attention": "test_attention test_denoisers",
    "layers/dit": "test_denoisers",
    "layers/condition": "test_denoisers",
    "layers/batch_norm": "test_normalization",
    "layers/gated_attention": "test_gan_networks",
    "layers/second_order": "test_second_order",
    "layers/spectral": "test_regularization",
    "layers/transformer": "test_attention test_causal",
    "models/unet": "test_denoisers",
    "models/dit": "test_denoisers",
    "models/mlp": "test_denoisers test_models ../test_objectives",
    "models/dcgan": "test_gan_networks",
    "models/critic": "test_gan_networks",
    "models/residual_mlp": "test_gan_networks",
    "models/autoencoder": "test_conditional_models",
    "models/captioned": "test_conditional_models",
    "models/given": "test_conditional_models",
    "models/noisy_classifier": "test_conditional_models",
    "models/told": "test_conditional_models",
    "models/policy": "test_policy",
}
NOT_METHODS = ("post_init__", "init", "summary", "layers", "labels")


@dataclass(frozen=True)
class Mutant:
    """One error in one place."""

    page: str  # "ops/conv"
    function: str  # "conv2d_backward", "UNet.backward"
    line: int
    operator: str
    before: str
    after: str
    text: str  # of the line it is on
    place: int  # of the node, in the order of ast.walk
    version: int  # of what the operator makes of it

    @property
    def key(self) -> tuple[str, str, str, str, str]:
        """What it is, wherever its line has moved to."""
        return self.page, self.function, self.operator, self.text, self.after

    def install(self) -> None:
        """Give the running function the wrong code: whoever holds the function now has it."""
        tree, owner = _functions(self.page)[self.function]
        wrong = copy.deepcopy(tree)
        nodes = list(ast.walk(wrong))
        made = list(OPERATORS[self.operator](nodes[self.place]))[self.version]
        _replace(wrong, nodes[self.place], made)
        wrong.decorator_list, wrong.returns = [], None
        module = ast.fix_missing_locations(ast.Module([wrong], []))
        space: dict[str, object] = {}
        exec(compile(module, f"<{self.page}>", "exec"), owner.__globals__ | {}, space)
        code = space[wrong.name]
        assert isinstance(code, FunctionType)
        owner.__code__ = code.__code__


@cache
def every(page: str) -> tuple[Mutant, ...]:
    """Return all errors that can be planted in a page."""
    found, lines = [], (ROOT / "refgen" / f"{page}.py").read_text().splitlines()
    for name, (tree, _) in _functions(page).items():
        seen = set()
        for place, node in enumerate(ast.walk(tree)):
            if not isinstance(node, ast.expr | ast.stmt) or _is_text(tree, node):
                continue
            for operator, make in OPERATORS.items():
                for version, made in enumerate(make(node)):
                    before, after = (_source(part) for part in (node, made))
                    line = getattr(node, "lineno", tree.lineno)
                    text = lines[line - 1].strip()
                    mutant = Mutant(page, name, line, operator, before, after, text, place, version)
                    if (line, operator, before, after) not in seen:
                        seen.add((line, operator, before, after))
                        found.append(mutant)
    return tuple(found)


def sample(pages: list[str], count: int, seed: int) -> list[Mutant]:
    """Draw errors in turn from every pair of a page and an operator, so that none is left out."""
    draw = random.Random(seed)
    groups: dict[tuple[str, str], list[Mutant]] = {}
    for page in pages:
        for mutant in every(page):
            groups.setdefault((page, mutant.operator), []).append(mutant)
    for group in groups.values():
        draw.shuffle(group)
    order = list(groups)
    draw.shuffle(order)
    chosen: list[Mutant] = []
    while len(chosen) < count and any(groups.values()):
        for key in order:
            if groups[key] and len(chosen) < count:
                chosen.append(groups[key].pop())
    return chosen


@cache  # what was imported and what is planted must be of the same moment
def _functions(page: str) -> dict[str, tuple[ast.FunctionDef, FunctionType]]:
    """Return the functions and methods of a page that hold its mathematics, by name."""
    module = importlib.import_module("refgen." + page.replace("/", "."))
    tree = ast.parse((ROOT / "refgen" / f"{page}.py").read_text())
    found: dict[str, tuple[ast.FunctionDef, FunctionType]] = {}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and _is_rule(node, alone=True):
            found[node.name] = (node, getattr(module, node.name))
        for inner in node.body if isinstance(node, ast.ClassDef) else ():
            if isinstance(inner, ast.FunctionDef) and _is_rule(inner, alone=False):
                owner = vars(getattr(module, node.name))[inner.name]
                if isinstance(owner, FunctionType):
                    found[f"{node.name}.{inner.name}"] = (inner, owner)
    return found


def _is_rule(node: ast.FunctionDef, alone: bool) -> bool:
    """Say whether a function computes: it is no check of sizes, no drawing, no table of parts."""
    name = node.name.lstrip("_")
    return not name.startswith(("check", "refuse")) and (alone or name not in NOT_METHODS)


def _is_text(tree: ast.FunctionDef, node: ast.AST) -> bool:
    """Say whether a node is of an error, an annotation, a default or a size to be found."""
    parts = [part for part in ast.walk(tree) if isinstance(part, ast.Raise | ast.AnnAssign)]
    texts: list[ast.AST] = [p if isinstance(p, ast.Raise) else p.annotation for p in parts]
    texts += [tree.args, tree.returns or tree.args, *_unknown_sizes(tree)]
    return any(node is inside for text in texts for inside in ast.walk(text))


def _unknown_sizes(tree: ast.FunctionDef) -> list[ast.AST]:
    """Return the −1 of every reshape: NumPy reads any negative size as the one to be found."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and node.args]
    shapes = [c.args[1] for c in calls if ast.unparse(c.func) == "np.reshape" and c.args[1:]]
    negative = [s for shape in shapes for s in ast.walk(shape) if isinstance(s, ast.UnaryOp)]
    return [s for s in negative if isinstance(s.op, ast.USub) and ast.unparse(s) == "-1"]


def _replace(tree: ast.AST, old: ast.AST, new: ast.AST) -> None:
    for parent in ast.walk(tree):
        for name, value in ast.iter_fields(parent):
            if value is old:
                setattr(parent, name, new)
                return
            if isinstance(value, list) and any(part is old for part in value):
                value[[part is old for part in value].index(True)] = new
                return


def _source(node: ast.AST) -> str:
    return ast.unparse(ast.fix_missing_locations(copy.deepcopy(node)))
