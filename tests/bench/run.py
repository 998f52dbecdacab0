"""Measure what onemcp costs, beside a direct call and beside other gateways, in the same run.

``nox -s bench`` runs this and writes ``docs/benchmarks.md`` with its plots. What is compared takes
turns, and what is quoted are medians over the rounds. Nothing else should keep the machine busy.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import page
from contextforge import CONTEXTFORGE
from load import (
    MODERN,
    Measured,
    SseStream,
    Work,
    direct,
    initialize,
    over_sse,
    proxied,
    tool_names,
)
from peers import PEERS, NotInstalled, Peer, Running, onemcp
from processes import cpu, http_backend, make_backend, memory, piped

IN_FLIGHT = (1, 16, 64)
OURS = ("direct", "onemcp")
FAILURES = (OSError, ValueError, LookupError, AssertionError)
"""What comes of an answer that is wrong, late or none."""

PLENTY = {"notifications": 1_000_000}
"""Progress is told as it comes: what is measured is its cost, not what is left out of a flood."""

WAYS = 5
"""How many of the kinds of calls are measured with one and with 64 in flight as well: the first."""

PATIENCE = 60.0
SLOWEST = 1.5
"""How long one run of a slow gateway may take, in seconds; it gets fewer calls."""


@dataclass
class Figures:
    """What was measured of one kind of call, a figure for each round.

    Attributes:
        cpu: Processor time of the gateway for one call, in seconds.
        runs: How long the calls took.
    """

    cpu: list[float] = field(default_factory=list)
    runs: list[Measured] = field(default_factory=list)

    def median(self, of: Callable[[Measured], float]) -> float:
        return statistics.median(of(run) for run in self.runs)

    @property
    def cpu_ms(self) -> float:
        return statistics.median(self.cpu) * 1e3

    def percentile_ms(self, share: float) -> float:
        return self.median(lambda run: run.percentile(share)) * 1e3

    @property
    def rate(self) -> float:
        return self.median(lambda run: len(run.seconds) / run.elapsed)


@dataclass
class Subject:
    """One gateway, or none, under load.

    Attributes:
        name: What it is called.
        pids: The processes that are measured.
        load: Makes so many calls, with so many in flight.
        start: How long it took to the first answer, in seconds.
        idle: Its memory after that, in MiB.
        figures: What was measured, by the number of calls in flight.
    """

    name: str
    pids: tuple[int, ...]
    load: Callable[[int, int], Measured]
    start: float = 0.0
    idle: float = 0.0
    figures: dict[int, Figures] = field(default_factory=dict)

    def measure(self, calls: int, in_flight: int) -> None:
        warm = self.load(max(20, in_flight), in_flight)
        each = warm.elapsed / len(warm.seconds)
        calls = max(in_flight, 20, min(calls, int(SLOWEST / each)))
        before = cpu(*self.pids)
        run = self.load(calls, in_flight)
        figures = self.figures.setdefault(in_flight, Figures())
        figures.cpu.append((cpu(*self.pids) - before) / calls)
        figures.runs.append(run)


def first_tool(running: Running) -> str:
    """Wait until a gateway shows the backend's tool, and return how it names it."""
    latest = time.perf_counter() + PATIENCE
    while time.perf_counter() < latest:
        try:
            found = [name for name in _names(running) if name.endswith("echo")]
        except FAILURES:
            found = []
        if found:
            return found[0]
        time.sleep(0.02)
    raise NotInstalled("it did not show the backend's tool")


def _names(running: Running) -> list[str]:
    if running.transport == "sse":
        session = SseStream(running.address)
        session.tell(Work(tool="").request(1))
        answer = session.next_answer()
        session.stream.socket.close()
        return ["bench__echo"] if b'"bench__echo"' in answer else []
    return tool_names(running.address, initialize(running.address))


def _subject(name: str, running: Running) -> Subject:
    """Describe a gateway that has just been started."""
    tool = first_tool(running)
    send = over_sse if running.transport == "sse" else proxied
    load = partial(send, running.address, Work(tool))
    load(1, 1)
    started = time.perf_counter() - running.begun
    return Subject(name, running.pids, load, started, memory(*running.pids))


def compared(stack: ExitStack, backend: list[str], cache: Path) -> tuple[list[Subject], dict]:
    """Start everything that is compared; tell what can't be, and why."""
    begun = time.perf_counter()
    process = stack.enter_context(piped(backend))
    subjects = [Subject("direct", (process.pid,), partial(direct, process, Work()))]
    subjects[0].load(1, 1)
    subjects[0].start = time.perf_counter() - begun
    subjects[0].idle = memory(process.pid)
    servers = {"bench": {"command": backend[0], "args": backend[1:]}}
    running = stack.enter_context(onemcp(servers, folder(stack)))
    subjects.append(_subject("onemcp", running))
    missing: dict[str, str] = {}
    for peer in (*PEERS, CONTEXTFORGE):
        try:
            version = peer.install(cache)
            subjects.append(_start(stack, peer, version, backend, cache))
        except NotInstalled as reason:
            missing[peer.name] = str(reason)
    return subjects, missing


