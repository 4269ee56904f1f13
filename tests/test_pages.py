"""A page of refgen is a module: its docstrings state the equations, its lines cite them."""

import ast
import re
from pathlib import Path

import pytest

from refgen.systems import SYSTEMS

pytestmark = pytest.mark.tiny
ROOT = Path(__file__).parents[1]
SOURCES = [*sorted((ROOT / "refgen").rglob("*.py")), *sorted((ROOT / "kernels").rglob("*.py"))]
TAG = re.compile(r"\(([A-Z]+\.\d+)\)")
BIB = set(re.findall(r"^@\w+\{([^,]+),", (ROOT / "refgen" / "sources.bib").read_text(), re.M))
SOURCE_ID = re.compile(r"\b([a-z]+\d{4}[a-z]?(?:-[a-z0-9]+)*)\b")


def read(page: Path) -> tuple[list[str], set[str], str]:
    """Return the equations stated in docstrings, those cited in comments, and the docstrings."""
    text = page.read_text()
    kinds = (ast.Module, ast.FunctionDef, ast.ClassDef)
    nodes = [n for n in ast.walk(ast.parse(text)) if isinstance(n, kinds)]
    docs = "\n".join(ast.get_docstring(n) or "" for n in nodes)
    comments = [line.split("#", 1)[1] for line in text.splitlines() if "#" in line]
    stated = re.findall(TAG.pattern + r"$", docs, re.M)  # a statement ends its line
    return stated, {t for c in comments for t in TAG.findall(c)}, docs


PAGES = [p for p in SOURCES if "refgen_kernels" not in p.parts and read(p)[0]]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_equation_is_stated_once_and_implemented(page):
    stated, cited, _ = read(page)
    assert len(stated) == len(set(stated)), "an equation number is used twice"
    assert cited <= set(stated), f"cited but not stated: {cited - set(stated)}"
    assert set(stated) <= cited, f"stated but not cited: {set(stated) - cited}"


def test_the_hot_pages_are_pages():
    stems = {p.stem for p in PAGES}
    assert {"noise", "gaussian", "likelihood", "noising", "step", "coupling", "adam"} <= stems


@pytest.mark.parametrize("page", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_source_is_in_the_bibliography(page):
    _, _, docs = read(page)
    for block in re.findall(r"^Sources?:?\s+(.*?)(?:\n\s*\n|\Z)", docs, re.M | re.S):
        for source in SOURCE_ID.findall(block):
            assert source in BIB, f"{source} is not in refgen/sources.bib"


def test_the_bibliography_is_sorted():
    keys = re.findall(r"^@\w+\{([^,]+),", (ROOT / "refgen" / "sources.bib").read_text(), re.M)
    assert keys == sorted(keys)
    assert len(keys) == len(set(keys))


def lectures_of(module: str) -> set[int]:
    """Return the numbers of the lectures that a page names, without what it says of them."""
    text = (ROOT.joinpath(*module.split("."))).with_suffix(".py").read_text()
    line = re.search(r"^Lectures(.*?)(Source|$)", text, re.M)
    assert line is not None, module
    return {int(n) for n in re.findall(r"\d+", re.sub(r'\(.*?\)|".*?"', "", line[1]))}


@pytest.mark.parametrize("entry", SYSTEMS.values(), ids=SYSTEMS)
def test_the_registry_names_the_lectures_of_the_page(entry):
    assert set(entry.lectures) == lectures_of(entry.make.__module__)
