"""The whole run of a GPU, run on the CPU: time limits, refusals, stages and records."""

import argparse
import json
import sys

import pytest

from benchmarks.gpu import command as gpu_command
from benchmarks.gpu import equality as gpu_equality
from benchmarks.gpu import run as gpu_run
from benchmarks.gpu import small
from benchmarks.gpu.budget import Budget
from benchmarks.gpu.contender import Twins
from benchmarks.gpu.device import Host
from benchmarks.gpu.measure import Measured, begin, measure
from benchmarks.gpu.server import Server
from benchmarks.gpu.stages import Stage, counted, stages
from benchmarks.gpu.worker import Local, Process
from refgen import ops
from refgen_kernels import cupy_cuda, overlay
from tests.benchmarks.gpu import (
    CASES,
    DDPM,
    LONG,
    NOISING,
    NORMALS,
    clock,
    needs_compiler,
)

# Time, and who does not answer.


def test_no_case_is_begun_that_is_not_likely_to_end_in_time(capsys):
    now = [0.0]
    worker = Local("cupy", Server(Twins("cupy", ops, Host(2**12)), clock(), CASES))
    answer = worker.server.answer

    def slow(command, *arguments):
        now[0] += 10.0 * (command == "load")
        return answer(command, *arguments)

    worker.server.answer = slow
    measured = Measured()
    measure([NOISING, DDPM, LONG, NORMALS], [worker], 1, Budget(34.0, lambda: now[0]), measured)
    assert [case for case, _ in measured.cases] == [NOISING, DDPM]
    assert measured.not_run == [LONG.key, NORMALS.key]
    assert "time is up: 2 cases are not run" in capsys.readouterr().err


def test_time_that_a_stage_does_not_need_goes_to_the_next():
    now = [0.0]
    budget, weights = Budget(100.0, lambda: now[0]), {"a": 1.0, "b": 1.0, "c": 2.0}
    order = ["a", "b", "c"]
    assert budget.share("a", weights, order) == 25.0
    now[0] = 1.0
    assert budget.share("b", weights, order) == 33.0
    now[0] = 97.0
    assert budget.share("c", weights, order) == 0.0  # not worth a start
    assert Budget(None).share("a", weights, order) == float("inf")


def test_a_process_that_hangs_is_ended_and_started_again(monkeypatch):
    monkeypatch.setattr("benchmarks.gpu.worker.CLOSING_S", 0.1)
    script = "import sys, time; sys.stdin.readline(); time.sleep(60)"
    worker = Process("cupy", [sys.executable, "-c", script])
    with pytest.raises(RuntimeError, match="cupy: no answer to about in 1 s"):
        worker.ask("about", timeout=1.0)
    assert worker.process is None
    worker.start()
    assert worker.process is not None
    worker.close()


def test_a_process_without_a_device_or_with_a_broken_one_says_so():
    script = 'import sys; sys.stdin.readline(); print(\'{"failed": "CUDARuntimeError: x"}\')'
    worker = Process("cupy", [sys.executable, "-c", script])
    with pytest.raises(RuntimeError, match="cupy: CUDARuntimeError"):
        worker.ask("run")
    assert worker.process is None  # nothing runs there any more
    silent = Process("torch", [sys.executable, "-c", ""])
    with pytest.raises(RuntimeError, match="torch: its process has ended"):
        silent.ask("run")


def test_a_real_process_answers():
    worker = Process("numpy")
    try:
        assert worker.ask("about")["device"] == {"name": "host"}
        with pytest.raises(RuntimeError, match="numpy: RuntimeError: no case is loaded"):
            worker.ask("run")
    finally:
        worker.close()
    assert worker.process is None


