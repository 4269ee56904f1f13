"""Captions, codes and small pictures from the command line."""

import shlex

import numpy as np
import pytest

from refgen.data import load
from refgen.data.scenes import load_scenes

TINY = ("--batch", 4, "--quiet", "--set", "T=4", "--set", "hidden=16", "--set", "sample_steps=2")


def few(path, dataset, count):
    """Write the first examples of a data set: too few to be judged."""
    np.savez(path, data=dataset.data[:count], labels=dataset.labels[:count])
    return path


@pytest.fixture
def run(refgen, tmp_path):
    """Return the folder of a text-cross-attention that has seen scenes for two steps."""
    data = few(tmp_path / "scenes.npz", load_scenes(), 120)
    answer = refgen(
        "train", "text-cross-attention", "--data", data, "--steps", 2, *TINY, "--out", "run"
    )
    assert answer.code == 0, answer.err
    return tmp_path / "run"


def test_a_caption_is_drawn_another_is_answered_by_the_nearest_and_a_label_refused(refgen, run):
    drawn = {}
    for caption in ("two dark threes", "one bright nine"):
        answer = refgen("sample", run, "-n", 3, "--caption", caption, "--npz", "drawn.npz")
        assert answer.code == 0, answer.err
        drawn[caption] = np.load("drawn.npz")["samples"]
        assert drawn[caption].shape == (3, 8, 16, 1)
    answer = refgen("sample", run, "-n", 3, "--caption", "two dark three")
    assert answer.code == 2
    assert "did you mean 'two dark threes'?" in answer.err
    answer = refgen("sample", run, "-n", 3, "--label", 3)
    assert answer.code == 2
    assert "takes no label: it takes caption, guidance" in answer.err
    assert "latent-diffusion" in answer.err


def test_a_latent_diffusion_and_a_super_resolution_train_and_are_sampled(refgen, tmp_path):
    data = few(tmp_path / "few.npz", load("digits"), 60)
    for system, asked in (("latent-diffusion", ("--label", 3)), ("super-resolution", ())):
        answer = refgen("train", system, "--data", data, "--steps", 4, *TINY, "--out", system)
        assert answer.code == 0, answer.err
        answer = refgen("sample", system, "-n", 3, *asked, "--npz", "drawn.npz")
        assert answer.code == 0, answer.err
        assert np.load("drawn.npz")["samples"].shape == (3, 8, 8, 1)
    answer = refgen("sample", "super-resolution", "--caption", "one dark three")
    assert answer.code == 2
    assert "text-cross-attention" in answer.err


@pytest.mark.parametrize(
    ("system", "asked"),
    [
        ("cfg", "--label 2 --guidance 2"),
        ("text-cross-attention", '--caption "one bright thing2" --guidance 2'),
    ],
)
def test_a_request_that_works_is_proposed(refgen, tmp_path, system, asked):
    digits = load("digits")
    chosen = digits.labels < 3
    np.savez("few.npz", data=digits.data[chosen][:60], labels=digits.labels[chosen][:60])
    answer = refgen("train", system, "--data", "few.npz", "--steps", 2, *TINY, "--out", "run")
    assert f"  refgen sample run {asked}\n" in answer.out
    answer = refgen("sample", "run", "-n", 3, *shlex.split(asked))
    assert answer.code == 0, answer.err


@pytest.mark.parametrize(
    ("system", "said"),
    [
        (
            "super-resolution",
            ": super-resolution is of images (H, W, C), not of (2,): take --data digits",
        ),
        (
            "text-cross-attention",
            "captions are of images (H, W, C), not of (2,): take --data scenes",
        ),
        (
            "latent-diffusion",
            ": latent-diffusion is of images (H, W, C), not of (2,): take --data digits",
        ),
    ],
)
def test_points_are_refused_in_a_line(refgen, tmp_path, system, said):
    answer = refgen("train", system, "--data", "toy:moons", "--out", "run")
    assert answer.code == 2
    assert said in answer.err
    assert answer.err.count(system) == 1  # named once
    assert not (tmp_path / "run").exists()
