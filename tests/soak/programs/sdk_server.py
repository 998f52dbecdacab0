"""A server of both eras, written with the official SDK, that says back what it is told.

    python sdk_server.py --stdio
    python sdk_server.py --http PORT

Over HTTP it prints one line, `listening on http://127.0.0.1:PORT/mcp`; port 0 takes a free one.
"""

from __future__ import annotations

import socket
import sys

import anyio
import uvicorn
from mcp.server.mcpserver import MCPServer

HOST = "127.0.0.1"
server = MCPServer("soak", log_level="ERROR")


@server.tool(structured_output=False)
def echo(message: str) -> str:
    """Say something back."""
    return message


async def serve_http(port: int) -> None:
    listener = socket.create_server((HOST, port), backlog=128)
    print(f"listening on http://{HOST}:{listener.getsockname()[1]}/mcp", flush=True)
    config = uvicorn.Config(server.streamable_http_app(host=HOST), log_level="error")
    await uvicorn.Server(config).serve(sockets=[listener])


if __name__ == "__main__":
    if sys.argv[1] == "--http":
        anyio.run(serve_http, int(sys.argv[2]))
    else:
        anyio.run(server.run_stdio_async)
