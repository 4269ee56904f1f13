"""`refgen verify`: the equations of the lectures, beside the wrong forms that they must catch."""

import argparse
import sys
import time
from typing import TYPE_CHECKING, Any

from refgen.cli import terms
from refgen.cli.progress import Progress, clock

if TYPE_CHECKING:
    from refgen.claims import Verdict

EXAMPLE = """
refgen verify                          # everything
refgen verify "ddpm.*" vae.kl          # by name; a name also stands for all that begin with it
refgen verify --family flows --cases 64 --seed 1
refgen verify --errata --json report.json
"""


def add(commands: terms.Commands) -> None:
    """Declare the command."""
    p = terms.command(commands, "verify", run, "check the equations of the lectures", EXAMPLE)
    p.add_argument("patterns", nargs="*", metavar="PATTERN", help="claims by name, * allowed")
    p.add_argument("--family", metavar="F", default="", help="claims of one family")
    p.add_argument("--errata", action="store_true", help="also the misprints, and what is right")
    p.add_argument("--seed", metavar="S", type=terms.SEED, default=0, help="of the cases (0)")
    p.add_argument("--cases", metavar="N", type=terms.integer(1), default=8, help="a claim (8)")
    p.add_argument("--json", metavar="FILE|-", type=terms.json_target, help="write the report")
    p.add_argument("--quiet", action="store_true", help="no log and no bar")


def run(args: argparse.Namespace) -> int:
    """Print the table; 1 if a claim fails, or lets a wrong form pass."""
    from refgen.claims import CLAIMS, ERRATA, select, verify, verify_errata

    with terms.refusing():
        claims = select(CLAIMS, args.patterns, args.family)
    began = time.monotonic()
    with Progress(len(claims), "claim", quiet=args.quiet) as progress:
        progress.say(f"checking {len(claims)} claims, {args.cases} cases each, seed {args.seed}")
        report = verify(claims, args.seed, args.cases, _Follow(progress))
    document: dict[str, Any] = report.to_json()
    text, ok = report.table(), report.ok
    if args.errata:
        if not args.quiet:
            terms.say(f"checking {len(ERRATA)} errata")
        misprints = verify_errata(ERRATA, args.seed, args.cases)
        document["errata"] = misprints.to_json()["errata"]
        text, ok = f"{text}\n\n{misprints.table()}", ok and misprints.ok
    if args.json != "-":
        text = text.replace("FAILED", terms.paint("FAILED", "red"))
        print(f"{text}, {clock(time.monotonic() - began)}")
    if args.json:
        terms.write_json(document, args.json)
    return terms.OK if ok else terms.FAILED


class _Follow:
    """Says which claim, on a terminal, or which family is being checked."""

    def __init__(self, progress: Progress) -> None:
        self.progress, self.done, self.failed = progress, 0, 0
        self.family = ""

    def __call__(self, verdict: "Verdict") -> None:
        self.done += 1
        self.failed += not verdict.passed
        if not sys.stderr.isatty() and verdict.claim.family != self.family:
            self.family = verdict.claim.family
            self.progress.say(f"  {self.family}")
        note = f"{self.failed} failed  " if self.failed else ""
        self.progress.to(self.done, f"{note}{verdict.claim.id}")
