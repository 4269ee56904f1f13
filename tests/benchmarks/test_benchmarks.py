"""Benchmarks judge before they time, and their figures mean what their names say."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import __main__ as command
from benchmarks import contenders_numba, contenders_numpy
from benchmarks.cases import BY_KEY, CASES, choose
from benchmarks.duel import Timing, counted, ratios
from benchmarks.judge import judge
from benchmarks.report import rows_of, table
from refgen import ops

small = pytest.mark.parametrize("case", choose("", quick=True), ids=lambda case: case.op)
KEYS = (
    "op case dtype backend error median_s ratio_reference ratio_torch_eager ratio_torch_best "
    "percent_of_limit limit"
).split()


def timing(*seconds, noisy=()):
    return Timing(1e-7, 1e-6, list(seconds), [i in noisy for i in range(len(seconds))])


@pytest.mark.tiny
def test_every_case_has_a_key_and_an_op_of_its_own():
    assert len(BY_KEY) == len(CASES)
    assert {case.op for case in CASES} <= set(ops.__all__)
    assert {case.op for case in choose("", quick=True)} == {case.op for case in CASES}


@small
@pytest.mark.parametrize("contender", [contenders_numpy, contenders_numba])
def test_a_right_contender_is_found_right(case, contender):
    call = contender.prepare(case, case.arrays())
    error, allowed = judge(case, *contender.results(case, call))
    assert error <= allowed


@small
def test_a_wrong_contender_is_found_wrong(case):
    """One entry, off by a hundred-thousandth of the largest."""
    call = contenders_numpy.prepare(case, case.arrays())
    outputs, noise = contenders_numpy.results(case, call)
    wrong = outputs[0].copy()
    wrong.flat[7] += 1e-5 * max(1.0, np.abs(wrong).max())
    error, allowed = judge(case, [wrong, *outputs[1:]], noise)
    assert error > allowed


def test_a_generator_with_the_wrong_variance_is_found_wrong():
    case = choose("normals", quick=True)[0]
    z = np.random.default_rng(0).normal(size=case.size)
    assert judge(case, [z], z)[0] < judge(case, [z], z)[1]
    assert judge(case, [1.02 * z], z)[0] > judge(case, [z], z)[1]


@pytest.mark.tiny
def test_what_is_wrong_has_no_time_in_the_table():
    case = CASES[0]
    rows = rows_of(case, {"numpy": timing(1.0, 1.0, 1.0), "numba": Timing(0.5, 1e-6)})
    assert [row["right"] for row in rows] == [True, False]
    assert "WRONG" in table(rows).splitlines()[2]


@pytest.mark.tiny
def test_a_ratio_above_one_means_faster():
    fast, slow = timing(1.0, 2.0, 1.0), timing(3.0, 6.0, 3.0)
    assert ratios(slow, fast) == [3.0, 3.0, 3.0]
    numba = rows_of(CASES[0], {"numpy": slow, "numba": fast, "torch": slow, "limit": slow})[1]
    assert numba["ratio_reference"] == numba["ratio_torch_eager"] == 3.0
    assert numba["percent_of_limit"] == 300.0
    assert set(KEYS) <= set(numba)


@pytest.mark.tiny
def test_the_best_torch_is_the_fastest_of_its_configurations():
    timings = {
        "numba": timing(1.0, 1.0, 1.0),
        "torch": timing(9.0, 9.0, 9.0),
        "torch-malloc": timing(4.0, 4.0, 4.0),
    }
    row = rows_of(CASES[0], timings)[0]
    assert (row["torch_best"], row["ratio_torch_best"], row["ratio_torch_eager"]) == (
        "torch-malloc",
        4.0,
        9.0,
    )


@pytest.mark.tiny
def test_noisy_rounds_count_only_where_too_few_are_quiet():
    disturbed = timing(1.0, 1.0, 50.0, 1.0, noisy={2})
    assert counted(disturbed) == [0, 1, 3]
    assert disturbed.median == 1.0
    assert counted(timing(1.0, 2.0, 3.0, noisy={0})) == [0, 1, 2]


@pytest.mark.tiny
def test_a_mistyped_name_is_a_mistake_of_usage(capsys):
    assert command.main(["--op", "convolution9"]) == 2
    assert "noising_drawn" in capsys.readouterr().err
    assert command.main(["--backend", "numbat"]) == 2


@pytest.mark.slow
def test_the_command_writes_what_it_promises(tmp_path):
    target = tmp_path / "figures.json"
    arguments = ["--quick", "--op", "noising_forward", "--json", str(target)]
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-m", "benchmarks", *arguments], cwd=root, check=False)
    document = json.loads(target.read_text())
    assert done.returncode == 0
    assert document["schema"] == 1
    assert {row["backend"] for row in document["rows"]} == {"numpy", "numba"}
    assert document["limits"]["copy_gb_per_s"]["noising_forward:64x32x32x3"] > 0
