"""Two ways to call the backend: directly over its pipes, and over HTTP through the gateway.

Both keep a number of calls in flight, check every answer, and note how long each took.
"""

from __future__ import annotations

import json
import selectors
import socket
import subprocess
import time
from dataclasses import dataclass, field
from typing import Any

TEXT = "x" * 64


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


def call(request_id: int, tool: str) -> bytes:
    arguments = {"text": f"{request_id}-{TEXT}"}
    params = {"name": tool, "arguments": arguments}
    message = {"jsonrpc": "2.0", "id": request_id, "method": "tools/call", "params": params}
    return json.dumps(message).encode()


def check(answer: bytes, request_id: int | None = None) -> int:
    """Make sure that an answer is the one to its own request; return the request's id."""
    message = json.loads(answer)
    text = message["result"]["content"][0]["text"]
    assert text == f"{message['id']}-{TEXT}", message
    assert request_id in {None, message["id"]}, message
    return int(message["id"])


def direct(process: subprocess.Popen[bytes], calls: int, in_flight: int) -> Measured:
    """Call a backend over its own pipes."""
    assert process.stdin is not None
    assert process.stdout is not None
    measured, begun, sent = Measured(), {}, 0
    start = time.perf_counter()
    while len(measured.seconds) < calls:
        while sent < calls and len(begun) < in_flight:
            sent += 1
            begun[sent] = time.perf_counter()
            process.stdin.write(call(sent, "echo") + b"\n")
        process.stdin.flush()
        request_id = check(process.stdout.readline())
        measured.seconds.append(time.perf_counter() - begun.pop(request_id))
    measured.elapsed = time.perf_counter() - start
    return measured


class HttpConnection:
    """A keep-alive connection with one call at a time, as plain as can be."""

    def __init__(self, port: int, headers: dict[str, str]) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        lines = {
            "Host": f"127.0.0.1:{port}",
            "Content-Type": "application/json",
            "Accept": "application/json, text/event-stream",
            **headers,
        }
        self._head = "POST /mcp HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in lines.items())
        self._buffer = b""
        self.request_id = 0
        self.begun = 0.0

    def send(self, body: bytes) -> None:
        head = f"{self._head}Content-Length: {len(body)}\r\n\r\n".encode()
        self.begun = time.perf_counter()
        self.socket.sendall(head + body)

    def receive(self) -> tuple[bytes, bytes] | None:
        """Return head and body once they are complete."""
        data = self.socket.recv(65536)
        assert data, "the gateway closed the connection"
        self._buffer += data
        head, separator, rest = self._buffer.partition(b"\r\n\r\n")
        if not separator:
            return None
        length = next(
            int(line.partition(b":")[2])
            for line in head.split(b"\r\n")
            if line.lower().startswith(b"content-length:")
        )
        if len(rest) < length:
            return None
        self._buffer = rest[length:]
        return head, rest[:length]

    def exchange(self, message: dict[str, Any]) -> tuple[bytes, bytes]:
        self.send(json.dumps(message).encode())
        while (answer := self.receive()) is None:
            pass
        return answer


def open_session(port: int, headers: dict[str, str]) -> str:
    """Open a legacy session; return its id."""
    params = {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "bench", "version": "1"},
    }
    message = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}
    connection = HttpConnection(port, headers)
    with connection.socket:
        head, _ = connection.exchange(message)
    lines = [line.partition(b":") for line in head.split(b"\r\n")]
    return next(
        value.strip().decode() for key, _, value in lines if key.lower() == b"mcp-session-id"
    )


def proxied(port: int, headers: dict[str, str], calls: int, in_flight: int) -> Measured:
    """Call the backend through the gateway, over as many connections as calls are in flight."""
    headers = {**headers, "Mcp-Session-Id": open_session(port, headers)}
    connections = [HttpConnection(port, headers) for _ in range(in_flight)]
    measured, sent = Measured(), 0
    start = time.perf_counter()
    with selectors.DefaultSelector() as selector:
        for connection in connections:
            selector.register(connection.socket, selectors.EVENT_READ, connection)
            if sent < calls:
                sent += 1
                connection.request_id = sent
                connection.send(call(sent, "bench__echo"))
        while len(measured.seconds) < calls:
            for key, _ in selector.select():
                connection = key.data
                answer = connection.receive()
                if answer is None:
                    continue
                measured.seconds.append(time.perf_counter() - connection.begun)
                check(answer[1], connection.request_id)
                if sent < calls:
                    sent += 1
                    connection.request_id = sent
                    connection.send(call(sent, "bench__echo"))
    measured.elapsed = time.perf_counter() - start
    for connection in connections:
        connection.socket.close()
    return measured
