"""Figures mean what their names say: ratios, rounds, limits, the rows, the tables and the JSON."""

import json
import math

import pytest

from benchmarks.report import document, rows_of, text
from benchmarks.sizes import BY_KEY
from benchmarks.tables import backend, markdown, table
from benchmarks.timing import Timing, counted, ratios

pytestmark = pytest.mark.tiny
NOISING = BY_KEY["noising_forward:64x32x32x3"]
CONV = BY_KEY["conv2d_forward:64x32x32x64 3x3"]
STEP = BY_KEY["unet_train_step:64x32x32x3 c=32"]
ABOUT = {"cpu": "some CPU", "cores": 2, "date": "2026-01-01", "commit": "abc1234"}
KEYS = (
    "op case dtype backend error median_s ratio_reference ratio_torch_eager ratio_torch_best "
    "percent_of_limit limit"
).split()


def timing(*seconds, noisy=(), **about):
    rounds = [i in noisy for i in range(len(seconds))]
    return Timing(1e-7, 1e-6, "page", list(seconds), rounds, about)


# Rounds and ratios.


def test_noisy_rounds_count_only_where_too_few_are_quiet():
    disturbed = timing(1.0, 1.0, 50.0, 1.0, noisy={2})
    assert counted(disturbed) == [0, 1, 3]
    assert disturbed.median == 1.0
    assert counted(timing(1.0, 2.0, 3.0, noisy={0})) == [0, 1, 2]


def test_a_round_counts_for_a_ratio_only_if_it_was_quiet_for_both():
    one, other = timing(*[1.0] * 5, noisy={0}), timing(*[2.0] * 5, noisy={4})
    assert counted(one, other) == [1, 2, 3]


def test_a_slow_contender_is_compared_in_the_rounds_it_took_part_in():
    slow, fast = timing(10.0, 30.0), timing(1.0, 2.0, 7.0, 7.0, 7.0)
    assert ratios(slow, fast) == [10.0, 15.0]


def test_ratios_are_formed_within_a_round():
    """The machine was half as fast in the second round, for both."""
    assert ratios(timing(3.0, 6.0, 3.0), timing(1.0, 2.0, 1.0)) == [3.0, 3.0, 3.0]


def test_the_spread_is_a_fifth_and_four_fifths_of_the_rounds():
    assert timing(*map(float, range(11))).spread == (2.0, 8.0)
    assert timing(5.0).spread == (5.0, 5.0)


# Rows.


def test_a_ratio_above_one_means_faster():
    fast, slow = timing(1.0, 2.0, 1.0), timing(3.0, 6.0, 3.0)
    row = rows_of(NOISING, {"numpy": slow, "numba": fast, "torch": slow, "limit": slow})[1]
    assert row["ratio_reference"] == row["ratio_torch_eager"] == 3.0
    assert set(KEYS) <= set(row)
    assert row["samples_s"] == [1.0, 2.0, 1.0]


def test_the_best_torch_is_the_fastest_of_its_configurations():
    timings = {
        "numba": timing(1.0, 1.0, 1.0),
        "torch": timing(9.0, 9.0, 9.0),
        "torch-malloc": timing(4.0, 4.0, 4.0),
        "torch-last": timing(5.0, 5.0, 5.0),
    }
    row = rows_of(CONV, timings)[0]
    assert (row["torch_best"], row["ratio_torch_best"], row["ratio_torch_eager"]) == (
        "torch-malloc",
        4.0,
        9.0,
    )


def test_a_torch_that_is_wrong_is_not_the_best():
    wrong = Timing(1.0, 1e-6, "float32")
    row = rows_of(NOISING, {"numba": timing(1.0), "torch": timing(2.0), "torch-malloc": wrong})[0]
    assert row["torch_best"] == "torch"


def test_the_limit_is_the_lower_roof():
    """Moving takes 1 s; 4.8 GFLOP take 4.8 s of a machine that does one a second."""
    timings = {"numba": timing(10.0, 10.0, 10.0), "limit": timing(1.0, 1.0, 1.0)}
    slow, fast = (rows_of(CONV, timings, peak)[0] for peak in (1e9, 1e12))
    assert (slow["limit"], slow["percent_of_limit"]) == ("arithmetic", pytest.approx(48.32, 1e-3))
    assert (fast["limit"], fast["percent_of_limit"]) == ("memory", 10.0)
    only_moves = rows_of(NOISING, timings, 1e9)[0]
    assert (only_moves["limit"], only_moves["percent_of_limit"]) == ("memory", 10.0)


def test_a_whole_step_is_limited_by_its_own_count_of_arithmetic():
    row = rows_of(STEP, {"numba": timing(2.0, 2.0, 2.0, flops=1e9)}, 1e9)[0]
    assert (row["flops"], row["limit"], row["percent_of_limit"]) == (1e9, "arithmetic", 50.0)


def test_a_core_type_stands_in_the_row():
    rows = rows_of(CONV, {"numba": timing(1.0), "numba-coretype": timing(1.0)})
    assert [row["coretype"] for row in rows] == ["", "SkylakeX"]


