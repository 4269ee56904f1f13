"""The GPU's benchmark, run on the CPU: everything but the GPU's own clock."""

import argparse
import doctest
import importlib
import json
import sys
import time

import numpy as np
import pytest

from benchmarks.calls import Skipped
from benchmarks.cases import Case
from benchmarks.gpu import command as gpu_command
from benchmarks.gpu import data as gpu_data
from benchmarks.gpu import equality as gpu_equality
from benchmarks.gpu import goals as gpu_goals
from benchmarks.gpu import limits as gpu_limits
from benchmarks.gpu import run as gpu_run
from benchmarks.gpu import small
from benchmarks.gpu.budget import Budget
from benchmarks.gpu.cases import ALL, BY_KEY, choose
from benchmarks.gpu.clock import Clock
from benchmarks.gpu.contender import Loaded, Twins
from benchmarks.gpu.contenders import SEATS
from benchmarks.gpu.device import Host
from benchmarks.gpu.duel import Found
from benchmarks.gpu.files import keep
from benchmarks.gpu.measure import Measured, begin, measure
from benchmarks.gpu.report import crossing, crossings, rows_of
from benchmarks.gpu.server import Server
from benchmarks.gpu.stages import Stage, counted, stages
from benchmarks.gpu.tables import markdown, table
from benchmarks.gpu.worker import Local, Process
from benchmarks.report import text
from benchmarks.timing import Timing
from refgen import ops
from refgen_kernels import cupy_cuda, numba_cpu, overlay
from refgen_kernels.device import status, use
from tests.kernels.cuda.host import compiler

NOISING = Case("noising", "drawn", {"N": 4, "S": (5, 7)})
LONG = Case("noising", "drawn", {"N": 16, "S": (125,)}, sweep=True)
DDPM = Case("ddpm_step", "drawn", {"N": 3, "S": (5,)})
NORMALS = Case("normals", "", {"N": 700})
BACK = Case("reparameterize_kl", "backward", {"N": 3, "D": 5})
CASES = {case.key: case for case in (NOISING, LONG, DDPM, NORMALS, BACK)}
KEYS = (
    "op case dtype backend error median_s ratio_reference ratio_torch_eager ratio_torch_best "
    "percent_of_limit limit kernel_cold_s kernel_warm_s kernel_graph_s h2d_s d2h_s end_to_end_s"
).split()
LIMITS = {"copy_bytes_per_s": 1e9, "fp32_flops": 1e12, "matmul_tf32_flops": 8e12}
needs_compiler = pytest.mark.skipif(compiler() is None, reason="no g++, which runs .cu files here")


def clock(device=None):
    return Clock(device or Host(2**12), warm_s=0.0, block_s=1e-4, cold_calls=3)


def local(name, table, cold=True):
    return Local(name, Server(Twins(name, table, Host(2**12)), clock(), CASES, cold))


@pytest.fixture
def host():
    """Run .cu files on the CPU."""
    from tests.kernels.cuda.machines import HOST

    with use(HOST):
        yield HOST


def found(seconds, *, cold=True, **about):
    """Return what a contender may have found, the same in every round."""
    timing = Timing(1e-7, 1e-6, "page", [seconds] * 3, [False] * 3, about)
    nothing = Timing(1e-7, 1e-6, "page", about=about)
    return Found(timing, timing if cold else nothing)


# A whole run.


