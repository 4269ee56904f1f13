"""What an interrupted run and its optimizer are, seen from outside."""

import random
import signal
import subprocess
import sys
import time

import numpy as np

from refgen import ops
from refgen.training import Adam, Run, train
from tests.training.game import DATA, SYSTEM, recipe
from tests.training.test_training import same, spawn

ASK_TWICE = """
import os, signal, time
from refgen.training import interruptible
with interruptible() as stop:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.05)
    print("asked", stop.signal, flush=True)
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.05)
    print("went on", flush=True)
"""


def test_the_second_interrupt_ends_at_once():
    command = [sys.executable, "-c", ASK_TWICE]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.split("\n")[:-1] == [f"asked {int(signal.SIGINT)}"]
    assert "KeyboardInterrupt" in done.stderr


def test_signal_handlers_are_given_back():
    from refgen.training import interruptible

    before = [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]
    with interruptible():
        assert signal.getsignal(signal.SIGINT) is not before[0]
    assert [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_run_killed_and_resumed_ends_in_the_bits_of_one_left_alone(tmp_path):
    clock, steps = random.Random(2), 600
    for _ in range(3):
        process = spawn(tmp_path / "run", steps)
        assert process.stdout.readline().startswith("start")
        assert process.stdout.readline()  # a first save, or the end
        time.sleep(clock.uniform(0.0, 0.1))
        process.kill()
        process.communicate()
    run = Run.open(tmp_path / "run")
    state, notes = run.latest()
    assert notes == []
    assert state.step >= 5
    resumed = train(SYSTEM, DATA, recipe(steps, save_every=5), run, state=state)
    assert same(resumed, train(SYSTEM, DATA, recipe(steps)))
    assert [row["step"] for row in run.rows()] == list(range(5, steps + 1, 5))


def test_the_first_update_is_the_learning_rate_against_the_sign():
    adam = Adam(updates=10, lr=0.25, warmup=1)
    params = {"a": {"w": np.array([1.0, 2.0, 3.0])}}
    grads = {"a": {"w": np.array([1e3, -1e-3, 5.0])}}
    moved, _ = adam.update(ops, params, grads, adam.start(params), 1)
    expected = params["a"]["w"] - 0.25 * np.sign(grads["a"]["w"])
    np.testing.assert_allclose(moved["a"]["w"], expected, rtol=1e-5)


def test_parameters_that_rest_are_the_fixed_point_of_the_average():
    adam = Adam(updates=50)
    params = {"w": np.linspace(-1.0, 1.0, 5)}
    moments = adam.start(params)
    for k in range(1, 51):
        params, moments = adam.update(ops, params, {"w": np.zeros(5)}, moments, k)
    np.testing.assert_array_equal(params["w"], np.linspace(-1.0, 1.0, 5))
    np.testing.assert_allclose(moments["average"]["w"], params["w"], rtol=1e-14)
