"""Pages without a server: requests handed to them as the frontend does."""

from __future__ import annotations

from typing import Any

import httpx
import trio

from onemcp.web import Pages


class Wire(httpx.AsyncBaseTransport):
    """Hands requests to the pages, as the frontend does."""

    def __init__(self, pages: Pages) -> None:
        self.pages = pages

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        parts = iter([{"type": "http.request", "body": await request.aread(), "more_body": False}])
        sent: list[Any] = []

        async def receive() -> Any:
            return next(parts, None) or await trio.sleep_forever()

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": request.method,
            "scheme": "http",
            "path": request.url.path,
            "raw_path": request.url.raw_path,
            "query_string": request.url.query,
            "root_path": "",
            "headers": [(name.lower(), value) for name, value in request.headers.raw],
            "client": ("192.0.2.1", 1),
            "server": ("127.0.0.1", 80),
            "extensions": {},
        }
        await self.pages(scope, receive, send)
        body = b"".join(message.get("body", b"") for message in sent[1:])
        return httpx.Response(sent[0]["status"], headers=sent[0]["headers"], content=body)
