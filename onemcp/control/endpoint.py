"""The operations as JSON over HTTP, under ``/control``; events as server-sent events.

===========================================  =====================================================
request                                      answer
===========================================  =====================================================
``GET /control``                             which onemcp this is
``GET /control/status``                      everything: configuration, backends, supervision tree;
                                             ``?follow=1``: again after each event
``GET /control/backends``                    all backends
``GET /control/backends/NAME``               one of them
``GET /control/backends/NAME/logs``          its last events; ``?lines=N``, ``?follow=1``
``POST /control/backends/NAME/ACTION``       ``restart``, ``stop``, ``start`` or ``reset`` it
``GET /control/backends/NAME/pins``          what of it is not as it was approved
``POST /control/backends/NAME/approve``      approve it: ``{"items": [{"kind", "name", "sha256"}]}``
``POST /control/reload``                     read the configuration file now
``POST /control/page``                       a link to the status page; on the control socket only
``GET /control/events``                      events as they happen; ``?backend=NAME``
===========================================  =====================================================
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final, TypeAlias
from urllib.parse import parse_qs

import msgspec
import trio

from onemcp.auth import Principal
from onemcp.frontend import OWNER
from onemcp.frontend.asgi import (
    HttpRefusal,
    Scope,
    Wire,
    read_body,
    respond,
    send_part,
    start_stream,
)
from onemcp.frontend.wellknown import CONTROL

from .errors import NO_SUCH_PATH, ControlError
from .events import OperatorActed
from .journal import Entry, Listener
from .operations import ACTIONS, Action, Control

LINES: Final = 100
"""How many events of a backend are told unless it is said."""

STREAMS: Final = 32
"""How many may follow events at once."""

STATUS_AGE: Final = 2.0
"""After so many seconds the status is told to who follows it though nothing has happened: not all
that it counts makes events."""

STATUS_PAUSE: Final = 0.1
"""For so many seconds events are gathered, before the status after them is told."""

MAX_BODY: Final = 16 * 1024 * 1024
"""How large the body of a request may be, in bytes."""

KEEP_ALIVE: Final = 15.0
"""How often a silent stream says that it is alive, in seconds."""

MakeLink: TypeAlias = Callable[[Principal], dict[str, Any]]
"""Makes a link to the status page for somebody, as JSON has it."""

_HEADERS: Final = ((b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff"))


class Endpoint:
    """Serves :class:`.Control` to callers that have been let in.

    Attributes:
        control: The operations.
        link: Makes links to the status page, if there is one.
    """

    def __init__(self, control: Control) -> None:
        """Serve an operator's requests."""
        self.control = control
        self.link: MakeLink | None = None
        self._followed = 0

    async def __call__(self, scope: Scope, wire: Wire, by: str) -> None:
        """Serve one request.

        Args:
            scope: The request.
            wire: The client.
            by: Who it is.
        """
        try:
            await self._serve(scope, wire, by)
        except ControlError as error:
            await _answer(wire, error.as_json(), error.status)

    async def _serve(self, scope: Scope, wire: Wire, by: str) -> None:
        path = scope["path"].removeprefix(CONTROL).strip("/")
        parts, query = path.split("/") if path else [], _Query(scope["query_string"])
        match scope["method"], parts:
            case "GET", ["events"]:
                await self._follow(wire, query.text("backend"), [])
            case "GET", ["status"] if query.flag("follow"):
                await self._follow(wire, None, [self.control.status()], self._tell_status)
            case "GET", ["backends", name, "logs"] if query.flag("follow"):
                await self._follow(wire, name, self.control.logs(name, query.number("lines")))
            case "GET", _:
                await _answer(wire, self._told(parts, query))
            case "POST", _:
                await _answer(wire, await self._done(parts, scope, wire, by))
            case method, _:
                raise ControlError(405, "method", f"{method} is not served here")

    def _told(self, parts: list[str], query: _Query) -> Any:
        match parts:
            case []:
                return self.control.instance()
            case ["status"]:
                return self.control.status()
            case ["backends"]:
                return self.control.backends()
            case ["backends", name]:
                return self.control.backend(name)
            case ["backends", name, "pins"]:
                return self.control.pins(name)
            case ["backends", name, "logs"]:
                return self.control.logs(name, query.number("lines"))
        raise _unknown("/".join(parts))

    async def _done(self, parts: list[str], scope: Scope, wire: Wire, by: str) -> Any:
        match parts:
            case ["page"]:
                return self._new_link(scope)
            case ["reload"]:
                return await self.control.reload(by)
            case ["backends", name, "approve"]:
                return await self.control.approve(name, await _body(scope, wire), by)
            case ["backends", name, action] if action in ACTIONS:
                return await self.control.act(Action(action), name, by)
        raise _unknown("/".join(parts))

    def _new_link(self, scope: Scope) -> dict[str, Any]:
        principal = scope.get(OWNER)
        if self.link is None:
            raise ControlError(409, "no_page", "this onemcp has no status page")
        if principal is None:
            # A token may be revoked, and ends; what a browser gets by a link would not.
            raise ControlError(403, "not_here", "links are made at the control socket only")
        link = self.link(principal)
        self.control.on_event(OperatorActed("page", principal.subject, None, "link made"))
        return link

    async def _follow(
        self,
        wire: Wire,
        backend: str | None,
        first: Iterable[Entry],
        tell: Callable[[Wire, Listener], Awaitable[None]] | None = None,
    ) -> None:
        if self._followed >= STREAMS:
            raise ControlError(503, "overloaded", f"{STREAMS} follow events already, the limit")
        self._followed += 1
        try:
            with self.control.listening(backend) as listener:
                await start_stream(wire.send, b"".join(map(_event, first)) or b": hello\n\n")
                await wire.while_connected(lambda: (tell or _tell)(wire, listener))
        finally:
            self._followed -= 1

    async def _tell_status(self, wire: Wire, listener: Listener) -> None:
        while True:
            with trio.move_on_after(STATUS_AGE):
                await listener.next()
                await trio.sleep(STATUS_PAUSE)
                listener.pass_over()
            await send_part(wire.send, _event(self.control.status()))


