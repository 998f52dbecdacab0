"""Replicas that are real processes: under load, killed, and replaced by a reload."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import trio

from onemcp.app import Gateway, ReloadApplied
from onemcp.backend import ReplicatedBackend
from onemcp.cli.picture import backend_line
from onemcp.control import Control
from onemcp.monitor import Health, Monitor, Status
from onemcp.monitor.metrics import Resources, families
from onemcp.telemetry import expose
from tests.app.test_reload import DEMO, SERVER, World, serving
from tests.multiplexer.fakes import ask, legacy
from tests.support.eventually import eventually

CALL = {"name": "demo__echo", "arguments": {"message": "here"}}


class Load:
    """Clients that call a read-only tool without a pause.

    Attributes:
        answered: How many calls were answered; one that isn't ends the test.
    """

    def __init__(self, gateway: Gateway) -> None:
        self.answered = 0
        self._gateway = gateway

    async def run(self) -> None:
        view, client = self._gateway.multiplexer.whole(), legacy()
        while True:
            answer: dict[str, Any] = await ask(view, "tools/call", CALL, client)
            assert answer["content"][0]["text"].endswith("here")
            self.answered += 1

    async def more(self, count: int) -> None:
        """Wait until so many calls more were answered."""
        wanted = self.answered + count
        await eventually(lambda: self.answered >= wanted, f"{count} calls more are answered")


def write(world: World, **options: Any) -> None:
    server = {**DEMO, "replicas": 3, **options}
    world.write(server=SERVER, auth={"mode": "none"}, mcpServers={"demo": server})


async def test_neither_a_killed_replica_nor_a_reload_fails_a_call(tmp_path: Path):
    replicated = {"mcpServers": {"demo": {**DEMO, "replicas": 3}}}
    async with serving(tmp_path, auth={"mode": "none"}, **replicated) as world:
        gateway = world.gateway
        whole = gateway.multiplexer.backends["demo"]
        assert isinstance(whole, ReplicatedBackend)

        def all_up() -> bool:
            return all(each.is_up for each in whole.replicas.values())

        await eventually(all_up, "all replicas are up")
        load = Load(gateway)
        async with trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(load.run)
            await load.more(20)

            killed, *others = gateway.processes
            os.kill(killed, signal.SIGKILL)
            await load.more(50)
            assert set(others) <= set(gateway.processes)
            await eventually(all_up, "all replicas are up")
            assert Health.of(gateway).status is Status.OK

            before = set(gateway.processes)
            write(world, timeouts={"call": 60})
            await world.reload()
            await load.more(20)
            await eventually(lambda: not before & set(gateway.processes), "all are replaced")
            assert len(gateway.processes) == 3
            assert ("demo",) in [each.report.replaced for each in world.of(ReloadApplied)]

            write(world, timeouts={"call": 60}, replicas=2)
            await world.reload()
            await load.more(20)
            assert set(whole.replicas) == {"1", "2"}

            await gateway.operator.restart("demo")
            await load.more(20)
            nursery.cancel_scope.cancel()
        _shows_replicas(gateway)


def _shows_replicas(gateway: Gateway) -> None:
    """See that each replica is told of wherever the state of a server is."""
    control: Control = gateway.control
    (told,) = control.status()["backends"]
    assert told["state"] == "up"
    assert [(each["name"], each["state"]) for each in told["replicas"]] == [
        ("1", "up"),
        ("2", "up"),
    ]
    (health,) = Health.of(gateway).backends
    assert {key: each.state for key, each in health.replicas.items()} == {"1": "up", "2": "up"}
    monitor: Monitor = gateway.monitor
    shown = monitor._detail(Health.of(gateway))["backends"]["demo"]
    assert set(shown["replicas"]) == {"1", "2"}
    drawn = "".join(backend_line(each).plain for each in (told, *told["replicas"]))
    assert "2 of 2 replicas up" in drawn
    exposed = expose(families(Health.of(gateway), Resources(None, {}), "1")).decode()
    assert 'onemcp_backend_replica_up{backend="demo",replica="2"} 1' in exposed
