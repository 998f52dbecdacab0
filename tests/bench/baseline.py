"""The least that a gateway on Trio can be: what onemcp's cost is measured by.

It parses HTTP with httptools, gives each request an id of its own on the one backend's pipe, and
the answer back with the client's: no authentication, no sessions, no limits, no errors, one era.
It never changes, so that the ratio of the two says how much onemcp has become slower or faster.
Run with the backend's command; it prints its port.
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import httptools
import msgspec
import trio

READ_BYTES = 64 * 1024


class Envelope(msgspec.Struct):
    id: int | str | None = None
    method: str = ""
    params: msgspec.Raw = msgspec.Raw(b"{}")
    result: msgspec.Raw = msgspec.Raw(b"null")


class Proxy:
    def __init__(self, backend: subprocess.Popen[bytes]) -> None:
        assert backend.stdin is not None
        assert backend.stdout is not None
        self.write_to, self.read_from = backend.stdin.fileno(), backend.stdout.fileno()
        os.set_blocking(self.read_from, False)
        self.decoder = msgspec.json.Decoder(Envelope)
        self.waiting: dict[int, tuple[trio.lowlevel.Task, Any]] = {}
        self.answers: dict[int, msgspec.Raw] = {}
        self.next_id = 0

    async def ask(self, message: Envelope) -> msgspec.Raw:
        self.next_id += 1
        request_id = self.next_id
        self.waiting[request_id] = trio.lowlevel.current_task(), message.id
        method = message.method.encode()
        line = b'{"jsonrpc":"2.0","id":%d,"method":"%b","params":%b}\n'
        os.write(self.write_to, line % (request_id, method, bytes(message.params)))
        await trio.lowlevel.wait_task_rescheduled(lambda _: trio.lowlevel.Abort.FAILED)
        return self.answers.pop(request_id)

    async def read(self) -> None:
        pending = b""
        while True:
            await trio.lowlevel.wait_readable(self.read_from)
            *lines, pending = (pending + os.read(self.read_from, READ_BYTES)).split(b"\n")
            for line in lines:
                answer = self.decoder.decode(line)
                assert isinstance(answer.id, int)
                self.answers[answer.id] = answer.result
                trio.lowlevel.reschedule(self.waiting.pop(answer.id)[0])


class Parsed:
    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.body = b""
        self.parser = httptools.HttpRequestParser(self)

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_message_complete(self) -> None:
        self.bodies.append(self.body)
        self.body = b""


async def serve(proxy: Proxy, client: trio.SocketStream) -> None:
    descriptor, parsed = client.socket.fileno(), Parsed()
    while True:
        await trio.lowlevel.wait_readable(descriptor)
        data = os.read(descriptor, READ_BYTES)
        if not data:
            return
        parsed.parser.feed_data(data)
        while parsed.bodies:
            message = proxy.decoder.decode(parsed.bodies.pop())
            head, body = b"HTTP/1.1 202 Accepted\r\n", b""
            if message.id is not None:
                head, result = b"HTTP/1.1 200 OK\r\n", await proxy.ask(message)
                request_id = msgspec.json.encode(message.id)
                body = b'{"jsonrpc":"2.0","id":%b,"result":%b}' % (request_id, bytes(result))
            kind = b"content-type: application/json\r\n" if body else b""
            length = b"content-length: %d\r\n\r\n" % len(body)
            os.write(descriptor, head + kind + length + body)


async def main(backend: subprocess.Popen[bytes]) -> None:
    proxy = Proxy(backend)
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    print(listeners[0].socket.getsockname()[1], flush=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(proxy.read)
        await trio.serve_listeners(lambda client: serve(proxy, client), listeners)


if __name__ == "__main__":
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(sys.argv[1:], **pipes) as started:
        trio.run(main, started)
