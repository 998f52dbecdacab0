"""Three ways to call a backend: over its own pipes, by streamable HTTP, and by HTTP with SSE.

All keep a number of calls in flight, check every answer, and note how long each took.
"""

from __future__ import annotations

import json
import selectors
import socket
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

PATIENCE = 30.0
"""How long an answer may take, in seconds; a gateway that takes longer has failed."""

LEGACY, MODERN = "2025-11-25", "2026-07-28"
SMALL = 64


@dataclass
class Measured:
    """What one run has measured.

    Attributes:
        seconds: How long each call took.
        elapsed: How long the whole run took, in seconds.
    """

    seconds: list[float] = field(default_factory=list)
    elapsed: float = 0.0

    def percentile(self, share: float) -> float:
        """Return the duration that a share of the calls did not exceed, in seconds."""
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


@dataclass(frozen=True)
class Work:
    """What is called.

    Attributes:
        tool: The tool, as the gateway names it; empty to list tools instead.
        size: How long the text is that is sent there and back, in characters; with the tool
            ``fill`` it only comes back.
        revision: Of which revision the requests are.
        notes: How many notifications of progress must come with each answer.
    """

    tool: str = "echo"
    size: int = SMALL
    revision: str = LEGACY
    notes: int = 0

    def request(self, request_id: int) -> bytes:
        params: dict[str, Any] = {"_meta": {}}
        if self.tool:
            text = str(self.size) if self.fills else self.text(request_id)
            params |= {"name": self.tool, "arguments": {"text": text}}
        if self.notes:
            params["_meta"]["progressToken"] = request_id
        if self.revision == MODERN:
            prefix = "io.modelcontextprotocol/"
            params["_meta"] |= {
                f"{prefix}protocolVersion": MODERN,
                f"{prefix}clientInfo": {"name": "bench", "version": "1"},
                f"{prefix}clientCapabilities": {},
            }
        message = {"jsonrpc": "2.0", "id": request_id, "method": self.method, "params": params}
        return json.dumps(message).encode()

    @property
    def fills(self) -> bool:
        return self.tool.endswith("fill")

    def text(self, request_id: int) -> str:
        """Return the text that must come back."""
        return "x" * self.size if self.fills else f"{request_id}-{'x' * self.size}"

    @property
    def method(self) -> str:
        return "tools/call" if self.tool else "tools/list"

    @property
    def headers(self) -> dict[str, str]:
        """What a modern request repeats in its headers."""
        if self.revision != MODERN:
            return {"MCP-Protocol-Version": self.revision}
        named = {"Mcp-Name": self.tool} if self.tool else {}
        return {"MCP-Protocol-Version": MODERN, "Mcp-Method": self.method, **named}

    def check(self, answer: bytes) -> int:
        """Make sure that an answer is the one to its own request; return the request's id."""
        message = json.loads(answer)
        request_id = int(message["id"])
        if self.tool:
            text = message["result"]["content"][0]["text"]
            assert text == self.text(request_id), answer[:200]
        else:
            assert message["result"]["tools"], answer[:200]
        return request_id


def direct(process: subprocess.Popen[bytes], work: Work, calls: int, in_flight: int) -> Measured:
    """Call a backend over its own pipes."""
    assert process.stdin is not None
    assert process.stdout is not None
    measured, begun, sent = Measured(), {}, 0
    start = time.perf_counter()
    while len(measured.seconds) < calls:
        while sent < calls and len(begun) < in_flight:
            sent += 1
            line = work.request(sent) + b"\n"
            begun[sent] = time.perf_counter()
            process.stdin.write(line)
        process.stdin.flush()
        request_id = work.check(process.stdout.readline())
        measured.seconds.append(time.perf_counter() - begun.pop(request_id))
    measured.elapsed = time.perf_counter() - start
    return measured


@dataclass(frozen=True)
class Address:
    """Where a gateway is called.

    Attributes:
        port: Its port.
        path: The path of its MCP endpoint.
        headers: What its clients must send.
    """

    port: int
    path: str = "/mcp"
    headers: dict[str, str] = field(default_factory=dict)


