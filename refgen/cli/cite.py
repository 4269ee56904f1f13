"""`refgen cite`: the BibTeX of a paper, or of all the sources of a system or a claim."""

import argparse
import importlib
import re
from pathlib import Path

import refgen
from refgen.cli import terms

EXAMPLE = """
refgen cite                       # every id
refgen cite kingma2014-vae        # one paper
refgen cite ddpm >> thesis.bib    # the sources of a system
"""
ENTRY = re.compile(r"^@\w+\{([^,\s]+),.*?^\}", re.MULTILINE | re.DOTALL)


def add(commands: terms.Commands) -> None:
    """Declare the command."""
    p = terms.command(commands, "cite", run, "print the BibTeX of papers, systems, claims", EXAMPLE)
    p.add_argument("ids", nargs="*", metavar="ID", help="a paper, a system or a claim")


def run(args: argparse.Namespace) -> int:
    """Print each entry once, in the order asked for; without ids, list them."""
    entries = bibliography()
    if not args.ids:
        print("\n".join(f"{id:<34}{_title(entry)}" for id, entry in entries.items()))
        return terms.OK
    wanted: dict[str, None] = {}
    for id in args.ids:
        wanted |= dict.fromkeys([id] if id in entries else sources(id, entries))
    print("\n\n".join(entries[id] for id in wanted))
    return terms.OK


def bibliography() -> dict[str, str]:
    """Return id -> BibTeX entry, in the order of sources.bib."""
    text = (Path(refgen.__file__).parent / "sources.bib").read_text(encoding="utf-8")
    return {found[1]: found[0] for found in ENTRY.finditer(text)}


def sources(id: str, entries: dict[str, str]) -> list[str]:
    """Return the papers that a system or a claim names. Raises Refusal for anything else."""
    from refgen.systems import SYSTEMS

    if id in SYSTEMS:
        text = importlib.import_module(SYSTEMS[id].make.__module__).__doc__ or ""
    else:
        raise terms.Refusal(f"nothing is called {id!r}; {terms.suggest(id, [*entries, *SYSTEMS])}")
    found = [key for key in entries if re.search(rf"(?<![\w-]){re.escape(key)}(?![\w-])", text)]
    if not found:
        raise terms.Refusal(f"{id} names no paper: it comes from the lectures themselves")
    return found


def _title(entry: str) -> str:
    found = re.search(r"title = \{(.*)\},", entry)
    return re.sub(r"[{}]", "", found[1]) if found else ""
