"""The time of day jumps, as it does after a suspend, a leap, or a wrong battery."""

from __future__ import annotations

import os
import signal
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import partial

import httpx

from tests.support.clients import clients
from tests.support.eventually import eventually
from tests.support.load import load
from tests.support.running import configuration, program, running

HOURS = {signal.SIGUSR1: 30, signal.SIGUSR2: -60}
SHIM = f"""
import signal, time
day, hours = time.time, []
time.time = lambda: day() + 3600 * sum(hours)
for number, jump in {[(int(number), jump) for number, jump in HOURS.items()]}:
    signal.signal(number, lambda *_, jump=jump: hours.append(jump))
"""


async def test_a_clock_that_jumps_disturbs_neither_calls_nor_sessions(tmp_path, short_folder):
    (tmp_path / "sitecustomize.py").write_text(SHIM)
    socket = str(short_folder / "c.sock")
    backends = {
        "it": program(),
        "broken": {"command": "/nowhere/x", "restart": {"intensity": 0, "cooldown": 3600}},
    }
    document = configuration(backends, control={"socket": socket})
    environ = {**os.environ, "PYTHONPATH": str(tmp_path)}
    async with (
        running(tmp_path / "onemcp.json", document, environ=environ) as gateway,
        clients(gateway.url) as session,
        httpx.AsyncClient(
            transport=httpx.AsyncHTTPTransport(uds=socket),
            base_url="http://localhost",
        ) as operator,
    ):
        await gateway.ready("it")
        await gateway.logged("child_paused", backend="broken")
        async with load(session, "it__echo") as calls:
            for number, hours in HOURS.items():
                gateway.signal(number)
                await eventually(partial(_has_jumped, operator, hours), "the clock has jumped")
                await calls.turn()
                status = (await operator.get("/control/status")).json()
                assert 0 <= status["instance"]["uptime"] < 3600
                broken = status["backends"][1]
                assert (broken["state"], 0 < broken["retryIn"] <= 3600) == ("paused", True)
    assert gateway.lines("session_unknown") == []


async def _has_jumped(operator: httpx.AsyncClient, hours: int) -> bool:
    told = parsedate_to_datetime((await operator.get("/health/live")).headers["date"])
    ahead = told - datetime.now(UTC)
    return ahead > timedelta(hours=20) if hours > 0 else ahead < timedelta(hours=-20)
