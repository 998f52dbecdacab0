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

from onemcp.auth.server import AuthorizationServer, LogIn, OAuthError, TooManyRequests
from onemcp.backend.oauth import CONNECT, new_cookie
from onemcp.web._browsing import Browsing
from onemcp.web._connections import Connections, LoginFailed, Offer
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
        page.delete_cookie(self._pass_name, path="/", secure=self._is_secure, httponly=True)
        return page

    @property
    def _pass_name(self) -> str:
        return "__Host-onemcp-login" if self._is_secure else "onemcp-login"

    @property
    def _pass(self) -> str:
        """What the browser holds that has begun a login."""
        return str(request.cookies.get(self._pass_name, ""))


class Connecting(ComingBack):
    """The pages where users begin to log in at backends, and log out of them."""

    def __init__(
        self,
        issuer_of: IssuerOf,
        logins: Logins,
        connections: Connections,
        server: AuthorizationServer,
    ) -> None:
        """Serve people who log in at backends; `server` knows who they are."""
        super().__init__(issuer_of, logins, connections)
        self._server = server

    async def show(self, name: str) -> Response:
        """Show somebody who has logged in here what there is at a backend."""
        subject = self._subject(name)
        if subject is None:
            return await self._login_page(name)
        offer = await self._connections.offer(name, subject)
        if offer is None:
            return await self._message("There is no such page.", HTTPStatus.NOT_FOUND)
        return await self._offer_page(offer, subject)

    async def act(self, name: str) -> Response:
        """Let somebody log in here, or do what somebody who has decides."""
        form = await request.form
        if not self._logins.is_form_token(form.get("token", ""), self._browser, _about(name)):
            text = "The form was not made for this browser."
            return await self._message(text, HTTPStatus.FORBIDDEN)
        if "username" in form or "code" in form:
            return await self._log_in(name, form)
        subject = self._subject(name)
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
        page.set_cookie(
            self._pass_name, cookie, secure=self._is_secure, httponly=True, samesite="Lax", path="/"
        )
        return page

    async def _log_in(self, name: str, form: Any) -> Response:
        code = form.get("code", "").strip()
        said = form.get("username", "").strip()
        attempt = LogIn(said, form.get("password", ""), code, self._address)
        try:
            subject = await self._server.log_in(attempt)
        except OAuthError as error:
            return await self._login_page(name, error, said)
        now = self._logins.now()
        browser = self._logins.log_in(subject, _about(name), now, secure=self._is_secure)
        return self._with_cookie(self._redirect(_path(name)), browser)

    async def _login_page(
        self, name: str, error: OAuthError | None = None, said: str = ""
    ) -> Response:
        browser = self._browser or self._logins.new_browser()
        page = await self._page(
            "login.html",
            HTTPStatus.OK if error is None else HTTPStatus(error.status),
            "'self'",
            action=_path(name),
            query="",
            token=self._logins.form_token(browser, _about(name)),
            client=None,
            issuer=self._issuer,
            error=None if error is None else error.description,
            name=said,
            has_people=any(person.password for person in self._server.policy.people.values()),
            has_code=self._server.has_code,
        )
        if isinstance(error, TooManyRequests):
            page.headers["Retry-After"] = str(error.retry_after)
        return self._with_cookie(page, browser)

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

    def _subject(self, name: str) -> str | None:
        """Tell who has logged in here, so that it counts for a backend."""
        login = self._logins.find(self._browser, _about(name), self._logins.now())
        if login is None or self._server.is_logged_out(login.subject, login.since):
            return None
        return login.subject


def _about(name: str) -> str:
    """Return what a login and a form are for; no query of an authorization request is like it."""
    return f"connect {name}"


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
