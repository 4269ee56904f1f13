"""Training and sampling from the command line, at toy size."""

import json
import signal
import subprocess
import sys
import time
import tomllib

import numpy as np
import pytest

from refgen.cli import main, pace

TINY = ("--batch", 8, "--set", "hidden=8", "--backend", "numpy")


def config(path):
    return tomllib.loads((path / "config.toml").read_text())


@pytest.fixture
def judged_lightly(monkeypatch):
    from refgen.cli import judging

    monkeypatch.setattr(judging, "POINTS", 100)


@pytest.mark.parametrize("system", ["vae", "gan", "ddpm", "realnvp"])
@pytest.mark.parametrize("data", ["toy:ring", "digits"])
def test_a_system_trains_and_is_sampled(refgen, tmp_path, judged_lightly, system, data):
    small = ("--model", "mlp", "--set", "T=5") if system == "ddpm" else ()
    trained = refgen("train", system, "--data", data, "--steps", 6, *TINY, *small, "--out", "run")
    assert trained.code == 0, trained.err
    assert "refgen sample run" in trained.out
    assert "parameters" in trained.err
    assert "backend numpy, the reference" in trained.err
    for name in ("samples/step-000006.png", "curves.png", "metrics.jsonl", "env.json"):
        assert (tmp_path / "run" / name).stat().st_size > 0
    if data == "digits":
        assert all(row in trained.out for row in ("class gaussians", "copies", "real", "frechet"))
    else:
        assert "modes covered" in trained.out
    assert ("ELBO" in trained.out) == (system == "vae")
    assert ("bits per dimension" in trained.out) == (system == "realnvp" and data == "digits")
    drawn = refgen("sample", "run", "-n", 5, "--out", "a.png", "--npz", "a.npz")
    assert drawn.code == 0, drawn.err
    assert drawn.out.split() == ["a.npz", "a.png"]
    with np.load(tmp_path / "a.npz") as file:
        assert file["samples"].shape == ((5, 2) if data == "toy:ring" else (5, 8, 8, 1))


@pytest.mark.parametrize(("model", "hidden"), [("unet", 16), ("dit", 8)])
def test_the_network_of_diffusion_can_be_chosen(refgen, tmp_path, judged_lightly, model, hidden):
    small = ("--batch", 4, "--set", f"hidden={hidden}", "--set", "T=4", "--set", "blocks=1")
    words = ("--model", model, "--steps", 2, *small, "--backend", "numpy", "--out", "run")
    trained = refgen("train", "ddpm", *words)
    assert trained.code == 0, trained.err
    found = config(tmp_path / "run")
    assert (found["model"], found["sample_steps"], found["batch"]) == (model, 100, 4)
    assert refgen("sample", "run", "-n", 3, "--out", "a.png").code == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("ddpm", "--model", "cnn"), "unknown model 'cnn'; there are mlp, unet, dit"),
        (("ddpm", "--model", "unet", "--data", "toy:ring"), "use model=mlp for points"),
        (("ddpm", "--model", "unet", "--set", "hidden=24"), "multiple of 16"),
        (("vae", "--model", "unet"), "vae has no setting 'model'"),
    ],
)
def test_a_network_that_cannot_be_is_refused_before_anything_is_written(
    refgen, tmp_path, words, said
):
    refused = refgen("train", *words, "--out", "run")
    assert refused.code == 2
    assert said in refused.err
    assert not (tmp_path / "run").exists()


def test_flags_win_over_the_file_and_the_file_over_the_recipe(refgen, tmp_path, judged_lightly):
    (tmp_path / "a.toml").write_text('data = "toy:ring"\nsteps = 9\nlatent = 3\nlr = 1\nhidden = 4')
    words = ("--config", "a.toml", "--steps", 2, "--set", "hidden=8", "--set", "steps=7")
    assert refgen("train", "vae", *words, "--out", "run", "--quiet").code == 0
    found = config(tmp_path / "run")
    assert (found["steps"], found["latent"], found["lr"], found["hidden"]) == (2, 3, 1.0, 8)
    assert (found["data"], found["batch"], found["var"]) == ("toy:ring", 256, 0.01)
    again = refgen("train", "vae", "--config", "run/config.toml", "--out", "again", "--quiet")
    assert again.code == 0, again.err
    assert config(tmp_path / "again") == found


def test_real_nvp_is_told_the_levels_of_the_images(refgen, tmp_path, judged_lightly):
    assert refgen("train", "realnvp", "--steps", 1, *TINY, "--out", "a", "--quiet").code == 0
    set_by_hand = ("--set", "levels=33")
    assert (
        refgen("train", "realnvp", "--steps", 1, *TINY, *set_by_hand, "--out", "b", "--quiet").code
        == 0
    )
    assert [config(tmp_path / run)["levels"] for run in "ab"] == [17, 33]


