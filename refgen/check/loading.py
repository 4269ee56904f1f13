"""A reader's derivation in a file: read it, run it, and say clearly what is missing.

FILE.py defines `params` (a nested dict of float arrays), `loss(params)` (a float, or a dict of
named terms that are summed), `grads(params)` (the same tree) and, optionally, `sizes` (a dict
of named numbers). `stub(name)` is such a file, right as it stands, to be edited.
"""

import linecache
import math
import runpy
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from refgen import tree

# Kinds of derivation, by the names that a file defines; only the first is checked so far.
KINDS = {
    "a loss and its gradient": ("params", "loss", "grads"),
    "an op and its adjoint": ("inputs", "forward", "backward"),
    "a map and its inverse": ("f", "inverse"),
    "a density and its score": ("log_density", "score"),
    "two sides of an identity": ("lhs", "rhs"),
}
CHECKED = "a loss and its gradient"


class DerivationError(ValueError):
    """A derivation file that cannot be checked; the message says what, where and how to mend."""


@dataclass(frozen=True)
class Derivation:
    """What a file defines: the arguments of check_grad, in a form that has run once."""

    params: Any
    loss: Callable[[Any], Any]
    grads: Callable[[Any], Any]
    sizes: Mapping[str, float]


def load_derivation(path: str | Path) -> Derivation:
    """Run a derivation file and return what it defines.

    Raises DerivationError when there is no such file, when it does not compile or run, when a
    name is missing or is not what it should be, and when the loss or the gradient fails at
    params.
    """
    path = Path(path)
    names = _run(path)
    _require(path, names)
    params, loss, grads = names["params"], names["loss"], names["grads"]
    sizes = names.get("sizes", {})
    _check_params(path, params)
    for name, f in (("loss", loss), ("grads", grads)):
        if not callable(f):
            raise DerivationError(
                f"{path}: {name} is {_kind(f)}; make it a function, {name}(params)"
            )
    _check_sizes(path, sizes)
    _check_loss(path, _called(path, "loss", loss, params))
    returned = _called(path, "grads", grads, params)
    if isinstance(params, dict) and not isinstance(returned, dict):
        keys = ", ".join(sorted(params))
        raise DerivationError(
            f"{path}: grads(params) returned {_kind(returned)}; return a dict with the keys of "
            f"params: {keys}"
        )
    return Derivation(params, loss, grads, sizes)


def _run(path: Path) -> dict[str, Any]:
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise DerivationError(
            f"{path}: {what}; `refgen check --new NAME` writes a file to start from"
        )
    linecache.checkcache(str(path))  # the file may have been edited since it was last shown
    sys.path.insert(0, str(path.resolve().parent))  # so that it may import its neighbours
    try:
        return runpy.run_path(str(path), run_name="derivation")
    except SyntaxError as error:
        raise DerivationError(_syntax(path, error)) from error
    except (Exception, SystemExit) as error:
        raise DerivationError(f"{path}: running it failed\n{_where(path, error)}") from error
    finally:
        sys.path.remove(str(path.resolve().parent))


def _syntax(path: Path, error: SyntaxError) -> str:
    where = f"{error.filename or path}" + (f", line {error.lineno}" if error.lineno else "")
    shown = f"\n    {error.text.strip()}" if error.text else ""
    return f"{where}: syntax error: {error.msg}{shown}"


