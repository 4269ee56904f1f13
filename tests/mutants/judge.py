"""The verdict on one planted error: the first test that fails with it, in a process of its own."""

import contextlib
import io
import json
import os
import signal
from collections.abc import Callable
from functools import cache

import pytest

from refgen.ops.catalog import CATALOG
from tests.mutants.plant import LAWS, Mutant

LONGEST = 900  # seconds, after which a child that does not end is ended
CRASH = " (it crashes)"
ENDLESS = "every test: it never ends"


class JudgeError(RuntimeError):
    """The judge could not judge: the tests fail without an error, or cannot run."""


class First:
    """Remembers the first test that failed, and whether it was by more than a comparison."""

    def __init__(self) -> None:
        self.test = ""
        self.crashed = False

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and not self.test:
            self.test = report.nodeid
            self.crashed = "AssertionError" not in report.longreprtext

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed and not self.test:
            self.test, self.crashed = report.nodeid, True


@cache
def must_pass(test: str) -> None:
    """Raise JudgeError unless a test passes while nothing is planted."""
    if _in_a_child(lambda: _first_of([test])):
        raise JudgeError(f"{test} fails with nothing planted; mend that first")


def caught_by(mutant: Mutant) -> str:
    """Return the name of the test that catches an error, "" where none does.

    A test catches an error if it fails with it and passes without. Raises JudgeError where a test
    fails without it too, or the tests cannot be run.
    """

    def judge() -> str:
        mutant.install()
        return _run(mutant.page)

    found, crash, _ = _in_a_child(judge).partition(CRASH)
    if found in ("", ENDLESS):
        return found
    must_pass(found)
    return found.rpartition("::")[2] + crash


def _in_a_child(judge: Callable[[], str]) -> str:
    """Return what a function answers in a process of its own, where wrong code lives and dies."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        signal.alarm(LONGEST)
        answer = {}
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                answer = {"found": judge()}
        except BaseException as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        finally:
            os.write(writing, json.dumps(answer).encode())
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        text = pipe.read()
    os.waitpid(child, 0)
    if not text:
        return ENDLESS
    result = json.loads(text)
    if "error" in result:
        raise JudgeError(result["error"])
    found: str = result["found"]
    return found


def _run(page: str) -> str:
    """Run the tests of a page, the cheapest first, up to the first that fails."""
    names = [op.name for op in CATALOG if f"ops/{op.page}" == page]
    words = " or ".join(f"[{name}]" for name in names)
    found = _first_of(["tests/test_catalog.py", "-k", words]) if names else ""
    return found or _first_of([f"tests/laws/{name}.py" for name in LAWS[page].split()])


def _first_of(tests: list[str]) -> str:
    """Return the first of some tests that fails, marked where it crashed, or ""."""
    first = First()
    quiet = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-m", "not slow"]
    code = pytest.main([*tests, *quiet], plugins=[first])
    if code not in (0, 1, 2) or bool(code) != bool(first.test):
        raise JudgeError(f"{' '.join(tests)}: pytest ended with {code}")
    return first.test + (CRASH if first.crashed else "")
