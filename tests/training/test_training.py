"""Training: the same bits however often it stops; nothing acknowledged is lost."""

import json
import math
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refgen import ops, tree
from refgen.noise import Noise
from refgen.systems.gan import GAN
from refgen.training import (
    Adam,
    CheckpointError,
    NumericFailure,
    Recipe,
    Run,
    RunError,
    State,
    Stop,
    checkpoint,
    train,
)
from refgen.training.run import to_toml
from tests.training.game import DATA, SYSTEM, recipe


def same(a: State, b: State) -> bool:
    trees = [tree.flatten({"p": s.params, "m": s.moments}) for s in (a, b)]
    return a.step == b.step and all(
        np.array_equal(x.view(np.uint32), y.view(np.uint32))
        for x, y in zip(trees[0].values(), trees[1].values(), strict=True)
    )


def stop_at(step: int, stop: Stop):
    def watch(state, row):
        if state.step == step:
            stop.signal = signal.SIGINT

    return watch


def test_two_hundred_steps_are_a_hundred_and_resume_and_a_hundred(tmp_path):
    whole_run = Run.create(tmp_path / "whole", {"steps": 200})
    whole = train(SYSTEM, DATA, recipe(200), whole_run)
    run, stop = Run.create(tmp_path / "parts", {"steps": 200}), Stop()
    train(SYSTEM, DATA, recipe(200), run, on_step=stop_at(100, stop), stop=stop)
    state, notes = Run.open(tmp_path / "parts").latest()
    assert (state.step, notes) == (100, [])
    resumed = train(SYSTEM, DATA, recipe(200), run, state=state)
    assert same(whole, resumed)
    assert same(whole, run.latest()[0])
    logs = [
        [{k: v for k, v in r.items() if k != "seconds"} for r in x.rows()] for x in (run, whole_run)
    ]
    assert logs[0] == logs[1]
    assert [r["step"] for r in logs[0]] == list(range(5, 201, 5))


def test_another_seed_is_another_run():
    plans = [Recipe(5, batch=8, seed=s) for s in (0, 1)]
    a, b = (train(SYSTEM, DATA, plan) for plan in plans)
    assert not same(a, b)


def test_a_player_with_two_turns_a_step_is_updated_twice():
    seen = []

    class Spy:
        def __getattr__(self, name):
            return getattr(ops, name)

        @staticmethod
        def adam_ema_step(*arrays, step, **rates):
            seen.append(step)
            return ops.adam_ema_step(*arrays, step=step, **rates)

    system = replace(SYSTEM, ops=Spy())
    state = train(system, DATA, recipe(2))
    leaves = len(tree.flatten(state.params["generator"]))
    assert sorted(set(seen)) == [1, 2, 3, 4]
    assert seen.count(1) == 2 * leaves  # both players' first
    assert seen.count(4) == leaves  # the discriminator's second turn of step two


def test_only_the_last_three_checkpoints_are_kept_and_orphans_are_swept(tmp_path):
    run = Run.create(tmp_path / "run", {})
    (run.path / "ckpt" / ".step-000001.npz.123.partial").write_bytes(b"torn")
    train(SYSTEM, DATA, recipe(25, save_every=5), run)
    names = sorted(os.listdir(run.path / "ckpt"))
    assert names == ["step-000015.npz", "step-000020.npz", "step-000025.npz"]


def damage_truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def damage_flip(path):
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)


def damage_empty(path):
    path.write_bytes(b"")


def damage_foreign(path):
    np.savez(path, weights=np.ones(3))


@pytest.mark.parametrize("damage", [damage_truncate, damage_flip, damage_empty, damage_foreign])
def test_a_damaged_checkpoint_is_named_and_the_one_before_it_serves(tmp_path, damage):
    run = Run.create(tmp_path / "run", {})
    train(SYSTEM, DATA, recipe(10, save_every=5), run)
    newest = run.path / "ckpt" / "step-000010.npz"
    damage(newest)
    with pytest.raises(CheckpointError, match=r"step-000010\.npz"):
        checkpoint.load(newest)
    state, notes = run.latest()
    assert state.step == 5
    assert len(notes) == 1


