"""The GPU's benchmark, run on the CPU: what is timed, judged and compared."""

import json

import numpy as np
import pytest

from benchmarks.calls import Skipped
from benchmarks.cases import Case
from benchmarks.gpu import command as gpu_command
from benchmarks.gpu import data as gpu_data
from benchmarks.gpu import goals as gpu_goals
from benchmarks.gpu import limits as gpu_limits
from benchmarks.gpu.budget import Budget
from benchmarks.gpu.cases import ALL, BY_KEY, choose
from benchmarks.gpu.clock import Clock
from benchmarks.gpu.contender import Twins
from benchmarks.gpu.contenders import SEATS
from benchmarks.gpu.device import Host
from benchmarks.gpu.files import keep
from benchmarks.gpu.measure import Measured, begin, measure
from benchmarks.gpu.report import crossing, crossings, rows_of
from benchmarks.gpu.server import Server
from benchmarks.gpu.tables import markdown, table
from benchmarks.gpu.worker import Local
from benchmarks.report import text
from benchmarks.timing import Timing
from refgen import ops
from refgen_kernels import cupy_cuda, numba_cpu, overlay
from refgen_kernels.device import status
from tests.benchmarks.gpu import (
    BACK,
    CASES,
    KEYS,
    LIMITS,
    LONG,
    NOISING,
    NORMALS,
    clock,
    found,
    local,
    needs_compiler,
)

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
