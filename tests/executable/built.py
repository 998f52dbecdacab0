"""Programs as they are built, and what an official client finds in them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import attrs
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client


@attrs.frozen
class Program:
    """A built program, in an environment of its own with next to nothing in it.

    Attributes:
        words: What starts it.
        home: Its home, and where it is started.
        environ: The whole of its environment.
    """

    words: tuple[str, ...]
    home: Path
    environ: dict[str, str]

    def run(self, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            [*self.words, *arguments],
            capture_output=True,
            text=True,
            check=False,
            cwd=self.home,
            env=self.environ | more,
            stdin=subprocess.DEVNULL,
            timeout=60,
        )

    def start(self, *arguments: str, **more: str) -> subprocess.Popen[str]:
        """Start a command."""
        return subprocess.Popen(
            [*self.words, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.home,
            env=self.environ | more,
            stdin=subprocess.DEVNULL,
        )


@attrs.frozen
class Asked:
    """What the official client says of a server."""

    revision: str
    tools: list[str]
    text: str


async def ask(url: str, token: str, mode: str) -> Asked:
    """Use a server with the official Python client, of one era."""
    async with (
        create_mcp_http_client({"authorization": f"Bearer {token}"}) as http,
        Client(streamable_http_client(url, http_client=http), mode=mode) as client,
    ):
        tools = [tool.name for tool in (await client.list_tools()).tools]
        echo = next(name for name in tools if name.endswith("echo"))
        result = await client.call_tool(echo, {"message": "Grüße"})
        return Asked(client.protocol_version, tools, str(result.content[0]))
