"""A server of ours, written as most Python servers are: with the official SDK's MCPServer.

It notices what the reference server does not: that a call has been cancelled.

    python own.py --stdio
    python own.py --http PORT
"""

from __future__ import annotations

import argparse
import base64
import logging
import socket
import warnings
from typing import Annotated, Any

import anyio
import mcp_types as types
import uvicorn
from mcp.server import MCPServer
from mcp.server.mcpserver import Context, Elicit, Image, ListRoots, Resolve, Sample
from mcp.server.mcpserver.exceptions import ToolError
from mcp.shared.exceptions import MCPDeprecationWarning
from pydantic import BaseModel

HOST = "127.0.0.1"
STEP = 0.02
"""Seconds between the notifications of a tool, so that a client sees them arrive one by one."""
GRACE = 1
"""Seconds that open streams have to end at a shutdown."""
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJ"
    "RU5ErkJggg=="
)
LANGUAGES = ("python", "pascal", "rust")

server = MCPServer(
    "own",
    title="A server of ours",
    instructions="Made for tests: grüße, 你好.",
    version="1.2.3",
    log_level="WARNING",
)
cancelled: list[str] = []


class Person(BaseModel):
    """Someone."""

    name: str
    age: int


class Name(BaseModel):
    """What is asked for."""

    name: str


@server.tool(annotations=types.ToolAnnotations(read_only_hint=True), meta={"example.org/kind": 1})
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@server.tool(title="A person")
def person(name: str, age: int = 36) -> Person:
    """Describe someone, in structured content."""
    return Person(name=name, age=age)


@server.tool()
def words(text: str) -> list[str]:
    """Split a text, which may hold any character."""
    return text.split()


@server.tool()
def picture() -> Image:
    """Show a pixel."""
    return Image(data=PIXEL, format="png")


@server.tool()
def fail(message: str) -> str:
    """Fail."""
    raise ToolError(message)


@server.tool()
async def steps(count: int, ctx: Context) -> str:
    """Report progress."""
    for step in range(count):
        await ctx.report_progress(step + 1, count, f"step {step + 1}")
        await anyio.sleep(STEP)
    return f"{count} steps"


@server.tool()
async def talk(ctx: Context) -> str:
    """Log something at several levels."""
    for level in ("debug", "info", "warning", "error"):
        await ctx.log(level, f"this is {level}", logger_name="own")
        await anyio.sleep(STEP)
    return "talked"


@server.tool()
async def wait(label: str, ctx: Context) -> str:
    """Wait until it is cancelled, and keep that in mind."""
    try:
        await ctx.report_progress(0, 1, "waiting")
        await anyio.sleep(30)
    except anyio.get_cancelled_exc_class():
        cancelled.append(label)
        raise
    return "not cancelled"


@server.tool()
def was_cancelled(label: str) -> bool:
    """Tell whether a call of `wait` was cancelled."""
    return label in cancelled


def ask_name() -> Elicit[Name]:
    return Elicit("Who are you?", Name)


def ask_model() -> Sample:
    content = types.TextContent(type="text", text="Say something")
    return Sample([types.SamplingMessage(role="user", content=content)], max_tokens=10)


def ask_roots() -> ListRoots:
    return ListRoots()


@server.tool()
async def greet(name: Annotated[Name, Resolve(ask_name)]) -> str:
    """Ask the user for a name."""
    return f"Hello, {name.name}!"


@server.tool()
async def imagine(said: Annotated[types.CreateMessageResult, Resolve(ask_model)]) -> str:
    """Ask the client's model."""
    return said.content.text if said.content.type == "text" else "nothing"


@server.tool()
async def roots(found: Annotated[types.ListRootsResult, Resolve(ask_roots)]) -> str:
    """Ask for the client's roots."""
    return ", ".join(str(root.uri) for root in found.roots)


@server.resource("own://greeting", mime_type="text/plain")
def greeting() -> str:
    """A text."""
    return "Grüße, 你好"


@server.resource("own://pixel", mime_type="image/png")
def pixel() -> bytes:
    """A picture."""
    return PIXEL


@server.resource("own://people/{name}", mime_type="application/json")
def profile(name: str) -> dict[str, Any]:
    """Someone, by name."""
    return {"name": name}


@server.prompt(title="Review")
def review(language: str, code: str = "pass") -> str:
    """Have some code reviewed."""
    return f"Review this {language} code:\n{code}"


@server.completion()
async def complete(ref: Any, argument: Any, context: Any) -> types.Completion:
    values = [each for each in LANGUAGES if each.startswith(argument.value)]
    return types.Completion(values=values, total=len(values), has_more=False)


async def serve_http(port: int) -> None:
    listener = socket.create_server((HOST, port), backlog=128)
    # asyncio sets it on sockets of its own making alone; without it every answer waits 40 ms.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    print(f"listening on http://{HOST}:{listener.getsockname()[1]}/mcp", flush=True)
    app = server.streamable_http_app(host=HOST)
    config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=GRACE)
    await uvicorn.Server(config).serve(sockets=[listener])


def main() -> None:
    parser = argparse.ArgumentParser(description="A server of the interoperability tests.")
    transport = parser.add_mutually_exclusive_group(required=True)
    transport.add_argument("--stdio", action="store_true", help="speak on stdin and stdout")
    transport.add_argument("--http", type=int, metavar="PORT", help="listen on this port")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    # The tests are about the deprecated features as well.
    warnings.simplefilter("ignore", MCPDeprecationWarning)
    if arguments.stdio:
        server.run("stdio")
    else:
        anyio.run(serve_http, arguments.http)


if __name__ == "__main__":
    main()
