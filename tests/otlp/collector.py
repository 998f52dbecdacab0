"""Collectors: one without a network, whose answers a test says, and one on a real socket."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import attrs
import httpx
import trio
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue

MESSAGES: dict[str, Any] = {
    "/v1/traces": ExportTraceServiceRequest,
    "/v1/metrics": ExportMetricsServiceRequest,
}


def plain(attributes: Iterator[KeyValue]) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}


@attrs.define
class Received:
    """One request, decoded with the official messages."""

    path: str
    headers: dict[str, str]
    message: Any
    at: float = 0.0

    @classmethod
    def of(cls, path: str, headers: dict[str, str], body: bytes, at: float = 0.0) -> Received:
        assert headers["content-type"] == "application/x-protobuf"
        if headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        return cls(path, headers, MESSAGES[path].FromString(body), at)

    @property
    def resource(self) -> dict[str, Any]:
        is_traces = self.path == "/v1/traces"
        [found] = self.message.resource_spans if is_traces else self.message.resource_metrics
        return plain(found.resource.attributes)


class Collected:
    """What has been received."""

    def __init__(self) -> None:
        self.received: list[Received] = []

    @property
    def spans(self) -> list[Any]:
        return [
            span
            for each in self.received
            if each.path == "/v1/traces"
            for of_resource in each.message.resource_spans
            for of_scope in of_resource.scope_spans
            for span in of_scope.spans
        ]

    @property
    def metrics(self) -> dict[str, Any]:
        return {
            metric.name: metric
            for each in self.received
            if each.path == "/v1/metrics"
            for of_resource in each.message.resource_metrics
            for of_scope in of_resource.scope_metrics
            for metric in of_scope.metrics
        }


class FakeCollector(Collected, httpx.AsyncBaseTransport):
    """A transport that leads to a collector; `answers` are given first, then 200."""

    def __init__(self, *answers: httpx.Response | Exception | trio.Event) -> None:
        super().__init__()
        self.answers = list(answers)
        self.times: list[float] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await trio.lowlevel.checkpoint()
        self.times.append(trio.current_time())
        answer = self.answers.pop(0) if self.answers else httpx.Response(200)
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, trio.Event):
            await answer.wait()
            answer = httpx.Response(200)
        if answer.status_code == 200:
            headers = {key.lower(): value for key, value in request.headers.items()}
            self.received.append(Received.of(request.url.path, headers, request.content))
        stream = httpx.ByteStream(answer.content)
        return httpx.Response(answer.status_code, headers=answer.headers, stream=stream)


@contextmanager
def collector() -> Iterator[RealCollector]:
    """Serve a collector from a thread, on a free port."""
    found = RealCollector()
    server = ThreadingHTTPServer(("127.0.0.1", 0), found.handler())
    server.daemon_threads = True
    found.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class RealCollector(Collected):
    """A collector on a real socket.

    Attributes:
        url: Its address.
        manners: How it answers: "takes", "resets" or "refuses".
    """

    url = ""
    manners = "takes"

    def handler(self) -> type[BaseHTTPRequestHandler]:
        collector = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if collector.manners == "resets":
                    self.close_connection = True
                    return
                status = 400 if collector.manners == "refuses" else 200
                if status == 200:
                    headers = {key.lower(): value for key, value in self.headers.items()}
                    collector.received.append(Received.of(self.path, headers, body))
                self.send_response(status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *about: Any) -> None:
                """Say nothing."""

        return Handler
