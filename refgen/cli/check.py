"""`refgen check`: the reader's own loss and gradient, judged and diagnosed."""

import argparse
import json
from pathlib import Path

from refgen.cli import terms

EXAMPLE = """
refgen check --new mine      # writes mine.py, a correct derivation to start from
refgen check mine.py
refgen check mine.py --json report.json
"""


def add(commands: terms.Commands) -> None:
    """Declare the command."""
    p = terms.command(commands, "check", run, "judge a derivation of your own", EXAMPLE)
    p.add_argument("file", nargs="?", metavar="FILE.py", help="defines params, loss and grads")
    p.add_argument("--new", metavar="NAME", help="write NAME.py to start from")
    p.add_argument("--json", metavar="FILE|-", type=terms.json_target, help="write the report")


def run(args: argparse.Namespace) -> int:
    """Print the report; 1 unless every parameter agrees."""
    if (args.file is None) == (args.new is None):
        raise terms.Refusal("name either a FILE.py to judge or --new NAME to start one")
    if args.new is not None:
        return _start(args.new)
    from refgen.check import DerivationError, check_grad, load_derivation

    with terms.refusing(DerivationError):
        derivation = load_derivation(args.file)
    with terms.refusing():
        report = check_grad(
            derivation.loss, derivation.grads, derivation.params, sizes=derivation.sizes
        )
    if args.json != "-":
        print(report)
    if args.json:
        terms.write_json(json.loads(report.to_json()), args.json)
    return terms.OK if report.ok else terms.FAILED


def _start(name: str) -> int:
    path = Path(name if name.endswith(".py") else f"{name}.py")
    if not path.stem.isidentifier():
        raise terms.Refusal(f"{path.stem!r} is no name for a Python file: use letters, digits, _")
    if path.exists():
        raise terms.Refusal(f"{path} exists and is left as it is: choose another name")
    if not path.parent.is_dir():
        raise terms.Refusal(f"{path}: the folder {str(path.parent)!r} is missing")
    from refgen.check.loading import stub

    terms.write_whole(path, stub(path.stem).encode())
    print(f"wrote {path}; it agrees as it stands: `refgen check {path}`. Now make it yours.")
    return terms.OK