class Connection:
    """A keep-alive connection with one request at a time, as plain as can be."""

    def __init__(self, address: Address, **headers: str) -> None:
        self.socket = socket.create_connection(("127.0.0.1", address.port), PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        lines = {
            "Host": f"127.0.0.1:{address.port}",
            "Content-Type": "application/json",
            "Accept": "application/json, text/event-stream",
            **address.headers,
            **headers,
        }
        self._lines = "".join(f"{key}: {value}\r\n" for key, value in lines.items())
        self._path = address.path
        self._buffer = bytearray()
        self._answer: tuple[dict[bytes, bytes], int] | None = None
        self.request_id = 0
        self.begun = 0.0

    def send(self, body: bytes, path: str | None = None) -> None:
        head = f"POST {path or self._path} HTTP/1.1\r\n{self._lines}Content-Length: {len(body)}"
        self.begun = time.perf_counter()
        self.socket.sendall(head.encode() + b"\r\n\r\n" + body)

    def get(self) -> None:
        lines = self._lines.replace("application/json, text/event-stream", "text/event-stream")
        self.socket.sendall(f"GET {self._path} HTTP/1.1\r\n{lines}\r\n".encode())

    def receive(self) -> tuple[dict[bytes, bytes], bytes] | None:
        """Return headers and body once they are complete."""
        data = self.socket.recv(1 << 20)
        assert data, "the gateway closed the connection"
        self._buffer += data
        if self._answer is None:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return None
            status, *lines = bytes(self._buffer[:end]).split(b"\r\n")
            assert status.split()[1] in {b"200", b"202"}, bytes(self._buffer[:500])
            pairs = (line.partition(b":") for line in lines)
            headers = {key.lower(): value.strip() for key, _, value in pairs}
            del self._buffer[: end + 4]
            self._answer = headers, int(headers.get(b"content-length", -1))
        headers, length = self._answer
        body = self._whole(length) if length >= 0 else self._chunks()
        if body is None:
            return None
        self._answer = None
        return headers, body

    def _whole(self, length: int) -> bytes | None:
        if len(self._buffer) < length:
            return None
        body = bytes(self._buffer[:length])
        del self._buffer[:length]
        return body

    def _chunks(self) -> bytes | None:
        if not self._buffer.endswith(b"0\r\n\r\n"):
            return None
        rest, body = bytes(self._buffer), b""
        while True:
            size, _, rest = rest.partition(b"\r\n")
            if not int(size, 16):
                self._buffer.clear()
                return body
            body, rest = body + rest[: int(size, 16)], rest[int(size, 16) + 2 :]

    def exchange(self, body: bytes) -> tuple[dict[bytes, bytes], bytes]:
        self.send(body)
        while (answer := self.receive()) is None:
            pass
        return answer


def messages_of(headers: dict[bytes, bytes], body: bytes) -> list[bytes]:
    """Return the messages of an answer, whatever form it has."""
    if not headers.get(b"content-type", b"").startswith(b"text/event-stream"):
        return [body]
    return [
        line[5:].strip() for line in body.splitlines() if line.startswith(b"data:") and line[6:]
    ]


def initialize(address: Address) -> dict[str, str]:
    """Open a legacy session; return the headers that belong to it."""
    params = {
        "protocolVersion": LEGACY,
        "capabilities": {},
        "clientInfo": {"name": "bench", "version": "1"},
    }
    message = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}
    connection = Connection(address)
    with connection.socket:
        headers, body = connection.exchange(json.dumps(message).encode())
    answer = json.loads(messages_of(headers, body)[-1])
    session = {"MCP-Protocol-Version": answer["result"]["protocolVersion"]}
    if b"mcp-session-id" in headers:
        session["Mcp-Session-Id"] = headers[b"mcp-session-id"].decode()
    connection = Connection(address, **session)
    with connection.socket:
        note = {"jsonrpc": "2.0", "method": "notifications/initialized"}
        connection.exchange(json.dumps(note).encode())
    return session