@needs_compiler
def test_a_run_gives_rows_tables_json_and_plots(host, tmp_path, monkeypatch):
    whole = gpu_limits.limits
    monkeypatch.setattr(gpu_limits, "limits", lambda c, who: whole(c, who, size=2**10, rounds=1))
    workers = [local("cupy", overlay(cupy_cuda)), local("numba", overlay(numba_cpu), cold=False)]
    measured, saved = Measured(), []
    assert begin(workers, measured) == []
    measure([*CASES.values()][:4], workers, 2, Budget(), measured, lambda: saved.append(1))
    document = measured.document()
    assert len(saved) == 4
    assert json.loads(text(document)) == document
    assert document["schema"] == 1
    assert {"copy_bytes_per_s", "h2d_bytes_per_s", "fp32_flops"} <= set(document["limits"])
    assert (document["absent"], document["not_run"]) == ([], [])
    assert document["environment"]["device"] == {"name": "host"}
    rows = {(r["op"], r["case"], r["backend"]): r for r in document["rows"]}
    assert len(rows) == len(document["rows"]) == 8
    gpu, cpu = (rows["noising_drawn", "4x5x7", name] for name in ("cupy", "numba"))
    assert set(KEYS) <= set(gpu)
    assert gpu["run_by"] == "refgen_kernels.cupy_cuda.noising"
    assert gpu["right"]
    assert gpu["error"] <= gpu["allowed"]
    for key in ("kernel_cold_s", "kernel_warm_s", "h2d_s", "d2h_s", "end_to_end_s"):
        assert gpu[key] > 0
    assert cpu["kernel_cold_s"] is None
    assert cpu["median_s"] == cpu["end_to_end_s"] == cpu["kernel_warm_s"]
    assert rows["normals", "700", "cupy"]["error"] == 0
    assert "noising_drawn" in table(document["rows"])
    assert {c["op"] for c in document["crossings"]} == {
        "noising_drawn",
        "ddpm_step_drawn",
        "normals",
    }
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    made = keep(document, tmp_path / "gpu-host" / "result.json")
    names = ["result.json", "result.md", "result-time.png", "result-limit.png"]
    assert [path.name for path in made] == names
    assert all(path.stat().st_size > 1000 for path in made)
    assert "| noising_drawn | 4x5x7 | cupy |" in made[1].read_text()


@needs_compiler
def test_a_gradient_is_measured_as_well(host):
    worker = local("cupy", overlay(cupy_cuda, ops))  # by the page, which has no kernel
    measured = Measured()
    measure([BACK], [worker], 1, Budget(), measured)
    (row,) = measured.document()["rows"]
    assert row["right"]
    assert row["bytes"] == 4 * (15 + 3 + 3 * 15 + 2 * 15)


class Broken:
    """A table whose noising forgets the last example."""

    def __getattr__(self, name):
        return getattr(ops, name)

    def noising_drawn(self, data, a, b, stream, start=0):
        x, noise = ops.noising_drawn(data, a, b, stream, start)
        x[-1] = data[-1]
        return x, noise


def test_what_is_wrong_gets_no_time_and_fails_the_run(capsys):
    Broken.noising_drawn.__module__ = "refgen_kernels.broken"
    worker = Local("cupy", Server(Twins("cupy", Broken(), Host(2**12)), clock(), CASES))
    worker.server.limits = lambda: {}
    assert gpu_command.benchmark([NOISING], [worker], 1, Budget(), on_stdout=True) == 1
    row = json.loads(capsys.readouterr().out)["rows"][0]
    assert (row["right"], row["median_s"]) == (False, None)
    assert "WRONG" in table([row])


# What is judged.


def test_of_a_large_case_some_examples_are_judged_and_all_numbers_must_be_there(monkeypatch):
    monkeypatch.setattr(gpu_data, "WHOLE", 10)
    monkeypatch.setattr(gpu_data, "PART", 8)
    case = Case("noising", "drawn", {"N": 12, "S": (4,)})
    data = gpu_data.draw(case)
    parts = gpu_data.expect(case, data)
    assert [(p.start, p.stop) for p in parts] == [(0, 2), (6, 8), (10, 12)]
    right = ops.noising_drawn(*data.arrays.values(), (0, *gpu_data.calls.STREAM[1:]))

    def judged(change):
        mine = [a.copy() for a in right]
        change(mine[0])
        return gpu_data.verdict(case, mine, None, parts, twin=True).right

    assert judged(lambda x: None)
    assert not judged(lambda x: x.__setitem__((7, 0), 9.0))  # in a part
    assert not judged(lambda x: x.__setitem__((11, 3), 9.0))
    assert judged(lambda x: x.__setitem__((3, 0), 9.0))  # between them, which is not compared,
    assert not judged(lambda x: x.__setitem__((3, 0), np.nan))  # but must have been written


def test_gradients_of_weights_are_judged_whole(monkeypatch):
    monkeypatch.setattr(gpu_data, "WHOLE", 10)
    monkeypatch.setattr(gpu_data, "PART", 8)
    dims = {"N": 9, "H": 4, "W": 4, "C": 2, "U": 3, "V": 3, "I": 2, "O": 2}
    cases = {c: Case("conv2d", c, dims, "", {"stride": 1, "padding": 1}) for c in gpu_data.GIVEN}
    assert {c: len(gpu_data.expect(case, gpu_data.draw(case))) for c, case in cases.items()} == {
        "backward": 1,
        "both": 1,
        "dgrad": 3,
        "wgrad": 1,
    }


