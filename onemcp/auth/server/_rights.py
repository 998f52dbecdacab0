"""What tokens are good for by now, and what their bearers could come to have by asking again."""

from __future__ import annotations

from typing import Final

from onemcp.auth._principal import Principal
from onemcp.auth._scopes import Scope, meet, parse_scopes, rights_of
from onemcp.auth.server._policy import EVERYTHING, Policy
from onemcp.auth.server._records import Grant, Records

REMEMBERED: Final = 4096
"""Of how many tokens it is remembered what they are good for."""


class Rights:
    """What tokens are good for by now.

    It is worked out once for a token, and again as soon as anything was granted or revoked, or the
    operator wants something else: records and policies never change, they are replaced.
    """

    def __init__(self) -> None:
        """Begin with nothing remembered."""
        self._known: dict[Principal, frozenset[Scope]] = {}
        self._by: tuple[Records, Policy] | None = None

    def of(self, principal: Principal, records: Records, policy: Policy) -> frozenset[Scope]:
        """Return what a token of our own is good for; nothing, where it is revoked."""
        by = self._by
        if by is None or by[0] is not records or by[1] is not policy:
            self._known.clear()
            self._by = records, policy
        rights = self._known.get(principal)
        if rights is None:
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            rights = standing(principal, records, policy)
            self._known[principal] = rights
        return rights


def standing(principal: Principal, records: Records, policy: Policy) -> frozenset[Scope]:
    """Return what a token is good for: what its person or its client has lost is lost."""
    if not records.stands(principal):
        return frozenset()
    scopes = rights_of(principal)
    grant = records.grants.get(principal.grant_id)
    return scopes if grant is None else meet(scopes, _most(grant, policy))


def of_grant(grant: Grant, policy: Policy) -> frozenset[Scope]:
    """Return what new tokens of a grant may be good for."""
    return meet(parse_scopes(grant.scopes), _most(grant, policy))


def attainable(principal: Principal, records: Records, policy: Policy) -> frozenset[Scope]:
    """Return what a client could have if its person agreed; nothing where nobody can be asked."""
    grant = records.grants.get(principal.grant_id)
    return frozenset() if grant is None or grant.service else _most(grant, policy)


def _most(grant: Grant, policy: Policy) -> frozenset[Scope]:
    client = policy.clients.get(grant.client_id)
    limit = None if client is None else client.scopes
    if grant.service:
        return limit or frozenset()
    return meet(policy.rights_of(grant.subject), EVERYTHING if limit is None else limit)
