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


class JudgeError(RuntimeError):
    """The judge could not judge: the tests fail without an error, or cannot run."""


class First:
    """Remembers the first test that failed, and whether it was by more than a comparison."""

    def __init__(self) -> None:
        self.test = ""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and not self.test:
            compared = "AssertionError" in report.longreprtext
            self.test = report.nodeid.partition("::")[2] + ("" if compared else " (it crashes)")


@cache
def must_pass(page: str) -> None:
    """Raise JudgeError unless the tests of a page pass while nothing is planted."""
    found = _in_a_child(lambda: _run(page))
    if found:
        raise JudgeError(f"{page}: {found} fails with nothing planted; mend that first")


def caught_by(mutant: Mutant) -> str:
    """Return the name of the test that catches an error, "" where none does.

    Raises JudgeError where the tests do not pass without it, or cannot be run with it.
    """

    def judge() -> str:
        mutant.install()
        return _run(mutant.page)

    must_pass(mutant.page)
    return _in_a_child(judge)


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
        return "nothing: it never ends"
    result = json.loads(text)
    if "error" in result:
        raise JudgeError(result["error"])
    found: str = result["found"]
    return found


def _run(page: str) -> str:
    """Run the tests of a page, the cheapest first, up to the first that fails."""
    quiet = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-m", "not slow"]
    names = [op.name for op in CATALOG if f"ops/{op.page}" == page]
    if names:
        words = " or ".join(f"[{name}]" for name in names)
        first = First()
        tests = ["tests/test_catalog.py", "-k", words]
        code = pytest.main([*tests, *quiet], plugins=[first])
        if code == 1:
            return first.test
        if code != 0:
            raise JudgeError(f"{page}: pytest ended with {code}")
    files = [f"tests/laws/{name}.py" for name in LAWS[page].split()]
    first = First()
    code = pytest.main([*files, *quiet], plugins=[first])
    if code not in (0, 1):
        raise JudgeError(f"{page}: pytest ended with {code}")
    return first.test
