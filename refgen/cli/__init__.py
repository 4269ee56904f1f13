"""The command line: one module a command, each with `add(commands)` and `run(args)`.

    main(argv) -> exit code    0 ok, 1 a check failed, 2 usage or bad input, 3 not installed,
                               4 numeric failure, 130 / 143 interrupted with the state saved

A command imports what it needs inside `run`, so that help needs nothing but the standard library.
"""

import argparse
import os
import sys
import traceback
from collections.abc import Sequence

import refgen
from refgen.cli import check, cite, doctor, sample, systems, terms, train, verify

__all__ = ["main", "parser"]

COMMANDS = (verify, check, systems, train, sample, doctor, cite)
NAMES = tuple(module.__name__.rpartition(".")[2] for module in COMMANDS)
ABOUT = """\
A reference of generative models: gradients by hand, equations as executable claims.

  refgen verify                        run every claim
  refgen check mine.py                 have your own derivation judged
  refgen train ddpm --data toy:moons   train a system, with pictures on the way
  refgen doctor                        what this machine has, and what it lacks
"""


def parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    top = terms.Parser(prog="refgen", description=ABOUT)
    top.add_argument("--version", action="version", version=f"refgen {refgen.__version__}")
    commands = top.add_subparsers(metavar="COMMAND", title="commands")
    for module in COMMANDS:
        module.add(commands)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code; nothing but a bug lets an error through."""
    words = list(sys.argv[1:] if argv is None else argv)
    top = parser()
    name = f"refgen {words[0]}" if words and words[0] in NAMES else "refgen"
    try:
        if not words:
            top.print_help()
            return terms.OK
        return _run(top, words)
    except SystemExit as leave:  # --help and --version
        return leave.code if isinstance(leave.code, int) else terms.OK
    except terms.Refusal as refusal:
        terms.say(f"{terms.paint(name, 'bold', sys.stderr)}: {refusal}")
        return refusal.code
    except KeyboardInterrupt:
        terms.say(f"{name}: interrupted")
        return 130
    except BrokenPipeError:  # the reader of our output has gone: `refgen systems | head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return terms.OK
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("refgen"):
            return _internal(name, error)
        terms.say(f"{name}: {error.name} is not installed: pip install {error.name}")
        return terms.MISSING
    except MemoryError as error:
        terms.say(f"{name}: not enough memory ({error}): ask for less at a time")
        return terms.USAGE
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        kept = "; what was saved before is whole: mend that, then --resume"
        mend = kept if words[:1] == ["train"] else ""
        terms.say(f"{name}: {where}{error.strerror or error}{mend}")
        return terms.USAGE
    except Exception as error:
        return _internal(name, error)


def _internal(name: str, error: Exception) -> int:
    if os.environ.get("REFGEN_DEBUG"):
        traceback.print_exc()
    else:
        said = " ".join(str(error).split())
        terms.say(
            f"{name}: internal error, {type(error).__name__}: {said}. This is a bug in refgen. "
            "Please report it with the command line and with what the same command prints when "
            "the environment variable REFGEN_DEBUG is 1."
        )
    return terms.FAILED


def _run(top: argparse.ArgumentParser, words: list[str]) -> int:
    if not words[0].startswith("-") and words[0] not in NAMES:
        raise terms.Refusal(f"unknown command {words[0]!r}; {terms.suggest(words[0], NAMES)}")
    args, extra = top.parse_known_args(words)
    if "run" not in args:
        raise terms.Refusal(f"unknown option {words[0]!r}; `refgen --help` lists what there is")
    for word in extra:
        if word.startswith("-"):
            flag = word.partition("=")[0]
            raise terms.Refusal(
                f"unknown option {flag!r}; {terms.suggest(flag, terms.flags(args.parser))}"
            )
        raise terms.Refusal(f"{word!r} is one argument too many")
    code: int = args.run(args)
    sys.stdout.flush()
    return code
