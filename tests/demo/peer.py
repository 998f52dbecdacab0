"""A client of the demo server without a process: it sends lines, and moves the clock."""

from __future__ import annotations

import json
from typing import Any

from onemcp.demo._server import DemoServer
from onemcp.protocol.framing import Oversized

CAPABILITIES = "io.modelcontextprotocol/clientCapabilities"
VERSION = "io.modelcontextprotocol/protocolVersion"
SERVER_INFO = "io.modelcontextprotocol/serverInfo"
SUBSCRIPTION = "io.modelcontextprotocol/subscriptionId"
MODERN = {VERSION: "2026-07-28", CAPABILITIES: {}}
REVISIONS = ["2026-07-28", "2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"]
LISTS = ["tools/list", "resources/list", "resources/templates/list", "prompts/list"]


class Peer:
    """Talks to one server, and moves its clock."""

    def __init__(self, *, modern: bool, revision: str = "2025-11-25") -> None:
        self.server = DemoServer()
        self.modern = modern
        self.now = 100.0
        if not modern:
            params = {"protocolVersion": revision, "capabilities": {}, "clientInfo": {}}
            self.send("initialize", params)

    def line(self, line: bytes | Oversized) -> list[Any]:
        return [json.loads(answer) for answer in self.server.receive(line, self.now)]

    def message(self, **members: Any) -> list[Any]:
        return self.line(json.dumps({"jsonrpc": "2.0", **members}).encode())

    def send(
        self,
        method: str,
        params: dict[str, Any] | None = None,
        *,
        ident: int | str = 1,
        **meta: Any,
    ) -> list[Any]:
        meta = {**(MODERN if self.modern else {}), **meta}
        return self.message(
            id=ident, method=method, params={**({"_meta": meta} if meta else {}), **(params or {})}
        )

    def result(self, method: str, params: dict[str, Any] | None = None, **meta: Any) -> Any:
        [answer] = self.send(method, params, **meta)
        return answer["result"]

    def error(self, method: str, params: dict[str, Any] | None = None, **meta: Any) -> Any:
        [answer] = self.send(method, params, **meta)
        assert answer["id"] == 1
        return answer["error"]

    def call(self, tool: str, arguments: Any, *, ident: int = 1, **meta: Any) -> list[Any]:
        return self.send("tools/call", {"name": tool, "arguments": arguments}, ident=ident, **meta)

    def cancel(self, request_id: Any) -> list[Any]:
        params = {"requestId": request_id}
        return self.message(method="notifications/cancelled", params=params)

    def wait(self, seconds: float) -> list[Any]:
        self.now += seconds
        return [json.loads(answer) for answer in self.server.advance(self.now)]
