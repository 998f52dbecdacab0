"""What stands between the frontend and any ASGI server, where exact order matters."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from onemcp.frontend import asgi
from onemcp.frontend.asgi import END_SECONDS, Wire, respond, while_connected

PART = {"type": "http.request", "body": b"x", "more_body": True}
END = {"type": "http.request", "body": b"", "more_body": False}
GONE = {"type": "http.disconnect"}


class Server:
    """An ASGI server that waits for room in its queue, as Hypercorn does."""

    def __init__(self, *queued: dict[str, Any], room: int = 10) -> None:
        self.put, self.receive = trio.open_memory_channel[Any](room)
        self.sent: list[Any] = []
        for message in queued:
            self.put.send_nowait(message)

    async def send(self, message: Any) -> None:
        self.sent.append(message)
        await trio.lowlevel.checkpoint()
        if not message.get("more_body", True):
            await self.put.send(GONE)
            await trio.lowlevel.checkpoint()  # tidies up
            self.sent.append("tidy")

    @property
    def wire(self) -> Wire:
        return Wire(self.receive.receive, self.send)

    @property
    def is_tidy(self) -> bool:
        return self.sent[-1] == "tidy"


async def test_the_end_of_a_response_is_not_cut_short_by_the_disconnect_it_causes():
    server = Server(END)
    wire = server.wire
    await wire.receive()

    async def work() -> None:
        await respond(wire.send, 200, b"{}")

    await while_connected(wire.receive, work)
    assert server.is_tidy
    assert [message["body"] for message in server.sent[1:-1]] == [b"{}", b""]


async def test_a_full_queue_does_not_hold_up_the_end(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(asgi, "LINGER_BYTES", 0)
    server = Server(*[PART] * 3, room=3)
    with trio.fail_after(1):
        await respond(server.wire.send, 401, b"{}")
    assert server.is_tidy


async def test_the_rest_of_a_body_is_read_before_the_response_ends():
    server = Server(PART, PART, END)
    await respond(server.wire.send, 401, b"{}")
    assert server.is_tidy
    assert server.receive.statistics().current_buffer_used == 1  # its own disconnect


async def test_a_server_that_never_ends_a_response_is_not_waited_for(
    autojump_clock: trio.abc.Clock,
):
    begun = trio.current_time()

    async def send(message: Any) -> None:
        if not message.get("more_body", True):
            await trio.sleep_forever()

    server = Server(END)
    wire = Wire(server.receive.receive, send)
    await wire.receive()
    await respond(wire.send, 200, b"{}")
    assert trio.current_time() - begun == END_SECONDS


async def test_work_is_cancelled_when_the_client_goes():
    server = Server(PART, END, GONE)
    with pytest.raises(trio.BrokenResourceError):
        await while_connected(server.receive.receive, trio.sleep_forever)


async def test_an_error_of_the_work_comes_out_as_it_is():
    async def work() -> None:
        raise LookupError("x")

    with pytest.raises(LookupError, match="x"):
        await while_connected(Server().receive.receive, work)


async def test_cancelling_from_outside_is_no_disconnect():
    with trio.CancelScope() as scope:
        scope.cancel()
        await while_connected(Server().receive.receive, trio.sleep_forever)
    assert scope.cancelled_caught


async def test_every_response_carries_the_wires_headers():
    server = Server(END)
    wire = server.wire
    wire.headers = [(b"vary", b"origin")]
    assert not wire.started
    await respond(wire.send, 202, headers=[(b"x", b"y")])
    assert wire.started
    assert server.sent[0]["headers"] == [
        (b"x", b"y"),
        (b"content-length", b"0"),
        (b"vary", b"origin"),
    ]
