"""Files that hold anything, folders cut short, states that may not be saved."""

import io
import json
import random
import zipfile
from dataclasses import dataclass

import numpy as np
import pytest

from refgen import tree
from refgen.systems.gan import GAN
from refgen.systems.system import Turn
from refgen.training import (
    CheckpointError,
    NumericFailure,
    Recipe,
    Run,
    RunError,
    Stop,
    checkpoint,
    train,
)
from refgen.training import run as run_page
from refgen.training.run import to_toml
from tests.training.game import DATA, SYSTEM, recipe
from tests.training.test_training import damage_empty, same, stop_at

OF_SYSTEM = {name: getattr(SYSTEM, name) for name in ("shape", "latent", "hidden", "k")}


@pytest.fixture
def run(tmp_path):
    """Return a run of ten steps with checkpoints at 5 and 10."""
    run = Run.create(tmp_path / "run", {"steps": 10})
    train(SYSTEM, DATA, recipe(10, save_every=5), run)
    return run


def flips(raw):
    """Positions in the whole file, and every one of its directory, where zipfile looks first."""
    directory = raw.index(b"PK\x01\x02")
    some = random.Random(0).sample(range(len(raw)), 150)
    return some + list(range(directory, len(raw), 11))


def test_a_flipped_bit_is_harmless_or_refused(run):
    path = run.path / "ckpt" / "step-000010.npz"
    raw, whole = path.read_bytes(), checkpoint.load(path)
    refused = 0
    for i in flips(raw):
        hurt = bytearray(raw)
        hurt[i] ^= 1 << (i % 8)
        path.write_bytes(hurt)
        try:
            assert same(checkpoint.load(path), whole)
        except CheckpointError:
            refused += 1
    assert refused > 100


@pytest.mark.parametrize(("offset", "bit"), [(8, 0x01), (10, 0x20)])  # encrypted; compressed by ?
def test_a_flipped_flag_in_the_directory_falls_back(run, offset, bit):
    path = run.path / "ckpt" / "step-000010.npz"
    raw = bytearray(path.read_bytes())
    raw[raw.index(b"PK\x01\x02") + offset] ^= bit
    path.write_bytes(raw)
    state, notes = run.latest()
    assert state.step == 5
    assert len(notes) == 1
    assert "step-000010.npz" in notes[0]


def test_a_compressed_checkpoint_is_refused_before_it_inflates(tmp_path):
    path = tmp_path / "step-000001.npz"
    np.savez_compressed(path, manifest=np.zeros(10**7, np.uint8))
    with pytest.raises(CheckpointError, match="a member is compressed"):
        checkpoint.load(path)


def test_a_header_that_claims_terabytes_is_refused(tmp_path):
    path, header = tmp_path / "step-000001.npz", io.BytesIO()
    claim = {"descr": "<f4", "fortran_order": False, "shape": (2**60,)}
    np.lib.format.write_array_header_1_0(header, claim)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("manifest.npy", header.getvalue())
    with pytest.raises(CheckpointError, match="readable"):
        checkpoint.load(path)


@pytest.mark.parametrize(
    "manifest",
    [
        [],
        3,
        None,
        {"schema": 1},
        {"schema": 1, "step": 1, "config": "", "arrays": []},
        {"schema": 1, "step": 1, "config": "", "arrays": {}},
        {"schema": 1, "step": "x", "config": "", "arrays": {}},
        {"schema": 2},
    ],
)
def test_a_forged_manifest_is_refused(tmp_path, manifest):
    path = tmp_path / "step-000001.npz"
    np.savez(path, manifest=np.frombuffer(json.dumps(manifest).encode(), np.uint8))
    with pytest.raises(CheckpointError, match=r"step-000001\.npz"):
        checkpoint.load(path)


def test_a_checkpoint_is_never_dropped_for_later_ones(run):
    for step in (20, 30, 40):
        damage_empty(run.path / "ckpt" / f"step-{step:06d}.npz")
    state = checkpoint.load(run.path / "ckpt" / "step-000005.npz")
    assert run.save(state).exists()
    found, notes = run.latest()
    assert found.step == 10
    assert len(notes) == 3


