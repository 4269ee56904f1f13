"""No file runs code, exhausts memory or escapes as anything but a LoadError."""

import gzip
import io
import pickle
import struct
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refgen.data import LoadError, limits, load

from .files import BYTES, LABELS, SCALED, WHOLE, idx, npy, npy_header, npz, outcome, write, zipped

CHECKSUMMED = ("a.idx.gz", "stored.npz", "deflated.npz")


def peak_of_refusal(spec: str, says: str) -> int:
    """Return the most bytes that were allocated while a file was being refused."""
    tracemalloc.start()
    try:
        with pytest.raises(LoadError, match=says) as caught:
            load(spec)
        assert caught.value.file == spec
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


class Payload:
    """Unpickling one of these creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.tiny
@pytest.mark.parametrize("member", ["data", "labels"])
def test_pickled_members_are_refused_and_never_executed(tmp_path, member):
    trap = tmp_path / "executed"
    payload = np.array([Payload(trap)] * 5, dtype=object)
    content = npz(**{"data": BYTES, "labels": LABELS, member: payload})
    with np.load(io.BytesIO(content), allow_pickle=True) as trusting:
        _ = trusting[member]
    assert trap.exists(), "the payload is harmless: this test would prove nothing"
    trap.unlink()
    with pytest.raises(LoadError, match="pickled objects") as caught:
        load(write(tmp_path, "a.npz", content))
    assert caught.value.member == member
    assert not trap.exists()


def test_a_pickle_under_another_name_is_refused_and_never_executed(tmp_path):
    trap = tmp_path / "executed"
    bare = pickle.dumps(Payload(trap))
    objects = npy(np.array([[Payload(trap)]], dtype=object))
    files = {"a.npy": bare, "b.npy": objects, "a.npz": bare, "a.csv": bare, "a.idx": bare}
    for name, content in files.items():
        with pytest.raises(LoadError):
            load(write(tmp_path, name, content))
    assert not trap.exists()


@pytest.mark.tiny
def test_a_header_that_declares_the_impossible_allocates_nothing(tmp_path):
    vast = npy_header("{'descr': '<f8', 'fortran_order': False, 'shape': (1099511627776, 2), }\n")
    vast_idx = struct.pack(">BBBB3I", 0, 0, 8, 3, 2**32 - 1, 2**32 - 1, 2**32 - 1)
    files = {
        "a.npy": vast,
        "a.npz": zipped(data=vast),
        "a.idx": vast_idx,
        "a.idx.gz": gzip.compress(vast_idx),
    }
    for name, content in files.items():
        assert peak_of_refusal(write(tmp_path, name, content), "MAX_BYTES") < 2**20


def test_a_header_that_declares_more_than_the_file_holds_allocates_nothing(tmp_path):
    """A gibibyte is under the cap, and still it is not there."""
    big = npy_header("{'descr': '<f4', 'fortran_order': False, 'shape': (134217728, 2), }\n")
    big_idx = struct.pack(">BBBB2I", 0, 0, 13, 2, 2**27, 2)
    for name, content, says in [
        ("a.npy", big, "truncated"),
        ("a.npz", zipped(data=big), "truncated"),
        ("a.idx", big_idx, "truncated"),
        ("a.idx.gz", gzip.compress(big_idx), "bomb"),
    ]:
        assert peak_of_refusal(write(tmp_path, name, content), says) < 2**20


def test_a_bomb_is_refused_before_it_is_inflated(tmp_path):
    """A hundred MB of nothing deflate a thousandfold; images do not."""
    nothing = np.zeros((100, 1000, 1000), dtype=np.uint8)
    npz_bomb = write(tmp_path, "a.npz", npz(compressed=True, data=nothing))
    gz_bomb = write(tmp_path, "a.idx.gz", gzip.compress(idx(nothing), compresslevel=1))
    for spec in (npz_bomb, gz_bomb):
        assert Path(spec).stat().st_size < 2**20
        assert peak_of_refusal(spec, "decompression bomb") < 2**20


def test_a_stream_that_goes_on_after_its_array_is_refused_and_not_inflated(tmp_path):
    more = idx(BYTES) + bytes(50_000_000)
    spec = write(tmp_path, "a.idx.gz", gzip.compress(more, compresslevel=1))
    assert peak_of_refusal(spec, "more than that follow") < 2**20


def test_a_stream_that_ends_before_its_array_is_refused(tmp_path):
    spec = write(tmp_path, "a.idx.gz", gzip.compress(idx(BYTES)[:-9]))
    with pytest.raises(LoadError, match="declares 60 bytes, but 51 follow"):
        load(spec)
    spec = write(tmp_path, "b.idx.gz", gzip.compress(idx(BYTES)[:9]))
    with pytest.raises(LoadError, match="ends within its header"):
        load(spec)


def test_the_cap_counts_what_the_float32_data_will_need(tmp_path, monkeypatch):
    spec = write(tmp_path, "a.npy", npy(BYTES))
    monkeypatch.setattr(limits, "MAX_BYTES", 4 * BYTES.size)
    assert len(load(spec)) == 5
    monkeypatch.setattr(limits, "MAX_BYTES", 4 * BYTES.size - 1)
    with pytest.raises(LoadError, match="MAX_BYTES"):
        load(spec)


def test_a_table_stops_being_read_at_the_cap(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "MAX_BYTES", 8 * 100)
    assert len(load(write(tmp_path, "fits.csv", b"1,2\n" * 50))) == 50
    with pytest.raises(LoadError, match="more than 800 bytes"):
        load(write(tmp_path, "large.csv", b"1,2\n" * 51))


HEADERS = {
    "a negative axis": "{'descr': '<f8', 'fortran_order': False, 'shape': (-1, 2), }",
    "seventy axes": f"{{'descr': '<u1', 'fortran_order': False, 'shape': {(1,) * 70}, }}",
    "a huge empty shape": f"{{'descr': '<u1', 'fortran_order': False, 'shape': (0, {10**99}), }}",
    "a huge axis": f"{{'descr': '<u1', 'fortran_order': False, 'shape': ({10**400}, 2), }}",
    "an axis that is text": "{'descr': '<f8', 'fortran_order': False, 'shape': ('3', 2), }",
    "a shape that is a number": "{'descr': '<f8', 'fortran_order': False, 'shape': 3, }",
    "a key too many": "{'descr': '<f8', 'fortran_order': False, 'shape': (3, 2), 'a': 1}",
    "a call": "{'descr': open('x', 'w'), 'fortran_order': False, 'shape': (3, 2), }",
    "an unknown type": "{'descr': '<q9', 'fortran_order': False, 'shape': (3, 2), }",
    "an object type": "{'descr': '|O', 'fortran_order': False, 'shape': (3, 2), }",
    "a type of no size": "{'descr': '|V0', 'fortran_order': False, 'shape': (3, 2), }",
    "a bad escape": "{'descr': '\\d', 'fortran_order': False, 'shape': (3, 2), }",
    "deep brackets": "(" * 5000,
    "deep minus signs": "-" * 9000 + "1",
    "nothing": "",
    "not Latin": "\xff\x00\x80",
}


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("case", HEADERS)
def test_a_hostile_header_is_one_load_error(tmp_path, monkeypatch, case, version):
    monkeypatch.chdir(tmp_path)
    content = npy_header(HEADERS[case], version) + bytes(48)
    for name, packed in [("a.npy", content), ("a.npz", zipped(data=content))]:
        with pytest.raises(LoadError) as caught:
            load(write(tmp_path, name, packed))
        assert len(str(caught.value)) < 1000
    assert not Path("x").exists()


def test_a_header_longer_than_the_file_is_refused(tmp_path):
    content = b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**32 - 1)
    assert peak_of_refusal(write(tmp_path, "a.npy", content), "header claims") < 2**20


def test_encrypted_and_oddly_compressed_members_are_refused(tmp_path):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("data.npy", npy(BYTES))
    with pytest.raises(LoadError, match="compressed by method 12"):
        load(write(tmp_path, "a.npz", buffer.getvalue()))
    content = bytearray(npz(data=BYTES))
    content[6] |= 1  # the flag of encryption, in the member's own header
    content[content.index(b"PK\x01\x02") + 8] |= 1  # and in the directory
    with pytest.raises(LoadError, match="encrypted"):
        load(write(tmp_path, "b.npz", bytes(content)))


def judge(folder: Path, name: str, content: bytes) -> None:
    """Load damaged bytes: one LoadError that names the file, or a data set that keeps its word."""
    spec = write(folder, name, content)
    result = outcome(spec)
    if isinstance(result, LoadError):
        assert result.file == spec
        assert result.reason
        assert result.remedy
    else:
        assert np.isfinite(result.data).all()
        if name in CHECKSUMMED:
            assert np.array_equal(result.data, SCALED), "the checksum was not looked at"


@pytest.fixture
def small_cap(monkeypatch):
    monkeypatch.setattr(limits, "MAX_BYTES", 2**24)


@pytest.mark.parametrize("name", WHOLE)
def test_a_whole_file_passes_the_judge(tmp_path, name):
    assert len(load(write(tmp_path, name, WHOLE[name]))) in (3, 5, 6)


@pytest.mark.usefixtures("small_cap")
@pytest.mark.parametrize("name", WHOLE)
def test_a_file_cut_anywhere_is_refused_or_a_data_set(tmp_path, name):
    whole = WHOLE[name]
    for cut in range(len(whole)):
        judge(tmp_path, name, whole[:cut])


@pytest.mark.parametrize("name", [n for n in WHOLE if not n.endswith(".csv")])
def test_a_binary_file_that_is_cut_or_continued_is_refused(tmp_path, name):
    whole = WHOLE[name]
    for content in (whole[:-1], whole[: len(whole) // 2], whole[:1], b"", whole + b"\1"):
        if content == whole + b"\1" and name.endswith(".npz"):
            continue  # a zip archive may be followed by a comment
        with pytest.raises(LoadError):
            load(write(tmp_path, name, content))


@pytest.mark.parametrize("name", WHOLE)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(1, 6))
def test_damaged_bytes_give_a_load_error_or_a_data_set(tmp_path_factory, name, seed, count):
    rng = np.random.default_rng(seed)
    folder = tmp_path_factory.getbasetemp()
    whole = WHOLE[name]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "MAX_BYTES", 2**24)
        for _ in range(20):
            damaged = bytearray(whole)
            for place in rng.integers(len(whole), size=count):
                damaged[place] = rng.integers(256)
            judge(folder, name, bytes(damaged))


@pytest.mark.slow
@pytest.mark.usefixtures("small_cap")
@pytest.mark.parametrize("name", WHOLE)
def test_no_flipped_bit_escapes(tmp_path, name):
    """Every bit of every file, and every byte replaced by every other at a header's places."""
    whole = WHOLE[name]
    for place in range(len(whole)):
        for value in range(256) if place < 160 else (whole[place] ^ 1 << b for b in range(8)):
            judge(tmp_path, name, whole[:place] + bytes([value]) + whole[place + 1 :])