def _where(path: Path, error: BaseException) -> str:
    """Return the innermost line of the reader's own file, and the exception."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if Path(f.filename).resolve() == path.resolve()]
    shown = traceback.format_exception_only(error)[-1].strip()
    if not own:
        return f"    {shown}"
    last = own[-1]
    return f"    {path}, line {last.lineno}, in {last.name}: {last.line}\n    {shown}"


def _require(path: Path, names: Mapping[str, Any]) -> None:
    missing = [n for n in KINDS[CHECKED] if n not in names]
    if not missing:
        return
    for kind, needed in KINDS.items():
        if kind != CHECKED and all(n in names for n in needed):
            raise DerivationError(
                f"{path} defines {', '.join(needed)}: {kind}. This kind is not checked yet; "
                f"what is checked is {CHECKED}: {', '.join(KINDS[CHECKED])}"
            )
    kinds = "\n".join(
        f"    {kind}: {', '.join(needed)}" + ("" if kind == CHECKED else "  (not checked yet)")
        for kind, needed in KINDS.items()
    )
    raise DerivationError(f"{path} does not define {', '.join(missing)}. A file defines\n{kinds}")


def _check_params(path: Path, params: Any) -> None:
    if isinstance(params, dict) and not params:
        raise DerivationError(f"{path}: params is empty; give it at least one float array")
    try:
        flat = tree.flatten(params)
    except TypeError:
        raise DerivationError(f"{path}: every key of params must be a string") from None
    for name, leaf in flat.items():
        where = f'params["{name}"]' if name else "params"
        if not isinstance(leaf, np.ndarray | np.floating | float):
            hint = "np.array(..., dtype=float)" if isinstance(leaf, list | tuple | int) else ""
            tail = f": write {hint}" if hint else ""
            raise DerivationError(f"{path}: {where} is {_kind(leaf)}, not a float array{tail}")
        dtype = np.asarray(leaf).dtype
        if dtype.kind != "f":
            raise DerivationError(
                f"{path}: {where} is an array of {dtype}, not of floats: use .astype(float)"
            )
        if not np.all(np.isfinite(leaf)):
            raise DerivationError(f"{path}: {where} has entries that are NaN or infinite")


def _check_sizes(path: Path, sizes: Any) -> None:
    if not isinstance(sizes, dict):
        raise DerivationError(f"{path}: sizes is {_kind(sizes)}; make it a dict of named numbers")
    for name, value in sizes.items():
        number = isinstance(value, int | float | np.integer | np.floating)
        if not (number and math.isfinite(value) and value):
            raise DerivationError(
                f'{path}: sizes["{name}"] is {value!r}; give a finite number, not zero'
            )


def _called(path: Path, name: str, f: Callable[[Any], Any], params: Any) -> Any:
    try:
        with np.errstate(all="ignore"):  # a loss that is not finite is the doctor's to report
            return f(tree.map(np.array, params))
    except Exception as error:
        raise DerivationError(f"{path}: {name}(params) failed\n{_where(path, error)}") from error


def _check_loss(path: Path, value: Any) -> None:
    terms = value if isinstance(value, dict) else {"": value}
    if not terms:
        raise DerivationError(f"{path}: loss(params) returned an empty dict; name its terms")
    for name, term in terms.items():
        what = f'loss(params)["{name}"]' if name else "loss(params)"
        try:
            array = np.asarray(term)
        except ValueError:
            array = np.array(None)
        if array.dtype.kind not in "fiu":
            raise DerivationError(f"{path}: {what} is {_kind(term)}, not a float: return a number")
        if array.size != 1:
            raise DerivationError(
                f"{path}: {what} has shape {array.shape}, not one number: take its sum or mean"
            )


def _kind(value: Any) -> str:
    return "None" if value is None else f"a {type(value).__name__}"


TEMPLATE = '''"""NAME: a derivation to check. Edit it, then run `refgen check NAME.py`.

Ridge regression. With predictions x w + b for N examples,

    loss = 1/(2N) sum (x w + b - y)^2 + decay/2 sum w^2

so that, with the residual r = (x w + b - y)/N,

    dw = x' r + decay w,    db = sum over the examples of r
"""

import numpy as np

from refgen.noise import Noise

N, D, K = 7, 5, 3  # distinct primes: a wrong factor then has only one name
DECAY = 0.1
sizes = {"N": N, "D": D, "K": K, "decay": DECAY}  # what wrong factors are named by

noise = Noise(0)
x = noise.at("x").normal((N, D))  # fixed data: draw noise here, never inside loss
y = noise.at("y").normal((N, K))

params = {"b": noise.at("b").normal(K), "w": noise.at("w").normal((D, K))}


def loss(params):
    """Return a float, or named terms that are summed: the report then says which is wrong."""
    residual = x @ params["w"] + params["b"] - y
    return {
        "error": 0.5 * np.sum(residual * residual) / N,
        "decay": 0.5 * DECAY * np.sum(params["w"] * params["w"]),
    }


def grads(params):
    """Return your gradient: a dict with the keys of params."""
    residual = (x @ params["w"] + params["b"] - y) / N
    return {
        "b": np.sum(residual, axis=0),
        "w": x.T @ residual + DECAY * params["w"],
    }
'''


def stub(name: str) -> str:
    """Return the text of a correct derivation file for the reader to edit.

    >>> "refgen check mine.py" in stub("mine")
    True
    """
    return TEMPLATE.replace("NAME", name)
