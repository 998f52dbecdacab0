"""Refuse what makes onemcp slower: its processor time for a call, beside that of a fixed baseline.

Both stand in front of the same backend in the same run and take turns, so that neither the machine
nor what else it does decides; the clock on the wall is not looked at. CI runs this; it takes some
seconds.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from load import MODERN, Address, Work, proxied
from peers import Running, onemcp
from processes import HERE, http_backend, make_backend
from run import Subject, first_tool

ROUNDS = 9
CALLS = 300
IN_FLIGHT = 16

LIMITS = {"legacy": 5.2, "modern": 5.4, "HTTP backend": 7.8}
"""How many times the baseline's processor time a call may take: what it took when this was written,
and about a quarter more."""


@contextmanager
def baseline(backend: list[str]) -> Iterator[Running]:
    """Run the baseline."""
    command = [sys.executable, str(HERE / "baseline.py"), *backend]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield Running((process.pid,), Address(int(process.stdout.readline())))
        finally:
            process.terminate()


def main() -> int:
    """Measure, and tell whether the limits hold."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        backend, _ = make_backend(folder)
        least = stack.enter_context(baseline(backend))
        servers = {"bench": {"command": backend[0], "args": backend[1:]}}
        full = stack.enter_context(onemcp(servers, folder))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        address = stack.enter_context(http_backend())
        remote = stack.enter_context(onemcp({"bench": {"url": address}}, folder))
        subjects = [Subject("baseline", least.pids, partial(proxied, least.address, Work()))]
        for name, running, work in (
            ("legacy", full, Work(first_tool(full))),
            ("modern", full, Work(first_tool(full), revision=MODERN)),
            ("HTTP backend", remote, Work(first_tool(remote))),
        ):
            load = partial(proxied, running.address, work)
            subjects.append(Subject(name, running.pids, load))
        for _ in range(ROUNDS):
            for subject in subjects:
                subject.measure(CALLS, IN_FLIGHT)
    spent = {subject.name: subject.figures[IN_FLIGHT].cpu for subject in subjects}
    failed = False
    for name, limit in LIMITS.items():
        pairs = zip(spent[name], spent["baseline"], strict=True)
        # What else the machine does makes the larger program dearer, and never cheaper.
        ratio = statistics.quantiles((ours / least for ours, least in pairs), n=4)[0]
        failed |= ratio > limit
        print(f"{name}: {ratio:.2f} times the baseline's CPU for a call; the limit is {limit}")
    return int(failed)


if __name__ == "__main__":
    raise SystemExit(main())
