"""A server of the official SDK that speaks HTTP+SSE. It prints where it listens."""

from __future__ import annotations

import socket
import sys
import warnings
from pathlib import Path
from typing import Any

import anyio
import uvicorn
from mcp.server.sse import SseServerTransport
from mcp.shared.exceptions import MCPDeprecationWarning
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Mount, Route

sys.path.insert(0, str(Path(__file__).parents[2] / "reference"))

from everything_server import Everything

HOST = "127.0.0.1"


async def main() -> None:
    warnings.simplefilter("ignore", MCPDeprecationWarning)
    server = Everything().server()
    transport = SseServerTransport("/messages/")

    async def handle(request: Any) -> Response:
        async with transport.connect_sse(request.scope, request.receive, request._send) as streams:
            await server.run(*streams, server.create_initialization_options())
        return Response()

    routes = [Route("/mcp", handle), Mount("/messages/", transport.handle_post_message)]
    listener = socket.create_server((HOST, 0), backlog=128)
    print(f"listening on http://{HOST}:{listener.getsockname()[1]}/mcp", flush=True)
    config = uvicorn.Config(Starlette(routes=routes), log_level="warning")
    await uvicorn.Server(config).serve(sockets=[listener])


anyio.run(main)
