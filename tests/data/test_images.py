"""A folder of pictures is a data set when all of them have one size."""

import sys

import numpy as np
import pytest

from refgen.data import LoadError, NotInstalledError, limits, load

from .files import BYTES, SCALED, outcome

Image = pytest.importorskip("PIL.Image", reason="pictures need Pillow")
COLOUR = np.stack([BYTES, BYTES[::-1], 255 - BYTES], axis=-1)


def save(folder, pictures, ending=".png"):
    folder.mkdir(exist_ok=True)
    for i, picture in enumerate(pictures):
        Image.fromarray(picture).save(folder / f"{i:03}{ending}")


@pytest.mark.tiny
@pytest.mark.parametrize("ending", [".png", ".pgm", ".PNG"])
def test_grey_pictures_come_in_the_order_of_their_names(tmp_path, ending):
    save(tmp_path, BYTES, ending)
    (tmp_path / "README.txt").write_text("no picture")
    (tmp_path / ".thumbnail.png").write_text("no picture either")
    data = load(str(tmp_path))
    assert (data.kind, data.levels, data.labels) == ("images", 256, None)
    assert np.array_equal(data.data, SCALED)


@pytest.mark.parametrize("ending", [".png", ".ppm"])
def test_colour_stands_in_the_last_axis(tmp_path, ending):
    save(tmp_path, COLOUR, ending)
    assert np.array_equal(load(str(tmp_path)).data, COLOUR.astype(np.float32) / 127.5 - 1)


def test_jpeg_is_read_as_nearly_as_it_stores(tmp_path):
    ramp = np.tile(np.arange(0, 256, 8, dtype=np.uint8), (32, 1))
    save(tmp_path, [ramp, ramp.T], ".jpg")
    stored = load(str(tmp_path)).data[..., 0]
    assert np.abs(stored - (np.stack([ramp, ramp.T]) / 127.5 - 1)).max() < 0.05


def test_subfolders_are_the_classes_in_the_order_of_their_names(tmp_path):
    names = ["zebra", "ant", "moth", "bee", "fly"]
    for name, picture in zip(names, BYTES, strict=True):
        save(tmp_path / name, [picture, picture])
    (tmp_path / "empty").mkdir()
    data = load(str(tmp_path))
    assert data.labels.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert np.array_equal(data.data[::2], SCALED[np.argsort(names)])


@pytest.mark.parametrize("odd", [0, 4])
def test_the_odd_picture_is_named_wherever_it_stands(tmp_path, odd):
    save(tmp_path, BYTES)
    Image.fromarray(BYTES[0].T).save(tmp_path / f"{odd:03}.png")
    with pytest.raises(LoadError, match="3 x 4 in grey, and most") as caught:
        load(str(tmp_path))
    assert caught.value.file.endswith(f"{odd:03}.png")


def test_colour_among_grey_is_odd(tmp_path):
    save(tmp_path, BYTES)
    Image.fromarray(COLOUR[0]).save(tmp_path / "003.png")
    with pytest.raises(LoadError, match=r"003\.png: .* in colour"):
        load(str(tmp_path))


@pytest.mark.parametrize("mode", ["RGBA", "P", "1", "I;16", "LA"])
def test_other_pixels_than_bytes_of_grey_or_rgb_are_refused(tmp_path, mode):
    Image.new(mode, (3, 4)).save(tmp_path / "a.png")
    with pytest.raises(LoadError, match=f"mode {mode}"):
        load(str(tmp_path))


def test_pictures_beside_subfolders_of_pictures_are_refused(tmp_path):
    save(tmp_path, BYTES)
    save(tmp_path / "ant", BYTES)
    with pytest.raises(LoadError, match="subfolder ant"):
        load(str(tmp_path))


def test_a_folder_without_pictures_is_refused(tmp_path):
    with pytest.raises(LoadError, match=r"holds no \.png"):
        load(str(tmp_path))


def test_pictures_beyond_the_cap_are_refused_before_one_is_decoded(tmp_path, monkeypatch):
    save(tmp_path, BYTES)
    monkeypatch.setattr(limits, "MAX_BYTES", BYTES.size * 4 - 1)
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("a picture was decoded"))
    with pytest.raises(LoadError, match="MAX_BYTES"):
        load(str(tmp_path))


def test_a_picture_of_absurd_size_is_refused(tmp_path):
    (tmp_path / "a.pgm").write_bytes(b"P5 100000 100000 255\n" + bytes(100))
    with pytest.raises(LoadError, match=r"a\.pgm"):
        load(str(tmp_path))


@pytest.mark.parametrize("ending", [".png", ".pgm", ".jpg"])
def test_a_damaged_picture_is_a_load_error_or_a_picture(tmp_path, ending):
    save(tmp_path, [BYTES[0]], ending)
    file = tmp_path / f"000{ending}"
    whole = file.read_bytes()
    rng = np.random.default_rng(0)
    for cut in range(0, len(whole), 7):
        file.write_bytes(whole[:cut])
        _load_or_refuse(tmp_path)
    for _ in range(100):
        damaged = bytearray(whole)
        for place in rng.integers(len(whole), size=3):
            damaged[place] = rng.integers(256)
        file.write_bytes(damaged)
        _load_or_refuse(tmp_path)


def _load_or_refuse(folder):
    result = outcome(str(folder))
    if isinstance(result, LoadError):
        assert result.file.startswith(str(folder))
    else:
        assert np.isfinite(result.data).all()


def test_without_pillow_the_error_names_the_extra(tmp_path, monkeypatch):
    save(tmp_path, BYTES)
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(NotInstalledError, match=r"refgen\[viz\]"):
        load(str(tmp_path))