def test_what_was_drawn_and_expected_is_read_back(tmp_path):
    for case in (BACK, NORMALS):
        data = gpu_data.draw(case)
        parts = gpu_data.expect(case, data)
        gpu_data.write(tmp_path, case, data, parts)
        again, expected = gpu_data.read(tmp_path, case)
        assert data.arrays.keys() == again.arrays.keys()
        assert len(data.dys) == len(again.dys) == (2 if case is BACK else 0)
        for a, b in zip(parts, expected, strict=True):
            assert (a.start, a.stop, a.expected.slack) == (b.start, b.stop, b.expected.slack)
            for x, y in zip(a.expected.gold, b.expected.gold, strict=True):
                assert np.array_equal(x, y)


def test_less_precise_arithmetic_has_a_rule_of_its_own():
    case = Case("dense", "forward", {"N": 3, "S": (), "I": 4, "O": 2})
    data = gpu_data.draw(case)
    parts = gpu_data.expect(case, data)
    y = ops.dense_forward(*data.arrays.values())[0] * np.float32(1 + 1e-3)
    said = [
        gpu_data.verdict(case, [y], None, parts, twin=False, precision=p)
        for p in ("fp32", "tf32", "bf16")
    ]
    assert [(v.rule, v.right) for v in said] == [("float32", False), ("tf32", True), ("bf16", True)]


# The clock.


class Ticking(Host):
    """A device whose time goes on by what is asked of it."""

    def __init__(self):
        super().__init__(2**12)
        self.time, self.flushed = 0.0, 0

    def record(self, event):
        event[0] = self.time

    def flush(self):
        self.time += 10.0
        self.flushed += 1


def test_cold_calls_are_timed_without_the_writing_between_them():
    device, order = Ticking(), []
    calls = [
        lambda i=i: order.append(i) or setattr(device, "time", device.time + 2) for i in (0, 1)
    ]
    assert clock(device).cold(calls) == 2.0
    assert order == [0, 0, 1, 0]  # one to learn how long it takes to ask, then in turn
    assert device.flushed >= 3


def test_warm_calls_are_timed_in_a_row():
    device, count = Ticking(), []
    mine = Clock(device, 0.0, block_s=12.0)
    taken = mine.warm(lambda: count.append(1) or setattr(device, "time", device.time + 3), 3.0)
    assert (taken, len(count), device.flushed) == (3.0, 4, 0)
    assert mine.settle(lambda: setattr(device, "time", device.time + 1)) == 1.0


def test_the_host_has_no_graphs():
    with pytest.raises(Skipped):
        Host(2**12).capture(lambda: None)


def test_a_graph_needs_a_device():
    from refgen_kernels.cupy_cuda import graph

    if status() == "ok":
        pytest.skip("there is a CUDA device")
    with pytest.raises(RuntimeError, match="a graph is captured on a GPU"):
        graph.capture(lambda: np.zeros(3))


class Captured:
    """A stream, and the graph of what it was asked for."""

    def __init__(self):
        self.ended = 0

    def begin_capture(self):
        pass

    def end_capture(self):
        self.ended += 1
        return "graph"


def test_a_loop_that_cannot_be_captured_ends_its_capture_and_says_why():
    from refgen_kernels.cupy_cuda import graph

    stream = Captured()
    assert graph._captured(stream, lambda: "x") == ("graph", "x")
    with pytest.raises(RuntimeError, match="put times and weights on the device before"):
        graph._captured(stream, lambda: 1 / 0)
    assert stream.ended == 2


# Figures.


def test_ratios_compare_figures_of_one_kind():
    contenders = {
        "cupy": found(1.0),
        "torch": found(4.0),
        "torch-compile": found(2.0),
        "torch-tf32": found(8.0),
        "numba": found(16.0, cold=False),
    }
    contenders["cupy"].warm = Timing(1e-7, 1e-6, "page", [0.5] * 3, [False] * 3)
    row = rows_of(NOISING, contenders, LIMITS)[0]
    assert (row["ratio_torch_eager"], row["ratio_torch_compile"], row["ratio_torch_best"]) == (
        4,
        2,
        2,
    )
    assert row["torch_best"] == "torch-compile"
    assert row["ratio_cpu"] == 32.0  # the CPU's only figure, beside the warm one
    assert row["ratio_torch_tf32"] == 8.0
    assert row["ratio_reference"] is row["ratio_cudnn"] is None


