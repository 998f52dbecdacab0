"""The token endpoint: codes, refresh tokens and services' credentials become access tokens.

Theory of operation: a grant is the family of all tokens that came of one consent. Its access tokens
carry its id, and stand as long as it does; of its refresh tokens only the last one counts, and any
other means that one was stolen, or lost on its way: either way, the grant ends (OAuth 2.1, section
4.3.1). A change is on the disk before the client hears of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import attrs

from onemcp.auth._ids import new_id
from onemcp.auth._keys import KeyStore
from onemcp.auth._resource import Resource
from onemcp.auth._scopes import Scope, in_words, meet
from onemcp.auth._tokens import issue_token
from onemcp.auth.server import _pkce as pkce
from onemcp.auth.server._authorization import read_resource, read_scopes
from onemcp.auth.server._clients import CODE, REFRESH, SERVICE, Client
from onemcp.auth.server._codes import Code, Codes, Replayed
from onemcp.auth.server._errors import (
    INVALID_GRANT,
    INVALID_SCOPE,
    INVALID_TARGET,
    UNAUTHORIZED_CLIENT,
    UNSUPPORTED_GRANT_TYPE,
    OAuthError,
)
from onemcp.auth.server._forms import Form
from onemcp.auth.server._ledger import Ledger
from onemcp.auth.server._policy import Policy
from onemcp.auth.server._records import Grant, Records, digest, new_secret
from onemcp.auth.server._rights import of_grant

GRANT_TYPES: Final = (CODE, REFRESH, SERVICE)


@attrs.frozen
class Issued:
    """Tokens for a client, and the grant that they are of.

    Attributes:
        grant: The grant.
        answer: What the client is told (RFC 6749, section 5.1).
    """

    grant: Grant
    answer: dict[str, Any] = attrs.field(repr=False)


@attrs.define
class Issuer:
    """Issues tokens.

    Attributes:
        keys: What they are signed with.
        policy: What the operator wants.
        ledger: What was granted.
        codes: What was agreed to.
        clock: Tells the time, in seconds since the epoch.
    """

    keys: KeyStore
    policy: Policy
    ledger: Ledger
    codes: Codes
    clock: Callable[[], float]

    async def issue(self, form: Form, client: Client, issuer: str) -> Issued:
        """Answer a token request of a client that has authenticated (RFC 6749, section 3.2).

        Raises:
            OAuthError: It gets none.
        """
        grant_type = form.need("grant_type")
        if grant_type not in GRANT_TYPES:
            raise OAuthError(UNSUPPORTED_GRANT_TYPE, "the grant type is not supported")
        if grant_type not in client.grant_types:
            raise OAuthError(UNAUTHORIZED_CLIENT, "the client may not use this grant type")
        match grant_type:
            case "authorization_code":
                return await self._redeem(form, client, issuer)
            case "refresh_token":
                return await self._refresh(form, client, issuer)
            case _:
                return await self._serve(form, client, issuer)

    # --- a code (OAuth 2.1, section 4.1.3) ------------------------------------------------------

    async def _redeem(self, form: Form, client: Client, issuer: str) -> Issued:
        now = self.clock()
        code = await self._take(form.need("code"), now)
        resource = _check_code(code, form, client, issuer)
        if self.ledger.records.is_cut_off(code.subject, client.id, code.made):
            raise OAuthError(INVALID_GRANT, "the code is not valid", reason="revoked meanwhile")
        scopes = meet(code.scopes, self.policy.rights_of(code.subject))
        if not scopes:
            raise OAuthError(INVALID_GRANT, "the code is not valid", reason="no rights are left")
        refresh = new_secret() if REFRESH in client.grant_types else ""
        grant = Grant(
            id=code.grant_id,
            client_id=client.id,
            subject=code.subject,
            scopes=tuple(sorted(map(str, scopes))),
            resource=code.request.resource.uri,
            refresh=digest(refresh) if refresh else "",
            created=int(now),
            used=int(now),
            expires=int(now) + self.policy.grant_seconds,
            idle=self.policy.refresh_seconds if refresh else self.policy.access_seconds,
        )
        await self.ledger.change(lambda records: (records.with_grant(grant), None))
        return self._answer(grant, refresh, scopes, issuer, resource)

    async def _take(self, text: str, now: float) -> Code:
        replayed: Replayed
        try:
            return self.codes.take(text, now)
        except Replayed as error:
            replayed = error
        used = replayed.used.grant_id
        await self.ledger.change(
            lambda records: (records.without_grants(lambda grant: grant.id == used), None)
        )
        raise replayed

    # --- a refresh token (OAuth 2.1, section 4.3) -----------------------------------------------

    async def _refresh(self, form: Form, client: Client, issuer: str) -> Issued:
        grant_id, _, secret = form.need("refresh_token").partition(".")
        now, fresh = self.clock(), new_secret()
        resource = None if form.get("resource") is None else read_resource(form, issuer)

        def rotate(records: Records) -> tuple[Records, Grant | OAuthError]:
            grant = records.grants.get(grant_id)
            if grant is None or grant.client_id != client.id or not grant.refresh:
                return records, _stale("no such grant")
            if grant.refresh != digest(secret):
                ended = records.without_grants(lambda each: each.id == grant_id)
                return ended, _stale("a refresh token came twice")
            if not self.policy.rights_of(grant.subject):
                ended = records.without_grants(lambda each: each.id == grant_id)
                return ended, _stale("the person has no rights any more")
            if resource is not None and not resource.is_within(grant.resource):
                return records, OAuthError(INVALID_TARGET, "the resource was not granted")
            used = attrs.evolve(grant, refresh=digest(fresh), used=int(now))
            return records.with_grant(used), used

        granted = self.policy_scopes
        asked = read_scopes(form)
        outcome = await self.ledger.change(rotate)
        if isinstance(outcome, OAuthError):
            raise outcome
        scopes = granted(outcome)
        if asked is not None:
            scopes = meet(asked, scopes)
        if not scopes:
            raise OAuthError(INVALID_SCOPE, "none of the scopes was granted")
        within = resource or Resource(outcome.resource)
        return self._answer(outcome, fresh, scopes, issuer, within)

    def policy_scopes(self, grant: Grant) -> frozenset[Scope]:
        """Return what a grant is good for by now: what its person has lost is lost."""
        return of_grant(grant, self.policy)

    # --- a service on its own behalf (OAuth 2.1, section 4.2) -----------------------------------

    async def _serve(self, form: Form, client: Client, issuer: str) -> Issued:
        if not client.secret:
            raise OAuthError(UNAUTHORIZED_CLIENT, "a public client can't act on its own behalf")
        now, resource = self.clock(), read_resource(form, issuer)
        allowed = client.scopes or frozenset()
        asked = read_scopes(form)
        scopes = allowed if asked is None else meet(asked, allowed)
        if not scopes:
            raise OAuthError(INVALID_SCOPE, "the client may have none of the scopes")
        grant = Grant(
            id=new_id(),
            client_id=client.id,
            subject=client.id,
            scopes=tuple(sorted(map(str, scopes))),
            resource=resource.uri,
            service=True,
            created=int(now),
            used=int(now),
            expires=int(now) + self.policy.access_seconds,
            idle=self.policy.access_seconds,
        )
        await self.ledger.change(lambda records: (records.with_grant(grant), None))
        return self._answer(grant, "", scopes, issuer, resource)

    def _answer(
        self,
        grant: Grant,
        refresh: str,
        scopes: frozenset[Scope],
        issuer: str,
        resource: Resource,
    ) -> Issued:
        now, scope = self.clock(), in_words(scopes)
        token = issue_token(
            self.keys,
            subject=grant.subject,
            lifetime=self.policy.access_seconds,
            audience=resource.uri,
            issuer=issuer,
            now=now,
            scope=scope,
            client_id=grant.client_id,
            grant_id=grant.id,
        )
        answer: dict[str, Any] = {
            "access_token": token,
            "token_type": "Bearer",
            "expires_in": self.policy.access_seconds,
            "scope": scope,
        }
        if refresh:
            answer["refresh_token"] = f"{grant.id}.{refresh}"
        return Issued(grant, answer)


def _stale(reason: str) -> OAuthError:
    return OAuthError(INVALID_GRANT, "the refresh token is not valid", reason=reason)


def _check_code(code: Code, form: Form, client: Client, issuer: str) -> Resource:
    """Check that whoever brings a code is who asked for it, and tell what its token is good for."""
    request = code.request
    wrong = OAuthError(INVALID_GRANT, "the code is not valid", reason="a code of something else")
    if client.id != request.client.id or issuer != request.issuer:
        raise wrong
    uri = form.get("redirect_uri")
    # OAuth 2.1 has left it out of the request; OAuth 2.0 wants it as it was.
    if uri is not None and uri != request.redirect_uri:
        raise wrong
    if not pkce.proves(form.need("code_verifier"), request.challenge):
        raise wrong
    if form.get("resource") is None:
        return request.resource
    resource = read_resource(form, issuer)
    if not resource.is_within(request.resource.uri):
        raise OAuthError(INVALID_TARGET, "the resource was not granted")
    return resource
