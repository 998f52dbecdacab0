"""What the tests tell the official clients to do, and how the clients are driven.

A client is a program of `clients/`. It reads jobs as JSON lines: where to connect to, in which
mode, and steps to carry out one after the other on that connection. It answers each job with
one line that has an outcome for each step: `{"ok": ...}` or `{"error": ...}`. So every client
does the same thing, and does the same thing directly and through onemcp.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import threading
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.support.npm import Installation

Step = dict[str, Any]
Outcome = dict[str, Any]
Target = dict[str, Any]
Era = Literal["legacy", "modern"]

PROGRAMS = Path(__file__).with_name("clients")
PATIENCE = 60
"""Seconds that a client gives a step."""
SILENCE = 60
"""Seconds until a client must have said something."""
MODERN = "2026-07-28"
ROOTS = [{"uri": "file:///root"}]


class ClientError(Exception):
    """A client did not do its job; the message has what it said."""


@dataclass(frozen=True)
class ClientKind:
    """One of the official clients, in one of its modes.

    Attributes:
        name: What the tests call it.
        program: The file of `clients/`.
        era: The era that it speaks with onemcp.
    """

    name: str
    program: str
    era: Era

    @property
    def mode(self) -> str:
        """What the SDKs call it; modern ones fall back where a server is legacy."""
        return "legacy" if self.era == "legacy" else "auto"

    def command(self, npm: Installation) -> list[str]:
        program = str(PROGRAMS / self.program)
        if self.program.endswith(".py"):
            return [sys.executable, program]
        return [str(npm.node), program, str(npm.modules)]


CLIENTS = (
    ClientKind("python2-legacy", "python2.py", "legacy"),
    ClientKind("python2-modern", "python2.py", "modern"),
    ClientKind("sdk1", "sdk1.mjs", "legacy"),
    ClientKind("client2-legacy", "client2.mjs", "legacy"),
    ClientKind("client2-modern", "client2.mjs", "modern"),
)


@dataclass
class Program:
    """A running program of `clients/`.

    Attributes:
        process: Its process.
    """

    process: subprocess.Popen[str]
    _lines: SimpleQueue[str] = field(default_factory=SimpleQueue)
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def send(self, job: dict[str, Any]) -> int:
        """Begin a job, and return its number."""
        number = next(self._numbers)
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"id": number, **job}) + "\n")
        self.process.stdin.flush()
        return number

    def receive(self, number: int) -> dict[str, Any]:
        """Wait for the next line about a job."""
        while True:
            try:
                line = self._lines.get(timeout=SILENCE)
            except Empty:
                raise ClientError(f"the client was silent for {SILENCE} s") from None
            message: dict[str, Any] = json.loads(line)
            if message["id"] == number:
                return message

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)


@dataclass(frozen=True)
class Client:
    """A client that can be given jobs.

    Attributes:
        kind: Which one it is.
        program: What runs it, one job at a time.
    """

    kind: ClientKind
    program: Program

    def run(
        self, target: Target, steps: Sequence[Step], *, roots: Sequence[Step] = ROOTS
    ) -> list[Outcome]:
        """Have a job done, and return the outcome of each step.

        Raises:
            ClientError: It could not connect, or said nothing.
        """
        return self.finish(self.start(target, steps, roots=roots))

    def start(self, target: Target, steps: Sequence[Step], *, roots: Sequence[Step] = ROOTS) -> int:
        """Begin a job, and return its number."""
        job = {
            "mode": self.kind.mode,
            "target": target,
            "roots": [*roots],
            "steps": [*steps],
            "patience": PATIENCE,
        }
        return self.program.send(job)

    def wait_ready(self, number: int) -> None:
        """Wait until a step waits for a change."""
        while not self.program.receive(number).get("ready"):
            pass

    def finish(self, number: int) -> list[Outcome]:
        """Wait for the end of a job, and return the outcome of each step."""
        while True:
            message = self.program.receive(number)
            if "failure" in message:
                raise ClientError(message["failure"])
            if "outcomes" in message:
                outcomes: list[Outcome] = message["outcomes"]
                return outcomes


@contextmanager
def running(kinds: Sequence[ClientKind], npm: Installation) -> Iterator[dict[str, Client]]:
    """Run clients for as long as the block runs; those of one program share its process."""
    with ExitStack() as stack:
        programs: dict[str, Program] = {}
        for kind in kinds:
            if kind.program not in programs:
                programs[kind.program] = stack.enter_context(_running(kind.command(npm)))
        yield {kind.name: Client(kind, programs[kind.program]) for kind in kinds}


@contextmanager
def _running(command: Sequence[str]) -> Iterator[Program]:
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    program = Program(process)
    reader = threading.Thread(target=program._read, daemon=True)
    reader.start()
    try:
        yield program
    finally:
        process.kill()
        process.wait()
        reader.join()
        process.stdin.close()
        process.stdout.close()
