"""What pages have in common that somebody has to log in for."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from quart import Response, request

from onemcp.auth.server import AuthorizationServer, LogIn, OAuthError, TooManyRequests, What
from onemcp.web._browsing import Browsing
from onemcp.web._logins import Logins
from onemcp.web._pages import IssuerOf


class Asking(Browsing):
    """The pages of one kind, some of which ask people to log in."""

    async def _form(self, server: AuthorizationServer) -> Any:
        """Return what a form sends.

        Raises:
            OAuthError: It sends what forms of ours don't; `server` has noted that.
        """
        form = await request.form
        if any(len(form.getlist(name)) > 1 for name in form if name != "scope"):
            error = OAuthError("invalid_request", "a field is given more than once")
            server.note_refusal(What.MALFORMED, self._address, error)
            raise error
        return form

    def _check_form(self, server: AuthorizationServer, form: Any, about: str) -> None:
        """Make sure that a form was made for this browser, and for this.

        Raises:
            OAuthError: It was not; `server` has noted that.
        """
        if not self._logins.is_form_token(form.get("token", ""), self._browser, about):
            error = OAuthError(
                "access_denied", "the form was not made for this browser", status=403
            )
            server.note_refusal(What.FORM_REFUSED, self._address, error)
            raise error

    async def _person(self, server: AuthorizationServer, form: Any, code: str = "") -> str:
        """Tell who has filled in a form.

        Args:
            server: Who knows people.
            form: What was filled in.
            code: The code on the terminal, where that is good for it.

        Raises:
            OAuthError: It is nobody who may, or too often.
        """
        attempt = LogIn(_name_in(form), form.get("password", ""), code, self._address)
        return await server.log_in(attempt)

    async def _ask(
        self,
        template: str,
        about: str,
        server: AuthorizationServer | None,
        *,
        error: OAuthError | None = None,
        form: Any = None,
        **values: Any,
    ) -> Response:
        """Ask somebody to log in.

        Args:
            template: The page.
            about: What the login is for.
            server: Who knows people, if anything does.
            error: Why the last attempt has failed, and
            form: what was filled in there.
            values: What the page is told besides.
        """
        people = () if server is None else server.policy.people.values()
        browser = self._browser or self._logins.new_browser()
        page = await self._page(
            template,
            HTTPStatus.OK if error is None else HTTPStatus(error.status),
            "'self'",
            token=self._logins.form_token(browser, about),
            error=None if error is None else error.description,
            name="" if form is None else _name_in(form),
            has_people=any(person.password for person in people),
            **values,
        )
        if isinstance(error, TooManyRequests):
            page.headers["Retry-After"] = str(error.retry_after)
        return self._with_cookie(page, browser)


class Entering(Asking):
    """The pages of one kind, and who has logged in to see them.

    A login and a form are for one thing, which is named: the query of an authorization request, or
    a backend.
    """

    def __init__(self, issuer_of: IssuerOf, logins: Logins, server: AuthorizationServer) -> None:
        """Serve people who log in; `server` knows who they are."""
        super().__init__(issuer_of, logins)
        self._server = server

    def _subject(self, about: str) -> str | None:
        """Tell who has logged in, so that it counts for something."""
        login = self._logins.find(self._browser, about, self._logins.now())
        if login is None or self._server.is_logged_out(login.subject, login.since):
            return None
        return login.subject

    async def _enter(self, form: Any, about: str) -> str:
        """Let somebody in; return the browser's new id.

        Raises:
            OAuthError: It is nobody who may, or too often.
        """
        subject = await self._person(self._server, form, form.get("code", "").strip())
        return self._logins.log_in(subject, about, self._logins.now(), secure=self._is_secure)

    async def _login_page(
        self,
        action: str,
        about: str,
        *,
        query: str = "",
        client: str | None = None,
        error: OAuthError | None = None,
        form: Any = None,
    ) -> Response:
        """Ask somebody to log in.

        Args:
            action: Where the form leads.
            about: What the login is for.
            query: The authorization request, where it is for one.
            client: The program that has sent the browser, if one has.
            error: Why the last attempt has failed, and
            form: what was filled in there.
        """
        return await self._ask(
            "login.html",
            about,
            self._server,
            error=error,
            form=form,
            action=action,
            query=query,
            client=client,
            issuer=self._issuer,
            has_code=self._server.has_code,
        )


def _name_in(form: Any) -> str:
    return str(form.get("username", "")).strip()
