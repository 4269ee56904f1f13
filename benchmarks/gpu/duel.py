"""Contenders in turns, A B C, A B C: every one judged first, then timed in the same rounds."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.cases import Case
from benchmarks.gpu import data as gpu_data
from benchmarks.gpu.contenders import HOSTS, SEATS
from benchmarks.gpu.worker import Worker
from benchmarks.timing import Timing

TINY_S = 1e-4  # calls that are shorter are captured as well: launches may be all they take
LOADING_S, ROUND_S = 180.0, 60.0  # before somebody is given up


@dataclass
class Found:
    """What one contender did in one case."""

    warm: Timing
    cold: Timing
    moves: dict[str, float | None] = field(default_factory=dict)  # h2d, d2h, end_to_end
    graph_s: float | None = None

    @property
    def main(self) -> Timing:
        """The figure that is compared: cold, or warm where there is no other."""
        return self.cold if self.cold.seconds else self.warm


def run(case: Case, workers: Sequence[Worker], rounds: int) -> tuple[dict[str, Found], list[str]]:
    """Return what those found that are right, and why others are left out."""
    with tempfile.TemporaryDirectory() as folder:
        data = gpu_data.draw(case)
        gpu_data.write(Path(folder), case, data, gpu_data.expect(case, data))
        del data
        found, seconds, absent = _loaded(case, workers, folder)
    ready = [w for w in workers if w.name in seconds]
    _heat([w for w in ready if w.name not in HOSTS], absent)
    for _ in range(rounds):
        for worker in list(ready):
            try:
                taken = worker.ask("run", timeout=ROUND_S)
            except RuntimeError as failure:
                absent.append(str(failure))
                ready.remove(worker)
                continue
            _note(found[worker.name], taken)
    for worker in ready:
        _beside(case, worker, found[worker.name], seconds[worker.name], absent)
    return found, absent


def _loaded(
    case: Case, workers: Sequence[Worker], folder: str
) -> tuple[dict[str, Found], dict[str, float], list[str]]:
    """Judge everybody; return what is known of each, the seconds of those to time, the absent."""
    found: dict[str, Found] = {}
    seconds: dict[str, float] = {}
    absent = []
    for worker in (w for w in workers if SEATS[w.name].takes(case)):
        try:
            loaded = worker.ask("load", case.key, folder, timeout=LOADING_S)
        except RuntimeError as failure:
            absent.append(str(failure))
            continue
        if "skipped" in loaded:
            absent.append(f"{worker.name}: {loaded['skipped']}")
            continue
        taken = loaded.pop("seconds")
        found[worker.name] = Found(Timing(**loaded), Timing(**loaded))
        if found[worker.name].warm.right:
            seconds[worker.name] = taken
    return found, seconds, absent


def _heat(ready: Sequence[Worker], absent: list[str]) -> None:
    """Let one of them work until the clocks of the device have risen."""
    for worker in ready[:1]:
        try:
            worker.ask("heat", timeout=ROUND_S)
        except RuntimeError as failure:
            absent.append(str(failure))


def _note(found: Found, taken: dict[str, float | None]) -> None:
    for timing, figure in ((found.warm, taken["warm"]), (found.cold, taken["cold"])):
        if figure is not None:
            timing.seconds.append(figure)
            timing.noisy.append(False)


def _beside(case: Case, worker: Worker, found: Found, seconds: float, absent: list[str]) -> None:
    """Ask once for the way in and out, and for the graph of what is tiny or a whole walk."""
    if worker.name in HOSTS:
        return
    try:
        found.moves = worker.ask("moves", timeout=ROUND_S)
        if seconds < TINY_S or case.call == "sample":
            answer = worker.ask("graph", timeout=ROUND_S)
            found.graph_s = answer.get("graph")
    except RuntimeError as failure:
        absent.append(str(failure))
