"""Which clients there are: configured, registered by themselves, or described by a document."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeAlias

import attrs

from onemcp.auth.server._audit import Audited, What
from onemcp.auth.server._clients import Client
from onemcp.auth.server._errors import (
    ACCESS_DENIED,
    INVALID_CLIENT,
    TEMPORARILY_UNAVAILABLE,
    OAuthError,
)
from onemcp.auth.server._ledger import Ledger
from onemcp.auth.server._limits import RateLimit
from onemcp.auth.server._policy import Policy
from onemcp.auth.server._records import Records, Registration
from onemcp.auth.server._registration import read_object, register

FetchClient: TypeAlias = Callable[[str], Awaitable[Client]]
"""Finds the client that a metadata document describes, by its address."""

HOUR: Final = 3600.0


class Registry:
    """Finds clients, and registers them. Owned by one task."""

    def __init__(
        self,
        ledger: Ledger,
        clock: Callable[[], float],
        audit: Callable[[Audited], object],
        fetch: FetchClient | None,
    ) -> None:
        """Know the clients of a ledger.

        Args:
            ledger: Where those are remembered that register.
            clock: Tells the time, in seconds since the epoch.
            audit: Takes what is written down.
            fetch: Finds clients that are described by a document, where the policy lets.
        """
        self._ledger = ledger
        self._clock = clock
        self._audit = audit
        self._fetch = fetch
        self._by_address, self._by_all = RateLimit(20, HOUR), RateLimit(200, HOUR)

    async def find(self, client_id: str, policy: Policy) -> Client:
        """Find a client.

        Raises:
            OAuthError: There is none of that id.
        """
        known = self.known(client_id, policy)
        if known is not None:
            return known
        fetch = self._fetch if policy.documents else None
        if fetch is not None and client_id.startswith("https://"):
            return await fetch(client_id)
        raise OAuthError(INVALID_CLIENT, "the client is unknown")

    def known(self, client_id: str, policy: Policy) -> Client | None:
        """Find a client that is known already."""
        configured = policy.clients.get(client_id)
        if configured is not None:
            return configured
        registration = self._ledger.records.clients.get(client_id)
        return None if registration is None else Client.registered(registration)

    async def register(self, data: bytes, address: str, policy: Policy) -> dict[str, Any]:
        """Register a client (RFC 7591, section 3).

        Args:
            data: What it says about itself.
            address: Where it is.
            policy: What the operator wants.

        Raises:
            OAuthError: It is not registered.
        """
        try:
            return await self._register(data, address, policy)
        except OAuthError as error:
            self._audit(
                Audited(what=What.REGISTRATION_REFUSED, address=address, reason=error.reason)
            )
            raise

    async def _register(self, data: bytes, address: str, policy: Policy) -> dict[str, Any]:
        if not policy.registration:
            raise OAuthError(ACCESS_DENIED, "clients are registered by the operator", status=403)
        self._by_address.check(address, self._clock())
        self._by_all.check("", self._clock())
        registration, answer = register(read_object(data), self._clock())
        most = policy.max_registrations
        await self._ledger.change(lambda records: (_with(records, registration, most), None))
        self._audit(
            Audited(
                what=What.REGISTRATION,
                address=address,
                client=registration.id,
                client_name=registration.name,
            )
        )
        return answer


def _with(records: Records, registration: Registration, most: int) -> Records:
    """Add a client; of too many, the oldest makes room that nobody has let in."""
    if len(records.clients) >= most:
        in_use = {grant.client_id for grant in records.grants.values()}
        unused = (each for each in records.clients.values() if each.id not in in_use)
        oldest = min(unused, key=lambda each: each.created, default=None)
        if oldest is None:
            raise OAuthError(TEMPORARILY_UNAVAILABLE, "too many clients are registered", status=503)
        kept = {key: each for key, each in records.clients.items() if key != oldest.id}
        records = attrs.evolve(records, clients=kept)
    return records.with_client(registration)
