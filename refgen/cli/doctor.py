"""`refgen doctor`: what this machine has, and the command that brings what it lacks."""

import argparse

import refgen
from refgen.cli import machine, terms

EXAMPLE = """
refgen doctor
refgen doctor --warm                            # compile every kernel now
refgen doctor --json -
"""


def add(commands: terms.Commands) -> None:
    """Declare the command."""
    p = terms.command(commands, "doctor", run, "look at this machine", EXAMPLE)
    p.add_argument("--json", metavar="FILE|-", type=terms.json_target, help="write the findings")
    p.add_argument("--warm", action="store_true", help="compile every CPU kernel and keep it")


def run(args: argparse.Namespace) -> int:
    """Print what was found; 3 when the CPU path cannot work."""
    found = machine.look()
    works = all(f.ok for f in found if f.needed)
    if args.warm:
        _warm()
    if args.json != "-":
        print(_table(found))
        verdict = "the CPU path works" if works else "the CPU path does not work"
        print(f"\n{terms.paint(verdict, 'green' if works else 'red')}")
    if args.json:
        found = [f._replace(mend="") if f.ok else f for f in found]
        document = {"refgen": refgen.__version__, "ok": works}
        terms.write_json(document | {"findings": [f._asdict() for f in found]}, args.json)
    return terms.OK if works else terms.MISSING


def _warm() -> None:
    """Compile every kernel, with a bar. Raises Refusal, code 3, where they cannot run."""
    from refgen.cli.backends import choose
    from refgen.cli.progress import Progress

    choose("numba")
    from refgen_kernels.numba_cpu.warming import warm_up

    bar: Progress | None = None
    for name, done, total in warm_up():
        bar = bar or Progress(total, "op")
        bar.to(done, name)
    if bar:
        bar.__exit__()


def _table(found: list[machine.Finding]) -> str:
    rows = []
    for f in found:
        mark = terms.paint("ok", "green") if f.ok else terms.paint("--", "yellow")
        rows.append([mark, f.name, f.found])
        if f.mend and not f.ok:
            rows.append(["", "", f"-> {f.mend}"])
    return terms.table(["", "", ""], rows).lstrip("\n")
