"""Run the reference server, which has every fixture that the conformance suite asks for.

It is written with the official Python SDK, so it is independent of onemcp, and speaks both
eras of the protocol on both transports.

    python everything.py --stdio
    python everything.py --http PORT

Over HTTP it prints one line, `listening on http://127.0.0.1:PORT/mcp`; port 0 takes a free one.
"""

from __future__ import annotations

import argparse
import logging
import socket
import warnings
from collections.abc import Callable

import anyio
import uvicorn
from everything_events import MemoryEventStore
from everything_server import Everything
from mcp.server import Server
from mcp.server.stdio import stdio_server
from mcp.shared.exceptions import MCPDeprecationWarning

HOST = "127.0.0.1"
RETRY_INTERVAL = 100
"""Milliseconds after which clients may come back to a stream that was closed on them."""
GRACE = 1
"""Seconds that open streams have to end at a shutdown."""


async def serve_stdio(server: Server) -> None:
    async with stdio_server() as (incoming, outgoing):
        await server.run(incoming, outgoing, server.create_initialization_options())


async def serve_http(server: Server, port: int) -> None:
    app = server.streamable_http_app(
        host=HOST, event_store=MemoryEventStore(), retry_interval=RETRY_INTERVAL
    )
    listener = socket.create_server((HOST, port), backlog=128)
    # asyncio sets it on sockets of its own making alone; without it every answer waits 40 ms.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    print(f"listening on http://{HOST}:{listener.getsockname()[1]}/mcp", flush=True)
    # The other parser that it may find installed leaves white space around the values of headers.
    config = uvicorn.Config(app, http="h11", log_level="warning", timeout_graceful_shutdown=GRACE)
    await uvicorn.Server(config).serve(sockets=[listener])


def main(make: Callable[[], Server]) -> None:
    """Run a server as the command line says."""
    parser = argparse.ArgumentParser(description="The reference MCP server of the tests.")
    transport = parser.add_mutually_exclusive_group(required=True)
    transport.add_argument("--stdio", action="store_true", help="speak on stdin and stdout")
    transport.add_argument("--http", type=int, metavar="PORT", help="listen on this port")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    # The fixtures are about the deprecated features as well.
    warnings.simplefilter("ignore", MCPDeprecationWarning)
    if arguments.stdio:
        anyio.run(serve_stdio, make())
    else:
        anyio.run(serve_http, make(), arguments.http)


if __name__ == "__main__":
    main(Everything().server)
