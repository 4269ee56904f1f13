"""How the Numba twins are compiled: for which instructions, and where that is kept."""

import importlib.util
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from refgen_kernels import numba_cpu
from refgen_kernels.numba_cpu import build

ABLE = list(build.TARGETS)[list(build.TARGETS).index(build.TARGET) :]
PAST = ("ddpm_step", "ddpm_step_drawn", "noising", "noising_drawn", "adam_ema_step")
each_target = pytest.mark.parametrize("target", ABLE)

# Compile in an empty cache; print a digest of every result, and of what the loops are made.
SCRIPT = """
import hashlib, json, re
import numpy as np
import refgen_kernels.numba_cpu as twin
from refgen.noise import Noise, normals
from refgen_kernels.numba_cpu import (
    adam, build, coupling, gaussian, likelihood, linear, noise, noising
)

stream = Noise(9).at("target").stream
x, y = (normals(stream, 10_000 * i, 3 * 2003).reshape(3, 2003) for i in (1, 2))
a, b = x[:, 0], y[:, 0]
ddpm = dict(alpha=0.9, alpha_bar=0.4, sigma=0.3)
z, kl, cache = twin.reparameterize_kl_drawn(x, 3 * y, stream, 5)
results = [
    twin.normals(stream, 2**40 + 5, 12_345),
    *twin.noising_drawn(x, a, b, stream, 7),
    twin.noising_forward(x, y, a, b)[0],
    z, kl, *cache,
    *twin.reparameterize_kl_backward(x, a, cache),
    twin.ddpm_step_drawn(x, y, stream, 9, **ddpm),
    twin.ddpm_step_forward(x, y, x, **ddpm)[0],
    twin.guided_ddpm_step_forward(x, y, 2 * y, x, guidance=3.0, **ddpm)[0],
    twin.langevin_step_drawn(x, y, stream, 9, step=0.1),
    twin.heun_step_forward(x, y, x, dt=0.1)[0],
    *twin.adam_ema_step(x, y, x, y * y, x, step=2, lr=0.1, decay=0.9),
    twin.squared_error_forward(x, y)[0],
    twin.bernoulli_nll_forward(x, 9 * y)[0],
    *twin.bernoulli_nll_backward(a, twin.bernoulli_nll_forward(x, 9 * y)[1]),
    *twin.affine_coupling_forward(x, y, 9 * x)[:2],
    twin.affine_coupling_inverse(x, y, 9 * x),
]
kernels = {
    "normals": noise._normals, "noising_drawn": noising._drawn, "noising": noising._given,
    "reparameterize_kl_drawn": gaussian._drawn, "ddpm_step_drawn": linear._drawn,
    "ddpm_step": linear._given, "adam_ema_step": adam._step, "squared_error": likelihood._squares,
    "bernoulli_nll": likelihood._logistic, "affine_coupling": coupling._forward,
}
print(json.dumps({
    "target": build.TARGET,
    "cache": str(build.CACHE),
    "digest": hashlib.sha256(b"".join(r.tobytes() for r in results)).hexdigest(),
    "equal": bool((results[0] == normals(stream, 2**40 + 5, 12_345)).all()),
    "code": {name: "".join(k.serial.inspect_asm().values()) for name, k in kernels.items()},
}))
"""


