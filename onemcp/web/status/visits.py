"""Who looks at the status page: links that let one browser in, once, and visits."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

import attrs

from onemcp.auth import Principal

CODE_SECONDS: Final = 60.0
"""How long a link lets a browser in, in seconds."""

MAX_CODES: Final = 16
"""How many links may be waiting; the oldest makes way."""

VISIT_SECONDS: Final = 8 * 3600.0
"""How long somebody may look at the page before they have to come in again, in seconds."""

MAX_VISITS: Final = 64
"""How many visits there may be; the oldest makes way."""


@attrs.frozen
class Visit:
    """Somebody who has been let in with one browser.

    Attributes:
        id: What its address is made of; opens nothing.
        principal: Who.
        since: When it began, in seconds since the epoch.
        until: When it ends.
        token: What every form sends back, so that no other site can send one.
    """

    id: str
    principal: Principal
    since: float
    until: float
    token: str = attrs.field(repr=False)
    _secret: bytes = attrs.field(repr=False)

    def is_known_by(self, secret: str) -> bool:
        """Tell whether a browser holds what was given to the one that came in."""
        return hmac.compare_digest(_digest(secret), self._secret)

    def has_token(self, token: str) -> bool:
        """Tell whether a form was made for this visit."""
        return hmac.compare_digest(token.encode("utf-8", "replace"), self.token.encode())


class Visits:
    """All visits, and the links that begin some. Owned by one task; none outlives the process."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        """Begin with none.

        Args:
            clock: Tells the time, in seconds since the epoch.
        """
        self._clock = clock
        self._codes: OrderedDict[bytes, tuple[Principal, float]] = OrderedDict()
        self._visits: OrderedDict[str, Visit] = OrderedDict()

    def __repr__(self) -> str:
        return f"<{len(self._visits)} visits>"

    def __len__(self) -> int:
        return len(self._visits)

    def new_code(self, principal: Principal) -> str:
        """Return a code that lets one browser in, once, within ``CODE_SECONDS``."""
        code = secrets.token_urlsafe(32)
        self._codes[_digest(code)] = principal, self._clock() + CODE_SECONDS
        if len(self._codes) > MAX_CODES:
            self._codes.popitem(last=False)
        return code

    def redeem(self, code: str) -> Principal | None:
        """Use a code up, and tell whose it is; None if it is none, or too late."""
        principal, until = self._codes.pop(_digest(code), (None, 0.0))
        return principal if self._clock() < until else None

    def begin(self, principal: Principal) -> tuple[Visit, str]:
        """Let somebody in.

        Returns:
            The visit, and the secret that the browser is to hold.
        """
        now, secret = self._clock(), secrets.token_urlsafe(32)
        visit = Visit(
            secrets.token_urlsafe(12),
            principal,
            now,
            now + VISIT_SECONDS,
            secrets.token_urlsafe(32),
            _digest(secret),
        )
        self._visits[visit.id] = visit
        if len(self._visits) > MAX_VISITS:
            self._visits.popitem(last=False)
        return visit, secret

    def find(self, visit_id: str, secret: str) -> Visit | None:
        """Return the visit of an address, if the browser holds what goes with it."""
        visit = self._visits.get(visit_id)
        return (
            visit
            if visit is not None and visit.is_known_by(secret) and self.stands(visit)
            else None
        )

    def stands(self, visit: Visit) -> bool:
        """Tell whether a visit has not ended."""
        if self._visits.get(visit.id) is not visit:
            return False
        if self._clock() < visit.until:
            return True
        self.end(visit)
        return False

    def end(self, visit: Visit) -> None:
        """Let somebody in no more."""
        self._visits.pop(visit.id, None)


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "replace")).digest()
