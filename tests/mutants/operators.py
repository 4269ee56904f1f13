"""The ways to be wrong: each turns one node of a syntax tree into its wrong versions."""

import ast
from collections.abc import Callable, Iterator

Wrong = Iterator[ast.expr | ast.stmt]


def sign(node: ast.AST) -> Wrong:
    """Turn + into −, − into +, and −x into x."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Sub):
        op = ast.Sub() if isinstance(node.op, ast.Add) else ast.Add()
        yield ast.BinOp(node.left, op, node.right)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        yield node.operand


def dropped_term(node: ast.AST) -> Wrong:
    """Leave out one side of a sum or a difference."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Sub):
        yield node.left
        yield node.right


def dropped_factor(node: ast.AST) -> Wrong:
    """Leave out one side of a product, or the divisor."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        yield node.left
        yield node.right
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
        yield node.left


def mean_for_sum(node: ast.AST) -> Wrong:
    """Take the mean for the sum, or the sum for the mean."""
    other = {"sum": "mean", "mean": "sum"}
    if _is_numpy(node, *other):
        function = ast.Attribute(node.func.value, other[node.func.attr], ast.Load())
        yield ast.Call(function, node.args, node.keywords)


def dropped_mean(node: ast.AST) -> Wrong:
    """Leave out a mean, keeping its shape."""
    named = isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    if _is_numpy(node, "mean") or (named and node.func.id in ("mean_over", "_mean")):
        yield ast.BinOp(ast.Constant(0.0), ast.Mult(), node)


def no_sum_over_batch(node: ast.AST) -> Wrong:
    """Let the first example stand for the whole batch."""
    if not _is_numpy(node, "sum") or not node.args:
        return
    axis = next((k.value for k in node.keywords if k.arg == "axis"), None)
    first = ast.Subscript(node.args[0], ast.Constant(0), ast.Load())
    if isinstance(axis, ast.Constant) and axis.value == 0:
        yield first
    if isinstance(axis, ast.Tuple):
        axes = [a.value for a in axis.elts if isinstance(a, ast.Constant)]
        if axes and axes[0] == 0 and len(axes) == len(axis.elts):
            rest = ast.Tuple([ast.Constant(a - 1) for a in axes[1:]], ast.Load())
            yield ast.Call(node.func, [first], [ast.keyword("axis", rest)])


def not_transposed(node: ast.AST) -> Wrong:
    """Take a matrix for its transpose."""
    if _is_numpy(node, "transpose", "swapaxes", "flip"):
        yield node.args[0]


def off_by_one(node: ast.AST) -> Wrong:
    """Count one more or one less: a padding, a stride, an axis, an index."""
    if isinstance(node, ast.Constant) and type(node.value) is int:
        yield ast.Constant(node.value + 1)
        yield ast.Constant(node.value - 1)


def other_number(node: ast.AST) -> Wrong:
    """Double or halve a number."""
    if isinstance(node, ast.Constant) and type(node.value) is float and node.value:
        yield ast.Constant(2 * node.value)
        yield ast.Constant(node.value / 2)


def no_eps(node: ast.AST) -> Wrong:
    """Leave eps out."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        for side, rest in ((node.left, node.right), (node.right, node.left)):
            if isinstance(side, ast.Name) and side.id == "eps":
                yield rest


def no_root(node: ast.AST) -> Wrong:
    """Leave out a square root."""
    if _is_numpy(node, "sqrt", module="np") or _is_numpy(node, "sqrt", module="math"):
        yield node.args[0]


def no_square(node: ast.AST) -> Wrong:
    """Take a number for its square."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        if ast.dump(node.left) == ast.dump(node.right):
            yield node.left
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow):
        yield node.left


def swapped_results(node: ast.AST) -> Wrong:
    """Return the first two results in the other order."""
    if isinstance(node, ast.Return) and isinstance(node.value, ast.Tuple):
        first, second, *rest = node.value.elts
        yield ast.Return(ast.Tuple([second, first, *rest], ast.Load()))


def other_side(node: ast.AST) -> Wrong:
    """Turn a comparison round."""
    if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.Gt | ast.GtE):
        yield ast.Compare(node.left, [ast.Lt()], node.comparators)


OPERATORS: dict[str, Callable[[ast.AST], Wrong]] = {
    f.__name__.replace("_", " "): f
    for f in (
        sign,
        dropped_term,
        dropped_factor,
        mean_for_sum,
        dropped_mean,
        no_sum_over_batch,
        not_transposed,
        off_by_one,
        other_number,
        no_eps,
        no_root,
        no_square,
        swapped_results,
        other_side,
    )
}


def _is_numpy(node: ast.AST, *names: str, module: str = "np") -> bool:
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == module
        and node.func.attr in names
    )
