"""The command: plant errors, name what catches each, and count."""

import argparse
import os
import sys

os.environ.setdefault("HYPOTHESIS_PROFILE", "mutants")

from tests.mutants.equivalents import EQUIVALENT
from tests.mutants.judge import caught_by
from tests.mutants.plant import LAWS, every, sample


def main() -> int:
    """Return 1 where an error survives that nobody has explained."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="of the draw (0)")
    parser.add_argument("--count", type=int, default=80, help="how many errors (80)")
    parser.add_argument("--page", help="only pages whose name contains this")
    parser.add_argument("--all", action="store_true", help="every error there is")
    args = parser.parse_args()
    pages = [page for page in LAWS if not args.page or args.page in page]
    if not pages:
        parser.error(f"no page contains {args.page!r}; there are {', '.join(LAWS)}")
    if args.all:
        mutants = [mutant for page in pages for mutant in every(page)]
    else:
        mutants = sample(pages, args.count, args.seed)
    survived = explained = 0
    for mutant in mutants:
        test = caught_by(mutant)
        reason = "" if test else EQUIVALENT.get(mutant.key, "")
        survived += not test and not reason
        explained += bool(reason)
        verdict = test or (f"none needed: {reason}" if reason else "SURVIVED")
        where = f"{mutant.page}:{mutant.line}"
        change = f"{short(mutant.before)}  ->  {short(mutant.after)}"
        print(f"{where:<26}{mutant.operator:<18}{change:<70}  {verdict}", flush=True)
    caught = len(mutants) - survived - explained
    print(
        f"{len(mutants)} errors planted: {caught} caught, {explained} that change nothing, "
        f"{survived} survived"
    )
    return 1 if survived else 0


def short(text: str) -> str:
    """Return a text that leaves room for another beside it."""
    return text if len(text) <= 33 else text[:30] + "..."


if __name__ == "__main__":
    sys.exit(main())