def tool_names(address: Address, session: dict[str, str]) -> list[str]:
    """Return the names of all tools that a session shows."""
    connection = Connection(address, **session)
    with connection.socket:
        answer = connection.exchange(Work(tool="").request(1))
    return [tool["name"] for tool in json.loads(messages_of(*answer)[-1])["result"]["tools"]]


def proxied(
    address: Address,
    work: Work,
    calls: int,
    in_flight: int,
    sessions: Sequence[dict[str, str]] = (),
) -> Measured:
    """Call by streamable HTTP, over as many connections as calls are in flight."""
    if work.revision != MODERN and not sessions:
        sessions = [initialize(address)]
    used = sessions if work.revision != MODERN else [work.headers]
    connections = [Connection(address, **used[n % len(used)]) for n in range(in_flight)]
    measured, sent = Measured(), 0
    start = time.perf_counter()
    with selectors.DefaultSelector() as selector:
        for connection in connections:
            selector.register(connection.socket, selectors.EVENT_READ, connection)
            if sent < calls:
                sent = _send_next(connection, work, sent)
        while len(measured.seconds) < calls:
            ready = selector.select(PATIENCE)
            assert ready, "the gateway does not answer"
            for key, _ in ready:
                answer = key.data.receive()
                if answer is None:
                    continue
                measured.seconds.append(time.perf_counter() - key.data.begun)
                messages = messages_of(*answer)
                assert work.check(messages[-1]) == key.data.request_id, messages
                assert len(messages) == work.notes + 1, messages
                if sent < calls:
                    sent = _send_next(key.data, work, sent)
    measured.elapsed = time.perf_counter() - start
    for connection in connections:
        connection.socket.close()
    return measured


def _send_next(connection: Connection, work: Work, sent: int) -> int:
    connection.request_id = sent + 1
    connection.send(work.request(connection.request_id))
    return connection.request_id


class SseStream:
    """A session of the oldest transport: one stream for answers, a POST for each request."""

    def __init__(self, address: Address) -> None:
        self.stream = Connection(address)
        self.stream.get()
        self._address = address
        self._data = b""
        self._messages = next(data for event, data in self._events() if event == b"endpoint")
        self.post = Connection(address)
        params = {
            "protocolVersion": "2024-11-05",
            "capabilities": {},
            "clientInfo": {"name": "bench", "version": "1"},
        }
        hello = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}
        self.tell(json.dumps(hello).encode())
        self.next_answer()
        self.tell(json.dumps({"jsonrpc": "2.0", "method": "notifications/initialized"}).encode())

    def tell(self, body: bytes) -> None:
        self.post.send(body, self._messages.decode())
        while self.post.receive() is None:
            pass

    def next_answer(self) -> bytes:
        return next(data for event, data in self._events() if event in {b"", b"message"})

    def _events(self):
        while True:
            while b"\n\n" in self._data.replace(b"\r\n", b"\n"):
                self._data = self._data.replace(b"\r\n", b"\n")
                event, _, self._data = self._data.partition(b"\n\n")
                fields = [line.partition(b":") for line in event.split(b"\n")]
                found = {key: value.strip() for key, _, value in fields}
                if b"data" in found:
                    yield found.get(b"event", b""), found[b"data"]
            data = self.stream.socket.recv(1 << 20)
            assert data, "the gateway closed the stream"
            self._data += data


def over_sse(address: Address, work: Work, calls: int, in_flight: int) -> Measured:
    """Call by HTTP with SSE; small answers only, one event each."""
    session = SseStream(address)
    measured, begun, sent = Measured(), {}, 0
    start = time.perf_counter()
    while len(measured.seconds) < calls:
        while sent < calls and len(begun) < in_flight:
            sent += 1
            begun[sent] = time.perf_counter()
            session.tell(work.request(sent))
        request_id = work.check(session.next_answer())
        measured.seconds.append(time.perf_counter() - begun.pop(request_id))
    measured.elapsed = time.perf_counter() - start
    session.stream.socket.close()
    session.post.socket.close()
    return measured
