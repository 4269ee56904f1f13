"""Planted errors are caught, the operators do what they say, and a harmless change survives."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.mutants.equivalents import EQUIVALENT
from tests.mutants.operators import OPERATORS
from tests.mutants.plant import LAWS, every, sample

ROOT = Path(__file__).parents[1]


def run(*words):
    command = [sys.executable, "-m", "tests.mutants", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def made(operator, text):
    """Return what an operator makes of an expression or a statement."""
    node = ast.parse(text).body[0]
    node = node.value if isinstance(node, ast.Expr) else node
    return [ast.unparse(ast.fix_missing_locations(n)) for n in OPERATORS[operator](node)]


@pytest.mark.tiny
@pytest.mark.parametrize(
    ("operator", "text", "wrong"),
    [
        ("sign", "a - b", ["a + b"]),
        ("sign", "-a", ["a"]),
        ("dropped term", "a + b", ["a", "b"]),
        ("dropped factor", "a * b", ["a", "b"]),
        ("dropped factor", "a / b", ["a"]),
        ("mean for sum", "np.sum(a, axis=1)", ["np.mean(a, axis=1)"]),
        ("dropped mean", "mean_over(a, axes)", ["0.0 * mean_over(a, axes)"]),
        ("no sum over batch", "np.sum(a, axis=0)", ["a[0]"]),
        ("no sum over batch", "np.sum(a, axis=(0, 1, 2))", ["np.sum(a[0], axis=(0, 1))"]),
        ("no sum over batch", "np.sum(a, axis=1)", []),
        ("not transposed", "np.swapaxes(a, 1, 2)", ["a"]),
        ("off by one", "2", ["3", "1"]),
        ("other number", "0.5", ["1.0", "0.25"]),
        ("no eps", "var + eps", ["var"]),
        ("no root", "np.sqrt(a)", ["a"]),
        ("no square", "a * a", ["a"]),
        ("swapped results", "return a, b, c", ["return (b, a, c)"]),
        ("other side", "a > b", ["a < b"]),
    ],
)
def test_an_operator_makes_the_error_that_it_is_named_after(operator, text, wrong):
    assert made(operator, text) == wrong


@pytest.mark.tiny
def test_a_draw_is_of_many_pages_and_operators_and_always_the_same():
    drawn = sample(list(LAWS), 80, seed=0)
    assert drawn == sample(list(LAWS), 80, seed=0)
    assert drawn != sample(list(LAWS), 80, seed=1)
    assert len({mutant.page for mutant in drawn}) >= 20
    assert len({mutant.operator for mutant in drawn}) >= 12


@pytest.mark.tiny
def test_every_page_of_ops_layers_and_models_that_has_a_backward_is_a_target():
    """What has a gradient is put on trial, or stands here with a reason."""
    elsewhere = {
        "ops/adam": "an update, no gradient: its laws are in tests/laws/test_ops.py",
        "ops/step": "linear with numbers for coefficients, pinned by the samplers' laws",
        "layers/activation": "hands on to its op",
        "layers/dense": "hands on to its op",
        "layers/dropout": "hands on to its op",
        "layers/embedding": "hands on to its op; test_embedding has errors of its own",
        "layers/norm": "hands on to its op",
        "layers/sequence": "a loop, in every network here",
        "layers/layer": "a protocol",
        "models/flow": "pinned by the dense log-determinant in test_models",
        "models/convnet": "pinned by tests/systems",
        "models/made": "fifty errors by hand, see test_causal",
        "models/causal": "fifty errors by hand, see test_causal",
        "models/pixelcnn": "fifty errors by hand, see test_causal",
        "models/autoregressive": "fifty errors by hand, see test_causal",
    }
    found = {
        f"{folder}/{path.stem}"
        for folder in ("ops", "layers", "models")
        for path in (ROOT / "refgen" / folder).glob("*.py")
        if "backward(" in path.read_text() and path.stem not in ("__init__", "protocol")
    }
    assert found - LAWS.keys() - elsewhere.keys() == set()
    assert elsewhere.keys().isdisjoint(LAWS)


@pytest.mark.tiny
def test_what_is_excused_can_still_be_planted():
    keys = {mutant.key for page in {key[0] for key in EQUIVALENT} for mutant in every(page)}
    assert EQUIVALENT.keys() <= keys
    assert all(len(reason) > 10 for reason in EQUIVALENT.values())


def test_a_drawn_handful_of_errors_is_caught():
    found = run("--count", "4", "--seed", "4")
    assert found.returncode == 0, found.stdout + found.stderr
    assert "4 errors planted: 4 caught" in found.stdout


def test_an_error_that_no_test_sees_is_reported(tmp_path):
    """The judge can say that something survived: here all tests of the page are taken away."""
    script = (
        "import sys\n"
        "import tests.mutants.judge as judge\n"
        "judge.CATALOG = ()\n"
        "judge.LAWS = {page: 'test_samplers' for page in judge.LAWS}\n"
        "import tests.mutants.__main__ as command\n"
        "sys.argv = ['mutants', '--page', 'ops/conv', '--count', '1']\n"
        "sys.exit(command.main())\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert found.returncode == 1, found.stderr
    assert "SURVIVED" in found.stdout


@pytest.mark.slow
def test_eighty_errors_are_caught_or_explained():
    found = run("--count", "80")
    assert found.returncode == 0, found.stdout + found.stderr
