"""What a service manager hears of a gateway, and that a restart loses no connection."""

from __future__ import annotations

import contextlib
import signal
import socket
from typing import Any

import attrs
import httpx
import trio

from onemcp.app.service import Service
from tests.frontend.site import HEADERS, request
from tests.support.activation import Manager, managing

HANDSHAKE = request("initialize", {"protocolVersion": "2025-11-25", "capabilities": {}})


def configure(manager: Manager, **server: Any) -> None:
    (manager.folder / "greeting").write_text("from a credential\n")
    manager.configure(
        {
            "mcpServers": {"absent": {"command": "/nowhere/absent"}},
            "auth": {"mode": "none"},
            "server": {"instructions": "${credential:greeting}", **server},
        }
    )


async def test_a_service_says_how_it_is_and_its_restart_refuses_nobody(short_folder):
    with trio.fail_after(60):
        async with managing(short_folder) as manager:
            configure(manager)
            environ = {"WATCHDOG_USEC": "400000", "CREDENTIALS_DIRECTORY": str(short_folder)}
            async with manager.service(**environ) as process:
                told = await manager.hears("READY=1")
                assert told["STATUS"] == f"Serving {manager.url}/mcp; 0 of 1 backends up"
                await manager.hears("WATCHDOG=1")
                async with httpx.AsyncClient(headers=HEADERS) as client:
                    answer = await client.post(f"{manager.url}/mcp", json=HANDSHAKE)
                assert answer.json()["result"]["instructions"] == "from a credential"

                configure(manager, port="none")
                process.send_signal(signal.SIGHUP)
                told = await manager.hears("RELOADING=1")
                assert int(told["MONOTONIC_USEC"]) > 0
                assert "cannot be used" in (await manager.hears("READY=1"))["STATUS"]

                configure(manager, port=1)  # the socket is the manager's, whatever the file says
                process.send_signal(signal.SIGTERM)
                await manager.hears("STOPPING=1")
                assert await process.wait() == 0

            connection = await trio.open_tcp_stream(*manager.listener.getsockname())
            async with connection, manager.service(**environ):
                await connection.send_all(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
                assert (await connection.receive_some()).startswith(b"HTTP/1.1 200")


@attrs.define
class Stuck:
    """A gateway whose tree answers for as long as a test says."""

    answers: int

    async def respond(self) -> None:
        await trio.lowlevel.checkpoint()
        if not self.answers:
            await trio.sleep_forever()
        self.answers -= 1


async def test_the_watchdog_is_fed_by_the_tree_and_not_by_a_timer(short_folder, autojump_clock):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(str(short_folder / "notify"))
        notify.settimeout(0)
        service = Service(
            {"NOTIFY_SOCKET": str(short_folder / "notify"), "WATCHDOG_USEC": "30000000"}
        )
        service.gateway = Stuck(answers=3)  # type: ignore[assignment]
        with trio.move_on_after(600):
            await service.keep_alive()
        heard = []
        with contextlib.suppress(BlockingIOError):
            while True:
                heard.append(notify.recv(4096))
    assert heard == [b"WATCHDOG=1"] * 3


async def test_without_a_watchdog_no_sign_of_life_is_given():
    service = Service({})
    service.gateway = Stuck(answers=0)  # type: ignore[assignment]
    await service.keep_alive()
    service.hear(object())
    service.stopping()
