"""The command: who takes part, who is missing, what it writes, and how long rounds are."""

import doctest
import importlib
import inspect
import json
import subprocess
import sys

import numpy as np
import pytest

from benchmarks import __main__ as command
from benchmarks import contenders, duel, machine
from benchmarks.contenders import CONTENDERS, Contender
from benchmarks.duel import Worker
from benchmarks.machine import ROOT
from benchmarks.report import document, rows_of, text
from benchmarks.sizes import BY_KEY, choose
from benchmarks.timing import Timing

CASE = BY_KEY["noising_forward:64x32x32x3"]


class Played:
    """A worker that answers as it is told."""

    def __init__(self, name, loaded, seconds=0.001):
        self.name, self.loaded, self.seconds, self.blocks = name, loaded, seconds, []
        self.process = type("Process", (), {"pid": None})()

    def ask(self, command, *arguments):
        if command == "run":
            self.blocks.append(arguments)
            return self.seconds
        if isinstance(self.loaded, Exception):
            raise self.loaded
        return dict(self.loaded)


RIGHT = {"error": 0.0, "allowed": 1e-6, "rule": "page", "seconds": 0.001, "about": {}}
WRONG = {**RIGHT, "error": 1.0}


@pytest.fixture
def idle(monkeypatch):
    """Let nobody count ticks: no waiting, no noise."""
    monkeypatch.setattr(duel, "busy_ticks", lambda: None)
    monkeypatch.setattr(duel, "wait_until_idle", lambda limit: True)


@pytest.mark.tiny
@pytest.mark.usefixtures("idle")
def test_a_wrong_contender_gets_no_time():
    right, wrong = Played("numpy", RIGHT), Played("numba", WRONG)
    timings, absent = duel.run(CASE, [right, wrong], 3, 1.0)
    assert timings["numpy"].seconds == [0.001] * 3
    assert (timings["numba"].right, timings["numba"].seconds, wrong.blocks) == (False, [], [])
    assert absent == []


@pytest.mark.tiny
@pytest.mark.usefixtures("idle")
def test_a_contender_that_fails_or_cannot_is_left_out_with_its_reason():
    skipped = Played("numba", {"skipped": "the table has no future_op"})
    failed = Played("torch", RuntimeError("torch: out of memory"))
    timings, absent = duel.run(CASE, [Played("numpy", RIGHT), skipped, failed], 3, 1.0)
    assert list(timings) == ["numpy"]
    assert absent == ["numba: the table has no future_op", "torch: out of memory"]


@pytest.mark.tiny
@pytest.mark.usefixtures("idle")
def test_a_contender_that_has_no_such_case_is_not_asked():
    last = Played("torch-last", RuntimeError("asked"))  # noising has no layout to choose
    assert duel.run(CASE, [Played("numpy", RIGHT), last], 3, 1.0)[1] == []


@pytest.mark.tiny
@pytest.mark.usefixtures("idle")
def test_a_slow_contender_takes_part_in_fewer_rounds_and_needs_no_warming_up():
    slow = Played("numpy", {**RIGHT, "seconds": 2.0}, 2.0)
    fast = Played("numba", RIGHT)
    timings, _ = duel.run(CASE, [slow, fast], 11, 5.0)
    assert timings["numpy"].seconds == [2.0, 2.0]
    assert len(timings["numba"].seconds) == 11
    assert slow.blocks[0] == (1, 0)  # calls, calls before
    assert fast.blocks[0] == (30, 1)


@pytest.mark.tiny
def test_a_block_in_which_others_worked_is_repeated_and_marked(monkeypatch):
    monkeypatch.setattr(duel, "wait_until_idle", lambda limit: True)
    monkeypatch.setattr(duel, "process_ticks", lambda pid: 0)
    ticks = iter([0, 50, 50, 51])  # 50 at first, then 1
    monkeypatch.setattr(duel, "busy_ticks", lambda: next(ticks))
    worker = Played("numpy", RIGHT)
    timings, _ = duel.run(CASE, [worker], 1, 60.0)
    assert (timings["numpy"].noisy, len(worker.blocks)) == ([False], 2)
    monkeypatch.setattr(duel, "busy_ticks", iter(range(0, 10**6, 50)).__next__)
    timings, _ = duel.run(CASE, [worker], 1, 60.0)
    assert timings["numpy"].noisy == [True]


def test_a_missing_contender_is_named_and_left_out(monkeypatch, capsys):
    monkeypatch.setitem(CONTENDERS, "ghost", Contender("ghost"))
    workers, about = [Worker("ghost")], {}
    assert command._versions(workers, about) == ["ghost"]
    assert workers == []
    assert "No module named 'benchmarks.contenders_ghost'" in capsys.readouterr().err


