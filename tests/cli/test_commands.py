"""Every command answers on its happy path."""

import json
import subprocess
import sys

import refgen as package
from refgen.cli import NAMES


def test_help_of_every_command_has_an_example(refgen):
    for name in NAMES:
        answer = refgen(name, "--help")
        assert answer.code == 0
        assert f"example:\n  refgen {name}" in answer.out


def test_the_bare_command_prints_its_help(refgen):
    bare, asked = refgen(), refgen("--help")
    assert (bare.code, asked.code) == (0, 0)
    assert bare.out == asked.out
    assert all(name in bare.out for name in NAMES)


def test_the_version_is_the_package_s(refgen):
    assert refgen("--version").out == f"refgen {package.__version__}\n"


def test_help_and_version_import_no_numpy():
    script = (
        "import sys; from refgen.cli import main\n"
        "main(['--help']); main(['--version']); main(['train', '--help'])\n"
        "assert not {'numpy', 'scipy', 'tqdm', 'numba', 'matplotlib'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True, stdout=subprocess.DEVNULL)


def test_a_new_derivation_agrees_and_a_planted_error_does_not(refgen, tmp_path):
    assert refgen("check", "--new", "mine").code == 0
    right = refgen("check", "mine.py")
    assert right.code == 0
    assert "2 agree, 0 wrong" in right.out
    text = (tmp_path / "mine.py").read_text()
    (tmp_path / "wrong.py").write_text(text.replace("DECAY * params", "-DECAY * params"))
    wrong = refgen("check", "wrong.py", "--json", "-")
    report = json.loads(wrong.out)
    assert (wrong.code, report["schema"], report["ok"]) == (1, 1, False)
    assert [p["verdict"] == "agrees" for p in report["parameters"]] == [True, False]
    assert report["parameters"][1]["causes"]


def test_json_is_written_whole_to_a_file_beside_the_table(refgen, tmp_path):
    refgen("check", "--new", "mine")
    answer = refgen("check", "mine.py", "--json", "report.json")
    assert "agree" in answer.out
    assert json.loads((tmp_path / "report.json").read_text())["ok"] is True
    assert sorted(p.name for p in tmp_path.glob("*")) >= ["mine.py", "report.json"]
    assert not list(tmp_path.glob(".report*"))


def test_every_system_works(refgen):
    from refgen.systems import SYSTEMS

    answer = refgen("systems", "--json", "-")
    document = json.loads(answer.out)
    assert (answer.code, document["schema"]) == (0, 1)
    assert [row["id"] for row in document["systems"]] == list(SYSTEMS)
    for row in document["systems"]:
        assert set(row) == {"id", "name", "family", "lectures", "works", "acceptance"}
        assert set(row["acceptance"]) == {"bar", "bars", "measured", "command", "commit"}
        assert row["works"] is True


def test_a_system_that_diverges_does_not_work(refgen, monkeypatch):
    import numpy as np

    from refgen.systems.vae import VAE

    def diverged(self, params, batch, noise):
        return {"loss": np.full(len(batch), np.nan)}, params["model"]

    monkeypatch.setattr(VAE, "gradient", diverged)
    answer = refgen("systems", "--json", "-")
    works = {row["id"]: row["works"] for row in json.loads(answer.out)["systems"]}
    assert answer.code == 1
    assert not works.pop("vae")
    assert all(works.values())


def test_the_systems_table_names_every_bar(refgen):
    from refgen.systems import SYSTEMS

    answer = refgen("systems")
    said = " ".join(answer.out.split())  # long lines are folded
    assert all(entry.bar in said and id in said for id, entry in SYSTEMS.items())


def test_evidence_of_another_bar_is_not_shown():
    from dataclasses import replace

    from refgen.cli.systems import acceptance
    from refgen.systems import SYSTEMS

    entry = SYSTEMS["ddpm"]
    assert acceptance(entry)["measured"] is not None
    raised = acceptance(replace(entry, bar="digits: precision 1"))
    assert (raised["bar"], raised["measured"]) == ("digits: precision 1", None)


def test_the_doctor_finds_the_cpu_path(refgen):
    answer = refgen("doctor")
    assert answer.code == 0
    assert "the CPU path works" in answer.out
    document = json.loads(refgen("doctor", "--json", "-").out)
    assert document["ok"] is True
    needed = {row["name"] for row in document["findings"] if row["needed"]}
    assert needed == {"Python", "NumPy", "SciPy", "tqdm"}


def test_the_doctor_says_how_to_mend_what_is_missing(refgen, monkeypatch):
    from refgen.cli import machine

    monkeypatch.setattr(machine, "_version", lambda package: "")
    answer = refgen("doctor")
    assert answer.code == 3
    for command in ('pip install "refgen[cpu]"', 'pip install "refgen[viz]"', "pip install numpy"):
        assert f"-> {command}" in answer.out


def test_cite_prints_a_paper_once_and_lists_all(refgen):
    everything = refgen("cite").out
    assert "ho2020-ddpm" in everything
    answer = refgen("cite", "ho2020-ddpm", "ddpm", "ops.gaussian")
    assert answer.code == 0
    assert answer.out.count("@inproceedings{ho2020-ddpm,") == 1
    assert "{song2021-ddim," in answer.out
    assert "{kingma2014-vae," in answer.out


def test_an_internal_error_is_reported_without_a_traceback(refgen, monkeypatch):
    from refgen.cli import cite

    def broken():
        raise RuntimeError("the moon\n\nis wrong")

    monkeypatch.setattr(cite, "bibliography", broken)
    answer = refgen("cite")
    assert answer.code == 1
    assert "internal error, RuntimeError: the moon is wrong" in answer.err
    assert "report" in answer.err
    assert "Traceback" not in answer.err
    monkeypatch.setenv("REFGEN_DEBUG", "1")
    assert "Traceback" in refgen("cite").err


def test_colour_is_for_terminals_that_want_it(monkeypatch):
    from refgen.cli import terms

    class Terminal:
        def isatty(self):
            return True

    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert terms.paint("x", "red", Terminal()) == "\033[31mx\033[0m"
    monkeypatch.setenv("NO_COLOR", "1")
    assert terms.paint("x", "red", Terminal()) == "x"


def test_a_reader_that_leaves_early_is_no_error():
    line = f"{sys.executable} -m refgen cite | head -1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stderr == ""
