"""What `refgen train` says of samples and of a classifier, and what it refuses."""

import re

import numpy as np
import pytest

from refgen.systems import SYSTEMS

TINY = ("--batch", 8, "--set", "hidden=8", "--backend", "numpy")


@pytest.fixture
def hasty(monkeypatch):
    """Train the judge for three steps: what it says is nonsense, said in the right places."""
    monkeypatch.setitem(SYSTEMS["classifier"].images, "steps", 3)


def test_clothes_are_judged_on_features_and_the_judge_is_announced_once(refgen, hasty, tmp_path):
    words = ("train", "vae", "--data", "fashion", "--steps", 2, *TINY)
    first = refgen(*words, "--out", "a")
    assert first.code == 0, first.err
    assert "training the judge of fashion once: 3 steps" in first.err
    assert "500 samples against 500 held-out images, on the judge's features" in first.out
    for row in ("vae", "gaussian", "class gaussians", "copies", "real", "held out"):
        assert f"\n{row} " in first.out
    assert "\ngood is: precision, recall and copy_ratio near 1, one_nn near 0.5" in first.out
    assert "vae is in no figure better than both Gaussians\n" in first.out
    assert "share of each class by the judge, who is right on " in first.out
    assert "% of 500 held-out images" in first.out
    again = refgen(*words, "--out", "b")
    assert "training the judge" not in again.err
    assert first.out.splitlines()[6:] == again.out.splitlines()[6:]


def test_digits_are_judged_on_pixels(refgen, hasty):
    answer = refgen("train", "gan", "--steps", 1, *TINY)
    assert "on pixels" in answer.out
    assert "class_gap" in answer.out


def test_scenes_are_counted_by_their_sentences(refgen, hasty):
    answer = refgen("train", "gan", "--data", "scenes", "--steps", 1, *TINY)
    assert answer.code == 0, answer.err
    assert "\n3 one dark three " in answer.out
    assert "\n39 two bright nines " in answer.out


def test_enlarged_and_decoded_pictures_are_compared_with_the_true_ones(refgen, hasty):
    few = ("--steps", 1, *TINY, "--set", "hidden=16", "--set", "T=4", "--set", "sample_steps=2")
    large = refgen("train", "super-resolution", *few)
    said = r"64 held-out images enlarged from 1/2 of their size: 14.1 dB by bicubic, .* by one draw"
    assert re.search(said, large.out), large.err
    coded = refgen("train", "latent-diffusion", *few, "--set", "channels=4")
    assert re.search(r"\n64 held-out images decoded from their codes: -?\d+\.\d dB\n", coded.out)


def test_energies_of_points_have_a_likelihood(refgen):
    small = ("--set", "hidden=8", "--set", "points=9", "--backend", "numpy")
    answer = refgen("train", "ebm", "--data", "toy:moons", "--steps", 1, *small)
    said = re.search(
        r"log-likelihood (-?\d+\.\d+) nats per point, mean of \d+ held out", answer.out
    )
    assert said, answer.err
    assert -8 < float(said[1]) < -1.5  # a wide Gaussian's, before anything is learnt


def test_quiet_trains_the_judge_in_silence(refgen, hasty, monkeypatch, tmp_path):
    monkeypatch.setenv("REFGEN_CACHE", str(tmp_path / "fresh"))
    answer = refgen("train", "vae", "--steps", 1, *TINY, "--quiet")
    assert (answer.code, answer.err) == (0, "")
    assert "by the judge" in answer.out


@pytest.mark.parametrize(("data", "word"), [("digits", "\n9 "), ("fashion", "\n9 Ankle boot ")])
def test_a_classifier_is_told_its_accuracy_and_its_confusions(refgen, tmp_path, data, word):
    answer = refgen("train", "classifier", "--data", data, "--steps", 3, *TINY, "--out", "run")
    assert answer.code == 0, answer.err
    assert "% of 500 held-out images" in answer.out
    assert word in answer.out
    rows = [line.split()[-10:] for line in answer.out.splitlines()[-10:]]
    assert np.array(rows, dtype=int).sum() == 500
    assert "refgen sample" not in answer.out
    assert not list((tmp_path / "run" / "samples").iterdir())
    assert (tmp_path / "run" / "curves.png").stat().st_size > 0


def test_a_classifier_is_not_sampled(refgen):
    assert refgen("train", "classifier", "--steps", 1, *TINY, "--out", "run", "--quiet").code == 0
    answer = refgen("sample", "run")
    assert answer.code == 2
    assert "classifier draws no samples" in answer.err


def test_data_without_labels_are_refused_before_a_run_is_made(refgen, tmp_path):
    answer = refgen("train", "classifier", "--data", "toy:ring", "--out", "run")
    assert answer.code == 2
    assert "toy:ring has none: give data with labels" in answer.err
    assert not (tmp_path / "run").exists()


def test_the_number_of_classes_is_that_of_the_labels(refgen, tmp_path):
    rng = np.random.default_rng(0)
    data, labels = rng.random((40, 4, 4), dtype=np.float32), np.arange(40) % 3
    np.savez(tmp_path / "a.npz", data=data, labels=labels)
    answer = refgen("train", "classifier", "--data", "a.npz", "--steps", 2, *TINY, "--out", "run")
    assert answer.code == 0, answer.err
    assert "classes = 3" in (tmp_path / "run" / "config.toml").read_text()
    words = ("--set", "classes=2", "--steps", 2, *TINY)
    refused = refgen("train", "classifier", "--data", "a.npz", *words, "--out", "b")
    assert refused.code == 2
    assert "set classes=3" in refused.err


def test_labelled_points_are_classified_too(refgen, tmp_path):
    rows = [f"{x},{x * x % 7},{x % 2}" for x in range(40)]
    (tmp_path / "a.csv").write_text("\n".join(["x,y,label", *rows]))
    answer = refgen("train", "classifier", "--data", "a.csv", "--steps", 2, *TINY)
    assert answer.code == 0, answer.err
    assert "of 4 held-out points" in answer.out


def test_a_judge_that_cannot_be_trained_does_not_spoil_the_run(refgen, tmp_path):
    """Images of two pixels a side are too small to be moved by one."""
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "a.npz", data=rng.random((6000, 2, 2)), labels=np.arange(6000) % 2)
    answer = refgen("train", "vae", "--data", "a.npz", "--steps", 1, *TINY)
    assert answer.code == 0, answer.err
    assert "not judged: shift is a few pixels" in answer.out


@pytest.mark.parametrize(
    ("shape", "labels", "said"),
    [
        ((40, 4, 4), np.arange(40) % 2, "here are labels and 4 held-out images"),
        ((30, 4, 4), None, "here are no labels and 3 held-out images"),
        ((50, 3), None, " from 5 held-out points; as many training points "),
    ],
)
def test_own_data_are_judged_or_a_line_says_why_not(refgen, tmp_path, shape, labels, said):
    given = {} if labels is None else {"labels": labels}
    np.savez(tmp_path / "a.npz", data=np.random.default_rng(0).random(shape), **given)
    answer = refgen("train", "gan", "--data", "a.npz", "--steps", 1, *TINY)
    assert answer.code == 0, answer.err
    assert said in answer.out.splitlines()[-1]


def test_nothing_to_say_is_no_empty_line(refgen, monkeypatch):
    monkeypatch.setattr("refgen.cli.judging.judge", lambda *_, **__: [])
    answer = refgen("train", "vae", "--data", "toy:ring", "--steps", 1, *TINY, "--quiet")
    assert answer.code == 0
    assert "" not in answer.out.splitlines()