def test_shares_are_of_the_lower_roof():
    """140 numbers are read, 280 written, and 8 more: 1712 bytes."""
    row = rows_of(NOISING, {"cupy": found(2e-6, kept_bytes=288)}, LIMITS)[0]
    assert (row["limit"], row["percent_of_limit"]) == ("memory", pytest.approx(85.6))
    assert row["of_copy"] == pytest.approx(0.856)
    assert row["of_copy_kept"] == pytest.approx(1.0)
    conv = BY_KEY["conv2d_forward:256x32x32x64 3x3"]
    flops = 2 * 256 * 1024 * 64 * 9 * 64
    row = rows_of(
        conv, {"cupy": found(1.0), "torch-last": found(3.0)}, LIMITS | {"copy_bytes_per_s": 1e12}
    )[0]
    assert (row["limit"], row["ratio_cudnn"]) == ("arithmetic", 3.0)
    assert row["percent_of_limit"] == pytest.approx(100 * flops / 1e12)
    bare = rows_of(conv, {"cupy": found(1.0, precision="tf32")}, {})[0]
    assert bare["percent_of_limit"] is bare["of_copy"] is None


def test_graphs_are_compared_with_graphs():
    mine, theirs = found(1.0), found(1.0)
    mine.graph_s, theirs.graph_s = 0.5, 1.5
    row = rows_of(NOISING, {"cupy": mine, "torch": theirs}, {})[0]
    assert (row["ratio_torch_graph"], row["kernel_graph_s"]) == (3.0, 0.5)


def test_the_size_at_which_the_gpu_overtakes_the_cpu():
    assert crossing({10: 1.0, 1000: 100.0}, {10: 10.0, 1000: 10.0}) == 100.0
    assert crossing({10: 1.0}, {10: 2.0}) is None
    assert crossing({10: 3.0, 100: 3.0}, {10: 2.0, 100: 2.0}) == 0.0
    assert crossing({10: 3.0}, {20: 2.0}) is None
    rows = rows_of(LONG, {"cupy": found(1.0), "numba": found(2.0, cold=False)}, {})
    (line,) = crossings(rows)
    assert line == {"op": "noising_drawn", "backend": "cupy", "resident": 0.0, "end_to_end": None}


def test_goals_count_the_rows_that_reach_them():
    large = BY_KEY["noising_drawn:8192x32x32x3"]
    copied = {"copy_bytes_per_s": 3e8}  # 300 MB move: a second
    fast, slow = (
        rows_of(large, {"cupy": found(s), "torch-compile": found(1.5)}, copied) for s in (1.1, 2.0)
    )
    said = {(g["goal"], g["backend"]): g for g in gpu_goals.goals([*fast, *slow])}
    copy = said["one pass: share of the copy bandwidth", "cupy"]
    assert (copy["rows"], copy["met"]) == (2, 1)
    assert copy["missed"] == ["noising_drawn 8192x32x32x3"]
    assert said["one pass: speed of torch.compile", "cupy"]["worst"] == 0.75
    assert said["UNet step: speed of PyTorch eager", ""]["rows"] == 0
    small_one = rows_of(NOISING, {"cupy": found(1.0)}, copied)
    assert gpu_goals.goals(small_one)[0]["rows"] == 0  # limited by its launch


def test_the_page_of_a_result_names_what_was_left_out():
    measured = Measured(absent=["torch: no such thing"], not_run=["noising:1"])
    measured.about |= {"device": {"name": "NVIDIA H200"}, "versions": {"numpy": "2"}}
    shown = markdown(measured.document())
    assert "torch: no such thing" in shown
    assert "not run for want of time" in shown
    assert "NVIDIA H200" in shown


def test_cases_come_in_the_order_of_their_importance():
    quick = choose("", True)
    assert [c.key for c in ALL[: len(quick)]] == [c.key for c in quick]
    assert choose("conv9", False) == []
    assert {c.name for c in choose("wgrad", False)} == {"conv2d_wgrad"}
    wanted = {"noising_drawn", "adam_ema_step", "group_norm_silu_backward", "unet_train_step"}
    assert wanted <= {c.name for c in quick}
    for case in ALL:
        assert SEATS["cupy"].takes(case)
        assert SEATS["numba"].takes(case) <= (not case.whole)


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