def take_turns(subjects: list[Subject], missing: dict, rounds: int, calls: int) -> None:
    """Measure everything that is compared; what fails under load is left out, and said to be."""
    for _ in range(rounds):
        for in_flight in IN_FLIGHT:
            for subject in list(subjects):
                try:
                    subject.measure(calls, in_flight)
                except FAILURES as error:
                    if subject.name in OURS:
                        raise
                    subjects.remove(subject)
                    missing[subject.name] = (
                        f"with {in_flight} calls in flight it failed: {str(error)[:200]}"
                    )
                    continue
                cpu_ms = subject.figures[in_flight].cpu_ms
                print(f"{subject.name:30} {in_flight:3} {cpu_ms:8.3f} ms CPU", flush=True)


def _start(stack: ExitStack, peer: Peer, version: str, backend: list[str], cache: Path) -> Subject:
    running = stack.enter_context(peer.running(cache, backend, folder(stack)))
    return _subject(f"{peer.name} {version}", running)


def folder(stack: ExitStack) -> Path:
    return Path(stack.enter_context(tempfile.TemporaryDirectory()))


@contextmanager
def _kinds(backend: list[str]) -> Iterator[list[tuple[Subject, int]]]:
    """Start onemcp in every form that is measured; give the rows of the table."""
    command = {"command": backend[0], "args": backend[1:], "limits": PLENTY}
    with ExitStack() as stack:

        def run(servers: dict, mode: str | None = None) -> Running:
            running = stack.enter_context(onemcp(servers, folder(stack), mode=mode))
            first_tool(running)
            return running

        def named(count: int, *more: str) -> dict:
            one = {"command": backend[0], "args": [*backend[1:], *more]}
            return {"bench": one, **{f"bench{n}": one for n in range(2, count + 1)}}

        def row(
            name: str, running: Running, work: Work, *, sessions: int = 0, calls: int = 3000
        ) -> tuple[Subject, int]:
            opened = [initialize(running.address) for _ in range(sessions)]
            load = partial(proxied, running.address, work, sessions=opened)
            return Subject(name, running.pids, load), calls

        echo = Work("bench__echo")
        plain = run({"bench": command})
        open_door = run({"bench": command}, mode="none")
        remote = run({"bench": {"url": stack.enter_context(http_backend())}})
        modern = Work("bench__echo", revision=MODERN)
        yield [
            row("legacy client, stdio backend, authentication", plain, echo),
            row("modern client", plain, modern),
            row("without authentication", open_door, echo),
            row("HTTP backend", remote, echo),
            row("HTTP backend, modern client", remote, modern),
            row("20 backends", run(named(20)), echo),
            row("100 backends", run(named(100)), echo),
            row("100 sessions", run({"bench": command}), echo, sessions=100),
            row("5,000 sessions", run({"bench": command}), echo, sessions=5000),
            row("100 bytes there and back", plain, Work("bench__echo", size=100)),
            row("10 KB there and back", plain, Work("bench__echo", size=10_000)),
            row("1 MB there and back", plain, Work("bench__echo", size=1_000_000), calls=32),
            row("1 MB back", plain, Work("bench__fill", size=1_000_000), calls=32),
            row("10 progress notifications", plain, Work("bench__progress", notes=10), calls=300),
            row("tools/list, 20 backends with 50 tools each", run(named(20, "47")), Work("")),
        ]


def measure_kinds(
    backend: list[str], rounds: int, calls: int, missing: dict[str, str]
) -> list[Subject]:
    """Measure every kind of call; what fails is left out, and said to be."""
    with _kinds(backend) as rows:
        for _ in range(rounds):
            for number, (subject, most) in enumerate(rows):
                for in_flight in IN_FLIGHT if number < WAYS else (16,):
                    if subject.name in missing:
                        continue
                    try:
                        subject.measure(min(calls, most), in_flight)
                    except FAILURES as error:
                        missing[subject.name] = f"it failed: {str(error)[:200]}"
        return [subject for subject, _ in rows if subject.name not in missing]


def main() -> None:
    """Measure everything, print it, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=3000, help="calls of each run")
    parser.add_argument("--rounds", type=int, default=3, help="rounds, of which the median")
    parser.add_argument("--cache", type=Path, default=Path(".bench"), help="where peers are kept")
    parser.add_argument("--note", default="", help="what is to be said of this run")
    arguments = parser.parse_args()
    calls, rounds = arguments.calls, arguments.rounds
    with ExitStack() as stack:
        backend, language = make_backend(folder(stack))
        with ExitStack() as inner:
            subjects, missing = compared(inner, backend, arguments.cache.resolve())
            take_turns(subjects, missing, rounds, calls)
        kinds = measure_kinds(backend, rounds, calls, missing)
        for kind in kinds:
            print(f"{kind.name:50} {kind.figures[16].cpu_ms:8.3f} ms CPU")
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    conditions = page.Conditions(machine, language, rounds, calls, arguments.note)
    page.write(conditions, subjects, kinds, missing)


if __name__ == "__main__":
    main()