def test_quiet_is_quiet_and_data_goes_to_stdout(refgen, judged_lightly):
    answer = refgen("train", "vae", "--data", "toy:ring", "--steps", 2, *TINY, "--quiet")
    assert answer.err == ""
    assert "runs/vae-ring" in answer.out


def test_counts_and_rates_are_said_in_words(refgen, judged_lightly):
    answer = refgen("train", "vae", "--data", "toy:ring", "--steps", 1, *TINY)
    assert "\n1 step of 8, lr" in answer.err
    assert "trained for 1 step: " in answer.out
    said = "1,540 steps a second; NumPy alone takes 210, 7.3 times fewer"
    assert pace.compared(1540.3, 210.04) == said
    assert pace.compared(9.0, 11.7).endswith(" takes 11.7, 1.3 times as many")
    assert pace.compared(9.0, 9.1).endswith(", about as many")


def test_a_run_is_never_overwritten(refgen, tmp_path, judged_lightly):
    line = ("train", "vae", "--data", "toy:ring", "--steps", 2, *TINY)
    assert refgen(*line).code == 0
    before = (tmp_path / "runs/vae-ring/metrics.jsonl").read_text()
    answer = refgen(*line)
    assert answer.code == 2
    assert "--resume" in answer.err
    assert "--out" in answer.err
    assert (tmp_path / "runs/vae-ring/metrics.jsonl").read_text() == before


def test_a_loss_that_is_not_finite_exits_with_4(refgen, judged_lightly):
    answer = refgen("train", "vae", "--data", "toy:ring", "--steps", 90, *TINY, "--lr", "1e12")
    assert answer.code == 4
    assert "is not finite" in answer.err
    assert "Traceback" not in answer.err
    assert "Warning" not in answer.err


def test_a_finished_run_resumes_to_its_end_at_once(refgen, judged_lightly):
    line = ("train", "vae", "--data", "toy:ring")
    first = refgen(*line, "--steps", 4, *TINY)
    again = refgen(*line, "--resume")
    assert (first.code, again.code) == (0, 0)
    assert again.out == first.out
    other = refgen("train", "gan", "--resume", "--out", "runs/vae-ring")
    assert other.code == 2
    assert "run of vae" in other.err


def test_a_run_goes_on_with_its_own_data_alone(refgen, tmp_path, judged_lightly):
    np.save(tmp_path / "a.npy", np.random.default_rng(0).normal(size=(40, 2)))
    assert refgen("train", "vae", "--data", "a.npy", "--steps", 2, *TINY, "--out", "r").code == 0
    resumed = ("train", "vae", "--resume", "--out", "r")
    assert refgen(*resumed, "--data", "./a.npy").code == 0
    answer = refgen(*resumed, "--data", "toy:ring")
    assert answer.code == 2
    assert f"r is a run on {tmp_path / 'a.npy'}, not on toy:ring: drop --data" in answer.err


def test_a_run_without_checkpoints_says_that_it_starts_again(refgen, tmp_path, judged_lightly):
    refgen("train", "vae", "--data", "toy:ring", "--steps", 2, *TINY, "--out", "r")
    resumed = ("train", "vae", "--resume", "--out", "r")
    again = "r has no checkpoint: it starts again, at step 0"
    assert again not in refgen(*resumed).err
    for path in (tmp_path / "r/ckpt").iterdir():
        path.unlink()
    answer = refgen(*resumed)
    assert answer.code == 0
    assert again in answer.err


def test_samples_depend_on_the_seed_alone(refgen, tmp_path, judged_lightly):
    refgen("train", "ddpm", "--data", "toy:ring", "--steps", 3, *TINY, "--set", "T=9", "--out", "r")
    for name, *options in (("a",), ("b",), ("c", "--seed", 1), ("d", "--sampler", "ddim")):
        answer = refgen("sample", "r", "-n", 3, "--steps", 4, "--npz", f"{name}.npz", *options)
        assert answer.code == 0, answer.err
    drawn = {}
    for name in "abcd":
        with np.load(tmp_path / f"{name}.npz") as file:
            drawn[name] = file["samples"]
    assert np.array_equal(drawn["a"], drawn["b"])
    assert not np.allclose(drawn["a"], drawn["c"])
    assert not np.allclose(drawn["a"], drawn["d"])