# PyTorch, on the CPU: the same formulas.


@pytest.fixture
def torch():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed; it is a baseline here")
    threads, grads = torch.get_num_threads(), torch.is_grad_enabled()
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.set_num_threads(1)
    torch.set_grad_enabled(True)
    yield torch
    torch.set_num_threads(threads)
    torch.set_grad_enabled(grads)
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


IMAGE = {"N": 2, "H": 4, "W": 5, "S": (4, 5), "C": 4, "U": 3, "V": 3, "I": 4, "O": 4, "G": 2}
CONV, GROUPS = {"stride": 1, "padding": 1}, {"groups": 2}
THEIRS = [
    NOISING,
    NORMALS,
    BACK,
    Case("noising", "forward", {"N": 2, "S": (3,)}),
    Case("reparameterize_kl", "drawn", {"N": 3, "D": 4}),
    Case("adam_ema_step", "", {"N": 6, "S": ()}),
    Case("group_norm_silu", "backward", IMAGE, "", GROUPS),
    *(Case("conv2d", call, IMAGE, "3x3", CONV) for call in ("forward", "dgrad", "wgrad")),
    Case(
        "attention",
        "both",
        {"N": 2, "L": 3, "M": 3, "D": 4, "E": 4, "H": 2},
        "",
        {"heads": 2},
        ("mask",),
    ),
    Case("unet", "train_step", {"N": 2, "S": (8, 8, 3), "C": 16}),
    Case("unet", "sample", {"N": 2, "S": (4, 4, 3), "C": 16}),
    Case("vae", "train_step", {"N": 3, "S": (784,)}),
]


WAYS = [(case, last) for case in THEIRS for last in (False, True) if case.images or not last]


@pytest.mark.parametrize(("case", "last"), WAYS, ids=lambda x: getattr(x, "name", str(x)))
def test_pytorch_computes_what_the_pages_say(case, last, torch):
    from benchmarks.gpu.torch import Torch

    way = Torch(Host(2**12), last=last, where="cpu")
    data = gpu_data.draw(case)
    loaded = way.load(case, data)
    found, noise = loaded.evidence()
    parts = gpu_data.expect(case, data, noise)
    said = gpu_data.verdict(gpu_data.judged(case), found, noise, parts, twin=False)
    assert said.right, said
    for call in loaded.calls:
        call()
    assert isinstance(loaded, Loaded)


def test_pytorch_is_told_which_arithmetic_to_use(torch):
    from benchmarks.gpu.torch import Torch

    for precision, allowed in (("tf32", True), ("fp32", False)):
        Torch(Host(2**12), precision=precision, where="cpu")
        assert torch.backends.cuda.matmul.allow_tf32 is allowed
        assert torch.backends.cudnn.allow_tf32 is allowed
    case = Case("dense", "forward", {"N": 3, "S": (), "I": 4, "O": 2})
    data = gpu_data.draw(case)
    found, _ = Torch(Host(2**12), precision="bf16", where="cpu").load(case, data).evidence()
    parts = gpu_data.expect(case, data)
    assert not gpu_data.verdict(case, found, None, parts, twin=False).right
    assert gpu_data.verdict(case, found, None, parts, twin=False, precision="bf16").right


def test_limits_of_products_are_measured_by_pytorch(torch):
    from benchmarks.gpu.torch import Torch

    way = Torch(Host(2**12), where="cpu")
    found = gpu_limits.limits(clock(), way, side=8)
    assert set(found) == {f"matmul_{name}_flops" for name in ("fp32", "tf32", "bf16")}


@pytest.mark.parametrize(
    "name", ["gpu.budget", "gpu.files", "gpu.report", "gpu.stages", "gpu.tables"]
)
def test_examples_in_docstrings_run(name):
    module = importlib.import_module(f"benchmarks.{name}")
    assert doctest.testmod(module).failed == 0


def test_steps_on_a_device_send_nothing_back():
    from benchmarks.gpu import steps as gpu_steps

    case = Case("unet", "sample", {"N": 2, "S": (4, 4, 3), "C": 16})
    began = time.perf_counter()
    (mine,) = gpu_steps.evidence(ops, case)
    assert mine.shape == (2, 4, 4, 3)
    assert time.perf_counter() - began < 60
