"""Who may see the status page, and what follows the gateway for those who do."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from functools import partial
from typing import Any, Final

import msgspec
import trio

from onemcp.auth import ADMIN, Principal, Scope, rights_of
from onemcp.auth.server import AuthorizationServer
from onemcp.control import Control, OperatorActed
from onemcp.frontend import (
    STATUS,
    HttpRefusal,
    Wire,
    header,
    read_body,
    respond,
    send_part,
    start_stream,
)
from onemcp.frontend import Scope as Request
from onemcp.monitor import Observed
from onemcp.protocol.errors import InvalidRequest, Overloaded
from onemcp.web._on_demand import OnDemand
from onemcp.web._pages import IssuerOf

from .history import History
from .visits import Visit, Visits

STREAMS: Final = 16
"""How many browsers may follow at once."""

PACE: Final = 1.0
"""How often they are told what has changed, in seconds."""

SHARE: Final = 20
"""Between two looks there is so many times the time that one takes."""

SEND_SECONDS: Final = 10.0
"""How long a browser may take for what it is told before it is given up."""

KEEP_ALIVE: Final = 15.0
"""How often a silent stream says that it is alive, in seconds."""

VISIT: Final = "onemcp.visit"
"""The member of an ASGI scope that holds the visit of whoever asks."""

MAX_FORM_BYTES: Final = 256 * 1024
"""How much a form may hold: a tool may be called with a document."""

PUBLIC: Final = frozenset({"", "enter", "style.css", "status.css", "status.js"})
"""What of the page strangers get: the way in, and what tells nothing of a gateway."""

_HEADERS: Final = (
    (b"cache-control", b"no-store"),
    (b"referrer-policy", b"same-origin"),
    (b"x-content-type-options", b"nosniff"),
)


class StatusPage:
    """Serves the page. Owned by one task.

    Attributes:
        control: What operators may ask for.
        gateway: What is looked at.
        history: What has been.
        visits: Who has come in.
        issuer_of: Tells by a request's headers which origin the browser uses.
        followers: How many browsers follow just now.
    """

    def __init__(
        self,
        control: Control,
        gateway: Observed,
        *,
        history: History,
        visits: Visits,
        issuer_of: IssuerOf,
        server: Callable[[], AuthorizationServer | None],
    ) -> None:
        """Serve a gateway; nothing is loaded before somebody asks.

        Args:
            control: What operators may ask for.
            gateway: What is looked at.
            history: What has been.
            visits: Who has come in.
            issuer_of: Tells by a request's headers which origin the browser uses.
            server: Returns what knows who may log in, if anything does just now.
        """
        self.control = control
        self.gateway = gateway
        self.history = history
        self.visits = visits
        self.issuer_of = issuer_of
        self._server = server
        self.followers = 0
        self._site = OnDemand("onemcp.web.status.site", lambda module: module.Site(self))

    @property
    def server(self) -> AuthorizationServer | None:
        """What knows who may log in, if anything does just now."""
        return self._server()

    @property
    def is_open(self) -> bool:
        """Whether there is to be a status page at all."""
        return self.gateway.configuration.control.page

    # --- who may --------------------------------------------------------------------------------

    def rights(self, visit: Visit) -> frozenset[Scope]:
        """Return what somebody may do by now."""
        principal = visit.principal
        if principal.is_owner:
            return rights_of(principal)
        server = self.server
        if server is None or server.is_logged_out(principal.subject, visit.since):
            return frozenset()
        return server.policy.rights_of(principal.subject)

    def may_go_on(self, visit: Visit) -> bool:
        """Tell whether a visit has not ended, and whoever it is may still see the page."""
        if not self.is_open or ADMIN not in self.rights(visit):
            self.visits.end(visit)
        return self.visits.stands(visit)

    def begin(self, principal: Principal) -> tuple[Visit, str]:
        """Let somebody in; see `Visits.begin`."""
        self.control.on_event(OperatorActed("open the status page", principal.subject, None, "in"))
        return self.visits.begin(principal)

    # --- what is served -------------------------------------------------------------------------

    async def serve(self, request: Request, wire: Wire) -> None:
        """Serve one request, whose Host has been checked.

        Raises:
            HttpRefusal: There is no page, or it comes from another site, or is too large.
            trio.BrokenResourceError: The browser has gone.
        """
        if not self.is_open:
            raise HttpRefusal(404, InvalidRequest("there is no status page here"))
        wire.headers = ()  # it is for people, and no other page's to read
        _check_site(request, self.issuer_of(request["headers"]))
        name, _, rest = request["path"].removeprefix(STATUS).lstrip("/").partition("/")
        if name not in PUBLIC or rest:
            visit = self._visit(name, request)
            if visit is None:
                await respond(wire.send, 303, headers=[*_HEADERS, (b"location", STATUS.encode())])
                return
            request[VISIT] = visit
            if rest == "events":
                await self._follow(wire, visit)
                return
        await self._show(request, wire)

    def _visit(self, name: str, request: Request) -> Visit | None:
        visit = self.visits.find(name, _cookie(request))
        return visit if visit is not None and self.may_go_on(visit) else None

    async def _show(self, request: Request, wire: Wire) -> None:
        site = await self._site.get()
        body = await read_body(request["headers"], wire.receive, MAX_FORM_BYTES)
        parts = iter([{"type": "http.request", "body": body, "more_body": False}])

        async def receive() -> MutableMapping[str, Any]:
            # Should the browser go, everything is cancelled at once.
            return next(parts, None) or await trio.sleep_forever()

        with wire.life:
            await wire.while_connected(partial(site.application, request, receive, wire.send))

    # --- what follows ---------------------------------------------------------------------------

    async def _follow(self, wire: Wire, visit: Visit) -> None:
        site = await self._site.get()
        if self.followers >= STREAMS:
            raise HttpRefusal(503, Overloaded(f"{STREAMS} browsers follow already, the limit"))
        self.followers += 1
        try:
            with wire.life:
                await start_stream(wire.send, b"retry: 3000\n\n")
                await wire.while_connected(partial(self._tell, site, wire, visit))
        finally:
            self.followers -= 1

    async def _tell(self, site: Any, wire: Wire, visit: Visit) -> None:
        """Tell a browser what has changed, as long as it keeps up and may see it."""
        told: dict[str, str] = {}
        silent_since = trio.current_time()
        while self.may_go_on(visit) and not self.gateway.is_stopping:
            began = trio.current_time()
            parts: dict[str, str] = await site.parts()
            cost = trio.current_time() - began
            changed = {name: text for name, text in parts.items() if told.get(name) != text}
            if changed or began - silent_since > KEEP_ALIVE:
                data = b"data: " + msgspec.json.encode(changed) if changed else b": still here"
                await _send_in_time(wire, data + b"\n\n")
                told, silent_since = parts, began
            await trio.sleep(max(PACE, SHARE * cost))
        await _send_in_time(wire, b"event: over\ndata: {}\n\n", more=False)


async def _send_in_time(wire: Wire, data: bytes, *, more: bool = True) -> None:
    """Send a part of a stream.

    Raises:
        trio.BrokenResourceError: The browser has gone, or is too slow.
    """
    with trio.move_on_after(SEND_SECONDS):
        await send_part(wire.send, data, more=more)
        return
    raise trio.BrokenResourceError("the browser does not keep up")


def _check_site(request: Request, origin: str) -> None:
    """Make sure that no other page sends this, or looks at the answer.

    Browsers say both where a request comes from (Fetch Metadata) and, with a form, the Origin.
    Where TLS has ended before us the scheme is theirs to say.

    Raises:
        HttpRefusal: It may be another one.
    """
    headers = request["headers"]
    is_form = request["method"] not in {"GET", "HEAD"}
    is_navigation = header(headers, b"sec-fetch-mode") == b"navigate" and not is_form
    site = header(headers, b"sec-fetch-site")
    is_foreign = site not in {None, b"same-origin", b"none"} and not is_navigation
    if is_form:
        said = (header(headers, b"origin") or b"").decode("latin-1").lower()
        is_foreign |= said.partition("://")[2] != origin.partition("://")[2]
    if is_foreign:
        raise HttpRefusal(403, InvalidRequest("the status page has not sent this"))


def cookie_name(*, secure: bool) -> str:
    """Return what a visit's cookie is called."""
    return "__Secure-onemcp-status" if secure else "onemcp-status"


def _cookie(request: Request) -> str:
    """Return what the browser holds; the address tells which visit it is of."""
    names = {cookie_name(secure=True), cookie_name(secure=False)}
    for key, value in request["headers"]:
        for part in value.decode("latin-1").split(";") if key == b"cookie" else ():
            name, _, held = part.strip().partition("=")
            if name in names:
                return str(held)
    return ""
