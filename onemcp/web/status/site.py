"""The status page itself: Quart's part of it, loaded when somebody asks for the first page."""

from __future__ import annotations

import json
import math
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any, Final

import trio
from quart import Response, request
from quart_trio import QuartTrio

from onemcp.auth import ADMIN, Principal
from onemcp.auth.server import OAuthError
from onemcp.control import ACTIONS, Action, ControlError
from onemcp.frontend import STATUS
from onemcp.multiplexer import NO_ANSWERS, Client, McpError, View
from onemcp.web._browsing import HEADERS, POLICY
from onemcp.web._entering import Asking
from onemcp.web._logins import Logins

from . import explorer, wording
from .page import VISIT, StatusPage, cookie_name
from .picture import Picture, look
from .visits import Visit

ABOUT: Final = "status"
"""What the form is for that people log in with."""

LOGS: Final = 100
"""How many events of a backend are shown."""

FRESH: Final = 0.9
"""For how long what was seen is good for others too, in seconds."""

_STATIC: Final = {
    "style.css": "text/css; charset=utf-8",
    "status.css": "text/css; charset=utf-8",
    "status.js": "text/javascript; charset=utf-8",
}


class Site:
    """The application, and the parts of its first page that are told live.

    Attributes:
        application: Serves the pages, as ASGI.
    """

    def __init__(self, page: StatusPage) -> None:
        """Serve whoever `page` lets in."""
        self._page = page
        self._parts: Mapping[str, str] = {}
        self._looked = -math.inf
        self._looking = trio.Lock()
        self.application = site = QuartTrio("onemcp.web", static_folder=None)
        site.config["PROPAGATE_EXCEPTIONS"] = True  # to the log
        site.jinja_env.filters.update(wording.FILTERS)
        self._templates = site.jinja_env.overlay(enable_async=False)
        entrance, views = _Entrance(page), _Views(page, self)
        rules: tuple[tuple[str, Callable[..., Awaitable[Response]], str], ...] = (
            (STATUS, entrance.show, "GET"),
            (STATUS, entrance.log_in, "POST"),
            (f"{STATUS}/", entrance.show, "GET"),
            (f"{STATUS}/enter", entrance.enter, "GET"),
            *((f"{STATUS}/{name}", entrance.static, "GET") for name in _STATIC),
            (f"{STATUS}/<visit>/", views.overview, "GET"),
            (f"{STATUS}/<visit>/backend", views.backend, "GET"),
            (f"{STATUS}/<visit>/tools", views.tools, "GET"),
            (f"{STATUS}/<visit>/tool", views.tool, "GET"),
            (f"{STATUS}/<visit>/call", views.call, "POST"),
            (f"{STATUS}/<visit>/act", views.act, "POST"),
            (f"{STATUS}/<visit>/leave", views.leave, "POST"),
        )
        for number, (rule, view, method) in enumerate(rules):
            site.add_url_rule(rule, str(number), view, methods=[method], strict_slashes=True)
        site.register_error_handler(HTTPStatus.NOT_FOUND, entrance.not_found)
        site.register_error_handler(HTTPStatus.METHOD_NOT_ALLOWED, entrance.not_found)

    async def parts(self) -> Mapping[str, str]:
        """Return what is told live, by the ids that the parts have in the page."""
        async with self._looking:
            if trio.current_time() - self._looked >= FRESH:
                # To write it takes long where there are many servers, and calls shall not wait.
                picture = look(self._page)
                self._parts = await trio.to_thread.run_sync(self._write, picture)
                self._looked = trio.current_time()
        return self._parts

    def look_again(self) -> None:
        """Let nobody be told what was so before something was done."""
        self._looked = -math.inf

    def _write(self, picture: Picture) -> dict[str, str]:
        template = self._templates.get_template("status/_parts.html")
        macros: Any = template.make_module({"picture": picture})
        return {
            **{f"{name}-part": str(getattr(macros, name)()).strip() for name in wording.PARTS},
            **{f"card-{card.name}": str(macros.card(card)).strip() for card in picture.cards},
            "names": picture.names,
        }


