"""A judge is trained once for its data, kept whole, and never taken for another."""

from dataclasses import replace

import numpy as np
import pytest

from refgen import tree
from refgen.data import Dataset
from refgen.systems import SYSTEMS
from refgen.training import judge_of


def blobs(seed=0, labels=True):
    rng = np.random.default_rng(seed)
    named = np.arange(120) % 3
    data = np.tanh(0.3 * rng.normal(size=(120, 4, 4, 1)) + (named - 1)[:, None, None, None])
    return Dataset("blobs", data.astype(np.float32), named if labels else None, "images", 0)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("REFGEN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(SYSTEMS["classifier"].images, "steps", 20)
    return tmp_path / "cache" / "judges"


def flat(judge):
    return {name: a.tobytes() for name, a in tree.flatten(judge.params).items()}


@pytest.mark.tiny
def test_a_judge_is_trained_once_and_then_read(cache):
    said, steps = [], []
    first = judge_of(blobs(), say=said.append, on_step=lambda *both: steps.append(both))
    assert steps == [(k, 20) for k in range(1, 21)]
    assert len(said) == 1
    assert "training the judge of blobs once: 20 steps" in said[0]
    assert len(list(cache.iterdir())) == 1
    again = judge_of(blobs(), say=said.append, on_step=lambda *both: steps.append(both))
    assert (len(said), len(steps)) == (1, 20)
    assert flat(again) == flat(first)
    assert again.accuracy == first.accuracy


@pytest.mark.tiny
def test_its_accuracy_is_that_of_the_held_out_part(cache):
    judge = judge_of(blobs())
    _, held_out = blobs().split()
    assert judge.held_out == len(held_out) == 12
    assert judge.accuracy == np.mean(judge.labels(held_out.data) == held_out.labels)
    assert judge.features(held_out.data.astype(np.float64)).shape == (12, 64)
    assert judge.classifier.classes == 3


@pytest.mark.tiny
def test_other_data_and_other_settings_have_a_judge_of_their_own(cache, monkeypatch):
    judge_of(blobs())
    judge_of(blobs(seed=1))
    relabelled = replace(blobs(), labels=(blobs().labels + 1) % 3)
    judge_of(relabelled)
    monkeypatch.setitem(SYSTEMS["classifier"].images, "steps", 21)
    judge_of(blobs())
    assert len(list(cache.iterdir())) == 4


@pytest.mark.tiny
def test_other_code_has_a_judge_of_its_own(cache, tmp_path, monkeypatch):
    from refgen.training import judge

    page = tmp_path / "a_page_of_code.py"
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(judge, "CODE", ("a_page_of_code",))
    for text in ("one = 1\n", "one = 2\n", "one = 1\n"):
        page.write_text(text)
        judge_of(blobs())
    assert len(list(cache.iterdir())) == 2


@pytest.mark.tiny
def test_a_judge_never_saw_what_is_held_out(cache, tmp_path, monkeypatch):
    index = np.arange(12)
    data = replace(blobs(), held_out=index)
    other = data.data.copy()
    other[index] = -other[index]
    first = judge_of(data)
    monkeypatch.setenv("REFGEN_CACHE", str(tmp_path / "another"))
    assert flat(judge_of(replace(data, data=other))) == flat(first)


@pytest.mark.tiny
@pytest.mark.parametrize("damage", ["cut", "flip", "shape", "nan", "empty"])
def test_a_damaged_judge_is_trained_again_and_told(cache, damage):
    first, said = judge_of(blobs()), []
    (path,) = cache.iterdir()
    content = bytearray(path.read_bytes())
    if damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "flip":
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    else:
        arrays = tree.flatten(first.params)
        name = next(iter(arrays))
        bad = arrays[name][:1] if damage == "shape" else np.full_like(arrays[name], np.nan)
        np.savez(path, **{**arrays, name: bad})
    again = judge_of(blobs(), say=said.append)
    assert "damaged" in said[0]
    assert "training" in said[1]
    assert flat(again) == flat(first)
    assert judge_of(blobs(), say=said.append) is not None
    assert len(said) == 2


@pytest.mark.tiny
def test_a_cache_that_cannot_be_written_costs_only_time(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("REFGEN_CACHE", str(tmp_path / "file"))
    monkeypatch.setitem(SYSTEMS["classifier"].images, "steps", 2)
    said = []
    assert 0 <= judge_of(blobs(), say=said.append).accuracy <= 1
    assert "is not kept" in said[1]
    assert "REFGEN_CACHE" in said[1]


@pytest.mark.tiny
def test_data_without_labels_have_no_judge(cache):
    with pytest.raises(ValueError, match="learns from labels"):
        judge_of(blobs(labels=False))


@pytest.mark.tiny
def test_judges_lie_where_the_environment_says_else_in_the_user_s_cache(tmp_path, monkeypatch):
    from refgen.training.judge import cache_folder

    for name in ("REFGEN_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "refgen" / "judges"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "refgen" / "judges"
    monkeypatch.setenv("REFGEN_CACHE", "~/own")
    assert cache_folder() == tmp_path / "own" / "judges"


@pytest.mark.slow
@pytest.mark.parametrize(("name", "bar"), [("digits", 0.97), ("fashion", 0.84)])
def test_the_judges_of_the_embedded_data_are_as_good_as_stated(tmp_path, monkeypatch, name, bar):
    from refgen.data import load

    monkeypatch.setenv("REFGEN_CACHE", str(tmp_path))
    assert judge_of(load(name)).accuracy >= bar
