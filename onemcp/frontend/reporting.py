"""What the operator is told of who was let in, and who was not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import attrs

from onemcp.auth import ANONYMOUS, InsufficientScope, Principal, RequestRefused
from onemcp.protocol.headers import SESSION_ID
from onemcp.telemetry import trace_of

from .asgi import Scope, Wire, header
from .events import RequestDenied, RequestFailed, TokenAccepted
from .oauth import address_of
from .session import name_of

MAX_MET: Final = 4096
"""Of how many tokens and addresses it is remembered that they have been told of."""


@attrs.define
class Reporter:
    """Tells of refusals, and once of each token that is used from an address.

    Attributes:
        on_event: Takes what there is to tell.
    """

    on_event: Callable[[RequestDenied | RequestFailed | TokenAccepted], object]
    _met: set[tuple[Principal, str]] = attrs.field(init=False, factory=set, repr=False)

    def accepted(self, principal: Principal, scope: Scope) -> None:
        """Tell that somebody has been let in, unless that is known."""
        met = principal, address_of(scope)
        if met not in self._met and principal is not ANONYMOUS:
            if len(self._met) >= MAX_MET:
                self._met.clear()
            self._met.add(met)
            self.on_event(TokenAccepted(principal, scope["path"], met[1]))

    def denied(self, refused: RequestRefused, scope: Scope) -> None:
        """Tell that a request has been refused."""
        event = RequestDenied(scope["path"], refused.status, refused.reason, address_of(scope))
        if isinstance(refused, InsufficientScope):
            who = refused.principal or ANONYMOUS
            event = attrs.evolve(
                event, subject=who.subject, client=who.client_id, scope=refused.scope
            )
        self.on_event(event)

    def failed(self, error: Exception, scope: Scope, wire: Wire) -> None:
        """Tell that a request has failed for a reason of onemcp's own."""
        session = header(scope["headers"], SESSION_ID)
        request = wire.request
        self.on_event(
            RequestFailed(
                scope["path"],
                error,
                request=None if request is None else request.id,
                principal=wire.principal,
                session=None if session is None else name_of(session.decode("latin-1")),
                trace=None if request is None else trace_of(request.params),
            )
        )
