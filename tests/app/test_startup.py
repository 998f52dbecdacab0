"""Hundreds of backends: what starts first, and what is served meanwhile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from onemcp.backend import BackendDown, BackendReady
from tests.app.test_reload import serving
from tests.support.eventually import eventually

SCRIPT = str(Path(__file__).parent / "programs" / "trivial.sh")
LIMIT = 4
GOOD = [f"good{number}" for number in range(80)]
DEAD = [f"dead{number}" for number in range(20)]


def good(**settings: Any) -> dict[str, Any]:
    return {"command": "sh", "args": [SCRIPT], "protocol": "legacy", **settings}


def dead() -> dict[str, Any]:
    """Return a program that runs and never says anything."""
    return {"command": "sh", "args": ["-c", "while read -r line; do :; done"], "protocol": "legacy"}


async def test_hundreds_start_a_few_at_a_time_beside_those_that_never_do(tmp_path):
    servers = {name: dead() for name in DEAD[:10]}
    servers |= {name: good() for name in GOOD}
    servers |= {name: dead() for name in DEAD[10:]}
    servers[GOOD[-1]]["required"] = True
    starting: list[int] = []
    auth, limits = {"mode": "none"}, {"starts": LIMIT}
    async with serving(tmp_path, mcpServers=servers, auth=auth, limits=limits) as world:
        queue, backends = world.gateway.starts, world.gateway.multiplexer.backends
        queue.patience = 0.1  # as with few programs, or what never starts takes seconds here
        assert queue.limit == LIMIT
        queue.limit = 0  # the others wait, however long a slow machine takes for the request
        assert await world.status() == 200
        assert queue.waiting
        queue.limit = LIMIT
        await backends[GOOD[50]].wait_tried()  # as a call does
        assert any(backends[name].is_starting for name in GOOD)
        for name in GOOD:
            await backends[name].wait_ready()
            starting.append(queue.starting)
        order = [event.backend for event in world.of(BackendReady)]
        assert sorted(order) == sorted(GOOD)
        assert order.index(GOOD[-1]) < LIMIT  # it is required
        assert order.index(GOOD[50]) < len(GOOD) / 2  # a client wanted it
        assert max(starting) <= LIMIT
        # None of the dead has used up its time: they have held up nobody.
        assert not world.of(BackendDown)
        await eventually(lambda: not queue.waiting, "all have had their turn")