def test_pictures_of_other_draws_have_other_names(refgen, tmp_path, judged_lightly):
    refgen("train", "ddpm", "--data", "toy:ring", "--steps", 1, *TINY, "--set", "T=9", "--out", "r")
    ways = ((), ("--steps", 4), ("--sampler", "ddim", "--steps", 4), ("--seed", 1))
    drawn = [refgen("sample", "r", "-n", 3, *way).out.strip() for way in ways]
    assert len(set(drawn)) == len(ways)
    assert drawn[2].endswith("drawn-n3-seed0-ddim-steps4.png")
    assert all((tmp_path / path).exists() for path in drawn)


@pytest.mark.parametrize(
    ("words", "code", "names"),
    [
        (("--sampler", "dim"), 2, "dim"),
        (("--steps", 10), 2, "1 .. 9"),
        (("--backend", "cupy"), 3, "cupy"),
        (("--label", 3), 2, "--label"),
    ],
)
def test_a_sampler_refuses_what_it_does_not_have(refgen, judged_lightly, words, code, names):
    refgen("train", "ddpm", "--data", "toy:ring", "--steps", 1, *TINY, "--set", "T=9", "--out", "r")
    answer = refgen("sample", "r", *words)
    assert answer.code == code
    assert names in answer.err
    assert "internal" not in answer.err


def test_damaged_checkpoints_fall_back_or_are_named(refgen, tmp_path, judged_lightly):
    line = ("train", "vae", "--data", "toy:ring", "--steps", 4, *TINY, "--set", "save_every=2")
    refgen(*line, "--out", "r")
    newest, older = tmp_path / "r/ckpt/step-000004.npz", tmp_path / "r/ckpt/step-000002.npz"
    newest.write_bytes(newest.read_bytes()[:-99])
    answer = refgen("sample", "r", "--npz", "a.npz")
    assert answer.code == 0
    assert "step-000004.npz" in answer.err
    assert "after 2 steps" in answer.err
    older.write_bytes(b"")
    for words in (("sample", "r"), ("train", "vae", "--resume", "--out", "r")):
        answer = refgen(*words)
        assert answer.code == 2
        assert "step-000002.npz" in answer.err


@pytest.mark.parametrize("edit", ['shape = "wide"', "shape = [2.5]", 'lr = "x"', "hidden = -1"])
def test_a_damaged_config_is_named(refgen, tmp_path, judged_lightly, edit):
    refgen("train", "vae", "--data", "toy:ring", "--steps", 1, *TINY, "--out", "r")
    path = tmp_path / "r/config.toml"
    key = edit.split()[0]
    lines = [line for line in path.read_text().splitlines() if not line.startswith(f"{key} ")]
    path.write_text("\n".join([*lines, edit]))
    answer = refgen("sample", "r")
    assert answer.code == 2
    assert "internal" not in answer.err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_is_saved_and_resumes_to_the_same_bits(tmp_path, number):
    def words(folder, steps):
        return ["--data", "toy:ring", "--steps", str(steps), *map(str, TINY), "--out", folder]

    start = [sys.executable, "-m", "refgen", "train", "vae"]
    steps = 400
    process = subprocess.Popen(
        [*start, *words("cut", steps), "--quiet"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    log = tmp_path / "cut/metrics.jsonl"
    while process.poll() is None and not (log.exists() and log.stat().st_size):
        time.sleep(0.02)
    process.send_signal(number)
    _, err = process.communicate()
    assert process.returncode == 128 + number
    assert "--resume --out cut" in err
    for line in ([*start, "--resume", "--out", "cut"], [*start, *words("whole", steps)]):
        done = subprocess.run([*line, "--quiet"], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    cut, whole = (
        [json.loads(line) for line in (tmp_path / run / "metrics.jsonl").read_text().splitlines()]
        for run in ("cut", "whole")
    )
    for row in (*cut, *whole):
        row.pop("seconds")
    assert cut == whole


def test_without_pictures_training_goes_on_and_one_line_names_the_extra(
    refgen, tmp_path, monkeypatch, judged_lightly
):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    answer = refgen("train", "vae", "--data", "toy:ring", "--steps", 2, *TINY, "--out", "r")
    assert answer.code == 0
    assert answer.err.count('pip install "refgen[viz]"') == 1
    assert not list((tmp_path / "r/samples").iterdir())
    drawn = refgen("sample", "r", "--out", "a.png")
    assert drawn.code == 3
    assert 'pip install "refgen[viz]"' in drawn.err


def test_a_disk_that_fills_up_names_the_file_and_the_way_on(tmp_path, monkeypatch, capsys):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    assert main(["train", "vae", "--steps", "2", "--out", str(tmp_path / "run"), "--quiet"]) == 2
    message = capsys.readouterr().err
    assert "No space left on device" in message
    assert str(tmp_path / "run") in message
    assert "Traceback" not in message
