"""What a service manager hears of a gateway, and that a restart loses no connection."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import attrs
import httpx
import trio

from onemcp.app.service import Service
from tests.frontend.site import HEADERS, request

HANDSHAKE = request("initialize", {"protocolVersion": "2025-11-25", "capabilities": {}})
RUN = f'LISTEN_PID=$$ exec "{sys.executable}" -m onemcp run --config "$0"'


@attrs.define
class Manager:
    """Listens to what services tell, and holds their socket, as systemd does."""

    folder: Path
    listener: socket.socket
    notify: trio.socket.SocketType

    @property
    def url(self) -> str:
        host, port = self.listener.getsockname()
        return f"http://{host}:{port}"

    async def hears(self, wanted: str) -> dict[str, str]:
        """Wait for a message with an assignment in it."""
        while True:
            lines = (await self.notify.recv(4096)).decode().split("\n")
            told = dict(line.split("=", 1) for line in lines)
            if wanted in lines:
                return told

    @contextlib.asynccontextmanager
    async def service(self) -> AsyncIterator[trio.Process]:
        environ = {
            **os.environ,
            "NOTIFY_SOCKET": str(self.folder / "notify"),
            "WATCHDOG_USEC": "400000",
            "LISTEN_FDS": "1",
            "LISTEN_FDNAMES": "http",
            "CREDENTIALS_DIRECTORY": str(self.folder),
        }
        # What the shell gets as descriptor 3 is what the program inherits.
        process = await trio.lowlevel.open_process(
            ["bash", "-c", f"exec 3<&{self.listener.fileno()}; {RUN}", str(self.file)],
            env=environ,
            pass_fds=[self.listener.fileno()],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            yield process
        finally:
            process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()

    @property
    def file(self) -> Path:
        return self.folder / "onemcp.json"

    def configure(self, **server: Any) -> None:
        (self.folder / "greeting").write_text("from a credential\n")
        document = {
            "mcpServers": {"absent": {"command": "/nowhere/absent"}},
            "auth": {"mode": "none"},
            "server": {"instructions": "${credential:greeting}", **server},
        }
        self.file.write_text(json.dumps(document))


@contextlib.asynccontextmanager
async def managing(folder: Path) -> AsyncIterator[Manager]:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        trio.socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify,
    ):
        await notify.bind(str(folder / "notify"))
        yield Manager(folder, listener, notify)


async def test_a_service_says_how_it_is_and_its_restart_refuses_nobody(tmp_path):
    with trio.fail_after(60):
        async with managing(tmp_path) as manager:
            manager.configure()
            async with manager.service() as process:
                told = await manager.hears("READY=1")
                assert told["STATUS"] == f"Serving {manager.url}/mcp; 0 of 1 backends up"
                await manager.hears("WATCHDOG=1")
                async with httpx.AsyncClient(headers=HEADERS) as client:
                    answer = await client.post(f"{manager.url}/mcp", json=HANDSHAKE)
                assert answer.json()["result"]["instructions"] == "from a credential"

                manager.configure(port="none")
                process.send_signal(signal.SIGHUP)
                told = await manager.hears("RELOADING=1")
                assert int(told["MONOTONIC_USEC"]) > 0
                assert "cannot be used" in (await manager.hears("READY=1"))["STATUS"]

                manager.configure(port=1)  # the socket is the manager's, whatever the file says
                process.send_signal(signal.SIGTERM)
                await manager.hears("STOPPING=1")
                assert await process.wait() == 0

            connection = await trio.open_tcp_stream(*manager.listener.getsockname())
            async with connection, manager.service():
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


async def test_the_watchdog_is_fed_by_the_tree_and_not_by_a_timer(tmp_path, autojump_clock):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(str(tmp_path / "notify"))
        notify.settimeout(0)
        service = Service({"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "30000000"})
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
