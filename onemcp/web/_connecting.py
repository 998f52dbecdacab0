"""Logging in at a backend: how a user begins it, and the way back from its authorization server.

Implements 2026-07-28, Authorization, Authorization Response Validation, for what a browser brings;
RFC 6749, section 4.1.2; RFC 9700, section 4.7; and Elicitation, Safe URL Handling and Phishing:
whose login it becomes is said by who has logged in here, never by an address; and it is finished in
the browser that it was begun in, so nobody can have it finished by somebody else.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qs, quote, urlsplit

from quart import Response, request

from onemcp.auth.server import AuthorizationServer, OAuthError
from onemcp.backend.oauth import new_cookie
from onemcp.backend.places import CONNECT
from onemcp.web._browsing import Browsing
from onemcp.web._connections import Connections, LoginFailed, Offer
from onemcp.web._entering import Entering
from onemcp.web._logins import Logins
from onemcp.web._pages import IssuerOf

MAX_ANSWER: Final = 8192
"""How long the query may be that a browser comes back with, in bytes."""

MAX_FIELDS: Final = 20


class ComingBack(Browsing):
    """The way back."""

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
        cookie = _pass_name(secure=self._is_secure)
        page.delete_cookie(cookie, path="/", secure=self._is_secure, httponly=True)
        return page

    @property
    def _pass(self) -> str:
        """What the browser holds that has begun a login."""
        return str(request.cookies.get(_pass_name(secure=self._is_secure), ""))


class Connecting(Entering):
    """The pages where users begin to log in at backends, and log out of them."""

    def __init__(
        self,
        issuer_of: IssuerOf,
        logins: Logins,
        connections: Connections,
        server: AuthorizationServer,
    ) -> None:
        """Serve people who log in at backends; `server` knows who they are."""
        super().__init__(issuer_of, logins, server)
        self._connections = connections

    async def show(self, name: str) -> Response:
        """Show somebody who has logged in here what there is at a backend."""
        subject = self._subject(_about(name))
        if subject is None:
            return await self._login_page(_path(name), _about(name))
        offer = await self._connections.offer(name, subject)
        if offer is None:
            return await self._message("There is no such page.", HTTPStatus.NOT_FOUND)
        return await self._offer_page(offer, subject)

    async def act(self, name: str) -> Response:
        """Let somebody log in here, or do what somebody who has decides."""
        try:
            form = await self._form(self._server)
            self._check_form(self._server, form, _about(name))
        except OAuthError as error:
            said = f"{error.description[:1].upper()}{error.description[1:]}."
            return await self._message(said, HTTPStatus(error.status))
        if "username" in form or "code" in form:
            return await self._log_in(name, form)
        subject = self._subject(_about(name))
        offer = None if subject is None else await self._connections.offer(name, subject)
        if subject is None or offer is None:
            return self._redirect(_path(name))
        if form.get("decision") == "forget":
            await self._connections.forget(name, subject)
            return self._redirect(_path(name))
        return await self._begin(name, subject)

    async def _begin(self, name: str, subject: str) -> Response:
        cookie = new_cookie()
        try:
            url = await self._connections.begin(name, self._issuer, user=subject, cookie=cookie)
        except LoginFailed as error:
            return await self._message(str(error), HTTPStatus.BAD_GATEWAY)
        # A link, not a redirect: people see where they go, and forms lead nowhere else.
        host = urlsplit(url).netloc
        page = await self._page(
            "continue.html", HTTPStatus.OK, "'none'", backend=name, url=url, host=host
        )
        held = _pass_name(secure=self._is_secure)
        page.set_cookie(
            held, cookie, secure=self._is_secure, httponly=True, samesite="Lax", path="/"
        )
        return page

    async def _log_in(self, name: str, form: Any) -> Response:
        try:
            browser = await self._enter(form, _about(name))
        except OAuthError as error:
            return await self._login_page(_path(name), _about(name), error=error, form=form)
        return self._with_cookie(self._redirect(_path(name)), browser)

    async def _offer_page(self, offer: Offer, subject: str) -> Response:
        return await self._page(
            "connect.html",
            HTTPStatus.OK,
            "'self'",
            action=_path(offer.backend),
            token=self._logins.form_token(self._browser, _about(offer.backend)),
            backend=offer.backend,
            address=offer.address,
            has_login=offer.has_login,
            subject=subject,
        )


def _about(name: str) -> str:
    """Return what a login and a form are for; no query of an authorization request is like it."""
    return f"connect {name}"


def _pass_name(*, secure: bool) -> str:
    return "__Host-onemcp-login" if secure else "onemcp-login"


def _path(name: str) -> str:
    return CONNECT + quote(name, safe="")


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