def test_a_worker_judges_and_times_in_a_process_of_its_own(tmp_path):
    worker = Worker("numpy")
    try:
        versions = worker.ask("versions")
        loaded = worker.ask("load", CASE.key, str(tmp_path))
        seconds = worker.ask("run", 2, 1)
    finally:
        worker.close()
    assert versions["numpy"] == np.__version__
    assert 0 <= loaded["error"] <= loaded["allowed"]
    assert loaded["about"] == {"run_by": "refgen.ops.noising"}
    assert seconds > 0
    assert (tmp_path / "expected.npz").exists()


def test_the_limits_move_what_they_say_and_multiply():
    from benchmarks import contenders_limit

    reads, writes = [64 * 1000, 128], [64 * 2000]
    for part, past in contenders_limit.KINDS:
        move = contenders_limit._mover(reads, writes)
        memory = inspect.getclosurevars(move).nonlocals["memory"]
        move(part, past)
        start = sum(reads) + 2 * contenders_limit.APART
        assert (memory[start : start + writes[0]] != 1.0).all()  # every number was written
        assert (memory[: reads[0]] == 1.0).all()
    assert contenders_limit._large((10**6, 70, 10**4), 4 * 10**6) == [10**6, 10**4 + 48]
    assert contenders_limit.peak() > 1e8


def test_the_environment_is_what_a_reader_needs_and_names_nobody():
    about = machine.environment()
    assert {"cpu", "cores", "caches", "commit", "load", "command", "threads"} <= set(about)
    assert machine.device("Some CPU (R) 3000 @ 2 GHz (family 6, model 1)") == (
        "cpu-some-cpu-r-3000-2-ghz-family6"
    )
    found = machine.blas()
    assert found == {} or found["threads"] >= 1


@pytest.mark.tiny
def test_a_core_type_of_the_user_does_not_reach_contenders_without_one(monkeypatch):
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Zen")
    assert "OPENBLAS_CORETYPE" not in contenders.environment("numpy")
    assert contenders.environment("numba-coretype")["OPENBLAS_CORETYPE"] == "SkylakeX"


@pytest.mark.tiny
def test_without_avx512_there_is_no_core_type_to_tell(monkeypatch):
    monkeypatch.setattr(contenders, "has_avx512", lambda: False)
    assert contenders.backends() == ["numpy", "numba"]


@pytest.mark.tiny
def test_a_mistyped_name_is_a_mistake_of_usage(capsys):
    assert command.main(["--op", "convolution9"]) == 2
    assert "noising_drawn" in capsys.readouterr().err
    assert command.main(["--backend", "numbat"]) == 2
    assert command.main(["--table", "no such file"]) == 2


@pytest.mark.tiny
def test_a_table_is_printed_from_a_result(tmp_path, capsys):
    about = {"cpu": "some CPU", "cores": 2, "date": "2026-01-01", "commit": "abc1234"}
    quick = BY_KEY["noising_drawn:64x32x32x3"]
    rows = rows_of(quick, {"numba": Timing(1e-7, 1e-6, "page", [1.0], [False])})
    file = tmp_path / "result.json"
    file.write_text(text(document(about, rows, {}, 1e11)))
    assert command.main(["--table", str(file)]) == 0
    assert "| `noising_drawn` | 64x32x32x3 |" in capsys.readouterr().out
    file.write_text("{}")
    assert command.main(["--table", str(file)]) == 2


@pytest.mark.tiny
def test_quick_runs_wait_for_no_compiler():
    assert command._torch("none", True) == []
    assert "torch-compile" in command._torch("torch", False)
    assert not any("compile" in name for name in command._torch("torch", True))
    assert len(choose("", quick=True)[0]) < len(choose("", quick=False)[0])


@pytest.mark.slow
def test_the_command_writes_what_it_promises(tmp_path):
    target = tmp_path / "figures.json"
    arguments = ["--quick", "--op", "noising_drawn", "--against", "none", "--json", str(target)]
    done = subprocess.run([sys.executable, "-m", "benchmarks", *arguments], cwd=ROOT, check=False)
    found = json.loads(target.read_text())
    assert done.returncode == 0
    assert found["schema"] == 1
    assert {row["backend"] for row in found["rows"]} == {"numpy", "numba"}
    assert found["limits"]["copy_gb_per_s"]["noising_drawn:64x32x32x3"] > 0
    assert found["limits"]["arithmetic_gflops"] > 0


@pytest.mark.tiny
@pytest.mark.parametrize("name", ["__main__", "cases", "machine", "report"])
def test_examples_in_docstrings_run(name):
    module = importlib.import_module(f"benchmarks.{name}")
    assert doctest.testmod(module).failed == 0