class _Pages(Asking):
    """What all pages here have in common."""

    _policy = f"script-src 'self'; connect-src 'self'; {POLICY}"

    def __init__(self, page: StatusPage) -> None:
        super().__init__(page.issuer_of, Logins())
        self._status = page
        self._style = f"{STATUS}/style.css?{page.control.version}"
        self._known: dict[str, Any] = {"status_path": STATUS, "version": page.control.version}

    async def _show(
        self, template: str, status: HTTPStatus = HTTPStatus.OK, **values: Any
    ) -> Response:
        return await self._page(f"status/{template}", status, "'self'", **self._known, **values)

    async def _say(self, title: str, text: str, status: HTTPStatus) -> Response:
        visit = request.scope.get(VISIT)
        return await self._show("message.html", status, title=title, text=text, visit=visit)

    async def not_found(self, _error: Exception) -> Response:
        """Answer requests for pages that don't exist."""
        return await self._say("Not found", "There is no such page.", HTTPStatus.NOT_FOUND)


class _Entrance(_Pages):
    """What strangers see."""

    async def static(self) -> Response:
        """Serve a style sheet, or the script."""
        name = request.path.rpartition("/")[2]
        return await self._static(name, _STATIC[name])

    async def show(self) -> Response:
        """Show people how to come in."""
        return await self._enter_page()

    async def enter(self) -> Response:
        """Let in who has a link that was made at the control socket, once."""
        principal = self._status.visits.redeem(request.args.get("code", ""))
        if principal is None:
            text = "This link is used up, or older than a minute. Ask for another one."
            return await self._say("This link lets nobody in", text, HTTPStatus.FORBIDDEN)
        return self._let_in(principal)

    async def log_in(self) -> Response:
        """Let in who knows a password and has the scope for it."""
        server, form = self._status.server, None
        if server is None:
            return self._redirect(STATUS)
        try:
            form = await self._form(server)
            self._check_form(server, form, ABOUT)
            subject = await self._person(server, form)
        except OAuthError as error:
            return await self._enter_page(error=error, form=form)
        if ADMIN not in server.policy.rights_of(subject):
            text = f"{subject} may not look after this onemcp: that takes the scope admin."
            return await self._say("This is not for you", text, HTTPStatus.FORBIDDEN)
        return self._let_in(_user(subject))

    def _let_in(self, principal: Principal) -> Response:
        visit, secret = self._status.begin(principal)
        path = f"{STATUS}/{visit.id}/"
        answer = self._redirect(path)
        answer.set_cookie(
            cookie_name(secure=self._is_secure),
            secret,
            path=path,
            secure=self._is_secure,
            httponly=True,
            samesite="Strict",
        )
        return answer

    async def _enter_page(self, **failed: Any) -> Response:
        return await self._ask(
            "status/enter.html", ABOUT, self._status.server, **self._known, **failed
        )


