"""An hour, or half a minute, in the life of a gateway whose backends keep dying.

`ONEMCP_SOAK_SECONDS` says how long, `ONEMCP_SOAK_SEED` repeats the choices of a run.
"""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.support.clients import Clients, LegacyClient, ModernClient, ToolError, clients
from tests.support.eventually import eventually
from tests.support.process_tree import descendants, memory, open_descriptors, zombies
from tests.support.processes import ENDPOINT
from tests.support.running import MARKER, Gateway, configuration, program, running

pytestmark = pytest.mark.soak

SECONDS = float(os.environ.get("ONEMCP_SOAK_SECONDS", "30"))
SEED = os.environ.get("ONEMCP_SOAK_SEED", "onemcp")
WARM_UP = 1 / 3
"""The part of the time after which nothing grows any more."""
GROWTH = 1.3
CLIENTS = 24
IDLE = 10.0
"""Seconds until the gateway ends a session that nobody uses."""
CALLS_PER_BLOW = (20, 200)
"""How many calls are finished between two things that go wrong, at least and at most."""
SLACK = 4 + CLIENTS
"""How many descriptors more may be open at the end than at the beginning: idle connections to the
backend elsewhere are kept, up to one for each client."""
CLEAR = {-33001, -33002, -33003, -33011}
"""The errors of a backend that isn't there, goes away, is too slow, or did so too often."""
SDK_SERVER = Path(__file__).parent / "programs" / "sdk_server.py"
LASTING = {
    "timeouts": {"call": 30, "start": 30, "stop": 1},
    "restart": {"intensity": 1000, "backoff": {"initial": 0.02, "maximum": 0.2}},
}


def python(*args: str) -> dict[str, Any]:
    return {"command": sys.executable, "args": [*args], "inherit": [MARKER], **LASTING}


PROGRAMS: dict[str, dict[str, Any]] = {
    "legacy": program("label=legacy", **LASTING),
    "modern": program("era=modern", "label=modern", **LASTING),
    "runaways": program("mode=runaways", "label=runaways", **LASTING),
    "demo": python("-P", "-m", "onemcp.demo"),
    "sdk": python(str(SDK_SERVER), "--stdio"),
}
"""The backends that the gateway starts."""
SIGNS = {"demo": "onemcp.demo", "sdk": "--stdio"}
"""By what their processes are known, where it isn't the label."""


class Elsewhere:
    """A server that runs on its own, and is started again at the same address when it dies."""

    def __init__(self) -> None:
        self.url = ""
        self._process: trio.Process | None = None

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        port = "0"
        try:
            while True:
                self._process = await trio.lowlevel.open_process(
                    [sys.executable, str(SDK_SERVER), "--http", port], stdout=subprocess.PIPE
                )
                assert self._process.stdout is not None
                said = b""
                async for chunk in self._process.stdout:
                    said += chunk
                    if not self.url and (match := ENDPOINT.search(said.decode())):
                        self.url = match[0]
                        port = self.url.removesuffix("/mcp").rpartition(":")[2]
                        task_status.started()
                await self._process.wait()
        finally:
            self.kill()
            with trio.CancelScope(shield=True):
                await self._process.wait()

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()


class Soak:
    """What happens in the course of a run.

    Attributes:
        outcomes: How many calls ended how: with the echo, or with an error of which code.
        blows: How many things went wrong, by kind.
        ended: Sessions that were deleted.
        abandoned: Sessions that were left alone, and when.
        is_over: Whether to end with the calls under way.
    """

    def __init__(self, gateway: Gateway, session: Clients, elsewhere: Elsewhere) -> None:
        self.gateway = gateway
        self.session = session
        self.elsewhere = elsewhere
        self.outcomes: Counter[str] = Counter()
        self.blows: Counter[str] = Counter()
        self.ended: list[LegacyClient] = []
        self.abandoned: list[tuple[float, LegacyClient]] = []
        self.is_over = False
        self._finished = trio.Event()

    # --- clients -------------------------------------------------------------------------------

    async def client(self, number: int) -> None:
        chance = random.Random(f"{SEED}-{number}")  # noqa: S311 - to be repeated
        client: ModernClient | LegacyClient = self.session.modern()
        calls = 0
        while not self.is_over:
            if number % 2 and calls % 50 == 0:
                client = await self._next_session(client, chance)
            calls += 1
            backend = chance.choice([*PROGRAMS, "elsewhere"])
            await self._call(client, f"{backend}__echo", f"{number}-{calls}-{'x' * (calls % 99)}")
            if calls % 97 == 0:
                await self._listen(client)
        if isinstance(client, LegacyClient):
            await self._end(client)

    async def _call(self, client: ModernClient | LegacyClient, tool: str, marker: str) -> None:
        try:
            answer = await client.call(tool, message=marker)
        except ToolError as error:
            if error.code not in CLEAR or repr(tool.partition("__")[0]) not in error.message:
                raise
            self.outcomes[str(error.code)] += 1
        else:
            assert answer == marker
            self.outcomes["echo"] += 1
        self._finished.set()
        self._finished = trio.Event()

    async def _listen(self, client: ModernClient | LegacyClient) -> None:
        """Open a stream, and break it off."""
        async with client.notifications():
            await self._call(client, "legacy__echo", "while listening")

    async def _next_session(
        self, old: ModernClient | LegacyClient, chance: random.Random
    ) -> LegacyClient:
        if isinstance(old, LegacyClient):
            if chance.random() < 0.5:
                await self._end(old)
            else:
                self.abandoned.append((trio.current_time(), old))
        return await self.session.legacy()

    async def _end(self, client: LegacyClient) -> None:
        await client.close()
        self.ended.append(client)

    # --- what goes wrong -----------------------------------------------------------------------

    async def strike(self) -> None:
        """Let things go wrong, paced by the calls that are finished."""
        chance = random.Random(SEED)  # noqa: S311 - to be repeated
        while not self.is_over:
            goal = self.outcomes.total() + chance.randint(*CALLS_PER_BLOW)
            while self.outcomes.total() < goal and not self.is_over:
                await self._finished.wait()
            kinds = [*PROGRAMS, "elsewhere", "touched", "rewritten", "replaced"]
            kind = chance.choice(kinds)
            self.blows[kind] += 1
            if kind == "elsewhere":
                self.elsewhere.kill()
            elif kind in PROGRAMS:
                for pid in self._processes(kind):
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
            elif kind == "touched":
                os.utime(self.gateway.config)
            else:
                self.gateway.rewrite(whole(self.elsewhere, again=self.blows["replaced"]))

    def _processes(self, backend: str) -> list[int]:
        sign = SIGNS.get(backend, f"label={backend}").encode()
        found = []
        for pid in descendants(self.gateway.pid):
            with suppress(OSError):
                if sign in Path(f"/proc/{pid}/cmdline").read_bytes():
                    found.append(pid)
        return found


