"""What all pages have in common: how they look, what they forbid browsers, and who is asking."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final

import quart
from quart import Response, request

from onemcp.web._logins import Logins
from onemcp.web._pages import IssuerOf

STYLE: Final = "/oauth/style.css"

HEADERS: Final = {
    "Cache-Control": "no-store",
    # Not `no-referrer`: browsers would then send forms with `Origin: null`.
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
POLICY: Final = (
    "default-src 'none'; style-src 'self'; base-uri 'none'; frame-ancestors 'none'; form-action"
)


class Browsing:
    """The pages of one kind, and the request that is being served."""

    _style = STYLE
    _policy = POLICY

    def __init__(self, issuer_of: IssuerOf, logins: Logins) -> None:
        """Serve people who log in.

        Args:
            issuer_of: Tells by a request's headers which origin the browser uses.
            logins: Who has logged in with which browser.
        """
        self._issuer_of = issuer_of
        self._logins = logins

    # --- answers --------------------------------------------------------------------------------

    async def _message(self, text: str, status: HTTPStatus) -> Response:
        return await self._page("message.html", status, "'none'", text=text)

    async def _page(
        self, template: str, status: HTTPStatus, form_action: str, **values: Any
    ) -> Response:
        text = await quart.render_template(template, style=self._style, **values)
        headers = HEADERS | {"Content-Security-Policy": f"{self._policy} {form_action}"}
        return Response(text, status, headers, content_type="text/html; charset=utf-8")

    async def _static(self, name: str, content_type: str) -> Response:
        """Serve a style sheet, or a script."""
        async with await quart.current_app.open_resource(f"static/{name}") as file:
            text = await file.read()
        headers = HEADERS | {"Cache-Control": "max-age=3600"}
        return Response(text, content_type=content_type, headers=headers)

    def _redirect(self, target: str) -> Response:
        # Not quart.redirect: that writes the target, with its code, into a body too.
        return Response("", HTTPStatus.SEE_OTHER, HEADERS | {"Location": target})

    def _with_cookie(self, response: Response, browser: str) -> Response:
        response.set_cookie(
            self._cookie, browser, secure=self._is_secure, httponly=True, samesite="Lax", path="/"
        )
        return response

    # --- the request ----------------------------------------------------------------------------

    @property
    def _issuer(self) -> str:
        return self._issuer_of([(k.lower(), v) for k, v in request.scope["headers"]])

    @property
    def _is_secure(self) -> bool:
        return self._issuer.startswith("https:")

    @property
    def _address(self) -> str:
        client = request.scope.get("client")
        return str(client[0]) if client else ""

    @property
    def _cookie(self) -> str:
        return "__Host-onemcp" if self._is_secure else "onemcp"

    @property
    def _browser(self) -> str:
        return str(request.cookies.get(self._cookie, ""))
