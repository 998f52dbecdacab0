"""onemcp as a service: tokens on its own behalf (RFC 6749, section 4.4; RFC 7523)."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

import trio

from onemcp.backend.events import LoginNoticed, SecretExposed, TokenNotRenewed
from onemcp.config import ClientCredentialsLogin

from ._authorization import select_scopes
from ._challenge import Challenge
from ._credentials import Renewing, name_scopes
from ._errors import OAuthError
from ._files import Secret, read_secret
from ._flow import Discovered, Flow
from ._records import Registration, Tokens
from ._tokens import method_for, sign_assertion

MAX_STEPS: Final = 3
"""How often more scopes are asked for."""


class ServiceLogin(Renewing):
    """Gets tokens with what the configuration says, as often as they are needed."""

    def __init__(
        self,
        backend: str,
        login: ClientCredentialsLogin,
        flow: Flow,
        on_event: Callable[[LoginNoticed | SecretExposed | TokenNotRenewed], object],
        now: Callable[[], float] = time.time,
    ) -> None:
        """Ask nothing yet: it is the backend that says where."""
        super().__init__(backend, on_event, now)
        self._tell = on_event
        self._login = login
        self._flow = flow
        self._asked: tuple[str, ...] = ()
        self._steps = 0
        self._last = Challenge()

    def can_obtain(self, challenge: Challenge) -> bool:
        """Anything can be asked for, but the same scopes not twice."""
        if not challenge.lacks_scope:
            return True
        missing = set(challenge.scopes or ()) - set(self._asked)
        return bool(missing) and self._login.scopes is None and self._steps < MAX_STEPS

    async def obtain(self, challenge: Challenge) -> Tokens:
        """Find the authorization server, and ask it."""
        if challenge.resource_metadata is None and challenge.scopes is None:
            challenge = self._last  # ahead of the end of a token, the backend has said nothing
        found = await self._flow.discover(challenge, self._login.issuer)
        scopes = select_scopes(
            challenge,
            found.scopes_supported,
            configured=self._login.scopes,
            before=self._asked,
        )
        tokens = await self._ask(found, scopes)
        self._steps += challenge.lacks_scope
        self._asked, self._last = scopes, challenge
        return tokens

    async def _ask(self, found: Discovered, scopes: tuple[str, ...]) -> Tokens:
        login, issuer = self._login, found.server.issuer
        method = method_for(found.server, login.client_secret)
        registration = Registration(issuer, login.client_id, login.client_secret, method)
        assertion = None
        if login.private_key_file is not None:
            secret = await trio.to_thread.run_sync(_read_key, login.private_key_file)
            if secret.is_exposed:
                path = str(login.private_key_file)
                self._tell(SecretExposed(self._backend, path, secret.mode))
            key = secret.text.encode()
            assertion = partial(
                sign_assertion, key, login.algorithm, login.client_id, issuer, self._now()
            )
        return await self._flow.client_credentials(found, registration, scopes, assertion)

    def remedy(self, challenge: Challenge) -> str:
        """Say whose rights are at fault."""
        client = f"the client {self._login.client_id!r}"
        if challenge.lacks_scope:
            return f"{client} needs more rights: {name_scopes(challenge)}"
        return f"it refuses the tokens of {client}"


def _read_key(path: Path) -> Secret:
    try:
        return read_secret(path)
    except OSError as error:
        why = (error.strerror or type(error).__name__).lower()
        raise OAuthError(f'"auth.privateKeyFile" cannot be read: {why}') from None
