"""A supervisor that does its work answers; one that does not run says so."""

from __future__ import annotations

import pytest
import trio

from onemcp.supervision import Supervisor, SupervisorNotRunningError


async def test_a_running_supervisor_answers(autojump_clock):
    supervisor = Supervisor("root", [])
    with pytest.raises(SupervisorNotRunningError):
        await supervisor.respond()
    async with trio.open_nursery() as nursery:
        await nursery.start(supervisor.run)
        await supervisor.respond()
        await supervisor.shutdown()
    with pytest.raises(SupervisorNotRunningError):
        await supervisor.respond()