# Tables.


def test_what_is_wrong_has_no_time_and_says_so():
    rows = rows_of(NOISING, {"numpy": timing(1.0, 1.0, 1.0), "numba": Timing(0.5, 1e-6, "page")})
    assert [row["right"] for row in rows] == [True, False]
    assert rows[1]["median_s"] is None
    assert "WRONG" in table(rows).splitlines()[2]
    found = document(ABOUT, rows, {}, 0.0)
    assert "wrong" in markdown(found)


def test_an_error_that_is_no_number_is_wrong_and_no_json():
    row = rows_of(NOISING, {"numba": Timing(math.nan, 1e-6, "page")})[0]
    assert not row["right"]
    assert row["error"] is None


def test_a_page_that_ran_for_want_of_a_twin_is_named():
    rows = rows_of(NOISING, {"numba": timing(1.0, run_by="refgen.ops.noising")})
    assert backend(rows[0]) == "numba (page)"
    assert "(page)" in markdown(document(ABOUT, rows, {}, 0.0))
    twin = rows_of(NOISING, {"numba": timing(1.0, run_by="refgen_kernels.numba_cpu.noising")})
    assert backend(twin[0]) == "numba"


def test_the_table_is_aligned_and_tells_rules_environments_and_arithmetic():
    steps = {"numba": timing(1.0, flops=4e9), "torch": timing(2.0, flops=4e9)}
    steps["numba"].rule = "steps"
    shown = table([*rows_of(NOISING, {"numpy": timing(1.0)}), *rows_of(STEP, steps)])
    head, first, *_ = shown.splitlines()
    assert head.index("case") == first.index("64x32x32x3")
    assert "judged by steps (gradients within 2e-5" in shown
    assert "numba: OPENBLAS_NUM_THREADS=1" in shown
    assert "GFLOP of unet_train_step 64x32x32x3 c=32: numba 4, torch 4" in shown


def test_the_readme_shows_every_row_of_the_kernels_losing_or_winning():
    rows = rows_of(NOISING, {"numba": timing(4.0), "torch": timing(1.0), "numpy": timing(2.0)})
    rows += rows_of(STEP, {"numba": timing(1.0, flops=1.0), "numba-coretype": timing(1.0, flops=1)})
    shown = markdown(document(ABOUT, rows, {}, 1e9)).splitlines()
    body = [line for line in shown if line.startswith("| `")]
    assert [line.split("|")[1].strip() for line in body] == [
        "`unet_train_step`",
        "`unet_train_step`, BLAS told SkylakeX",
        "`noising_forward`",
    ]
    assert "| 0.25 | 0.25 (eager) |" in body[2]
    assert all(line.count("|") == shown[2].count("|") for line in body)


def test_the_short_table_has_whole_steps_and_what_a_quick_run_measures():
    rows = [r for c in (NOISING, STEP) for r in rows_of(c, {"numba": timing(1.0, flops=1.0)})]
    rows += rows_of(BY_KEY["noising_drawn:64x32x32x3"], {"numba": timing(1.0)})
    shown = markdown(document(ABOUT, rows, {}, 1e9), quick=True)
    assert "`unet_train_step`" in shown
    assert "`noising_drawn`" in shown
    assert "`noising_forward`" not in shown


def test_sizes_of_a_sweep_are_for_the_curves_alone():
    sweep = BY_KEY["normals:10000"]
    found = document(ABOUT, rows_of(sweep, {"numba": timing(1.0)}), {}, 0.0)
    assert "normals" not in markdown(found)


def test_the_json_has_a_line_for_each_row_and_is_read_back():
    rows = rows_of(CONV, {"numba": timing(1.0), "limit": timing(1.0)}, 1e9)
    found = document(ABOUT, rows, {CONV.key: 2e9}, 1e9)
    assert json.loads(text(found)) == found
    assert found["schema"] == 1
    assert found["limits"] == {"arithmetic_gflops": 1.0, "copy_gb_per_s": {CONV.key: 2.0}}
    assert sum('"op"' in line for line in text(found).splitlines()) == len(rows)


def test_plots_are_drawn_beside_their_result(tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    from benchmarks.plots import draw

    rows = []
    for case in BY_KEY.values():
        if not case.whole:
            timings = {name: timing(1.0, 1.0, 1.0) for name in ("numpy", "numba", "torch", "limit")}
            rows += rows_of(case, timings, 1e11)
    found = document(ABOUT, rows, {"adam_ema_step:10000000": 3e10}, 1e11)
    made = draw(found, tmp_path / "result.json")
    assert [path.name for path in made] == [
        "result-time.png",
        "result-roofline.png",
        "result-error.png",
    ]
    assert all(path.stat().st_size > 10_000 for path in made)
    empty = document(ABOUT, [], {}, 0.0)
    assert len(draw(empty, tmp_path / "empty.json")) == 3  # a run that measured none of it
