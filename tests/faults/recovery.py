"""What is left, lost and late when processes are killed."""

from __future__ import annotations

import json
import math
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import time
from typing import Any

import trio

from tests.faults.figures import Figure, Tally, milliseconds
from tests.faults.gateways import Gateway, Kind, backend, running
from tests.faults.wire import INITIALIZE
from tests.support.eventually import eventually
from tests.support.process_tree import alive

LIVELY = {"restart": {"intensity": 1000, "backoff": {"initial": 0.01, "maximum": 0.1}}}
"""Settings of onemcp: a backend that is killed again and again isn't given up."""
GONE = 10.0
"""Seconds in which the processes of a gateway that was killed must have ended."""


def lively(kind: Kind, label: str, mode: str = "steady") -> dict[str, Any]:
    """Return the settings of a backend that will be killed."""
    return backend(label, mode) | (LIVELY if kind.is_onemcp else {})


async def after_a_kill(kind: Kind, share: float) -> Figure:
    """Kill a backend while it is idle; call until the answer is there."""
    late = []
    own = statistics.median(own_start() for _ in range(5))
    async with (
        running(kind, {"b": lively(kind, "b")}, wait_for="b") as gateway,
        await gateway.client() as client,
    ):
        tally = Tally()
        for number in range(max(5, int(20 * share))):
            assert await tally.call(client, "b", f"before-{number}")
            kill(gateway, "b")
            begun = time.perf_counter()
            while not await tally.call(client, "b", f"after-{number}"):
                pass
            late.append(time.perf_counter() - begun - own)
    worst = max(late)
    return Figure(
        "kill -9 of a stdio backend to the next correct answer, beyond the backend's own start",
        f"{milliseconds(statistics.median(late))} (worst of {len(late)}: {milliseconds(worst)})",
        "< 300 ms",
        worst < 0.3,
        f"the backend alone: {milliseconds(own)}",
    )


def own_start() -> float:
    """Return the seconds from the start of a backend to its first answer, with nothing between."""
    begun = time.perf_counter()
    settings = backend("b")
    command = [settings["command"], *settings["args"]]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for number, method in enumerate(("initialize", "tools/list", "ping")):
            request = {"jsonrpc": "2.0", "id": number, "method": method, "params": INITIALIZE}
            process.stdin.write(json.dumps(request).encode() + b"\n")
            process.stdin.flush()
            process.stdout.readline()
        elapsed = time.perf_counter() - begun
        process.stdin.close()
    return elapsed


def kill(gateway: Gateway, label: str) -> None:
    """Kill the processes of a backend."""
    for pid in gateway.processes(label):
        os.kill(pid, signal.SIGKILL)


async def under_random_kills(kind: Kind, share: float) -> Figure:
    """Call ten backends from 64 clients while they are killed at random."""
    labels = [f"b{number}" for number in range(10)]
    calls, tally = max(500, int(10_000 * share)), Tally()
    left = iter(range(calls))

    async def call(gateway: Gateway, caller: int) -> None:
        chance = random.Random(caller)  # noqa: S311 - to be repeated
        async with await gateway.client() as client:
            for number in left:
                await tally.call(client, chance.choice(labels), f"call-{number}")

    async def strike(gateway: Gateway) -> None:
        chance = random.Random("kills")  # noqa: S311 - to be repeated
        while True:
            goal = tally.outcomes.total() + chance.randint(20, 60)
            await eventually(
                lambda goal=goal: tally.outcomes.total() >= goal,
                "calls go on",
                poll=0.001,
                patience=math.inf,
            )
            kill(gateway, chance.choice(labels))

    servers = {label: lively(kind, label) for label in labels}
    async with running(kind, servers, wait_for=labels) as gateway, trio.open_nursery() as striking:
        striking.start_soon(strike, gateway)
        async with trio.open_nursery() as calling:
            for caller in range(64):
                calling.start_soon(call, gateway, caller)
        striking.cancel_scope.cancel()
    answered, errors = tally.outcomes["answered"], tally.outcomes["error"]
    return Figure(
        f"calls neither answered nor given exactly one error, in {calls:,} under random kills",
        f"{tally.unanswered}",
        "0",
        tally.unanswered == 0 and answered > 0,
        f"{answered:,} answered, {errors:,} told so" + "".join(f"; {e}" for e in tally.lost[:3]),
    )


async def left_behind(kind: Kind, share: float) -> Figure:
    """Kill the gateway, and count what is still there of its backends."""
    del share
    servers = wrapped()
    async with running(kind, servers, wait_for=servers) as gateway:
        family = gateway.family()
        gateway.kill()
        with trio.move_on_after(GONE):
            await eventually(lambda: not any(map(alive, family)), "nothing is left")
        left = sum(map(alive, gateway.family() | family))
    return Figure(
        f"processes left {GONE:.0f} s after kill -9 of the gateway, backends wrapped",
        f"{left} of {len(family)}",
        "0",
        left == 0 and len(family) >= len(servers),
        f"wrapped in: {', '.join(servers)}",
    )


def wrapped() -> dict[str, Any]:
    """Return backends that run below a shell and, where it is installed, below npx."""

    def line(label: str) -> str:
        settings = backend(label)
        return " ".join([sys.executable, *settings["args"]])

    servers: dict[str, Any] = {
        "bare": backend("bare"),
        "shell": {"command": "sh", "args": ["-c", f"{line('shell')}; true"]},
        "background": {
            "command": "sh",
            "args": ["-c", f"exec 3<&0; {line('background')} <&3 & wait"],
        },
        "session": {"command": "sh", "args": ["-c", f"sleep 1000 & {line('session')}; true"]},
    }
    if shutil.which("setsid"):
        servers["setsid"] = {"command": "setsid", "args": ["--wait", *line("setsid").split()]}
    if shutil.which("npx"):
        servers["npx"] = {"command": "npx", "args": ["-c", line("npx")]}
    return servers
