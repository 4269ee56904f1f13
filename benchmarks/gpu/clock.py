"""Time on a device: by its own events, around many calls at once or around each.

    warm    calls in a row on one set of inputs, which stays in the L2 where it fits; what is
            launched faster than it runs is timed by the kernels, tiny kernels by their launches
    cold    each call between two events of its own, on the next of several sets of inputs, after
            other data were written over the L2; medians

Before a cold call the device is given so much to write that the CPU has asked for the call and for
both events before the device comes to them: what Python needs for a launch is not in the figure.
"""

import math
import statistics
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.calls import Call
from benchmarks.gpu.device import Device

WARM_S = 0.5  # clocks rise while the device works
BLOCK_S = 0.02  # calls between two events
COLD = 15  # calls
MOST = 1000  # calls asked for ahead; a device queues about as many
COVERED = 2.0  # times what the CPU needs for a call is covered by writing


@dataclass
class Clock:
    """How long the calls of one device take. HostClock is Clock(Host(), ...)."""

    device: Device
    warm_s: float = WARM_S
    block_s: float = BLOCK_S
    cold_calls: int = COLD

    def settle(self, call: Call, at_most: float = math.inf) -> float:
        """Run a call until the clocks have risen; return the seconds that it takes by then."""
        count, began, taken = 1, time.perf_counter(), math.inf
        enough = min(self.warm_s, at_most)
        while True:
            taken = self._row(call, count)
            if time.perf_counter() - began >= enough:
                return taken
            count = min(2 * count, self._count(taken))

    def warm(self, call: Call, taken: float) -> float:
        """Return the seconds of a call, the mean of a row; taken is what it takes, roughly."""
        return self._row(call, self._count(taken))

    def cold(self, calls: Sequence[Call]) -> float:
        """Return the seconds of a call whose inputs lie in memory, the median."""
        times = self._covered(calls[0])
        marks = [(self.device.event(), self.device.event()) for _ in range(self.cold_calls)]
        kept = deque[Any](maxlen=len(calls))  # results: the next get other memory
        self.device.synchronize()
        for i, (start, end) in enumerate(marks):
            for _ in range(times):
                self.device.flush()
            self.device.record(start)
            kept.append(calls[i % len(calls)]())
            self.device.record(end)
        self.device.synchronize()
        return statistics.median(self.device.seconds(a, b) for a, b in marks)

    def once(self, call: Call) -> float:
        """Return the seconds of one call by the device's clock."""
        return self._row(call, 1)

    def wall(self, call: Call) -> float:
        """Return the seconds until a call and all its work are over, by the clock on the wall."""
        self.device.synchronize()
        began = time.perf_counter()
        call()
        self.device.synchronize()
        return time.perf_counter() - began

    def _row(self, call: Call, count: int) -> float:
        start, end = self.device.event(), self.device.event()
        self.device.synchronize()
        self.device.record(start)
        for _ in range(count):
            call()
        self.device.record(end)
        self.device.synchronize()
        return self.device.seconds(start, end) / count

    def _count(self, taken: float) -> int:
        return max(1, min(MOST, int(self.block_s / max(taken, 1e-7))))

    def _covered(self, call: Call) -> int:
        """Return how many times to flush so that the device is busy while the CPU asks."""
        self.device.synchronize()
        began = time.perf_counter()
        call()
        asking = time.perf_counter() - began
        self.device.synchronize()
        if asking > self.block_s:  # it waits for its results, or runs on the CPU
            return 1
        return max(1, math.ceil(COVERED * asking / max(self._row(self.device.flush, 4), 1e-7)))
