"""The backend of the benchmark: an MCP server over stdio that misbehaves when it is told to.

Run as ``python -S -E backend.py LABEL [MODE]``; needs nothing but Python, so that any gateway can
start it. Its one tool, ``echo_LABEL``, repeats a text; whatever a gateway puts before the name,
the label tells which backend it belongs to. The modes:

- ``steady``: answers everything (the default).
- ``work=MS``: likewise, one call after the other, each of so many milliseconds.
- ``reads=MS``: likewise; its tool is annotated as one that only reads, and its answers say which
  process has given them.
- ``crash``: ends as soon as it has answered ``initialize``.
- ``stderr``: likewise steady, and writes to its stderr as fast as it is read.
- ``hang``: answers everything but calls.
- ``mute``: answers nothing.
- ``babble``: steady, and writes a hundred hostile lines before each answer to a call.
- ``version=N``: steady; its answers carry the number, so that a changed configuration shows.
"""

from __future__ import annotations

import json
import os
import random
import sys
import threading
import time

LABEL = sys.argv[1]
MODE, _, SETTING = (sys.argv[2] if len(sys.argv) > 2 else "steady").partition("=")
HOSTILE = (
    b"",
    b"\x00\xff\xfe",
    b"{",
    b"[]",
    b"null",
    b'"text"',
    b'{"jsonrpc":"2.0"}',
    b'{"jsonrpc":"2.0","id":null,"result":{}}',
    b'{"jsonrpc":"2.0","id":1e400,"result":{}}',
    b'{"jsonrpc":"2.0","id":"never asked","result":{"content":[]}}',
    b'{"jsonrpc":"2.0","id":7,"method":"ping"}',
    b'{"jsonrpc":"2.0","id":8,"method":"sampling/createMessage","params":{}}',
    b'{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1}}',
    b'{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"x","data":1}}',
    b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}',
    b"[" * 5000,
    b'{"a":' * 2000,
)


def answer(request: dict) -> dict | None:
    method = request["method"]
    if method == "initialize":
        return {
            "protocolVersion": "2025-11-25",
            "capabilities": {"tools": {}},
            "serverInfo": {"name": LABEL, "version": "1"},
        }
    if method == "tools/list":
        schema = {"type": "object", "properties": {"text": {"type": "string"}}}
        annotations = {"readOnlyHint": MODE == "reads"}
        tool = {"name": f"echo_{LABEL}", "inputSchema": schema, "annotations": annotations}
        return {"tools": [tool]}
    if method == "tools/call":
        text = request["params"]["arguments"]["text"]
        ending = {"version": f" {SETTING}", "reads": f" {os.getpid()}"}.get(MODE, "")
        return {"content": [{"type": "text", "text": text + ending}]}
    return {} if method == "ping" else None


def frames(chance: random.Random, count: int) -> bytes:
    """Return so many hostile lines, some of them mangled."""
    lines = []
    for _ in range(count):
        line = bytearray(chance.choice(HOSTILE))
        for _ in range(chance.randint(0, 3)):
            line.insert(chance.randint(0, len(line)), chance.randint(11, 255))
        lines.append(bytes(line))
    return b"\n".join(lines) + b"\n"


def flood() -> None:
    line = f"{LABEL}: {'x' * 200}\n".encode() * 20
    while True:
        os.write(2, line)


def serve() -> None:
    chance = random.Random(LABEL)  # noqa: S311 - to be repeated
    for line in sys.stdin.buffer:
        request = json.loads(line)
        is_call = request.get("method") == "tools/call"
        if "id" not in request or "method" not in request or MODE == "mute":
            continue
        if is_call and MODE == "hang":
            continue
        if is_call and MODE in {"work", "reads"}:
            time.sleep(float(SETTING) / 1000)
        result = answer(request)
        outcome = {"error": {"code": -32601, "message": "?"}} if result is None else {}
        reply = {"jsonrpc": "2.0", "id": request["id"], **(outcome or {"result": result})}
        noise = frames(chance, 100) if is_call and MODE == "babble" else b""
        sys.stdout.buffer.write(noise + json.dumps(reply).encode() + b"\n")
        sys.stdout.buffer.flush()
        if MODE == "crash":
            return


if __name__ == "__main__":
    if MODE == "stderr":
        threading.Thread(target=flood, daemon=True).start()
    serve()
