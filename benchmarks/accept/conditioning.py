"""More than labels: small pictures, captions, codes."""

from collections.abc import Callable

from benchmarks.accept.measuring import Bars, Measured

MEASURE: dict[str, Callable[[], Measured]] = {}
BARS: dict[str, Bars] = {}