def test_training_does_not_start_over_in_a_run_that_has_checkpoints(run):
    rows = run.rows()
    with pytest.raises(RunError, match="already has checkpoints"):
        train(SYSTEM, DATA, recipe(10), run)
    assert run.rows() == rows
    assert len(checkpoint.steps(run.path / "ckpt")) == 2


@pytest.mark.parametrize("last", ["env.json", "config.toml"])
def test_a_run_whose_making_was_cut_short_can_be_made_again(tmp_path, monkeypatch, last):
    real = run_page.write_whole

    def full(path, write):
        if path.name == last:
            raise OSError(28, "No space left on device")
        real(path, write)

    monkeypatch.setattr(run_page, "write_whole", full)
    with pytest.raises(RunError, match="No space"):
        Run.create(tmp_path / "run", {"steps": 3})
    monkeypatch.undo()
    assert Run.create(tmp_path / "run", {"steps": 3}).config == {"steps": 3}
    assert Run.open(tmp_path / "run").config == {"steps": 3}


@pytest.mark.parametrize("mine", ["env.json", "samples/me.png", "notes.txt"])
def test_a_folder_that_holds_anything_else_is_not_taken_for_a_run_cut_short(tmp_path, mine):
    file = tmp_path / "run" / mine
    file.parent.mkdir(parents=True)
    file.write_text("mine")
    with pytest.raises(RunError, match="not an empty folder"):
        Run.create(tmp_path / "run", {})
    assert file.read_text() == "mine"


def test_numbers_of_numpy_are_written_as_toml(tmp_path):
    Run.create(tmp_path / "run", {"lr": np.float64(1e-3)})
    assert Run.open(tmp_path / "run").config == {"lr": 1e-3}


@pytest.mark.parametrize(
    "config",
    [{"a b": 1}, {"": 1}, {"x": float("nan")}, {"x": [1.5]}, {"x": [True]}, {"x": None}],
)
def test_settings_that_toml_would_not_give_back_are_refused(config):
    with pytest.raises(TypeError):
        to_toml(config)


def test_a_table_in_the_settings_of_a_run_is_refused(run):
    (run.path / "config.toml").write_text("[a]\nb = 1\n")
    with pytest.raises(RunError, match="TOML"):
        Run.open(run.path)


def test_bytes_that_are_no_text_do_not_hide_the_rows_of_the_log(run):
    run.metrics.write_bytes(run.metrics.read_bytes() + b"\xff\xfe\n")
    assert [row["step"] for row in run.rows()] == [5, 10]


@pytest.mark.parametrize("how", ["saved", "interrupted"])
@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning")
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_parameters_that_are_not_finite_are_not_saved(tmp_path, how):
    @dataclass(frozen=True)
    class Leaping(GAN):
        def turns(self):
            return super().turns()[1:]  # the generator alone: nobody meets its new parameters

    run, stop = Run.create(tmp_path / "run", {}), Stop()
    every = 1 if how == "saved" else 10
    plan = Recipe(10, batch=8, lr=1e39, warmup=1, save_every=every)
    with pytest.raises(NumericFailure, match=r"step 1: parameter generator/.* is not finite"):
        train(Leaping(**OF_SYSTEM), DATA, plan, run, on_step=stop_at(1, stop), stop=stop)
    assert run.latest() == (None, [])


def test_a_player_named_in_two_turns_draws_anew_and_counts_on():
    seen = []

    @dataclass(frozen=True)
    class Twice(GAN):
        def turns(self):
            first, second = super().turns()

            def watched(params, batch, noise):
                seen.append((noise.path, batch.tobytes()))
                return second.gradient(params, batch, noise)

            return first, Turn("generator", watched), Turn("generator", watched)

    state = train(Twice(**OF_SYSTEM), DATA, recipe(2))
    assert len(set(seen)) == 4
    assert len({path for path, _ in seen}) == 4
    assert all(np.isfinite(a).all() for a in tree.leaves(state.params))
