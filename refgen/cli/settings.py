"""The settings of a training run: flags over a config file over the system's recipe.

A config file is TOML with one flat list of keys, the same keys that `--set` takes:

    steps = 2000
    lr = 1e-3
    latent = 16
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

from refgen.cli import terms

if TYPE_CHECKING:
    from refgen.systems import Entry

KINDS = {int: "an integer", float: "a number", str: "a word", bool: "true or false"}


def of_system(entry: "Entry") -> dict[str, type]:
    """Return the settings that a system has, by type."""
    return _types(entry.make, {"shape", "ops"})


def of_training() -> dict[str, type]:
    """Return the settings that training has, whatever the system."""
    from refgen.training import Config

    return _types(Config, set())


def settle(
    entry: "Entry",
    recipe: Mapping[str, Any],
    config: str | None,
    given: Mapping[str, Any],
    assignments: Sequence[str],
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return (settings of training, settings of the system).

    given are the flags that were used. Raises Refusal for a key that neither has, and for a value
    of the wrong kind.
    """
    training, own = of_training(), of_system(entry)
    known = training | own
    chosen = dict(recipe)
    for key, value in (_read(config) if config else {}).items():
        chosen[key] = _typed(f"{config}: {key}", key, value, known, entry.id)
    for text in assignments:
        key, equals, value = text.partition("=")
        if not (key and equals):
            raise terms.Refusal(f"--set {text!r} is not KEY=VALUE, such as --set lr=1e-3")
        chosen[key] = _typed(f"--set {text}", key, _parse(value), known, entry.id)
    chosen |= {key: value for key, value in given.items() if value is not None}
    return (
        {key: value for key, value in chosen.items() if key in training},
        {key: value for key, value in chosen.items() if key not in training},
    )


def _types(made: Any, without: set[str]) -> dict[str, type]:
    hints = get_type_hints(made)
    return {f.name: hints[f.name] for f in fields(made) if f.name not in without}


def _read(path: str) -> dict[str, Any]:
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise terms.Refusal(f"--config {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise terms.Refusal(f"--config {path} is not TOML: {error}") from error


def _parse(text: str) -> Any:
    """Return what TOML makes of a value; a bare word is itself."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _typed(where: str, key: str, value: Any, known: Mapping[str, type], system: str) -> Any:
    if key not in known:
        raise terms.Refusal(
            f"{where}: {system} has no setting {key!r}; {terms.suggest(key, known)}"
        )
    kind = known[key]
    if kind is float and type(value) is int:
        value = float(value)
    if kind in KINDS and type(value) is not kind:
        raise terms.Refusal(f"{where}: {key} is {KINDS[kind]}, not {value!r}")
    return value