class _Views(_Pages):
    """What operators see and do; each request is one of a visit that stands."""

    def __init__(self, page: StatusPage, site: Site) -> None:
        super().__init__(page)
        self._site = site

    # --- what there is --------------------------------------------------------------------------

    async def overview(self, visit: str) -> Response:  # noqa: ARG002  (the address's)
        """Show everything."""
        parts = await self._site.parts()
        instance = self._status.control.instance()
        return await self._show("overview.html", parts=parts, instance=instance, visit=self._visit)

    async def backend(self, visit: str) -> Response:  # noqa: ARG002
        """Show one backend and its log."""
        name = request.args.get("name", "")
        card = (await self._site.parts()).get(f"card-{name}")
        if card is None:
            return await self._say("Not found", "There is no such server.", HTTPStatus.NOT_FOUND)
        entries = reversed(self._status.control.logs(name, LOGS))
        return await self._show(
            "backend.html", name=name, card=card, entries=entries, visit=self._visit
        )

    # --- what is done ---------------------------------------------------------------------------

    async def act(self, visit: str) -> Response:  # noqa: ARG002
        """Do something with a backend, or with the configuration."""
        form = await request.form
        if not self._visit.has_token(form.get("token", "")):
            return await self._forged()
        what, _, name = form.get("do", "").partition(" ")
        try:
            said = await self._done(what, name)
        except ControlError as error:
            return await self._outcome(wording.sentence(str(error)), error.status)
        finally:
            self._site.look_again()
        return await self._outcome(said, HTTPStatus.OK)

    async def _done(self, what: str, name: str) -> str:
        control, by = self._status.control, self._visit.principal.subject
        if what == "reload":
            return wording.reloaded((await control.reload(by))["outcome"])
        if what not in ACTIONS:
            raise ControlError(400, "action", "there is no such action")
        told = await control.act(Action(what), name, by)
        return wording.acted(what, name, told["state"])

    async def _outcome(self, said: str, status: int) -> Response:
        if request.accept_mimetypes.best == "application/json":
            text = json.dumps({"said": said})
            return Response(text, status, HEADERS, content_type="application/json")
        if status != HTTPStatus.OK:
            return await self._say("That did not work", said, HTTPStatus(status))
        return self._redirect(f"{STATUS}/{self._visit.id}/")

    async def leave(self, visit: str) -> Response:  # noqa: ARG002
        """Let whoever it is in no more."""
        if not self._visit.has_token((await request.form).get("token", "")):
            return await self._forged()
        self._status.visits.end(self._visit)
        return self._redirect(STATUS)

    async def _forged(self) -> Response:
        text = "The form was not made for this visit. Load the page anew."
        return await self._say("That did not work", text, HTTPStatus.FORBIDDEN)

    # --- tools ----------------------------------------------------------------------------------

    async def tools(self, visit: str) -> Response:  # noqa: ARG002
        """List the tools that whoever it is may call."""
        words = request.args.get("q", "")[:200]
        found = explorer.search(await self._listed(), words)
        return await self._show(
            "tools.html",
            tools=found[: explorer.MOST_TOOLS],
            more=max(0, len(found) - explorer.MOST_TOOLS),
            words=words,
            visit=self._visit,
        )

    async def tool(self, visit: str) -> Response:  # noqa: ARG002
        """Show one tool and the form to call it."""
        return await self._tool_page(request.args.get("name", ""), {})

    async def call(self, visit: str) -> Response:  # noqa: ARG002
        """Call a tool, and show what has come of it."""
        form = await request.form
        if not self._visit.has_token(form.get("token", "")):
            return await self._forged()
        filled = {key: value for key, value in form.items() if isinstance(value, str)}
        return await self._tool_page(filled.get("name", ""), filled)

    async def _tool_page(self, name: str, filled: dict[str, str]) -> Response:
        tools = await self._listed()
        tool = next((each for each in tools if each.get("name") == name), None)
        if tool is None:
            return await self._say("Not found", "There is no such tool.", HTTPStatus.NOT_FOUND)
        schema = tool.get("inputSchema")
        answer, error = None, ""
        if filled:
            try:
                answer = await self._called(name, explorer.arguments_of(schema, filled))
            except explorer.BadArguments as bad:
                error = str(bad)
            except McpError as refused:
                error = explorer.cut(str(refused))
        return await self._show(
            "tool.html",
            tool=tool,
            schema=explorer.pretty(schema),
            output=explorer.pretty(tool["outputSchema"]) if "outputSchema" in tool else "",
            fields=explorer.fields_of(schema, filled),
            whole=filled.get(explorer.WHOLE, "{}"),
            answer=answer,
            error=error,
            visit=self._visit,
        )

    async def _called(self, name: str, arguments: dict[str, Any]) -> explorer.Answer:
        began = trio.current_time()
        result = await self._client().call_tool(name, arguments)
        return explorer.answer_of(result, trio.current_time() - began)

    async def _listed(self) -> list[dict[str, Any]]:
        try:
            return await self._client().list_tools()
        except McpError:
            return []  # no backend that can be seen has any

    def _client(self) -> Client:
        return Client(self._seen, self._visit.principal.identity, NO_ANSWERS)

    def _seen(self) -> View:
        multiplexer = self._status.gateway.multiplexer
        rights = self._status.rights(self._visit)
        user = self._visit.principal.identity
        view = multiplexer.view(None, multiplexer.granted(rights), user)
        assert view is not None  # noqa: S101  (for mypy: there always is one of everything)
        return view

    @property
    def _visit(self) -> Visit:
        visit = request.scope.get(VISIT)
        assert isinstance(visit, Visit)  # noqa: S101  (for mypy)
        return visit


def _user(name: str) -> Principal:
    return Principal(
        subject=name, scopes=frozenset(), client_id="onemcp", token_id="", expires_at=0
    )
