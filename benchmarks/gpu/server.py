"""What a contender answers: built, judged, timed, one command at a time.

Commands and answers:

    about              versions, and what the device is
    load key folder    build the case and judge it; {"error", "allowed", "rule", "about",
                       "seconds"}, those of a call, roughly; or {"skipped": why}
    heat               work for half a second: the clocks rise, for all others as well
    run                {"warm", "cold"}: seconds a call, by the device's clock
    moves              {"h2d", "d2h", "end_to_end"}: in, out, and all of it by the wall clock
    graph              {"graph"}: seconds a call when captured, or {"skipped": why}
    limits             what the device can do at most
"""

import gc
import importlib
import statistics
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.calls import Call, Skipped
from benchmarks.cases import Case
from benchmarks.gpu.cases import BY_KEY
from benchmarks.gpu.clock import Clock
from benchmarks.gpu.contender import Contender, Loaded
from benchmarks.gpu.contenders import installed
from benchmarks.gpu.data import expect, judged, read, verdict

FIRST_S = 0.1  # of calls, to learn what one takes
MOVES = 5  # times each way
IN_A_GRAPH = 16  # calls; shared by so many, the launch of the graph itself costs little


class Server:
    """What a contender can be asked."""

    def __init__(
        self,
        who: Contender,
        clock: Clock,
        cases: Mapping[str, Case] = BY_KEY,
        cold: bool = True,
    ) -> None:
        self.who, self.clock, self.cases, self.cold = who, clock, cases, cold
        self.loaded: Loaded | None = None
        self.case: Case | None = None
        self.seconds = 0.0

    def about(self) -> dict[str, Any]:
        """Name what it runs on."""
        return {"versions": installed(self.who.versions), "device": self.clock.device.about()}

    def load(self, key: str, folder: str) -> dict[str, Any]:
        """Build a case and judge it; what is wrong is not timed."""
        self.loaded, case = None, self.cases[key]
        gc.collect()
        self.clock.device.release()
        data, parts = read(Path(folder), case)
        loaded = self.who.load(case, data)
        found, noise = loaded.evidence()
        if noise is not None:  # its own: what should come of that?
            parts = expect(case, data, noise)
        said = verdict(
            judged(case), found, noise, parts, twin=self.who.twin, precision=self.who.precision
        )
        del data, parts, found, noise
        gc.collect()
        self.loaded, self.case = loaded, case
        self.seconds = self.clock.settle(loaded.calls[0], FIRST_S) if said.right else 0.0
        about = {"precision": self.who.precision, **loaded.about}
        return {**said._asdict(), "seconds": self.seconds, "about": about}

    def heat(self) -> None:
        """Work until the clocks have risen."""
        self.clock.settle(self._loaded()[1].calls[0])

    def run(self) -> dict[str, float | None]:
        """Time one round."""
        case, loaded = self._loaded()
        warm = self.clock.warm(loaded.calls[0], self.seconds)
        cold = self.clock.cold(loaded.calls) if self.cold and not case.whole else None
        return {"warm": warm, "cold": cold}

    def moves(self) -> dict[str, float | None]:
        """Time the way in, the way out, and both with the call between them."""
        (case, loaded), device = self._loaded(), self.clock.device
        if case.whole:
            return {"h2d": None, "d2h": None, "end_to_end": None}
        held = [device.held(a) for a in loaded.inputs]
        results = loaded.results(loaded.calls[0]())
        outside = [device.held(a) for a in results]

        def enter() -> None:
            for a, there in zip(held, loaded.inputs, strict=True):
                device.upload(a, there)

        def leave(results: list[Any]) -> None:
            for there, a in zip(results, outside, strict=True):
                device.download(there, a)

        def everything() -> None:
            enter()
            leave(loaded.results(loaded.calls[0]()))

        def median(clock: Callable[[Call], float], call: Call) -> float:
            clock(call)
            return statistics.median(clock(call) for _ in range(MOVES))

        return {
            "h2d": median(self.clock.once, enter) if held else None,
            "d2h": median(self.clock.once, lambda: leave(results)),
            "end_to_end": median(self.clock.wall, everything),
        }

    def graph(self) -> dict[str, Any]:
        """Time the call inside a graph, where nobody launches it."""
        case, loaded = self._loaded()
        call, count = loaded.calls[0], 1 if case.whole else IN_A_GRAPH

        def several() -> Any:
            last = [call() for _ in range(count)][-1]
            return next(iter(loaded.results(last)), last)

        replay = self.clock.device.capture(several)
        taken = self.clock.settle(replay)
        return {"graph": self.clock.warm(replay, taken) / count}

    def limits(self) -> dict[str, float]:
        """Measure what the device can do."""
        module = importlib.import_module("benchmarks.gpu.limits")
        found: dict[str, float] = module.limits(self.clock, self.who)
        return found

    def _loaded(self) -> tuple[Case, Loaded]:
        if self.case is None or self.loaded is None:
            raise RuntimeError("no case is loaded")
        return self.case, self.loaded

    def answer(self, command: str, *arguments: Any) -> Any:
        """Return the answer to a command, or why there is none."""
        try:
            return getattr(self, command)(*arguments)
        except Skipped as reason:
            return {"skipped": str(reason)}
        except Exception as failure:
            return {"failed": f"{type(failure).__name__}: {failure}"[:300]}
