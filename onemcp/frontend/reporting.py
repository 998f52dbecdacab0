"""What the operator is told of who was let in, and who was not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import attrs

from onemcp.auth import ANONYMOUS, InsufficientScope, Principal, RequestRefused

from .asgi import Scope
from .events import RequestDenied, TokenAccepted
from .oauth import address_of

MAX_MET: Final = 4096
"""Of how many tokens and addresses it is remembered that they have been told of."""


@attrs.define
class Reporter:
    """Tells of refusals, and once of each token that is used from an address.

    Attributes:
        on_event: Takes what there is to tell.
    """

    on_event: Callable[[RequestDenied | TokenAccepted], object]
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
