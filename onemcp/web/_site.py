"""Logging in and agreeing: two forms, and the redirect to the client (OAuth 2.1, section 4.1).

Theory of operation: nothing about a request is kept between its pages. Each form carries the
request's query, which is checked anew each time.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final

from quart import Response, request
from quart_trio import QuartTrio

from onemcp.auth import parse_scopes
from onemcp.auth.server import (
    AUTHORIZE,
    AuthorizationRequest,
    AuthorizationServer,
    Form,
    OAuthError,
    RedirectedError,
    TooManyRequests,
    What,
    answer_error,
    origin_of,
)
from onemcp.backend.places import CALLBACK, CONNECT
from onemcp.web import _wording as wording
from onemcp.web._browsing import STYLE, Browsing
from onemcp.web._connecting import ComingBack, Connecting
from onemcp.web._connections import Connections
from onemcp.web._entering import Entering
from onemcp.web._logins import Logins
from onemcp.web._pages import IssuerOf

LOGIN: Final = "/oauth/login"
CONSENT: Final = "/oauth/consent"


def new_site(
    issuer_of: IssuerOf, server: AuthorizationServer | None, connections: Connections | None
) -> QuartTrio:
    """Make the application that serves the pages.

    Args:
        issuer_of: Tells by a request's headers which origin the browser uses.
        server: The authorization server, if clients get their tokens here.
        connections: The logins at backends that come back through here, if any can.
    """
    site = QuartTrio("onemcp.web", static_folder=None)
    logins = Logins()
    general = _General(issuer_of, logins)
    site.add_url_rule(STYLE, view_func=general.style, methods=["GET"])
    site.register_error_handler(HTTPStatus.NOT_FOUND, general.not_found)
    site.register_error_handler(HTTPStatus.METHOD_NOT_ALLOWED, general.not_found)
    if server is not None:
        pages = _Site(issuer_of, logins, server)
        site.add_url_rule(AUTHORIZE, view_func=pages.authorize, methods=["GET"])
        site.add_url_rule(LOGIN, view_func=pages.log_in, methods=["POST"])
        site.add_url_rule(CONSENT, view_func=pages.consent, methods=["POST"])
    if connections is not None:
        back = ComingBack(issuer_of, logins, connections)
        site.add_url_rule(CALLBACK, view_func=back.come_back, methods=["GET"])
    if connections is not None and server is not None:
        connecting = Connecting(issuer_of, logins, connections, server)
        site.add_url_rule(CONNECT + "<name>", view_func=connecting.show, methods=["GET"])
        site.add_url_rule(CONNECT + "<name>", view_func=connecting.act, methods=["POST"])
    return site


class _General(Browsing):
    async def style(self) -> Response:
        """Serve the one style sheet."""
        return await self._static("style.css", "text/css; charset=utf-8")

    async def not_found(self, _error: Exception) -> Response:
        """Answer requests for pages that don't exist."""
        return await self._message("There is no such page.", HTTPStatus.NOT_FOUND)


class _Site(Entering):
    # --- the pages ------------------------------------------------------------------------------

    async def authorize(self) -> Response:
        """Show what a client asks for, to whoever has logged in."""
        query = request.query_string.decode("latin-1")
        try:
            asked = await self._asked(query)
        except OAuthError as error:
            return await self._refused(error)
        except RedirectedError as error:
            return self._redirect(answer_error(error, self._issuer))
        subject = self._subject(query)
        if subject is None:
            return await self._ask_in(query, asked)
        return await self._consent_page(query, asked, subject)

    async def log_in(self) -> Response:
        """Let somebody log in."""
        try:
            form = await self._form(self._server)
            query = form.get("request", "")
            asked = await self._asked(query)
            self._check_form(self._server, form, query)
        except (OAuthError, RedirectedError) as error:
            return await self._refused(error)
        try:
            browser = await self._enter(form, query)
        except OAuthError as error:
            return await self._ask_in(query, asked, error=error, form=form)
        return self._with_cookie(self._redirect(f"{AUTHORIZE}?{query}"), browser)

    async def consent(self) -> Response:
        """Do as somebody has decided."""
        try:
            form = await self._form(self._server)
            query = form.get("request", "")
            asked = await self._asked(query)
            self._check_form(self._server, form, query)
        except (OAuthError, RedirectedError) as error:
            return await self._refused(error)
        subject = self._subject(query)
        if subject is None:
            return await self._ask_in(query, asked)
        if form.get("decision") == "allow":
            scopes = parse_scopes(form.getlist("scope"))
            target = self._server.agree(asked, subject, scopes, self._address)
        else:
            target = self._server.refuse(asked, subject, self._address)
        if not self._is_secure:
            self._logins.log_out(self._browser)
        return self._redirect(target)

    # --- what they are made of ------------------------------------------------------------------

    async def _ask_in(self, query: str, asked: AuthorizationRequest, **failed: Any) -> Response:
        name = asked.client.name
        return await self._login_page(LOGIN, query, query=query, client=name, **failed)

    async def _consent_page(
        self, query: str, asked: AuthorizationRequest, subject: str
    ) -> Response:
        offered = self._server.offer(asked, subject)
        return await self._page(
            "consent.html",
            HTTPStatus.OK,
            # Browsers hold the redirect that answers a form against this, too.
            f"'self' {origin_of(asked.redirect_uri)}",
            action=CONSENT,
            query=query,
            token=self._logins.form_token(self._browser, query),
            client=asked.client.name,
            trust=wording.trust(asked),
            destination=origin_of(asked.redirect_uri),
            where=wording.where(asked),
            resource=asked.resource.uri,
            subject=subject,
            items=wording.items(offered),
        )

    async def _refused(self, error: OAuthError | RedirectedError) -> Response:
        cause = error.error if isinstance(error, RedirectedError) else error
        said = f"The request of the program is wrong: {cause.description}."
        page = await self._message(said, HTTPStatus(cause.status))
        if isinstance(cause, TooManyRequests):
            page.headers["Retry-After"] = str(cause.retry_after)
        return page

    # --- the request ----------------------------------------------------------------------------

    async def _asked(self, query: str) -> AuthorizationRequest:
        try:
            form = Form.parse(query.encode("utf-8", "replace"))
        except OAuthError as error:
            self._server.note_refusal(What.MALFORMED, self._address, error)
            raise
        return await self._server.begin(form, self._issuer, self._address)
