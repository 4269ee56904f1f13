"""`refgen cite`: the BibTeX of a paper, or of all that a system, a claim or a page names."""

import argparse
import ast
import importlib
import re
from pathlib import Path

import refgen
from refgen.cli import terms

EXAMPLE = """
refgen cite                       # every id
refgen cite kingma2014-vae        # one paper
refgen cite ddpm >> thesis.bib    # the sources of a system
refgen cite ops.gaussian          # the sources of a page
"""
ENTRY = re.compile(r"^@\w+\{([^,\s]+),.*?^\}", re.MULTILINE | re.DOTALL)


def add(commands: terms.Commands) -> None:
    """Declare the command."""
    p = terms.command(commands, "cite", run, "print the BibTeX of sources", EXAMPLE)
    p.add_argument("ids", nargs="*", metavar="ID", help="a paper, a system, a claim or a page")


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
    """Return the papers that a system, a claim or a page such as ops.gaussian names.

    Raises Refusal for anything else.
    """
    from refgen.claims import CLAIMS
    from refgen.systems import SYSTEMS

    root, claims = Path(refgen.__file__).parent, {claim.id: claim for claim in CLAIMS}
    pages = {".".join(p.relative_to(root).with_suffix("").parts): p for p in root.rglob("*.py")}
    if id in SYSTEMS:
        text = importlib.import_module(SYSTEMS[id].make.__module__).__doc__ or ""
    elif id in claims:
        text = "  ".join(claims[id].sources)
    elif id in pages:
        text = ast.get_docstring(ast.parse(pages[id].read_text(encoding="utf-8"))) or ""
    else:
        known = [*entries, *SYSTEMS, *claims, *pages]
        raise terms.Refusal(f"nothing is called {id!r}; {terms.suggest(id, known)}")
    found = [key for key in entries if re.search(rf"(?<![\w-]){re.escape(key)}(?![\w-])", text)]
    if not found:
        raise terms.Refusal(f"{id} names no paper: it comes from the lectures themselves")
    return found


def _title(entry: str) -> str:
    found = re.search(r"title = \{(.*)\},", entry)
    return re.sub(r"[{}]", "", found[1]) if found else ""