def whole(server: Elsewhere, again: int = 0) -> dict[str, Any]:
    """Return the configuration, in which one backend changes from time to time."""
    modern = program("era=modern", "label=modern", f"again={again}", **LASTING)
    backends = {**PROGRAMS, "modern": modern, "elsewhere": {"url": server.url, **LASTING}}
    return configuration(backends, limits={"sessionIdle": IDLE})


@asynccontextmanager
async def elsewhere() -> AsyncIterator[Elsewhere]:
    server = Elsewhere()
    async with trio.open_nursery() as nursery:
        await nursery.start(server.run)
        yield server
        nursery.cancel_scope.cancel()


async def test_gateway_outlives_everything_that_goes_wrong(tmp_path):
    async with elsewhere() as server:
        document = whole(server)
        patience = 2 * SECONDS + 120
        config = tmp_path / "onemcp.json"
        async with running(config, document, patience=patience) as gateway:
            await gateway.ready(*document["mcpServers"])
            family = len(gateway.family())
            descriptors = len(open_descriptors(gateway.pid))
            async with clients(gateway.url) as session:
                soak = Soak(gateway, session, server)
                warm = await _run(soak)
                grown = memory(gateway.pid)
                await _check_sessions(soak)
            _report(soak, warm, grown)
            assert grown < warm * GROWTH
            assert soak.outcomes["echo"] > soak.outcomes.total() * 0.5
            await eventually(lambda: len(gateway.family()) == family, "as many processes as before")
            await eventually(
                lambda: len(open_descriptors(gateway.pid)) <= descriptors + SLACK,
                "as many descriptors as before",
            )
            assert zombies(gateway.pid) == set()
            assert gateway.lines("request_failed") == []
            assert not [line for line in gateway.log if "text" in line]
            assert _supervisors_that_gave_up(gateway) == []


async def _run(soak: Soak) -> int:
    """Run for as long as is asked for; return how much memory was used after the warm-up."""
    async with trio.open_nursery() as nursery:
        for number in range(CLIENTS):
            nursery.start_soon(soak.client, number)
        nursery.start_soon(soak.strike)
        await trio.sleep(SECONDS * WARM_UP)
        warm = memory(soak.gateway.pid)
        await trio.sleep(SECONDS * (1 - WARM_UP))
        soak.is_over = True
    # Whatever is down now comes up again, and every backend answers.
    for name in (*PROGRAMS, "elsewhere"):
        client = soak.session.modern()

        async def answers(client=client, name=name) -> bool:
            try:
                return await client.call(f"{name}__echo", message="after") == "after"
            except ToolError:
                return False

        await eventually(answers, f"{name} answers again")
    return warm


async def _check_sessions(soak: Soak) -> None:
    """Sessions that were deleted or left alone are over."""
    now = trio.current_time()
    old = [client for when, client in soak.abandoned if now - when > 2 * IDLE]
    for client in [*soak.ended[-CLIENTS:], *old[-CLIENTS:]]:
        with pytest.raises(ToolError, match=re.escape("Session not found")):
            await client.call("legacy__echo", message="too late")


def _supervisors_that_gave_up(gateway: Gateway) -> list[Any]:
    return [
        line for line in gateway.log if line.get("event") in {"child_exhausted", "child_paused"}
    ]


def _report(soak: Soak, warm: int, grown: int) -> None:
    said = {
        "seed": SEED,
        "seconds": SECONDS,
        "outcomes": dict(soak.outcomes),
        "blows": dict(soak.blows),
        "sessions": {"deleted": len(soak.ended), "abandoned": len(soak.abandoned)},
        "megabytes": {"warm": warm // 1_000_000, "end": grown // 1_000_000},
    }
    print(json.dumps(said, indent=2))
