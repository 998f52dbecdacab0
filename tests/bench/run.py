"""Measure what onemcp costs, against calling the same backend directly in the same run.

``nox -s bench`` runs this and writes ``docs/benchmarks.md``. Runs with and without the gateway
take turns; what is quoted are medians over the rounds. Nothing else should keep the machine busy.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from load import Measured, direct, open_session, proxied

HERE = Path(__file__).parent
BACKEND = [sys.executable, "-S", "-E", str(HERE / "backend.py")]
PAGE = HERE.parent.parent / "docs" / "benchmarks.md"
IN_FLIGHT = (1, 16, 64)
SESSIONS = 500


def cpu(pid: int) -> float:
    """Return the processor time that a process has used, in seconds, to the nanosecond."""
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(task.read_text(encoding="utf-8").split()[0]) for task in tasks) / 1e9


def memory(pid: int) -> float:
    """Return the resident memory of a process, in MiB."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) / 1024


@dataclass
class Gateway:
    """A running gateway.

    Attributes:
        pid: Its process.
        port: Where it listens.
        headers: What its clients must send.
    """

    pid: int
    port: int
    headers: dict[str, str]


@contextmanager
def gateway(folder: Path, backends: int) -> Iterator[Gateway]:
    """Run onemcp with authentication, in front of some backends."""
    names = ["bench", *(f"bench{n}" for n in range(2, backends + 1))]
    servers = {name: {"command": BACKEND[0], "args": BACKEND[1:]} for name in names}
    config = folder / "onemcp.json"
    config.write_text(json.dumps({"mcpServers": servers, "log": {"level": "error"}}))
    environment = {**os.environ, "XDG_STATE_HOME": str(folder)}
    onemcp = [sys.executable, "-m", "onemcp"]
    token = subprocess.run(
        [*onemcp, "token"], env=environment, check=True, capture_output=True, text=True
    )
    command = [*onemcp, "run", "--config", str(config), "--port", "0"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        found = None
        while found is None:
            line = process.stdout.readline()
            assert line, "onemcp did not start"
            found = re.search(r"http://127\.0\.0\.1:(\d+)/mcp", line)
        headers = {"Authorization": f"Bearer {token.stdout.strip()}"}
        try:
            yield Gateway(process.pid, int(found[1]), headers)
        finally:
            process.terminate()


def first_answer(folder: Path, backends: int) -> float:
    """Return the seconds from the start of onemcp to the first answer of a backend."""
    begun = time.perf_counter()
    with gateway(folder, backends) as running:
        until_answered(running)
        return time.perf_counter() - begun


def until_answered(running: Gateway) -> None:
    """Call until the backend's tool is known."""
    while True:
        try:
            proxied(running.port, running.headers, 1, 1)
        except KeyError:  # an error instead of a result: the tool isn't listed yet
            continue
        return


def direct_first_answer() -> float:
    """Return the seconds from the start of the backend to its first answer."""
    begun = time.perf_counter()
    with subprocess.Popen(BACKEND, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        direct(process, 1, 1)
        elapsed = time.perf_counter() - begun
        assert process.stdin is not None
        process.stdin.close()
    return elapsed


@dataclass
class Round:
    """One pair of runs with so many calls in flight.

    Attributes:
        plain: The run without the gateway.
        through: The run through it.
        backend_cpu: Processor time of the backend for one call without the gateway, in seconds.
        gateway_cpu: Processor time of the gateway for one call, in seconds.
    """

    plain: Measured
    through: Measured
    backend_cpu: float
    gateway_cpu: float


def measure(running: Gateway, in_flight: int, calls: int) -> Round:
    """Run once without and once through the gateway."""
    with subprocess.Popen(BACKEND, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        direct(process, 100, in_flight)
        before = cpu(process.pid)
        plain = direct(process, calls, in_flight)
        backend_cpu = (cpu(process.pid) - before) / calls
        assert process.stdin is not None
        process.stdin.close()
    proxied(running.port, running.headers, 100, in_flight)
    before = cpu(running.pid)
    through = proxied(running.port, running.headers, calls, in_flight)
    return Round(plain, through, backend_cpu, (cpu(running.pid) - before) / calls)


def row(in_flight: int, rounds: list[Round]) -> str:
    """Write the table's row for so many calls in flight."""

    def median(values: list[float]) -> float:
        return statistics.median(values)

    def added(share: float) -> float:
        return median([r.through.percentile(share) - r.plain.percentile(share) for r in rounds])

    def ratio(share: float) -> float:
        return median([r.through.percentile(share) / r.plain.percentile(share) for r in rounds])

    gateway_cpu = median([r.gateway_cpu for r in rounds])
    cpu_ratio = median([(r.gateway_cpu + r.backend_cpu) / r.backend_cpu for r in rounds])
    rate = median([len(r.through.seconds) / r.through.elapsed for r in rounds])
    return (
        f"| {in_flight} | {gateway_cpu * 1e3:.2f} ms | {cpu_ratio:.1f} x "
        f"| {added(0.5) * 1e3:.2f} ms | {ratio(0.5):.1f} x "
        f"| {added(0.99) * 1e3:.2f} ms | {ratio(0.99):.1f} x | {rate:,.0f} |"
    )


def session_memory(running: Gateway) -> float:
    """Return what one idle session adds to the gateway's memory, in KiB."""
    before = memory(running.pid)
    for _ in range(SESSIONS):
        open_session(running.port, running.headers)
    return (memory(running.pid) - before) * 1024 / SESSIONS


def main() -> None:
    """Measure everything, print it, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=3000, help="calls of each run")
    parser.add_argument("--rounds", type=int, default=5, help="pairs of runs, of which the median")
    arguments = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        starts = {n: statistics.median(first_answer(folder, n) for _ in range(3)) for n in (1, 20)}
        plain_start = statistics.median(direct_first_answer() for _ in range(3))
        with gateway(folder, 1) as running:
            until_answered(running)
            idle = memory(running.pid)
            for in_flight in IN_FLIGHT:
                rounds = [
                    measure(running, in_flight, arguments.calls) for _ in range(arguments.rounds)
                ]
                rows.append(row(in_flight, rounds))
                print(rows[-1], flush=True)
            per_session = session_memory(running)
    page = PAGE_TEXT.format(
        machine=f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}",
        calls=arguments.calls,
        rounds=arguments.rounds,
        rows="\n".join(rows),
        one=starts[1],
        twenty=starts[20],
        plain=plain_start,
        idle=idle,
        per_session=per_session,
        sessions=SESSIONS,
    )
    PAGE.write_text(page, encoding="utf-8")
    print(page)


PAGE_TEXT = """\
<!-- Written by `nox -s bench`. -->

# Benchmarks

What onemcp costs, against calling the same backend directly in the same run. `nox -s bench` runs
it anywhere and writes this page. Ratios travel between machines; milliseconds do not.

The backend is a Python program of forty lines whose one tool repeats a text; onemcp reaches it
over stdio, clients reach onemcp over HTTP with a bearer token, in one session of 2025-11-25. Every
answer is checked. Runs with and without the gateway take turns; figures are medians of {rounds}
rounds of {calls} calls. *CPU a call* is the gateway's; *CPU ratio* is the processor time of gateway
and backend together over that of the backend called directly; the other ratios are of the durations
with and without the gateway.

This run: {machine}.

| in flight | CPU a call | CPU ratio | p50 added | p50 ratio | p99 added | p99 ratio | calls/s |
|---|---|---|---|---|---|---|---|
{rows}

| | |
|---|---|
| start to first answer, backend alone | {plain:.2f} s |
| start to first answer, 1 backend | {one:.2f} s |
| start to first answer, 20 backends | {twenty:.2f} s |
| memory, idle with 1 backend | {idle:.0f} MiB |
| memory for each idle session ({sessions} sessions without streams) | {per_session:.1f} KiB |

Where the time goes: most of a call's cost is the HTTP server, which spends several tasks and loop
passes on a request. Making that several times cheaper is planned work; nothing in the path between
parses or rewrites a payload.
"""

if __name__ == "__main__":
    main()
