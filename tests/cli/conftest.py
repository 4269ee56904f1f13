"""A command line in a folder of its own: exit code, stdout and stderr."""

from typing import NamedTuple

import pytest

from refgen.cli import main


class Answer(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def refgen(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("REFGEN_DEBUG", raising=False)

    def run(*words) -> Answer:
        code = main([str(word) for word in words])
        return Answer(code, *capsys.readouterr())

    return run
