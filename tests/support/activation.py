"""A service manager: holds the socket of a service, hands it over, and listens to what it tells."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import trio

SHOWN = 20_000
"""How many characters of the log are shown, the last ones."""
RUN = f'LISTEN_PID=$$ exec "{sys.executable}" -m onemcp run --config "$@"'


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

    @property
    def file(self) -> Path:
        return self.folder / "onemcp.json"

    @property
    def log(self) -> Path:
        """What the services have logged, which is shown where a test fails."""
        return self.folder / "service.log"

    def configure(self, document: Mapping[str, Any]) -> None:
        self.file.write_text(json.dumps(document))

    async def hears(self, wanted: str) -> dict[str, str]:
        """Wait for a message with an assignment in it."""
        while True:
            lines = (await self.notify.recv(4096)).decode().split("\n")
            told = dict(line.split("=", 1) for line in lines)
            if wanted in lines:
                return told

    @contextlib.asynccontextmanager
    async def service(self, *options: str, **environ: str) -> AsyncIterator[trio.Process]:
        """Start the service, and kill what is left of it at the end of the block."""
        variables = {
            **os.environ,
            "NOTIFY_SOCKET": str(self.folder / "notify"),
            "LISTEN_FDS": "1",
            "LISTEN_FDNAMES": "http",
            "STATE_DIRECTORY": str(self.folder / "state"),
            "RUNTIME_DIRECTORY": str(self.folder / "run"),
            **environ,
        }
        # What the shell gets as descriptor 3 is what the program inherits.
        handed = f"exec 3<&{self.listener.fileno()}; {RUN}"
        with self.log.open("ab") as log:
            process = await trio.lowlevel.open_process(
                ["bash", "-c", handed, "onemcp", str(self.file), *options],
                env=variables,
                pass_fds=[self.listener.fileno()],
                stdout=subprocess.DEVNULL,
                stderr=log,
            )
        try:
            yield process
        finally:
            process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()


@contextlib.asynccontextmanager
async def managing(folder: Path) -> AsyncIterator[Manager]:
    """Listen for a service, and to it, for as long as the block runs."""
    with (
        socket.create_server(("127.0.0.1", 0), backlog=1024) as listener,
        trio.socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify,
    ):
        await notify.bind(str(folder / "notify"))
        manager = Manager(folder, listener, notify)
        try:
            yield manager
        finally:
            if manager.log.exists():
                print(manager.log.read_text(errors="replace")[-SHOWN:])
