"""A contender in a process of its own: a kernel that fails or hangs ends no other's GPU context.

Reads one JSON list a line, a command of gpu/server.py, and answers one JSON value a line.
"""

import json
import os
import select
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Protocol

from benchmarks.gpu.clock import Clock
from benchmarks.gpu.contenders import HOSTS, contender, environment
from benchmarks.gpu.server import Server
from benchmarks.machine import ROOT

CLOSING_S = 10.0  # that a process is given to end by itself
BROKEN = ("cuda", "cublas", "cudnn", "acceleratorerror")  # no kernel runs in this process any more


class Worker(Protocol):
    """Somebody who answers; name is the seat."""

    name: str

    def start(self) -> None:
        """Begin, without waiting for it."""

    def ask(self, *command: Any, timeout: float = 600.0) -> Any:
        """Return the answer. Raises RuntimeError where there is none."""

    def close(self) -> None:
        """Let it go."""


class Process:
    """A worker beside; it is ended when it does not answer in time, and started again if asked."""

    def __init__(self, name: str, command: Sequence[str] = ()) -> None:
        served = [sys.executable, "-m", "benchmarks.gpu.worker", name]
        self.name, self.command = name, [*command] or served
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Begin, where it does not run."""
        if self.process is None:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                cwd=ROOT,
                env=environment(self.name),
            )

    def ask(self, *command: Any, timeout: float = 600.0) -> Any:
        """Send a command and wait for its answer. Raises RuntimeError where it failed."""
        self.start()
        process = self.process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps(command).encode() + b"\n")
            process.stdin.flush()
        except BrokenPipeError:
            pass
        if not select.select([process.stdout], [], [], max(timeout, 1.0))[0]:
            self._end()
            raise RuntimeError(f"{self.name}: no answer to {command[0]} in {timeout:.0f} s")
        line = process.stdout.readline()
        if not line:
            self._end()
            raise RuntimeError(f"{self.name}: its process has ended")
        answer = json.loads(line)
        if any(word in str(failed(answer)).lower() for word in BROKEN):
            self._end()
        return checked(self.name, answer)

    def close(self) -> None:
        """End the process by ending what it reads."""
        if self.process is not None and self.process.stdin is not None:
            with suppress(BrokenPipeError, subprocess.TimeoutExpired):
                self.process.stdin.close()
                self.process.wait(CLOSING_S)
        self._end()

    def _end(self) -> None:
        if self.process is not None:
            self.process.kill()
            for pipe in (self.process.stdin, self.process.stdout):
                with suppress(BrokenPipeError, AttributeError):
                    pipe.close()  # type: ignore[union-attr]
            self.process.wait()
            self.process = None


class Local:
    """A worker in this process."""

    def __init__(self, name: str, server: Server) -> None:
        self.name, self.server = name, server

    def start(self) -> None:
        """Return: it is here."""

    def ask(self, *command: Any, timeout: float = 600.0) -> Any:
        """Return the answer. Raises RuntimeError where it failed."""
        return checked(self.name, json.loads(json.dumps(self.server.answer(*command))))

    def close(self) -> None:
        """Forget the case."""
        self.server.loaded = None


def failed(answer: Any) -> str | None:
    """Return why an answer is none."""
    return answer.get("failed") if isinstance(answer, dict) else None


def checked(name: str, answer: Any) -> Any:
    """Return an answer. Raises RuntimeError for one that says that it failed."""
    if reason := failed(answer):
        raise RuntimeError(f"{name}: {reason}")
    return answer


def main(name: str) -> None:
    """Serve until stdin ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print must not look like an answer
    server, reason = None, ""
    try:
        who = contender(name)
        server = Server(who, Clock(who.device), cold=name not in HOSTS)
    except Exception as failure:
        reason = f"{type(failure).__name__}: {failure}"[:300]
    for line in sys.stdin:
        answer = server.answer(*json.loads(line)) if server else {"failed": reason}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main(sys.argv[1])