def test_a_digest_guards_every_array(tmp_path):
    """Rewrite one array with its zip checksum intact: only the digest can tell."""
    run = Run.create(tmp_path / "run", {})
    train(SYSTEM, DATA, recipe(5, save_every=5), run)
    path = run.path / "ckpt" / "step-000005.npz"
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    name = next(n for n in arrays if n.endswith("/w"))
    arrays[name] = arrays[name] + np.float32(1e-6)
    np.savez(path, **arrays)
    with pytest.raises(CheckpointError, match="digest"):
        checkpoint.load(path)


def test_a_checkpoint_of_other_settings_is_refused(tmp_path):
    run = Run.create(tmp_path / "run", {"lr": 1e-3})
    train(SYSTEM, DATA, recipe(5), run)
    (run.path / "config.toml").write_text("lr = 0.5\n")
    state, notes = Run.open(run.path).latest()
    assert state is None
    assert "other settings" in notes[0]


def test_a_checkpoint_never_unpickles(tmp_path):
    path = tmp_path / "step-000001.npz"
    np.savez(path, manifest=np.array([{"evil": 1}], dtype=object))
    with pytest.raises(CheckpointError, match="readable"):
        checkpoint.load(path)


@pytest.mark.parametrize("call", ["os.replace", "os.fsync"])
def test_a_disk_that_fails_leaves_the_last_checkpoint_whole(tmp_path, monkeypatch, call):
    run = Run.create(tmp_path / "run", {})
    state = train(SYSTEM, DATA, recipe(5), run)

    def fail(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(call, fail)
    with pytest.raises(OSError, match=r"No space.*step-000006\.npz"):
        run.save(State(6, state.params, state.moments))
    monkeypatch.undo()
    assert os.listdir(run.path / "ckpt") == ["step-000005.npz"]
    assert same(run.latest()[0], state)


def test_a_run_is_never_overwritten(tmp_path):
    Run.create(tmp_path / "run", {})
    with pytest.raises(RunError, match=r"--resume.*--out"):
        Run.create(tmp_path / "run", {})
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    with pytest.raises(RunError, match="not an empty folder"):
        Run.create(tmp_path / "full", {})
    with pytest.raises(RunError, match="not a run"):
        Run.open(tmp_path / "full")
    (tmp_path / "run" / "config.toml").write_text("steps = = 3")
    with pytest.raises(RunError, match="TOML"):
        Run.open(tmp_path / "run")


def test_two_processes_cannot_train_in_one_folder(tmp_path):
    run = Run.create(tmp_path / "run", {})
    with run.locked(), pytest.raises(RunError, match="another process"), run.locked():
        pass
    with run.locked():  # free again
        pass


@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_a_number_that_is_not_finite_stops_training_and_keeps_the_last_checkpoint(tmp_path, where):
    @dataclass(frozen=True)
    class Failing(GAN):
        def generator_gradient(self, params, batch, noise):
            terms, grads = super().generator_gradient(params, batch, noise)
            if noise.path[1] == 7:  # the eighth step
                if where == "loss":
                    terms = {**terms, "loss": np.full_like(terms["loss"], np.nan)}
                else:
                    grads["dense1"]["w"] = np.full_like(grads["dense1"]["w"], np.inf)
            return terms, grads

    system = Failing(**{f: getattr(SYSTEM, f) for f in ("shape", "latent", "hidden", "k")})
    run = Run.create(tmp_path / "run", {})
    place = "generator's loss" if where == "loss" else "generator/dense1/w"
    with pytest.raises(NumericFailure, match=rf"step 8: .*{place}"):
        train(system, DATA, recipe(20, save_every=5), run)
    state, notes = run.latest()
    assert (state.step, notes) == (5, [])
    assert all(np.isfinite(a).all() for a in tree.leaves(state.params))


def spawn(path, steps):
    command = [sys.executable, "-m", "tests.training.game", str(path), str(steps)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_the_step_finish_and_saves_it(tmp_path, number):
    process = spawn(tmp_path / "run", 100_000)
    while not process.stdout.readline().startswith("saved"):
        pass
    process.send_signal(number)
    out, err = process.communicate()
    assert process.returncode == 128 + number, err
    ended = int(out.split("end ")[1])
    assert Run.open(tmp_path / "run").latest()[0].step == ended


def kill_at_random(path, kills, seed):
    """Kill a run, again and again; after each kill its newest checkpoint must hold all it said."""
    clock = random.Random(seed)
    reached = 0
    for _ in range(kills):
        process = spawn(path, 1_000_000)
        assert process.stdout.readline().startswith("start")
        time.sleep(clock.uniform(0.0, 0.5))
        process.kill()
        out, _ = process.communicate()
        acknowledged = [int(line.split()[1]) for line in out.splitlines() if "saved" in line]
        reached = max([reached, *acknowledged])
        state, notes = Run.open(path).latest()
        assert notes == []
        assert (state.step if state else 0) >= reached
    return reached


def test_killed_runs_lose_nothing_they_had_acknowledged(tmp_path):
    assert kill_at_random(tmp_path / "run", kills=4, seed=0) > 0


@pytest.mark.slow
def test_twenty_kills_leave_a_readable_checkpoint_each_time(tmp_path):
    assert kill_at_random(tmp_path / "run", kills=20, seed=1) > 0


def test_the_learning_rate_rises_then_falls_and_the_average_forgets_the_start():
    adam = Adam(updates=1000, lr=1.0, warmup=100)
    rates = [adam.lr_at(k) for k in range(1, 1001)]
    assert int(np.argmax(rates)) == 99
    assert 0 < rates[-1] < 1e-5
    params = {"w": np.zeros(1)}
    moments = adam.start(params)
    for k in range(1, 4):
        params, moments = adam.update(ops, params, {"w": -np.ones(1)}, moments, k)
    assert 0 < moments["average"]["w"][0] < params["w"][0]


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"steps": 0}, "steps"),
        ({"steps": 1, "batch": 0}, "batch"),
        ({"steps": 1, "lr": 0.0}, "lr"),
        ({"steps": 1, "lr": math.nan}, "lr"),
        ({"steps": 1, "beta1": 1.0}, "beta1"),
        ({"steps": 1, "decay": -0.1}, "decay"),
        ({"steps": 1, "warmup": 0}, "warmup"),
        ({"steps": 1, "seed": -1}, "seed"),
    ],
)
def test_recipes_that_cannot_be_are_refused(settings, match):
    with pytest.raises(ValueError, match=match):
        Recipe(**settings)


