"""Plants each bug in a copy of the kernels, runs the layer that should see it, prints a table."""

import argparse
import importlib
import os
import pkgutil
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from tests.kernels.cuda import mutants
from tests.kernels.cuda.host import sanitized_environment
from tests.kernels.cuda.mutants import Mutant

ROOT = Path(__file__).parents[4]
HERE = "tests/kernels/cuda"
SANITIZED = {"address": ("AddressSanitizer", "runtime error"), "thread": ("ThreadSanitizer",)}


class Verdict(NamedTuple):
    """Whether a bug was caught, and the line that says how."""

    caught: bool
    words: str


def families() -> dict[str, list[Mutant]]:
    """Return family -> its bugs."""
    names = sorted(m.name for m in pkgutil.iter_modules(mutants.__path__) if m.name != "__main__")
    pages = {name: importlib.import_module(f"{mutants.__name__}.{name}") for name in names}
    return {name: page.MUTANTS for name, page in pages.items()}


def plant(mutant: Mutant, folder: Path) -> None:
    """Copy the kernels and change one place. Raises ValueError unless it is there once."""
    copy = folder / "kernels" / "refgen_kernels"
    shutil.copytree(ROOT / "kernels/refgen_kernels", copy, ignore=shutil.ignore_patterns("__py*"))
    found = [
        file
        for suffix in (".cu", ".cuh", ".py")
        if (file := copy / mutant.backend / f"{mutant.stem}{suffix}").exists()
        and file.read_text().count(mutant.old) == 1
    ]
    if len(found) != 1:
        raise ValueError(f"{mutant.backend}/{mutant.stem} does not hold {mutant.old!r} once")
    found[0].write_text(found[0].read_text().replace(mutant.old, mutant.new))


def command(family: str, mutant: Mutant) -> tuple[list[str], dict[str, str]]:
    """Return what runs a layer, and its environment. Raises FileNotFoundError without a tool."""
    pytest = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
    if mutant.layer in ("nvrtc", "ptx"):
        which = f"numba_kernel and {mutant.stem}" if mutant.layer == "ptx" else mutant.stem
        return [*pytest, f"{HERE}/test_cuda_compiles.py", "-k", which], dict(os.environ)
    if mutant.layer == "simulator":
        run = [sys.executable, "-m", "tests.kernels.cuda.simulated"]
        return run, {**os.environ, "NUMBA_ENABLE_CUDASIM": "1"}
    tests = [f"{HERE}/test_cuda_{family}.py"]
    if mutant.layer not in SANITIZED:
        return [*pytest, *tests], dict(os.environ)
    environment, first = sanitized_environment(mutant.layer)
    environment |= {"REFGEN_SANITIZE": mutant.layer, "REFGEN_EXAMPLES": "5"}
    return [*first, *pytest, "-s", *tests], environment


def judge(family: str, mutant: Mutant) -> Verdict:
    """Plant a bug, run its layer and read what it says."""
    with tempfile.TemporaryDirectory() as folder:
        plant(mutant, Path(folder))
        words, environment = command(family, mutant)
        environment["PYTHONPATH"] = f"{folder}/kernels:{ROOT}"
        done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True)
    said = done.stdout + done.stderr
    lines = [line.strip() for line in said.splitlines()]
    signs = SANITIZED.get(mutant.layer, ("Error", "error:", "FAILED"))
    first = next((line for line in lines if any(sign in line for sign in signs)), "")
    return Verdict(done.returncode != 0 and bool(first), first or (lines or [""])[-1])


def main() -> int:
    """Print a line a bug."""
    known = families()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("family", nargs="*", choices=[[], *known], metavar="FAMILY")
    chosen = parser.parse_args().family or list(known)
    planted = [(family, m) for family in chosen for m in known[family]]
    missed = 0
    print(f"{'kernel':34}{'bug':34}{'layer':11}{'':8}what it said")
    with ThreadPoolExecutor(2) as pool:
        for (_, m), found in zip(planted, pool.map(lambda one: judge(*one), planted), strict=True):
            missed += not found.caught
            state = "caught" if found.caught else "MISSED"
            words = found.words[:90]
            print(
                f"{m.backend + '/' + m.stem:34}{m.kind:34}{m.layer:11}{state:8}{words}", flush=True
            )
    print(f"{len(planted) - missed} of {len(planted)} caught")
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
