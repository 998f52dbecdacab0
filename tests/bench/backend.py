"""The backend that is measured, where there is no C compiler: the same as echo.c.

Run with ``python -S -E``. ``--http`` as the only argument serves streamable HTTP instead, on a
port that is printed, with no more than is needed to be spoken to.
"""

from __future__ import annotations

import json
import sys

NOTES = 10
SCHEMA = {"type": "object", "properties": {"text": {"type": "string"}}}
WORDS = "Repeat a text like the others do, which takes a sentence of the usual length to say."


def tools(more: int) -> list[dict]:
    named = {
        "echo": "Repeat a text.",
        "progress": "Repeat a text, slowly.",
        "fill": "Write a long text.",
    }
    named.update({f"tool{n}": WORDS for n in range(more)})
    return [
        {"name": name, "description": words, "inputSchema": SCHEMA} for name, words in named.items()
    ]


class Backend:
    def __init__(self, more: int = 0) -> None:
        self.results = {
            "initialize": {
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "bench", "version": "1"},
            },
            "tools/list": {"tools": tools(more)},
            "ping": {},
        }

    def answer(self, message: dict) -> list[dict]:
        """Return what is to be sent for a message, its answer last."""
        if "id" not in message:
            return []
        head = {"jsonrpc": "2.0", "id": message["id"]}
        if message["method"] == "tools/call":
            params = message["params"]
            token = params.get("_meta", {}).get("progressToken")
            text = params["arguments"]["text"]
            text = "x" * int(text) if params["name"] == "fill" else text
            result = {"content": [{"type": "text", "text": text}]}
            notes = NOTES if params["name"] == "progress" and token is not None else 0
            return [*(note(token, n) for n in range(1, notes + 1)), {**head, "result": result}]
        if message["method"] in self.results:
            result = self.results[message["method"]]
            if message["method"] == "initialize":
                result = {"protocolVersion": message["params"]["protocolVersion"], **result}
            return [{**head, "result": result}]
        return [{**head, "error": {"code": -32601, "message": "Method not found"}}]


def note(token: object, progress: int) -> dict:
    params = {"progressToken": token, "progress": progress, "total": NOTES}
    return {"jsonrpc": "2.0", "method": "notifications/progress", "params": params}


def serve_stdio(backend: Backend) -> None:
    out = sys.stdout.buffer
    for line in sys.stdin.buffer:
        for message in backend.answer(json.loads(line)):
            out.write(json.dumps(message).encode() + b"\n")
        out.flush()


def serve_http(backend: Backend) -> None:
    import asyncio  # noqa: PLC0415 - costs a program on stdio its start

    class Connection(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = transport
            self.data = b""

        def data_received(self, data: bytes) -> None:
            self.data += data
            while True:
                head, separator, rest = self.data.partition(b"\r\n\r\n")
                lines = head.lower().split(b"\r\n")
                found = [line for line in lines if line.startswith(b"content-length:")]
                length = int(found[0].partition(b":")[2]) if found else 0
                if not separator or len(rest) < length:
                    return
                self.data = rest[length:]
                self.respond(head, rest[:length])

        def respond(self, head: bytes, body: bytes) -> None:
            if not head.startswith(b"POST"):
                self.send(b"405 Method Not Allowed", b"")
                return
            messages = backend.answer(json.loads(body))
            if not messages:
                self.send(b"202 Accepted", b"")
            else:
                self.send(b"200 OK", json.dumps(messages[-1]).encode())

        def send(self, status: bytes, body: bytes) -> None:
            more = b"content-type: application/json\r\n" if body else b""
            self.transport.write(
                b"HTTP/1.1 %b\r\n%bcontent-length: %d\r\n\r\n%b" % (status, more, len(body), body)
            )

    async def main() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Connection, "127.0.0.1", 0)
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()

    asyncio.run(main())


if __name__ == "__main__":
    if sys.argv[1:] == ["--http"]:
        serve_http(Backend())
    else:
        serve_stdio(Backend(int(sys.argv[1]) if sys.argv[1:] else 0))
