"""The settings of a run: flags over a config file over the system's recipe.

A config file is TOML with one flat list of keys, those that `--set` takes. A run's own
config.toml is such a file; it also names the system, the data and their shape.
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, get_type_hints

from refgen.cli import terms

if TYPE_CHECKING:
    from refgen.systems import Entry, System
    from refgen.training import Recipe, Run

KINDS = {int: "an integer", float: "a number", str: "a word", bool: "true or false"}
NAMED = {"system": str, "data": str, "backend": str}  # what else a config file may say


class Plan(NamedTuple):
    """What a run does."""

    entry: "Entry"
    data: str
    shape: tuple[int, ...]
    backend: str
    recipe: "Recipe"
    settings: dict[str, Any]  # of the system

    def config(self) -> dict[str, Any]:
        """Return the flat settings that a run folder keeps."""
        named = {"system": self.entry.id, "data": self.data, "backend": self.backend}
        return named | {"shape": list(self.shape)} | asdict(self.recipe) | self.settings

    def own(self) -> dict[str, Any]:
        """Return the settings of the system that are not what its recipe makes them."""
        kind = "images" if len(self.shape) == 3 else "points"
        recipe = self.entry.recipe(kind, str(self.settings.get("model", "")))
        usual = _defaults(self.entry) | recipe
        return {key: value for key, value in self.settings.items() if value != usual[key]}

    def build(self, ops: Any) -> "System":
        """Return the system. Raises Refusal for values that it refuses."""
        from refgen.systems import build

        try:
            return build(self.entry.id, self.shape, self.settings | {"ops": ops})
        except ValueError as error:
            said = ", ".join(f"{key}={value}" for key, value in self.own().items())
            given = f" with {said}" if said else ""
            named = str(error).startswith(self.entry.id)
            prefix = "" if named else f"{self.entry.id}{given}: "
            raise terms.Refusal(f"{prefix}{error}") from error


def read(path: str) -> dict[str, Any]:
    """Return the keys of a config file. Raises Refusal for what cannot be read."""
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise terms.Refusal(f"--config {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise terms.Refusal(f"--config {path} is not TOML: {error}") from error


def check(where: str, found: Mapping[str, Any], entry: "Entry") -> dict[str, Any]:
    """Return the settings found, each as its type; shape and the named keys are left out.

    Raises Refusal for a key that neither training nor the system has, and for a value of the
    wrong kind.
    """
    known, typed = _known(entry), {}
    for key, value in found.items():
        if key == "shape":
            continue
        if key not in known:
            hint = terms.suggest(key, known)
            raise terms.Refusal(f"{where}: {entry.id} has no setting {key!r}; {hint}")
        kind = known[key]
        if kind is float and type(value) is int:
            value = float(value)
        if kind in KINDS and type(value) is not kind:
            raise terms.Refusal(f"{where}: {key} is {KINDS[kind]}, not {value!r}")
        if kind is int and value < 0:
            raise terms.Refusal(f"{where}: {key} is a count, not {value}")
        if key == "system" and value != entry.id:
            raise terms.Refusal(f"{where} is for {value}, not for {entry.id}")
        typed[key] = value
    return {key: value for key, value in typed.items() if key not in NAMED}


def assigned(texts: Sequence[str], entry: "Entry") -> dict[str, Any]:
    """Return what --set KEY=VALUE says, VALUE as TOML or a bare word; --set help lists the keys."""
    found: dict[str, Any] = {}
    for text in texts:
        if text == "help":
            print(table(entry))
            raise SystemExit(terms.OK)
        key, equals, value = (part.strip() for part in text.partition("="))
        if not (key and equals) or key in NAMED or key == "shape":
            raise terms.Refusal(
                f"--set {text!r} is not KEY=VALUE of a setting, as --set lr=1e-3; "
                "--set help lists them"
            )
        try:
            parsed = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            parsed = value
        found |= check(f"--set {text}", {key: parsed}, entry)
    return found


def plan(
    entry: "Entry", data: str, shape: tuple[int, ...], backend: str, chosen: Mapping[str, Any]
) -> Plan:
    """Return the plan of a new run, of settings that have been checked.

    Raises Refusal for impossible values, and for more sample_steps than there are levels: a smaller
    T cuts those of the recipe, but not others.
    """
    new = _plan(entry, data, shape, backend, chosen)
    T = new.settings.get("T", _defaults(entry).get("T"))
    steps = new.own().get("sample_steps", 0)
    if T and steps > T:
        raise terms.Refusal(
            f"{entry.id}: sample_steps={steps} visits more levels than T={T}: take 1 .. {T} of "
            "them, or 0 for all"
        )
    return new


def _plan(
    entry: "Entry", data: str, shape: tuple[int, ...], backend: str, chosen: Mapping[str, Any]
) -> Plan:
    from refgen.training import Recipe

    of_training = {f.name for f in fields(Recipe)}
    with terms.refusing():
        recipe = Recipe(**{k: v for k, v in chosen.items() if k in of_training})
    own = {k: v for k, v in chosen.items() if k not in of_training}
    return Plan(entry, data, shape, backend, recipe, own)


def plan_of(run: "Run") -> Plan:
    """Return the plan of an existing run. Raises Refusal where its config.toml was damaged."""
    from refgen.systems import find

    where, found = str(run.path / "config.toml"), run.config
    missing = [key for key in (*NAMED, "shape", "steps") if key not in found]
    if missing:
        raise terms.Refusal(f"{where} does not say {', '.join(missing)}: was it edited?")
    shape = found["shape"]
    if not (isinstance(shape, list) and shape and all(type(n) is int for n in shape)):
        raise terms.Refusal(f"{where}: shape is a list of integers, not {shape!r}")
    with terms.refusing():
        entry = find(str(found["system"]))
    chosen = check(where, found, entry)
    return _plan(entry, str(found["data"]), tuple(shape), str(found["backend"]), chosen)


def table(entry: "Entry") -> str:
    """Return a line for each setting: what it is, and its value on images and on points.

    A system that refuses one of them has no recipe for it but a number of steps, and no column.
    """
    from refgen.training import Recipe

    usual = {f.name: f.default for f in fields(Recipe)} | _defaults(entry)
    recipes = {kind: entry.recipe(kind) for kind in ("images", "points")}
    shown = {kind: usual | recipe for kind, recipe in recipes.items() if len(recipe) > 1}
    rows = [
        [key, KINDS[kind], *(_as_toml(values[key]) for values in shown.values())]
        for key, kind in _known(entry).items()
        if key not in NAMED
    ]
    return terms.table(["setting", "is", *(f"on {kind}" for kind in shown)], rows)


def _as_toml(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def has(entry: "Entry", name: str) -> bool:
    """Say whether a system has a setting."""
    return name in {f.name for f in fields(entry.make)}  # type: ignore[arg-type]


def _defaults(entry: "Entry") -> dict[str, Any]:
    return {f.name: f.default for f in fields(entry.make)}  # type: ignore[arg-type]


def _known(entry: "Entry") -> dict[str, type]:
    from refgen.training import Recipe

    own = get_type_hints(entry.make)
    names = [f.name for f in fields(entry.make)]  # type: ignore[arg-type]
    system = {name: own[name] for name in names if name not in ("shape", "ops")}
    return NAMED | get_type_hints(Recipe) | system