async def _tell(wire: Wire, listener: Listener) -> None:
    while True:
        said = b": still here\n\n"
        with trio.move_on_after(KEEP_ALIVE):
            said = b"".join(map(_event, await listener.next()))
        await send_part(wire.send, said)


def _event(entry: Entry) -> bytes:
    return b"data: " + msgspec.json.encode(entry) + b"\n\n"


async def _answer(wire: Wire, body: Any, status: int = 200) -> None:
    await respond(wire.send, status, msgspec.json.encode(body), _HEADERS)


async def _body(scope: Scope, wire: Wire) -> bytes:
    if wire.whole_body is not None:
        return wire.whole_body
    try:
        return await read_body(scope["headers"], wire.receive, MAX_BODY)
    except HttpRefusal as error:
        raise ControlError(413, "too_large", f"the body has more than {MAX_BODY} bytes") from error


def _unknown(path: str) -> ControlError:
    return ControlError(404, NO_SUCH_PATH, f"there is no {CONTROL}/{path}")


class _Query:
    """The query of a request."""

    def __init__(self, text: bytes) -> None:
        self._values = parse_qs(text.decode("latin-1"), max_num_fields=8)

    def text(self, name: str) -> str | None:
        return self._values.get(name, [None])[0]

    def flag(self, name: str) -> bool:
        return self.text(name) in {"1", "true"}

    def number(self, name: str) -> int:
        text = self.text(name) or str(LINES)
        if not (text.isascii() and text.isdigit() and len(text) < len("1000000")):
            raise ControlError(400, "query", f"{name} must be a number, not {text!r}")
        return int(text)
