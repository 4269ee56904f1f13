"""Progress on stderr: a bar on a terminal, elsewhere a line every ten seconds, or silence."""

import shutil
import sys
import time
from typing import Any

from refgen.cli import terms

BAR = "{percentage:3.0f}% {bar} {n_fmt}/{total_fmt}, {remaining} left{postfix}"
EVERY = 10.0  # seconds between lines where there is no terminal


class Progress:
    """Counts steps of a known total; `note` is what stands beside the count.

    The time left is told by the steps after the first, in which kernels may be compiled.
    """

    def __init__(self, total: int, unit: str, *, start: int = 0, quiet: bool = False) -> None:
        self.total, self.unit, self.first, self.done = total, unit, start, start
        self.bar: Any = None
        self.quiet = quiet
        self.began: float | None = None  # when the first step was over
        self.spoke = time.monotonic()
        if not quiet and sys.stderr.isatty():
            from tqdm import tqdm

            size = shutil.get_terminal_size()  # tqdm draws nothing on a terminal of no size
            self.bar = tqdm(
                total=total,
                initial=start,
                unit=unit,
                file=sys.stderr,
                leave=False,
                ncols=min(size.columns, 100),
                nrows=size.lines,
                bar_format=BAR,
            )

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.close()

    def to(self, done: int, note: str = "") -> None:
        """Move to a count."""
        step, self.done = done - self.done, done
        if self.quiet:
            return
        now = time.monotonic()
        if self.began is None:
            self.first, self.began = done, now
            if self.bar is not None:
                self.bar.n = self.bar.initial = self.bar.last_print_n = done
                self.bar.unpause()
                step = 0
        if self.bar is not None:
            self.bar.set_postfix_str(note, refresh=not step)
            self.bar.update(step)
        elif now - self.spoke >= EVERY:
            self.spoke = now
            line = f"{self.unit} {done} of {self.total}  {note}"
            if done > self.first:
                left = (now - self.began) / (done - self.first) * (self.total - done)
                line += f"  {clock(left)} left"
            terms.say(line)

    def say(self, text: str) -> None:
        """Print a line of log above the bar."""
        if self.bar is not None:
            self.bar.write(text, file=sys.stderr)
        elif not self.quiet:
            terms.say(text)


def clock(seconds: float) -> str:
    """Return a duration in words that fit a line.

    >>> clock(75), clock(4.2)
    ('1 min 15 s', '4 s')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
