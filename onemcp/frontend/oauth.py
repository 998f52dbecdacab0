"""The endpoints of the authorization server that programs speak to; people get pages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import attrs
import msgspec

from onemcp.auth.server import (
    INTROSPECT,
    JWKS,
    MAX_DOCUMENT_BYTES,
    MAX_FORM_BYTES,
    REGISTER,
    REVOKE,
    TOKEN,
    AuthorizationServer,
    Form,
    OAuthError,
    TooManyRequests,
    What,
)
from onemcp.protocol.errors import InvalidRequest
from onemcp.protocol.httpheaders import Headers

from .asgi import JSON, HttpRefusal, Scope, Send, Wire, header, read_body, respond
from .pages import Pages, show

PREFIX: Final = "/oauth/"
FORM: Final = b"application/x-www-form-urlencoded"

_NOT_STORED: Final = (
    (b"cache-control", b"no-store"),
    (b"pragma", b"no-cache"),
    (b"x-content-type-options", b"nosniff"),
)
_POST: Final = ((b"allow", b"POST"),)
_GET: Final = ((b"allow", b"GET"),)
_BASIC: Final = (b"www-authenticate", b'Basic realm="onemcp"')
_UNAUTHORIZED: Final = 401
_CREATED: Final = 201


@attrs.frozen
class _Call:
    """One request of a program.

    Attributes:
        body: Its body.
        form: The parameters in it, if it has any.
        authorization: Its Authorization header, if it has one.
        issuer: The issuer that it asks.
        address: Where it comes from.
    """

    body: bytes
    form: Form
    authorization: str | None
    issuer: str
    address: str


@attrs.frozen
class OAuth:
    """Serves what clients need to get tokens.

    Attributes:
        server: Who decides.
        pages: What serves people.
    """

    server: AuthorizationServer
    pages: Pages

    async def serve(self, issuer: str, scope: Scope, wire: Wire) -> None:
        """Serve a request.

        Args:
            issuer: The issuer that is asked: the origin that the client uses.
            scope: The request, whose Host and Origin have been checked.
            wire: The client.

        Raises:
            HttpRefusal: It is refused as HTTP.
            trio.BrokenResourceError: The client has gone.
        """
        path = scope["path"]
        if path == JWKS:
            await self._keys(scope, wire)
            return
        serve = {
            TOKEN: self._token,
            REGISTER: self._register,
            REVOKE: self._revoke,
            INTROSPECT: self._introspect,
        }.get(path)
        if serve is None:
            await show(self.pages, scope, wire)
            return
        if scope["method"] != "POST":
            raise HttpRefusal(405, InvalidRequest("this endpoint needs POST"), _POST)
        try:
            call = await self._read(issuer, scope, wire)
        except OAuthError as error:
            self.server.note_refusal(What.MALFORMED, address_of(scope), error)
            await _refuse(wire.send, error)
            return
        try:
            status, answer = await serve(call)
        except OAuthError as error:
            await _refuse(wire.send, error)
        else:
            await _answer(wire.send, status, answer)

    async def _read(self, issuer: str, scope: Scope, wire: Wire) -> _Call:
        headers: Headers = scope["headers"]
        registers = scope["path"] == REGISTER
        wanted = JSON if registers else FORM
        kind = (header(headers, b"content-type") or b"").partition(b";")[0].strip().lower()
        if kind != wanted:
            raise OAuthError("invalid_request", f"the content type must be {wanted.decode()}")
        limit = MAX_DOCUMENT_BYTES if registers else MAX_FORM_BYTES
        said = [value for name, value in headers if name == b"authorization"]
        if len(said) > 1:
            raise OAuthError("invalid_request", "the Authorization header is doubled")
        body = await read_body(headers, wire.receive, limit)
        return _Call(
            body,
            Form({}) if registers else Form.parse(body),
            said[0].decode("latin-1") if said else None,
            issuer,
            address_of(scope),
        )

    async def _token(self, call: _Call) -> tuple[int, Mapping[str, Any]]:
        return 200, await self.server.token(
            call.form, call.authorization, call.issuer, call.address
        )

    async def _register(self, call: _Call) -> tuple[int, Mapping[str, Any]]:
        return _CREATED, await self.server.register(call.body, call.address)

    async def _revoke(self, call: _Call) -> tuple[int, Mapping[str, Any]]:
        await self.server.revoke(call.form, call.authorization, call.address)
        return 200, {}

    async def _introspect(self, call: _Call) -> tuple[int, Mapping[str, Any]]:
        return 200, await self.server.introspect(call.form, call.authorization, call.address)

    async def _keys(self, scope: Scope, wire: Wire) -> None:
        if scope["method"] != "GET":
            raise HttpRefusal(405, InvalidRequest("the keys can only be read"), _GET)
        await _answer(wire.send, 200, self.server.keys.public_jwks())


def address_of(scope: Scope) -> str:
    """Return where a request comes from."""
    client = scope.get("client")
    return str(client[0]) if client else ""


async def _answer(send: Send, status: int, answer: Mapping[str, Any]) -> None:
    await respond(send, status, msgspec.json.encode(answer), _NOT_STORED)


async def _refuse(send: Send, error: OAuthError) -> None:
    headers = list(_NOT_STORED)
    if error.status == _UNAUTHORIZED:
        headers.append(_BASIC)
    if isinstance(error, TooManyRequests):
        headers.append((b"retry-after", b"%d" % error.retry_after))
    body = {"error": error.code, "error_description": error.description}
    await respond(send, error.status, msgspec.json.encode(body), headers)
