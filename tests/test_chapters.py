"""Every >>> in every docstring and every README.md runs, and every chapter is there."""

import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import pytest

import refgen
import refgen_kernels

ROOT = Path(__file__).parents[1]
CHAPTERS = [p for p in sorted(ROOT.rglob("README.md")) if ".venv" not in p.parts]
FENCE = re.compile(r"^```python\n(.*?)^```", re.S | re.M)
FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
GPU = ("cupy_cuda", "numba_cuda")
MODULES = sorted(
    m.name
    for package in (refgen, refgen_kernels)
    for m in pkgutil.walk_packages(package.__path__, package.__name__ + ".")
    if not m.name.endswith("__main__") and not any(g in m.name for g in GPU)
)


def run(test: doctest.DocTest, namespace: dict) -> list[str]:
    """Run one test in a namespace that later blocks share; return the failures."""
    report: list[str] = []
    doctest.DocTestRunner(optionflags=FLAGS).run(test, out=report.append, clear_globs=False)
    namespace |= test.globs
    return [r for r in report if r.strip()]


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda p: str(p.relative_to(ROOT)))
def test_the_examples_of_a_chapter_are_true(chapter, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text, namespace, parser = chapter.read_text(), {}, doctest.DocTestParser()
    for fence in FENCE.finditer(text):
        line = text.count("\n", 0, fence.start()) + 1
        test = parser.get_doctest(fence[1], namespace, str(chapter), str(chapter), line)
        assert run(test, namespace) == []


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_are_true(name):
    module = importlib.import_module(name)
    failures = []
    for test in doctest.DocTestFinder(exclude_empty=True).find(module):
        failures += run(test, {})
    assert failures == []


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda p: str(p.relative_to(ROOT)))
def test_the_links_of_a_chapter_lead_somewhere(chapter):
    for target in re.findall(r"\]\(([^)#]+)\)", chapter.read_text()):
        if "://" not in target:
            assert (chapter.parent / target).exists(), f"{target} does not exist"


def test_a_wrong_example_is_noticed():
    wrong = doctest.DocTestParser().get_doctest(">>> 1 + 1\n3\n", {}, "wrong", None, 0)
    assert run(wrong, {})


def test_every_package_has_its_chapter():
    packages = {p.parent for p in (ROOT / "refgen").glob("*/__init__.py")} | {ROOT / "kernels"}
    missing = {p.name for p in packages if not (p / "README.md").exists()} - {"cli"}
    assert missing == set()
