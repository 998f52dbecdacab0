"""Serve MCP beside whatever else a program does, on a listener of its own."""

from __future__ import annotations

import socket
import sys

import httpx
import trio

import onemcp

DEMO = {"command": sys.executable, "args": ["-m", "onemcp.demo"]}
QUESTION = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "me", "version": "1"},
    },
}


async def main() -> None:
    """Serve, and be a client of oneself."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        async with onemcp.open_gateway(
            {"mcpServers": {"demo": DEMO}}, listener=listener
        ) as gateway:
            token = gateway.issue_token("me", lifetime=60)
            headers = {
                "Authorization": f"Bearer {token}",
                "Accept": "application/json, text/event-stream",
            }
            async with httpx.AsyncClient(headers=headers) as client:
                answer = await client.post(gateway.url, json=QUESTION)
                print(answer.status_code, answer.json()["result"]["serverInfo"]["name"])


if __name__ == "__main__":
    trio.run(main)