def test_who_cannot_start_is_left_out_and_the_others_go_on(capsys):
    class Absent:
        name = "torch"

        def start(self):
            pass

        def ask(self, *command, timeout=0.0):
            raise RuntimeError("torch: ModuleNotFoundError: No module named 'torch'")

        def close(self):
            pass

    present = Local("numba", Server(Twins("numpy", ops, Host(2**12)), clock(), CASES))
    workers, measured = [Absent(), present], Measured()
    assert begin(workers, measured) == ["torch"]
    assert workers == [present]
    assert "left out" in capsys.readouterr().err
    assert "numpy" in measured.about["versions"]


# The command.


def options(**given):
    plain = {"op": "", "quick": True, "against": "none", "minutes": None, "json": None}
    return argparse.Namespace(**plain | given)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--backend", "cupy,numbat"], 2, "unknown backend numbat"),
        (["--backend", "cupy", "--op", "convolution9"], 2, "noising_drawn"),
        (["--backend", "cupy,numba-cuda"], 3, "no driver"),
    ],
)
def test_refusals_take_one_line(arguments, code, said, monkeypatch, capsys):
    from benchmarks.__main__ import main

    monkeypatch.setattr(gpu_command, "states", lambda names: dict.fromkeys(names, "no driver"))
    assert main(arguments) == code
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""


def test_a_backend_that_is_missing_beside_one_that_runs_is_told_by_the_exit_code(monkeypatch):
    asked = {}

    def run(cases, workers, rounds, budget, target, on_stdout):
        asked.update(names=[w.name for w in workers], seconds=budget.seconds, rounds=rounds)
        return 0

    monkeypatch.setattr(gpu_command, "benchmark", run)
    states = {"cupy": "ok", "numba-cuda": "no Numba"}
    monkeypatch.setattr(gpu_command, "states", lambda names: {n: states[n] for n in names})
    assert gpu_command.command(options(minutes=2.0), ["cupy"]) == 0
    all_of_it = ["cupy", "cupy-tf32", "cupy-bf16", "numba"]
    assert asked == {"names": all_of_it, "seconds": 120.0, "rounds": 3}
    assert gpu_command.command(options(), ["cupy", "numba-cuda"]) == 3
    assert asked["names"] == all_of_it


def test_a_run_that_is_stopped_writes_what_it_has(tmp_path, monkeypatch, capsys):
    worker = Local("cupy", Server(Twins("cupy", ops, Host(2**12)), clock(), CASES))
    worker.server.limits = lambda: {}
    monkeypatch.setattr(worker.server, "moves", lambda: (_ for _ in ()).throw(KeyboardInterrupt))
    target = tmp_path / "figures.json"
    assert gpu_command.benchmark([NOISING], [worker], 1, Budget(), target) == 130
    assert json.loads(target.read_text())["rows"] == []
    assert "stopped" in capsys.readouterr().err


# The whole run.


def script(code):
    return lambda seconds: [sys.executable, "-c", code]


def test_every_stage_is_recorded_and_none_stops_the_next(tmp_path, monkeypatch):
    monkeypatch.setattr(gpu_run, "WEIGHTS", dict.fromkeys("abcdef", 1.0) | {"c": 0.01})
    figures = {
        "schema": 1,
        "environment": {"device": {"cudnn": 9}},
        "rows": [],
        "limits": {"x": 1.0},
    }
    left = f"open({str(tmp_path / 'benchmark.json')!r}, 'w').write({json.dumps(figures)!r})"
    chosen = [
        Stage("a", script("import sys; print('boom'); sys.exit(3)")),
        Stage("b", script(left)),
        Stage("c", script("import time; time.sleep(60)")),
        Stage("d", script(""), missing="no compute-sanitizer"),
        Stage("e", script("print('3 passed in 1s')"), counted),
    ]
    monkeypatch.setattr(gpu_run, "environment", lambda: {})
    about = {"date": "2026-01-01", "commit": "abc1234", "device": {"name": "NVIDIA H200"}}
    monkeypatch.setattr("benchmarks.gpu.budget.LEAST_S", 0.5)
    target = tmp_path / "out" / "result.json"
    gpu_run.run(chosen, Budget(200.0), about, target, tmp_path)
    record = json.loads(target.read_text())
    said = {s["stage"]: s for s in record["stages"]}
    assert {name: s["status"] for name, s in said.items()} == {
        "a": "failed",
        "b": "ok",
        "c": "timed out",
        "d": "missing",
        "e": "ok",
    }
    assert (said["a"]["code"], said["a"]["says"]) == (3, "boom\n")
    assert said["e"]["found"] == {"passed": 3}
    assert record["limits"] == {"x": 1.0}
    assert record["environment"]["device"] == {"cudnn": 9, "name": "NVIDIA H200"}
    assert "| c | timed out |" in target.with_suffix(".md").read_text()


