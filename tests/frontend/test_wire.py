"""What stands between the frontend and any ASGI server, where exact order matters."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from onemcp.frontend.asgi import LINGER_SECONDS, Wire, respond

PART = {"type": "http.request", "body": b"x", "more_body": True}
END = {"type": "http.request", "body": b"", "more_body": False}
GONE = {"type": "http.disconnect"}


class Server:
    """An ASGI server that says what it is told to."""

    def __init__(self, *queued: dict[str, Any]) -> None:
        self.put, self.receive = trio.open_memory_channel[Any](10)
        self.sent: list[Any] = []
        self.wire = Wire({}, self.receive.receive, self.send)
        for message in queued:
            self.put.send_nowait(message)

    async def send(self, message: Any) -> None:
        self.sent.append(message)
        await trio.lowlevel.checkpoint()


async def test_the_rest_of_a_body_is_read_before_the_response_ends():
    server = Server(PART, PART, END)
    await respond(server.wire.send, 401, b"{}")
    assert server.receive.statistics().current_buffer_used == 0


async def test_a_client_that_sends_for_ever_is_not_read_for_ever(
    autojump_clock: trio.abc.Clock,
):
    begun = trio.current_time()
    server = Server(PART)
    await respond(server.wire.send, 401, b"{}")
    assert trio.current_time() - begun == LINGER_SECONDS
    assert server.sent[-1]["more_body"] is False


async def test_a_response_to_nobody_says_so():
    async def send(_: Any) -> None:
        raise ConnectionResetError

    with pytest.raises(trio.BrokenResourceError):
        await respond(Wire({}, Server(END).receive.receive, send).send, 202)


async def test_work_is_cancelled_when_the_client_goes():
    server = Server(PART, END, GONE)
    with pytest.raises(trio.BrokenResourceError):
        await server.wire.while_connected(trio.sleep_forever)


async def test_an_error_of_the_work_comes_out_as_it_is():
    async def work() -> None:
        raise LookupError("x")

    with pytest.raises(LookupError, match="x"):
        await Server().wire.while_connected(work)


async def test_cancelling_from_outside_is_no_disconnect():
    with trio.CancelScope() as scope:
        scope.cancel()
        await Server().wire.while_connected(trio.sleep_forever)
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
