"""The time that is left, on a terminal and elsewhere."""

import time

import pytest

from refgen.cli import progress


@pytest.fixture
def wait(monkeypatch):
    """Return a way to let seconds pass."""
    passed = [0.0]
    for name in ("monotonic", "time"):
        monkeypatch.setattr(time, name, lambda: passed[0])

    def pass_by(seconds):
        passed[0] += seconds

    return pass_by


def test_the_first_step_does_not_count_in_the_time_left(wait, capsys):
    with progress.Progress(200, "step", start=20) as bar:
        for done, seconds in ((21, 140), (22, 1), (30, 16), (40, 20)):
            wait(seconds)
            bar.to(done, "loss 1")
    assert capsys.readouterr().err.splitlines() == [
        "step 21 of 200  loss 1",
        "step 30 of 200  loss 1  5 min 21 s left",  # 17 s for 9 steps
        "step 40 of 200  loss 1  5 min 12 s left",  # 37 s for 19
    ]


def test_a_bar_does_not_count_it_either(wait, capsys, monkeypatch):
    pytest.importorskip("tqdm")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with progress.Progress(100, "step") as bar:
        for seconds in (140, 1, 1, 1):
            wait(seconds)
            bar.to(bar.done + 1)
    said = capsys.readouterr().err
    assert "4/100, 01:36 left" in said
