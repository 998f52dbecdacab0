"""Authorization codes: good once, for a minute (OAuth 2.1, section 4.1.2).

They are in memory only. A code that comes a second time is a stolen one, so those that have been
used are remembered for a while, together with what came of them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

import attrs

from onemcp.auth._ids import new_id
from onemcp.auth._scopes import Scope
from onemcp.auth.server._authorization import AuthorizationRequest
from onemcp.auth.server._errors import INVALID_GRANT, OAuthError
from onemcp.auth.server._records import digest, new_secret

CODE_SECONDS: Final = 60.0
REMEMBERED_SECONDS: Final = 3600.0
MAX_CODES: Final = 4096


@attrs.frozen
class Code:
    """What a person has agreed to.

    Attributes:
        request: What was asked for.
        subject: The person.
        scopes: What was granted.
        grant_id: The id that the grant will have.
        made: When, in seconds since the epoch.
    """

    request: AuthorizationRequest
    subject: str
    scopes: frozenset[Scope]
    grant_id: str
    made: float


class Replayed(OAuthError):
    """A code that has been used before.

    Attributes:
        used: What came of it, which has to be revoked.
    """

    def __init__(self, code: Code) -> None:
        """Refuse it as any other."""
        super().__init__(INVALID_GRANT, "the code is not valid", reason="a code came twice")
        self.used = code


@attrs.define
class _Entry:
    code: Code
    used: bool = False


class Codes:
    """The codes that have been given out."""

    def __init__(self) -> None:
        """Begin without any."""
        self._entries: OrderedDict[str, _Entry] = OrderedDict()

    def __repr__(self) -> str:
        return f"<{len(self._entries)} codes>"

    def new(
        self, request: AuthorizationRequest, subject: str, scopes: Iterable[Scope], now: float
    ) -> str:
        """Make a code for what a person has agreed to."""
        self._forget(now)
        code = new_secret()
        made = Code(request, subject, frozenset(scopes), new_id(), now)
        self._entries[digest(code)] = _Entry(made)
        if len(self._entries) > MAX_CODES:
            self._entries.popitem(last=False)
        return code

    def take(self, code: str, now: float) -> Code:
        """Use a code up, whatever comes of it.

        Raises:
            Replayed: It was used before.
            OAuthError: It is none, or has expired.
        """
        self._forget(now)
        entry = self._entries.get(digest(code))
        if entry is not None and entry.used:
            raise Replayed(entry.code)
        if entry is not None:
            entry.used = True
        if entry is None or now >= entry.code.made + CODE_SECONDS:
            raise OAuthError(INVALID_GRANT, "the code is not valid")
        return entry.code

    def drop(self, subject: str | None = None, client_id: str | None = None) -> None:
        """Forget the codes of a person, of a client, or all."""
        for key, entry in list(self._entries.items()):
            of_subject = subject is None or entry.code.subject == subject
            if of_subject and client_id in {None, entry.code.request.client.id}:
                del self._entries[key]

    def _forget(self, now: float) -> None:
        while self._entries:
            entry = next(iter(self._entries.values()))
            if now < entry.code.made + REMEMBERED_SECONDS:
                return
            self._entries.popitem(last=False)