def test_a_stage_without_time_is_not_started():
    assert gpu_run.start(Stage("a", script("")), 0.0)["status"] == "not run"


def test_tests_that_are_all_skipped_have_shown_nothing():
    stage = Stage("tests", script("print('5 skipped in 1s')"), lambda text: {"skipped": 5})
    assert gpu_run.start(stage, 60.0)["status"] == "failed"


def test_without_a_device_the_whole_run_is_refused(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(gpu_run, "probe", lambda: ("no CUDA device", {}))
    assert gpu_run.main(["--out", str(tmp_path)]) == 3
    assert capsys.readouterr().err == "gpu_run: no CUDA device\n"
    assert gpu_run.main(["--stages", "tets"]) == 2
    assert not any(tmp_path.iterdir())


def test_stages_pass_their_limits_on(tmp_path):
    tests, benchmark, equality, memcheck, racecheck = stages(tmp_path, quick=True)
    assert tests.command(10.0)[-3:] == ["-m", "gpu and not slow", "tests/kernels/cuda/test_gpu.py"]
    assert benchmark.command(140.0)[-3:] == ["--quick", "--minutes", "2.00"]
    assert "--minutes" not in benchmark.command(float("inf"))
    assert equality.command(100.0)[-2:] == ["--seconds", "80"]
    assert racecheck.command(9.0)[1:5] == ["--tool", "racecheck", "--error-exitcode", "9"]
    assert memcheck.read("== ERROR SUMMARY: 2 errors\n") == {"summary": "ERROR SUMMARY: 2 errors"}


# What else it runs.


@needs_compiler
def test_words_and_normals_are_compared_bit_by_bit(host):
    equal = overlay(cupy_cuda)
    rows = gpu_equality.report({"cupy": equal}, {"words": 3000, "normals": 1500}, None)
    assert [(r["compared"], r["different"]) for r in rows] == [(3000, 0), (1500, 0)]
    assert sum(size for _, size in gpu_equality.pieces(10**9)) == 10**9

    class Off:
        fetch = staticmethod(lambda a: a)

        def words(self, stream, start, count):
            found = ops.words(stream, start, count)
            found[count // 2] ^= 1
            return found

    (row,) = gpu_equality.report({"cupy": Off()}, {"words": 3000}, None)
    assert row["different"] == 2  # one in each of two pieces
    (row,) = gpu_equality.report({"cupy": equal}, {"words": 3000}, 0.0)
    assert row["compared"] == 0


@needs_compiler
def test_small_shapes_reach_every_kernel_of_a_page(host, capsys):
    names = ["normals", "words", "noising_drawn", "noising_forward"]
    assert small.run("cupy", overlay(cupy_cuda), names) == 0
    said = capsys.readouterr().out
    assert said.count("ran     cupy noising_drawn") == 2

    class Refusing:
        put = staticmethod(lambda a: a)

    assert small.run("cupy", Refusing(), ["noising_drawn"]) == 2


def test_every_op_has_small_shapes():
    calls = dict(small.calls(ops, [name for name in ops.__all__ if name != "words"]))
    assert len(calls) > 50
    for name in ("conv2d", "group_norm_film_silu", "attention", "adam_ema_step", "ddpm_step_drawn"):
        calls[name]()