def run(script, tmp_path, **environment):
    """Run a script in a process of its own, with an empty cache."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("NUMBA_", "REFGEN_"))}
    env = {"NUMBA_CACHE_DIR": str(tmp_path), **clean, **environment}
    command = [sys.executable, "-W", "error", "-c", script]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """Return target -> what the script above prints of it."""
    found = {}
    for target in ABLE:
        done = run(SCRIPT, tmp_path_factory.mktemp(target), REFGEN_TARGET=target)
        assert done.returncode == 0, done.stderr
        found[target] = json.loads(done.stdout)
    return found


@each_target
def test_every_instruction_set_gives_the_same_bits(compiled, target):
    assert compiled[target]["target"] == target
    assert compiled[target]["equal"], "the normals are not those of the reference"
    assert compiled[target]["digest"] == compiled[ABLE[0]]["digest"]


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="names x86 registers")
@each_target
def test_hot_loops_compute_in_the_widest_registers(compiled, target):
    """Losing the vectors, to a narrower register or to one number at a time, fails here."""
    wide = build.LANES[target]
    for name, code in compiled[target]["code"].items():
        needed = ["addps", "mulps"]
        if name == "normals" or name.endswith("_drawn"):
            needed += ["sqrtps", "pmuludq"]
            assert "sqrtss" not in code, f"{name} takes roots one at a time"
        if name == "adam_ema_step":
            needed += ["sqrtps", "divps"]
        if name == "bernoulli_nll":
            needed += ["divps"]
        if name in PAST:
            needed += ["movntps"]
        for instruction in needed:
            assert re.search(rf"\bv?{instruction}\s.*%{wide}", code), f"{name}: {instruction}"


@each_target
def test_nothing_is_fused_and_no_library_is_called(compiled, target):
    for name, code in compiled[target]["code"].items():
        assert not re.search(r"vfn?m(?:add|sub)", code), f"{name} is not bit-equal by luck only"
        assert not re.search(r"\b(?:expf?|logf?|sinf?|cosf?|fmaf?)\b@?", code), name


def test_the_cache_lies_where_the_user_asked(compiled, tmp_path):
    done = run("from refgen_kernels.numba_cpu import build; print(build.CACHE)", tmp_path)
    assert Path(done.stdout.strip()).is_relative_to(tmp_path / "refgen")


@pytest.mark.tiny
def test_the_cache_follows_the_users_folder(tmp_path, monkeypatch):
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert build.cache_folder("plain").parent == tmp_path / "refgen"


@pytest.mark.tiny
def test_the_cache_has_a_folder_of_its_own_for_every_target(tmp_path, monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    assert len({build.cache_folder(target) for target in build.TARGETS}) == 3


@pytest.mark.tiny
def test_editing_any_source_changes_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "cache"))
    for source in sorted(build.PACKAGE.rglob("*.py")):
        copy = tmp_path / source.stem
        shutil.copytree(build.PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
        before = build.cache_folder("plain", copy)
        assert before == build.cache_folder("plain"), "the hash depends on where the package lies"
        edited = copy / source.relative_to(build.PACKAGE)
        edited.write_text(edited.read_text() + "\n")
        assert build.cache_folder("plain", copy) != before


@pytest.mark.tiny
def test_without_a_folder_to_write_to_the_cache_is_temporary(tmp_path, monkeypatch):
    blocked = tmp_path / "a file"
    blocked.write_text("")
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(blocked))
    folder = build.cache_folder("plain")
    assert folder.is_dir()
    assert not folder.is_relative_to(tmp_path)


def test_a_second_process_compiles_nothing(tmp_path):
    script = (
        "from refgen_kernels.numba_cpu import noise; noise.normals((1, 2, 3, 4), 0, 100);"
        "print(len(noise._normals.serial.stats.cache_hits))"
    )
    assert run(script, tmp_path).stdout.strip() == "0"
    assert run(script, tmp_path).stdout.strip() == "1"


@pytest.mark.tiny
def test_an_unknown_target_is_refused(tmp_path):
    done = run("import refgen_kernels.numba_cpu", tmp_path, REFGEN_TARGET="avx9000")
    assert done.returncode != 0
    assert "this CPU runs" in done.stderr


def test_the_cache_of_other_numba_code_is_left_alone(tmp_path):
    script = (
        "import refgen_kernels.numba_cpu; from numba.core import config;print(config.CACHE_DIR)"
    )
    assert run(script, tmp_path).stdout.strip() == str(tmp_path)


def test_the_threads_fall_back_where_openmp_is_missing(tmp_path):
    script = (
        "import sys; sys.modules['numba.np.ufunc.omppool'] = None\n"
        "import numba; from refgen_kernels.numba_cpu import normals\n"
        "normals((1, 2, 3, 4), 0, 100_000); print(numba.threading_layer())"
    )
    done = run(script, tmp_path)
    assert done.stdout.strip() in ("workqueue", "tbb"), done.stderr


@pytest.mark.skipif(
    importlib.util.find_spec("numba.np.ufunc.omppool") is None, reason="Numba has no OpenMP here"
)
def test_openmp_is_preferred(tmp_path):
    script = (
        "import numba; from refgen_kernels.numba_cpu import normals\n"
        "normals((1, 2, 3, 4), 0, 100_000); print(numba.threading_layer())"
    )
    assert run(script, tmp_path).stdout.strip() == "omp"


def test_a_cache_is_warm_once_something_has_been_compiled(tmp_path, monkeypatch):
    monkeypatch.setattr(build, "CACHE", tmp_path)
    assert not numba_cpu.warm()
    (tmp_path / "serial").mkdir()
    (tmp_path / "serial" / "noise.nbi").write_bytes(b"")
    assert numba_cpu.warm()
