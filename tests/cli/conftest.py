"""A command line in a folder of its own: exit code, stdout and stderr."""

from typing import NamedTuple

import pytest

from refgen.cli import main


class Answer(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    """Return the folder of judges: trained once for all tests, and nothing in the user's home."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def refgen(tmp_path, monkeypatch, capsys, cache):
    monkeypatch.setenv("REFGEN_CACHE", str(cache))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("REFGEN_DEBUG", raising=False)

    def run(*words) -> Answer:
        code = main([str(word) for word in words])
        return Answer(code, *capsys.readouterr())

    return run
