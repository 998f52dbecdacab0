"""Logging in at a backend: the way back from its authorization server.

Implements 2026-07-28, Authorization, Authorization Response Validation, for what a browser brings;
RFC 6749, section 4.1.2; RFC 9700, section 4.7.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Final
from urllib.parse import parse_qs

from quart import Response, request

from onemcp.web._browsing import Browsing
from onemcp.web._connections import Connections, LoginFailed
from onemcp.web._logins import Logins
from onemcp.web._pages import IssuerOf

MAX_ANSWER: Final = 8192
"""How long the query may be that a browser comes back with, in bytes."""

MAX_FIELDS: Final = 20


class Connecting(Browsing):
    """The pages around logins at backends."""

    def __init__(self, issuer_of: IssuerOf, logins: Logins, connections: Connections) -> None:
        """Serve people who log in at backends."""
        super().__init__(issuer_of, logins)
        self._connections = connections

    async def come_back(self) -> Response:
        """Take what a browser comes back with, and tell its person what has come of it."""
        query: bytes = request.query_string
        try:
            answer = _read(query)
            backend = await self._connections.finish(answer, self._pass, self._address)
        except LoginFailed as error:
            return await self._message(str(error), HTTPStatus.BAD_REQUEST)
        page = await self._page("connected.html", HTTPStatus.OK, "'none'", backend=backend)
        page.headers["Referrer-Policy"] = "no-referrer"
        page.delete_cookie(self._pass_name, path="/", secure=self._is_secure, httponly=True)
        return page

    @property
    def _pass_name(self) -> str:
        return "__Host-onemcp-login" if self._is_secure else "onemcp-login"

    @property
    def _pass(self) -> str:
        """What the browser holds that has begun a login."""
        return str(request.cookies.get(self._pass_name, ""))


def _read(query: bytes) -> dict[str, list[str]]:
    if len(query) > MAX_ANSWER:
        raise LoginFailed("What the browser came back with is too long.")
    try:
        return parse_qs(
            query.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=bool(query),
            errors="strict",
            max_num_fields=MAX_FIELDS,
        )
    except ValueError:
        raise LoginFailed("What the browser came back with cannot be read.") from None
