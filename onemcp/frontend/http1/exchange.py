"""One request and its response, as ASGI wants them (HTTP connection scope, version 3.0)."""

from __future__ import annotations

from collections.abc import Awaitable, MutableMapping
from time import time
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from .incoming import IncomingRequest
from .patience import Patience
from .response import CONTINUE, Headers, ResponseWriter

if TYPE_CHECKING:
    from .server import Http1Server

TELLS: Final = "onemcp.tells_of_disconnect"
"""An ASGI extension: under this name is a function that takes another one, which is called when the
client closes its side, or at once if it has. That costs less than a task that waits for
``http.disconnect``. None takes it back."""

SCOPES: Final = "onemcp.scopes"
"""An ASGI extension: under this name is the :class:`.scopes.ReusableScope` of the task that serves
the connection. It comes with :data:`TELLS`."""

WHOLE_BODY: Final = "onemcp.whole_body"
"""An ASGI extension: under this name is the body, where all of it has come with the head. Who takes
that doesn't have to wait for parts, nor to limit the time that they take."""

RESPOND: Final = "onemcp.respond"
"""An ASGI extension: under this name is a function that sends a whole response. It takes a status,
headers and a body, and raises what ``send`` would."""

MEMO: Final = "onemcp.memo"
"""An ASGI extension: under this name is a mapping for whoever works something out of the head of a
request. It is the same one for all requests of a connection with the same head, whatever their
``Content-Length``. The first of them has none."""

_ASGI: Final = {"spec_version": "2.4", "version": "3.0"}


class UnexpectedMessage(Exception):
    """The application has sent a message that doesn't belong where it is."""

    def __init__(self, kind: str, *, has_begun: bool, has_ended: bool) -> None:
        """Say what it was, and when.

        Args:
            kind: The type of the message.
            has_begun: Whether the response had begun.
            has_ended: Whether it had ended.
        """
        when = "after" if has_ended else "during" if has_begun else "before"
        super().__init__(f"unexpected message {kind!r} {when} the response")


class Exchange:
    """One request and its response."""

    __slots__ = (
        "_body_given",
        "_connection",
        "_patience",
        "_request",
        "_response",
        "_status",
        "begun",
        "done",
    )

    def __init__(self, request: IncomingRequest, connection: Http1Server) -> None:
        """Answer a request on a connection."""
        self.begun = time()
        self.done = False
        self._request = request
        self._connection = connection
        self._body_given = False
        self._patience: Patience | None = None
        self._status = 0
        self._response = ResponseWriter(
            request.method, request.version, keep_alive=request.keep_alive
        )

    @property
    def keeps_alive(self) -> bool:
        """Whether the connection can be used for another request."""
        return self.done and self._request.complete and self._response.keep_alive

    @property
    def has_started(self) -> bool:
        """Whether the application has begun to answer."""
        return self._response.has_begun

    @property
    def summary(self) -> dict[str, Any] | None:
        """What Hypercorn's access log wants to know of the response."""
        return {"status": self._status, "headers": []} if self._status else None

    def scope(self) -> dict[str, Any]:
        """Return the ASGI scope."""
        request, connection = self._request, self._connection
        extensions: dict[str, Any] = {RESPOND: self.respond}
        if connection.is_told:
            extensions[TELLS] = connection.tell
            extensions[SCOPES] = connection.scopes
        if request.complete:
            extensions[WHOLE_BODY] = request.body
        memo = request.memo
        if memo is None:
            known = self._about()
        else:
            extensions[MEMO] = memo
            known = memo.get(Exchange) or memo.setdefault(Exchange, self._about())
        scope = known.copy()  # quicker than to put it together
        scope["headers"] = request.headers
        scope["state"] = connection.state.copy()
        scope["extensions"] = extensions
        return scope

    def _about(self) -> dict[str, Any]:
        """Return a scope with what is the same for all requests with this head."""
        request, connection = self._request, self._connection
        path, _, query = request.target.partition(b"?")
        return {
            "type": "http",
            "http_version": request.version,
            "asgi": _ASGI,
            "method": request.method,
            "scheme": "http",
            "path": unquote(path.decode("ascii")),
            "raw_path": path,
            "query_string": query,
            "root_path": connection.config.root_path,
            "client": connection.client,
            "server": connection.server,
            "headers": request.headers,
            "state": connection.state,
            "extensions": {},
        }

    async def receive(self) -> dict[str, Any]:
        """Return the next part of the body, or that the client has hung up."""
        request = self._request
        while not request.parts and not request.complete:
            if not await self._receive_more():
                return {"type": "http.disconnect"}
        if not self._body_given and not self.done:
            self._body_given = request.complete
            return {
                "type": "http.request",
                "body": request.take_body(),
                "more_body": not request.complete,
            }
        await self._connection.wait_hung_up()
        return {"type": "http.disconnect"}

    async def send(self, message: MutableMapping[str, Any]) -> None:
        """Take a part of the response; waits only while the client has no room for it.

        Raises:
            OSError: The client has gone, or reads nothing.
            UnexpectedMessage: It doesn't belong here.
            ValueError: It can't be sent over HTTP/1.1.
        """
        match message["type"]:
            case "http.response.start" if not self._status:
                self._start(message["status"], message.get("headers", ()))
            case "http.response.body" if self._status and not self.done:
                data = self._part(message.get("body", b""), more=message.get("more_body", False))
                if data:
                    await self._connection.write(data)
            case kind:
                raise UnexpectedMessage(kind, has_begun=self._status != 0, has_ended=self.done)

    def respond(self, status: int, headers: Headers, body: bytes) -> Awaitable[None]:
        """Send a whole response; see :data:`RESPOND`.

        Raises:
            OSError: The client has gone, or reads nothing.
            UnexpectedMessage: A response has begun.
            ValueError: It can't be sent over HTTP/1.1.
        """
        if self._status:
            raise UnexpectedMessage(RESPOND, has_begun=True, has_ended=self.done)
        self._start(status, headers)
        return self._connection.write(self._part(body, more=False))

    def _start(self, status: int, headers: Headers) -> None:
        self._status = status
        self._response.keep_alive &= self._connection.keeps_alive
        self._response.start(status, headers, self._connection.own_headers())

    def _part(self, body: bytes, *, more: bool) -> bytes:
        data = self._response.write(body, more=more)
        self.done = not more
        return data

    async def _receive_more(self) -> bool:
        if self._request.expects_continue:
            self._request.expects_continue = False
            if not self.has_started:
                await self._connection.write(CONTINUE)
        if self._patience is None:
            self._patience = Patience(self._connection.patience)
        return await self._connection.read(self._patience)
