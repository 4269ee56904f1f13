"""How the command line speaks: refusals with exit codes, suggestions, files written whole, colour.

Data go to stdout; progress, log and refusals go to stderr. This module imports nothing heavy, so
that `refgen --help` answers at once.
"""

import argparse
import difflib
import importlib
import json
import math
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NoReturn, TypeAlias

OK, FAILED, USAGE, MISSING, NUMERIC = 0, 1, 2, 3, 4  # exit codes; 130 and 143 are interruptions
Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
COLOURS = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33"}


class Refusal(Exception):
    """What the reader asked cannot be done: a paragraph that says what, where and how to mend."""

    def __init__(self, message: str, code: int = USAGE) -> None:
        super().__init__(message)
        self.code = code


class Parser(argparse.ArgumentParser):
    """A parser that raises Refusal instead of printing its usage and leaving."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("allow_abbrev", False)
        kwargs.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(*args, **kwargs)

    def error(self, message: str) -> NoReturn:
        """Refuse, and say where the accepted values stand."""
        raise Refusal(f"{message}; `{self.prog} --help` lists what is accepted")


def command(
    commands: Commands,
    name: str,
    run: Callable[[argparse.Namespace], int],
    about: str,
    example: str,
) -> argparse.ArgumentParser:
    """Return the parser of a new command, with its example at the end of its help."""
    lines = "\n".join(f"  {line}" for line in example.strip().splitlines())
    new: argparse.ArgumentParser = commands.add_parser(
        name, help=about, description=f"{about[0].upper()}{about[1:]}.", epilog=f"example:\n{lines}"
    )
    new.set_defaults(run=run, parser=new)
    return new


def flags(of: argparse.ArgumentParser) -> list[str]:
    """Return the long options of a parser."""
    return sorted(set(re.findall(r"--[a-z][\w-]*", of.format_help())))


@contextmanager
def refusing(errors: type[Exception] = ValueError, code: int = USAGE) -> Iterator[None]:
    """Turn the library's own errors about bad input, ValueError by default, into a Refusal."""
    try:
        yield
    except errors as error:
        raise Refusal(str(error), code) from error


def suggest(name: str, known: Iterable[str]) -> str:
    """Return "did you mean 'x'?", or the list of what exists where nothing is near."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, 1) or [
        k for k in names if k.startswith(name) or (len(k) > 2 and name.startswith(k))
    ]
    if near:
        return f"did you mean {near[0]!r}?"
    return f"there are {', '.join(names)}" if names else "there are none"


def need(module: str, extra: str) -> Any:
    """Import an optional module. Raises Refusal, code 3, naming the extra that brings it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise Refusal(
            f'{module} is not installed ({error}): pip install "refgen[{extra}]"', MISSING
        ) from error


def integer(low: int, high: int | None = None) -> Callable[[str], int]:
    """Return an argparse type: an integer of low or more, and at most high."""
    span = f"{low} or more" if high is None else f"{low} .. {high}"

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = None
        if value is None or value < low or (high is not None and value > high):
            raise argparse.ArgumentTypeError(f"{text!r} is not an integer, {span}")
        return value

    return parse


def positive(text: str) -> float:
    """Return a float above 0, as an argparse type."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (value > 0 and math.isfinite(value)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number")
    return value


SEED = integer(0, 2**32 - 1)


def json_target(text: str) -> str:
    """Return "-" or the path of a file that can be written, as an argparse type."""
    return text if text == "-" else file_target(text)


def file_target(text: str) -> str:
    """Return the path of a file that can be written, checked before the work, not after it."""
    path = Path(text)
    if not text or path.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} is a folder: name a file")
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r}: the folder {str(path.parent)!r} is missing")
    if not os.access(path.parent, os.W_OK):
        raise argparse.ArgumentTypeError(f"{text!r}: the folder {str(path.parent)!r} is read-only")
    return text


def picture_target(text: str) -> str:
    """Return the path of a PNG file that can be written, as an argparse type."""
    if not text.lower().endswith(".png"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a .png: pictures are written as PNG")
    return file_target(text)


def write_json(document: dict[str, Any], target: str) -> None:
    """Write one document with its schema number to stdout ("-") or, whole or not at all, a file."""
    text = json.dumps(_finite({"schema": 1, **document}), indent=2, ensure_ascii=False) + "\n"
    if target == "-":
        sys.stdout.write(text)
    else:
        write_whole(Path(target), text.encode())
        say(f"wrote {target}")


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that its name never holds half of it."""
    from refgen.training import files

    files.write_whole(path, lambda file: file.write(content))


def say(text: str = "") -> None:
    """Print a line of log."""
    print(text, file=sys.stderr, flush=True)


def several(count: int, thing: str) -> str:
    """Return a count of things in words.

    >>> several(1, "step"), several(2000, "step")
    ('1 step', '2,000 steps')
    """
    return f"{count:,} {thing}" + "s" * (count != 1)


def paint(text: str, colour: str, stream: IO[str] | None = None) -> str:
    """Return text in a colour where the stream is a terminal that wants it."""
    stream = stream or sys.stdout
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    if plain or not stream.isatty():
        return text
    return f"\033[{COLOURS[colour]}m{text}\033[0m"


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return aligned columns, left to right."""
    lines = [list(head), *(list(row) for row in rows)]
    widths = [max(map(_width, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell + " " * (w - _width(cell)) for cell, w in zip(line, widths, strict=True)
        ).rstrip()
        for line in lines
    )


def _width(cell: str) -> int:
    return len(re.sub(r"\033\[\d+m", "", cell))


def _finite(value: Any) -> Any:
    """Return the value with null for numbers that JSON does not have."""
    if isinstance(value, dict):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
