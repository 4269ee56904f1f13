"""Deliberate misuse: each gets one paragraph that names the thing, and the right exit code."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

TINY = ["--steps", "2", "--batch", "4", "--set", "hidden=8", "--quiet"]


def files() -> None:
    """Write the files that the misuses name into the current folder."""
    images = np.arange(640, dtype=np.uint8).reshape(10, 8, 8) % 16
    idx = struct.pack(">BBBBIII", 0, 0, 8, 3, 10, 8, 8) + images.tobytes()
    Path("cut.gz").write_bytes(gzip.compress(idx)[:-40])
    Path("short-idx3-ubyte").write_bytes(idx[:-100])
    np.savez("pickle.npz", data=np.array([{"a": 1}], dtype=object))
    np.save("nan.npy", np.array([[0.0, 1.0], [np.nan, 2.0], [1.0, 1.0]]))
    np.save("flat.npy", np.zeros(7))
    Path("words.csv").write_text("a,b\n1,2\n3,four\n")
    Path("notes.txt").write_text("no data here")
    Path("typo.toml").write_text("stepz = 10\n")
    Path("kind.toml").write_text('lr = "fast"\n')
    Path("broken.toml").write_text("steps = = 3\n")
    Path("bytes.toml").write_bytes(b"\xff\xfe\x00")
    Path("taken").mkdir()
    Path("taken/notes.txt").write_text("mine")
    Path("empty").mkdir()
    Path("file.py").write_text("params = 1\n")
    Path("nograds.py").write_text(
        "import numpy as np\nparams = {'w': np.ones(3)}\ndef loss(p):\n    return p['w'].sum()\n"
    )
    Path("syntax.py").write_text("def loss(p)\n    return 0\n")
    Path("raises.py").write_text("1 / 0\n")
    Path("mine.py").write_text("# my own work\n")


# The words, the exit code, and what the message must name.
MISUSES = [
    ("frobnicate", 2, "frobnicate"),
    ("trian vae", 2, "did you mean 'train'"),
    ("--frobnicate", 2, "--frobnicate"),
    ("systems --jsn -", 2, "did you mean '--json'"),
    ("systems extra", 2, "'extra'"),
    ("systems --json nowhere/a.json", 2, "'nowhere' is missing"),
    ("systems --json empty", 2, "'empty' is a folder"),
    ("cite ho2020-dppm", 2, "did you mean 'ho2020-ddpm'"),
    ("cite realnvpp", 2, "did you mean 'realnvp'"),
    ("check", 2, "FILE.py"),
    ("check missing.py", 2, "missing.py"),
    ("check empty", 2, "empty"),
    ("check nograds.py", 2, "grads"),
    ("check file.py", 2, "loss"),
    ("check syntax.py", 2, "syntax.py, line 1"),
    ("check raises.py", 2, "ZeroDivisionError"),
    ("check mine.py --new other", 2, "--new"),
    ("check --new mine", 2, "mine.py exists"),
    ("check --new nowhere/mine", 2, "'nowhere' is missing"),
    ("check --new 3things", 2, "3things"),
    ("check --new", 2, "--new"),
]


@pytest.mark.parametrize(("line", "code", "names"), MISUSES, ids=[m[0] for m in MISUSES])
def test_misuse_is_named_in_one_paragraph(refgen, line, code, names):
    files()
    before = {p: p.read_bytes() for p in Path().rglob("*") if p.is_file()}
    words = [w for word in line.split() for w in (TINY if word == "TINY" else [word])]
    answer = refgen(*words)
    assert answer.code == code, answer.err
    message = answer.err.strip()
    assert names in message
    assert "Traceback" not in message
    assert "internal error" not in message
    assert "\n\n" not in message
    assert len(message) < 1500
    assert answer.out == ""
    assert {p: p.read_bytes() for p in Path().rglob("*") if p.is_file()} == before