values = st.one_of(
    st.text(st.characters(blacklist_categories=("Cs",))),
    st.integers(-(2**62), 2**62),
    st.floats(allow_nan=False, allow_infinity=False),
    st.booleans(),
    st.lists(st.integers(-100, 100), max_size=3),
)


@given(st.dictionaries(st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True), values, max_size=6))
def test_settings_survive_toml(config):
    import tomllib

    assert tomllib.loads(to_toml(config)) == config


def test_a_torn_last_line_of_the_log_is_left_out(tmp_path):
    run = Run.create(tmp_path / "run", {})
    train(SYSTEM, DATA, recipe(10), run)
    with open(run.metrics, "a") as file:
        file.write('{"step": 15, "gener')
    assert [r["step"] for r in run.rows()] == [5, 10]
    run.rewind(5)
    assert [json.loads(line)["step"] for line in run.metrics.read_text().splitlines()] == [5]


def test_env_json_says_what_a_result_depends_on(tmp_path):
    env = json.loads((Run.create(tmp_path / "run", {}).path / "env.json").read_text())
    assert {"refgen", "python", "numpy", "blas", "platform", "command"} <= env.keys()


def test_the_noise_of_a_step_is_an_address():
    assert Noise(0).at("train", 3, "model", 0).at("batch").stream == (
        Noise(0).at("train", 3, "model", 0, "batch").stream
    )
