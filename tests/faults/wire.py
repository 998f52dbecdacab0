"""A client of streamable HTTP (2025-11-25), small enough to keep thousands of, strict in counting.

What is measured is what arrives on the wire: an answer, an error, two of them, or none.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import httptools
import trio

Message = dict[str, Any]
REVISION = "2025-11-25"
INITIALIZE = {
    "protocolVersion": REVISION,
    "capabilities": {},
    "clientInfo": {"name": "faults", "version": "1"},
}


class WireError(Exception):
    """There is no answer, or not the one that was asked for."""


@dataclass
class Response:
    """A response, read to its end.

    Attributes:
        status: Its status.
        headers: Its header fields, the names in lower case.
        messages: What its body carries, as one JSON message or as events.
    """

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    messages: list[Message] = field(default_factory=list)


class Connection:
    """A connection that serves one exchange after the other."""

    def __init__(self, stream: trio.SocketStream, port: int) -> None:
        self.stream = stream
        self._host = f"127.0.0.1:{port}"
        self._start()

    @classmethod
    async def open(cls, port: int) -> Connection:
        """Connect to a port of loopback."""
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        return cls(stream, port)

    async def send(
        self, method: str, path: str, headers: dict[str, str], body: bytes = b""
    ) -> None:
        """Send a request."""
        fields = {"Host": self._host, **headers}
        if method == "POST":
            fields |= {"Content-Type": "application/json", "Content-Length": str(len(body))}
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        self._start()
        await self.stream.send_all(f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode() + body)

    async def receive(self) -> Response:
        """Read a response to its end.

        Raises:
            WireError: The connection ended before it.
        """
        while not self._is_complete:
            await self._more()
        self._response.messages = list(self._parsed())
        return self._response

    async def head(self) -> Response:
        """Read the head of a response."""
        while not self._has_head:
            await self._more()
        return self._response

    async def more(self) -> bytes:
        """Return the next part of a response's body; empty at its end."""
        while not self._body and not self._is_complete:
            await self._more()
        part, self._body = bytes(self._body), bytearray()
        return part

    async def aclose(self) -> None:
        await trio.aclose_forcefully(self.stream)

    def _start(self) -> None:
        self._response, self._body = Response(), bytearray()
        self._has_head = self._is_complete = False
        self._parser = httptools.HttpResponseParser(self)

    async def _more(self) -> None:
        try:
            data = await self.stream.receive_some()
        except trio.BrokenResourceError as error:
            raise WireError("the connection broke before the response was complete") from error
        if not data:
            raise WireError("the connection ended before the response was complete")
        self._parser.feed_data(data)

    def _parsed(self) -> list[Message]:
        if "text/event-stream" in self._response.headers.get("content-type", ""):
            return events(bytes(self._body))
        return [json.loads(self._body)] if self._body else []

    # --- what the parser calls

    def on_header(self, name: bytes, value: bytes) -> None:
        self._response.headers[name.decode().lower()] = value.decode()

    def on_headers_complete(self) -> None:
        self._response.status = self._parser.get_status_code()
        self._has_head = True

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        self._is_complete = True


def events(body: bytes) -> list[Message]:
    """Return the messages of an event stream."""
    data = [line[5:].strip() for line in body.splitlines() if line.startswith(b"data:")]
    return [json.loads(each) for each in data if each]


class Client:
    """A session, with as many connections as it has calls in flight.

    Attributes:
        session: The headers that belong to it.
    """

    def __init__(self, port: int, path: str, headers: dict[str, str]) -> None:
        self.session = {"Accept": "application/json, text/event-stream", **headers}
        self._port, self._path = port, path
        self._idle: list[Connection] = []
        self._ids = itertools.count(1)
        self._tools: dict[str, str] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with trio.CancelScope(shield=True):
            while self._idle:
                await self._idle.pop().aclose()

    async def initialize(self) -> None:
        """Open the session.

        Raises:
            WireError: The gateway doesn't.
        """
        response = await self.post("initialize", INITIALIZE)
        if response.status != 200:
            raise WireError(f"initialize: {response.status}")
        self.session["MCP-Protocol-Version"] = REVISION
        if session_id := response.headers.get("mcp-session-id"):
            self.session["Mcp-Session-Id"] = session_id
        await self.post("notifications/initialized", None, is_request=False)

    async def tools(self) -> dict[str, str]:
        """Return the full name of the tool of each backend, by the backend's label."""
        response = await self.post("tools/list", {})
        listed = only(response).get("result", {}).get("tools", [])
        found = {}
        for tool in listed:
            before, echo, label = tool["name"].rpartition("echo_")
            found[label] = before + echo + label
        self._tools |= found
        return found

    async def echo(self, label: str, text: str) -> Message:
        """Call the tool of a backend; return the one message that came back.

        Raises:
            WireError: None came, or more than one.
        """
        if label not in self._tools:
            await self.tools()
        name = self._tools.get(label, f"echo_{label}")
        params = {"name": name, "arguments": {"text": text}}
        return only(await self.post("tools/call", params))

    async def post(self, method: str, params: Any, *, is_request: bool = True) -> Response:
        """Post a message over a connection of its own for the time."""
        message = {"jsonrpc": "2.0", "method": method, "params": params}
        if params is None:
            del message["params"]
        if is_request:
            message["id"] = next(self._ids)
        body = json.dumps(message).encode()
        connection = self._idle.pop() if self._idle else await Connection.open(self._port)
        try:
            await connection.send("POST", self._path, self.session, body)
            response = await connection.receive()
        except BaseException:
            with trio.CancelScope(shield=True):
                await connection.aclose()
            raise
        if response.headers.get("connection", "").lower() == "close":
            await connection.aclose()
        else:
            self._idle.append(connection)
        return response

    async def listen(self) -> Connection:
        """Open the stream of the session.

        Raises:
            WireError: The gateway refuses.
        """
        connection = await Connection.open(self._port)
        await connection.send("GET", self._path, {**self.session, "Accept": "text/event-stream"})
        head = await connection.head()
        if head.status != 200:
            await connection.aclose()
            raise WireError(f"GET: {head.status}")
        return connection


async def notifications(stream: Connection) -> AsyncIterator[Message]:
    """Yield what arrives on the stream of a session."""
    buffer = b""
    while part := await stream.more():
        *whole, buffer = (buffer + part.replace(b"\r", b"")).split(b"\n\n")
        for each in whole:
            for message in events(each):
                yield message


def only(response: Response) -> Message:
    """Return the one answer in a response.

    Raises:
        WireError: There is none, or more than one.
    """
    answers = [each for each in response.messages if "result" in each or "error" in each]
    if response.status >= 400 and not answers:
        return {"error": {"code": response.status, "message": f"HTTP {response.status}"}}
    if len(answers) != 1:
        raise WireError(f"{len(answers)} answers in a response with status {response.status}")
    return answers[0]


async def connect(port: int, path: str, headers: dict[str, str]) -> Client:
    """Open a session.

    Raises:
        OSError: Nobody listens.
        WireError: The gateway doesn't open one.
    """
    client = Client(port, path, headers)
    try:
        await client.initialize()
    except BaseException:
        await client.__aexit__(None, None, None)
        raise
    return client


def text(message: Message) -> str | None:
    """Return the text of a result; none of an error."""
    try:
        return str(message["result"]["content"][0]["text"])
    except (KeyError, IndexError, TypeError):
        return None
