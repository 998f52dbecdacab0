"""Dozens of clients of both eras and several principals, at backends that they share.

They call tools that ask, chat and take their time, all at once, while backends are killed and the
configuration is reloaded. Every message that anybody is told must be its own.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from tests.crossfire.shooting import ASKS, LegacyShooter, ModernShooter, Refused, Shooter
from tests.support.npm import CHECKOUT
from tests.support.process_tree import descendants
from tests.support.processes import serving
from tests.support.running import MARKER, Gateway, running

pytestmark = pytest.mark.soak

SEED = os.environ.get("ONEMCP_SOAK_SEED", "onemcp")
CLIENTS = 32
PRINCIPALS = 4
CALLS = 25
"""How many calls each client makes."""
CALLS_PER_BLOW = 40
"""How many calls are finished between two things that go wrong."""
PATIENCE = 240.0
CLEAR = {-33001, -33002, -33003}
"""The errors of a backend that isn't there, goes away, or doesn't answer in time."""
OVER = "requestState has been used already, or its call is over"
"""What a retry is told whose call has ended with its backend."""
MOST_REFUSED = 0.2
"""How many calls may fail, as a part of all: as many as are in flight at a blow, at most."""
MOST_UNHEARD = 0.05
"""How many questions may be refused, until it is known who asks, as a part of all calls."""
TALKER = Path(__file__).parent / "programs" / "talker.py"
REFERENCE = [sys.executable, str(CHECKOUT / "tests" / "reference" / "everything.py")]
LASTING = {
    "timeouts": {"call": 30, "start": 30, "stop": 1},
    "restart": {"intensity": 1000, "backoff": {"initial": 0.02, "maximum": 0.2}},
}


def talker(era: str, label: str, **settings: Any) -> dict[str, Any]:
    args = ["-S", "-E", str(TALKER), f"era={era}", f"label={label}"]
    return {"command": sys.executable, "args": args, "inherit": [MARKER], **LASTING, **settings}


def document(url: str, again: int = 0) -> dict[str, Any]:
    """Return the configuration, which differs from time to time."""
    backends = {
        "old": talker("legacy", "old"),
        "new": talker("modern", "new"),
        "changing": talker("legacy", f"changing-{again}"),
        "far": {"url": url, "protocol": "2025-11-25", **LASTING},
        "further": {"url": url, "protocol": "2026-07-28", **LASTING},
    }
    if again % 2:
        backends["passing"] = talker("legacy", "passing")
    return {"mcpServers": backends}


TALKERS = ("old", "new", "changing")
AIMS = [
    *((f"{name}__{tool}", "words") for name in TALKERS for tool in ("ask", "chat", "slow")),
    *((f"{name}__ask", "words") for name in TALKERS),
    *((f"{name}__test_elicitation", "message") for name in ("far", "further")),
]
"""What is called, and how the argument with the words is called."""


class Crossfire:
    """What happens.

    Attributes:
        outcomes: How many calls ended how.
        blows: How many things went wrong, by kind.
    """

    def __init__(self, gateway: Gateway, url: str) -> None:
        self.gateway = gateway
        self.url = url
        self.outcomes: Counter[str] = Counter()
        self.blows: Counter[str] = Counter()
        self._finished = trio.Event()

    async def shoot(self, shooter: Shooter) -> None:
        """Make a client's calls."""
        chance = random.Random(f"{SEED}-{shooter.name}")  # noqa: S311 - to be repeated
        for _ in range(CALLS):
            tool, key = chance.choice(AIMS)
            try:
                text = await shooter.call(tool, key)
            except Refused as refused:
                if refused.code not in CLEAR and refused.message != OVER:
                    raise
                self.outcomes[str(refused.code)] += 1
            else:
                unheard = tool.endswith("ask") and text.endswith("heard nothing")
                self.outcomes["unheard" if unheard else "answered"] += 1
            self._finished.set()
            self._finished = trio.Event()

    async def strike(self) -> None:
        """Let things go wrong, paced by the calls that are finished, until cancelled."""
        chance = random.Random(SEED)  # noqa: S311 - to be repeated
        while True:
            goal = self.outcomes.total() + CALLS_PER_BLOW
            while self.outcomes.total() < goal:
                await self._finished.wait()
            kind = chance.choice(["old", "new", "changing", "reload", "reload"])
            self.blows[kind] += 1
            if kind == "reload":
                self.gateway.rewrite(document(self.url, self.blows["reload"]))
            else:
                for pid in self._processes(f"label={kind}".encode()):
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)

    def _processes(self, sign: bytes) -> list[int]:
        found = []
        for pid in descendants(self.gateway.pid):
            with suppress(OSError):
                if sign in Path(f"/proc/{pid}/cmdline").read_bytes():
                    found.append(pid)
        return found


@asynccontextmanager
async def shooters(url: str, tokens: list[str]) -> AsyncIterator[list[Shooter]]:
    """Make the clients, the legacy ones with open sessions to which they listen."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    made: list[Shooter] = []
    async with (
        httpx.AsyncClient(timeout=None, limits=limits) as http,  # noqa: S113 - scopes bound it
        trio.open_nursery() as nursery,
    ):
        for number in range(CLIENTS):
            token = tokens[number // 2 % len(tokens)]
            if number % 2:
                made.append(ModernShooter(http, url, f"modern-{number}", token))
                continue
            legacy = LegacyShooter(http, url, f"legacy-{number}", token)
            await legacy.open()
            await nursery.start(legacy.listen)
            made.append(legacy)
        yield made
        nursery.cancel_scope.cancel()


def token(subject: str, state: Path) -> str:
    command = [sys.executable, "-m", "onemcp", "token", "--subject", subject]
    environment = {**os.environ, "XDG_STATE_HOME": str(state)}
    issued = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return issued.stdout.strip()


async def test_everybody_is_told_only_what_is_theirs(tmp_path: Path):
    tokens = [token(f"principal-{number}", tmp_path) for number in range(PRINCIPALS)]
    environ = {"XDG_STATE_HOME": str(tmp_path)}
    with serving([*REFERENCE, "--http", "0"]) as server:
        async with running(
            tmp_path / "onemcp.json", document(server.url), environ=environ, patience=PATIENCE
        ) as gateway:
            await gateway.ready("old", "new", "changing", "far", "further")
            fire = Crossfire(gateway, server.url)
            async with shooters(gateway.url, tokens) as clients, trio.open_nursery() as strikes:
                strikes.start_soon(fire.strike)
                async with trio.open_nursery() as nursery:
                    for client in clients:
                        nursery.start_soon(fire.shoot, client)
                strikes.cancel_scope.cancel()
            told = sum((client.told for client in clients), Counter())
    print(f"\n{fire.outcomes=} {fire.blows=} {told=}")
    total = CLIENTS * CALLS
    assert fire.outcomes.total() == total
    assert fire.outcomes["answered"] >= (1 - MOST_REFUSED) * total
    assert fire.outcomes["unheard"] <= MOST_UNHEARD * total
    assert told[ASKS] > total / 10
    assert told["notifications/progress"] > total / 10
