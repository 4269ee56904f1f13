"""The import graph is the architecture: a layer may import itself and what stands before it."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.tiny
ORDER = (
    "typing tree noise check ops layers models processes exact objectives samplers data metrics "
    "systems training claims atlas cli"
).split()
ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "refgen").rglob("*.py"))
FOREIGN = {"refgen_kernels", "cupy", "numba", "llvmlite", "matplotlib", "PIL", "torch", "tqdm"}


def imported(nodes) -> set[str]:
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{a.name}" for a in node.names}
    return names


def at_module_level(tree: ast.Module):
    """Walk everything that runs when the module is imported: not the bodies of functions."""
    pending = list(tree.body)
    while pending:
        node = pending.pop()
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            pending += ast.iter_child_nodes(node)


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_up(path):
    tree = ast.parse(path.read_text())
    here = path.relative_to(ROOT / "refgen").with_suffix("").parts[0]
    for name in imported(ast.walk(tree)):
        top, _, rest = name.partition(".")
        there = rest.split(".")[0]
        if top == "refgen" and here in ORDER and there in ORDER:
            assert ORDER.index(there) <= ORDER.index(here), f"{here} imports {there}"
        if here != "cli":
            assert top not in FOREIGN - {"PIL"}, f"{here} imports {name}"
    for name in imported(at_module_level(tree)):
        assert name.partition(".")[0] not in FOREIGN, f"{here} imports {name} at import time"
        assert not name.startswith("scipy.stats"), "scipy.stats costs more than all of refgen"


def test_every_module_has_a_layer():
    tops = {p.relative_to(ROOT / "refgen").with_suffix("").parts[0] for p in SOURCES}
    assert tops - {"__init__", "__main__"} <= set(ORDER)


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        ("import refgen", ["numba", "matplotlib", "scipy.stats", "tqdm", "PIL"]),
        ("import refgen.ops, refgen.systems, refgen.training", ["numba", "matplotlib", "PIL"]),
        ("import refgen.claims", ["scipy.stats", "numba", "matplotlib"]),
        ("import refgen.cli; refgen.cli.parser()", ["numpy", "scipy", "tqdm", "matplotlib"]),
    ],
)
def test_imports_are_lazy(code, absent):
    script = f"import sys; {code}; print([m for m in {absent!r} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
