"""The backend that is measured: as little as an MCP server can be, so that the gateway shows.

Speaks 2025-11-25 over stdio; its one tool repeats a text. Run with ``python -S -E``.
"""

from __future__ import annotations

import json
import sys

TOOL = {
    "name": "echo",
    "description": "Repeat a text.",
    "inputSchema": {"type": "object", "properties": {"text": {"type": "string"}}},
}
RESULTS = {
    "initialize": {
        "protocolVersion": "2025-11-25",
        "capabilities": {"tools": {}},
        "serverInfo": {"name": "bench", "version": "1"},
    },
    "tools/list": {"tools": [TOOL]},
    "ping": {},
}


def answer(message: dict) -> dict | None:
    if "id" not in message:
        return None
    if message["method"] == "tools/call":
        text = message["params"]["arguments"]["text"]
        result = {"content": [{"type": "text", "text": text}]}
    else:
        result = RESULTS.get(message["method"])
    if result is None:
        return {"id": message["id"], "error": {"code": -32601, "message": "Method not found"}}
    return {"id": message["id"], "result": result}


def main() -> None:
    out = sys.stdout.buffer
    for line in sys.stdin.buffer:
        reply = answer(json.loads(line))
        if reply is not None:
            out.write(json.dumps({"jsonrpc": "2.0", **reply}).encode() + b"\n")
            out.flush()


if __name__ == "__main__":
    main()
