"""Nested dicts of arrays: parameters, gradients and optimizer moments all have this shape.

>>> params = {"encoder": {"b": np.zeros(2), "w": np.ones((3, 2))}, "scale": np.ones(1)}
>>> list(flatten(params))
['encoder/b', 'encoder/w', 'scale']
>>> size(params)
9
"""

import builtins
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from refgen.typing import Array, Params


def map(f: Callable[..., Any], tree: Any, *others: Any) -> Any:
    """Apply f leaf by leaf to trees that have the same keys; the result has that shape too.

    Raises ValueError where the keys differ, naming the branch.
    """
    if not isinstance(tree, dict):
        return f(tree, *others)
    for other in others:
        if not isinstance(other, dict) or other.keys() != tree.keys():
            have = sorted(other) if isinstance(other, dict) else type(other).__name__
            raise ValueError(f"trees differ: one has keys {sorted(tree)}, the other {have}")
    return {k: map(f, v, *(o[k] for o in others)) for k, v in tree.items()}


def split(f: Callable[..., Any], count: int, tree: Any, *others: Any) -> Any:
    """Apply f, which returns `count` results, leaf by leaf; return that many trees.

    >>> split(lambda a: (a, -a), 2, {"b": 1, "c": 2})
    ({'b': 1, 'c': 2}, {'b': -1, 'c': -2})
    """
    if not isinstance(tree, dict):
        return f(tree, *others)
    parts = {k: split(f, count, v, *(o[k] for o in others)) for k, v in tree.items()}
    return tuple({k: part[i] for k, part in parts.items()} for i in range(count))


def leaves(tree: Any) -> Iterator[Array]:
    """Yield the arrays of a tree in the order of their sorted paths."""
    yield from flatten(tree).values()


def flatten(tree: Any, prefix: str = "") -> dict[str, Array]:
    """Return {"outer/inner": array}, keys sorted at every level."""
    if not isinstance(tree, dict):
        return {prefix: tree}
    flat: dict[str, Array] = {}
    for key in sorted(tree):
        flat |= flatten(tree[key], f"{prefix}/{key}" if prefix else key)
    return flat


def unflatten(flat: Mapping[str, Array]) -> Params:
    """Invert flatten.

    >>> unflatten({"a/b": np.ones(1), "c": np.zeros(1)})
    {'a': {'b': array([1.])}, 'c': array([0.])}
    """
    tree: Params = {}
    for path, array in flat.items():
        *branch, name = path.split("/")
        node: Any = tree
        for key in branch:
            node = node.setdefault(key, {})
        node[name] = array
    return tree


def size(tree: Any) -> int:
    """Count the numbers in a tree."""
    return sum(int(np.size(a)) for a in leaves(tree))


def dot(a: Any, b: Any) -> float:
    """Return ⟨a, b⟩, summed over all leaves of two trees with the same keys."""
    return float(sum(builtins.map(float, leaves(map(lambda x, y: np.sum(x * y), a, b)))))
