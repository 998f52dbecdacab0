"""The authorization server: everything but HTTP and pages."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

import attrs

from onemcp.auth._errors import InvalidToken
from onemcp.auth._keys import KeyStore
from onemcp.auth._principal import Principal
from onemcp.auth._scopes import Scope, in_words, meet
from onemcp.auth._verifier import TokenVerifier
from onemcp.auth.server._audit import Audited, What
from onemcp.auth.server._authorization import AuthorizationRequest, read_request
from onemcp.auth.server._clients import Client, Credentials, refused
from onemcp.auth.server._codes import Codes
from onemcp.auth.server._errors import (
    ACCESS_DENIED,
    OAuthError,
    RedirectedError,
)
from onemcp.auth.server._forms import Form
from onemcp.auth.server._issuing import Issuer
from onemcp.auth.server._ledger import Ledger
from onemcp.auth.server._limits import RateLimit
from onemcp.auth.server._people import Door, LogIn, LoginCode
from onemcp.auth.server._policy import Policy
from onemcp.auth.server._records import Grant
from onemcp.auth.server._redirects import with_answer
from onemcp.auth.server._registry import FetchClient, Registry
from onemcp.auth.server._rights import Rights, attainable

MINUTE: Final = 60.0


class AuthorizationServer:
    """Lets people let clients in. Owned by one task.

    Attributes:
        ledger: What was granted.
        policy: What the operator wants; replaced when the configuration changes.
        keys: What tokens are signed with; replaced when there are others.
    """

    def __init__(
        self,
        keys: KeyStore,
        ledger: Ledger,
        policy: Policy,
        *,
        clock: Callable[[], float] = time.time,
        audit: Callable[[Audited], object] = lambda _: None,
        login_code: LoginCode | None = None,
        fetch_client: FetchClient | None = None,
    ) -> None:
        """Put everything together.

        Args:
            keys: What tokens are signed with.
            ledger: What was granted.
            policy: What the operator wants.
            clock: Tells the time, in seconds since the epoch.
            audit: Takes what is written down.
            login_code: The code on the terminal, if there is one.
            fetch_client: Finds clients that are described by a document, where the policy lets.
        """
        self.ledger = ledger
        self._issuer = Issuer(keys, policy, ledger, Codes(), clock)
        self._rights = Rights()
        self._clock = clock
        self._audit = audit
        self._door = Door(login_code)
        self._registry = Registry(ledger, clock, audit, fetch_client)
        self._token_limits = RateLimit(120, MINUTE), RateLimit(120, MINUTE)

    @property
    def keys(self) -> KeyStore:
        """What tokens are signed with."""
        return self._issuer.keys

    @keys.setter
    def keys(self, keys: KeyStore) -> None:
        self._issuer.keys = keys

    @property
    def policy(self) -> Policy:
        """What the operator wants."""
        return self._issuer.policy

    @policy.setter
    def policy(self, policy: Policy) -> None:
        self._issuer.policy = policy

    @property
    def has_code(self) -> bool:
        """Whether there is a code on the terminal to log in with."""
        return self._door.code is not None

    # --- clients --------------------------------------------------------------------------------

    async def find_client(self, client_id: str) -> Client:
        """Find a client; see `Registry.find`."""
        return await self._registry.find(client_id, self.policy)

    async def register(self, data: bytes, address: str) -> dict[str, Any]:
        """Register a client; see `Registry.register`."""
        return await self._registry.register(data, address, self.policy)

    # --- people ---------------------------------------------------------------------------------

    async def begin(self, form: Form, issuer: str, address: str) -> AuthorizationRequest:
        """Check an authorization request; see `read_request`."""
        try:
            return await read_request(form, self.find_client, issuer)
        except (OAuthError, RedirectedError) as error:
            cause = error.error if isinstance(error, RedirectedError) else error
            self._audit(
                Audited(
                    what=What.REQUEST_REFUSED,
                    address=address,
                    client=form.quote("client_id"),
                    reason=cause.reason,
                )
            )
            raise

    async def log_in(self, attempt: LogIn) -> str:
        """Tell who somebody is; see `Door.open`."""
        how = "code" if attempt.code else "password"
        try:
            subject = await self._door.open(attempt, self.policy, self._clock())
        except OAuthError as error:
            self._audit(
                Audited(
                    what=What.LOGIN_REFUSED,
                    address=attempt.address,
                    subject=attempt.name if attempt.name in self.policy.people else "",
                    how=how,
                    reason=error.reason,
                )
            )
            raise
        self._audit(Audited(what=What.LOGIN, address=attempt.address, subject=subject, how=how))
        return subject

    def is_logged_out(self, subject: str, since: float) -> bool:
        """Tell whether somebody who has logged in at some time has to do so again."""
        gone = subject not in self.policy.people
        return gone or self.ledger.records.is_cut_off(subject, "", since)

    def offer(self, request: AuthorizationRequest, subject: str) -> frozenset[Scope]:
        """Return what of a request a person may agree to."""
        return self.policy.offered(request.scopes, subject)

    def agree(
        self, request: AuthorizationRequest, subject: str, scopes: Iterable[Scope], address: str
    ) -> str:
        """Let a client in, as a person has decided.

        Args:
            request: What was asked for.
            subject: The person, who has logged in.
            scopes: What the person agrees to; what was not offered is left out.
            address: Where the browser is.

        Returns:
            Where to send the browser (OAuth 2.1, section 4.1.2; RFC 9207).
        """
        granted = meet(scopes, self.offer(request, subject))
        if not granted:
            return self.refuse(request, subject, address)
        code = self._issuer.codes.new(request, subject, granted, self._clock())
        self._audit(_about(What.CONSENT, request, subject, address, in_words(granted)))
        answer = [("code", code), ("state", request.state), ("iss", request.issuer)]
        return with_answer(request.redirect_uri, answer)

    def refuse(self, request: AuthorizationRequest, subject: str, address: str) -> str:
        """Tell a client that a person doesn't want it.

        Returns:
            Where to send the browser.
        """
        scopes = in_words(request.scopes)
        self._audit(_about(What.CONSENT_REFUSED, request, subject, address, scopes))
        error = OAuthError(ACCESS_DENIED, "the request was denied")
        return answer_error(
            RedirectedError(error, request.redirect_uri, request.state), request.issuer
        )

    # --- tokens ---------------------------------------------------------------------------------

    async def token(
        self, form: Form, authorization: str | None, issuer: str, address: str
    ) -> dict[str, Any]:
        """Answer a token request (RFC 6749, section 3.2).

        Args:
            form: Its parameters.
            authorization: Its Authorization header, if it has one.
            issuer: The issuer that is asked.
            address: Where the client is.

        Raises:
            OAuthError: There is no token for it.
        """
        about = self._about_client(form, authorization, address, form.quote("grant_type"))
        about = attrs.evolve(about, what=What.TOKEN_REFUSED)
        with self._telling(about):
            client = await self._authenticate(form, authorization, address)
        about = attrs.evolve(about, client_name=client.name)
        with self._telling(about):
            issued = await self._issuer.issue(form, client, issuer)
        grant = issued.grant
        self._audit(
            attrs.evolve(
                about,
                what=What.TOKEN,
                subject=grant.subject,
                resource=grant.resource,
                scopes=issued.answer["scope"],
                grant=grant.id,
            )
        )
        return issued.answer

    async def revoke(self, form: Form, authorization: str | None, address: str) -> None:
        """Revoke a token, if it is one of the client's (RFC 7009, section 2).

        Raises:
            OAuthError: The request is malformed, or the client is none.
        """
        about = self._about_client(form, authorization, address, "revocation")
        with self._telling(about):
            client = await self._authenticate(form, authorization, address)
            token = form.need("token")
        principal, grant = self._inspect(token), self._grant_of(token, client)
        about = attrs.evolve(about, what=What.REVOCATION, client_name=client.name)
        if principal is not None and principal.client_id == client.id:
            found = principal
            await self.ledger.change(
                lambda records: (records.without_token(found.token_id, found.expires_at), None)
            )
            about = attrs.evolve(about, subject=found.subject, how="access token")
        elif grant is not None:
            await self.ledger.change(
                lambda records: (records.without_grants(lambda each: each.id == grant.id), None)
            )
            about = attrs.evolve(about, subject=grant.subject, grant=grant.id, how="refresh token")
        else:
            about = attrs.evolve(about, reason="no token of the client")
        self._audit(about)

    async def introspect(
        self, form: Form, authorization: str | None, address: str
    ) -> dict[str, Any]:
        """Tell a client about a token of its own (RFC 7662, section 2).

        Raises:
            OAuthError: The request is malformed, or the client has no secret.
        """
        about = self._about_client(form, authorization, address, "introspection")
        with self._telling(about):
            client = await self._authenticate(form, authorization, address)
            if not client.secret:
                raise refused("only clients with a secret may ask", basic=True)
            token = form.need("token")
        principal = self._inspect(token)
        about = attrs.evolve(
            about,
            what=What.INTROSPECTION,
            client_name=client.name,
            subject="" if principal is None else principal.subject,
        )
        self._audit(about)
        if principal is None or principal.client_id != client.id:
            return {"active": False}
        return {
            "active": True,
            "scope": " ".join(sorted(principal.scopes)),
            "client_id": principal.client_id,
            "username": principal.subject,
            "sub": principal.subject,
            "token_type": "Bearer",
            "iss": principal.issuer,
            "aud": sorted(principal.audiences),
            "exp": principal.expires_at,
            "iat": principal.issued_at,
            "jti": principal.token_id,
        }

    def stands(self, principal: Principal) -> bool:
        """Tell whether a token of our own counts: it is not revoked, and its person still may."""
        return bool(self.rights(principal))

    def rights(self, principal: Principal) -> frozenset[Scope]:
        """Tell what a token of our own is good for by now; nothing, if it is revoked."""
        return self._rights.of(principal, self.ledger.records, self._issuer.policy)

    def attainable(self, principal: Principal) -> frozenset[Scope]:
        """Tell what a token's bearer could come to have, if its person agreed to it."""
        return attainable(principal, self.ledger.records, self.policy)

    def note_refusal(self, what: What, address: str, error: OAuthError) -> None:
        """Write down what was refused before it came here."""
        self._audit(Audited(what=what, address=address, reason=error.reason))

    @contextmanager
    def _telling(self, about: Audited) -> Iterator[None]:
        try:
            yield
        except OAuthError as error:
            self._audit(attrs.evolve(about, reason=error.reason))
            raise

    def _about_client(
        self, form: Form, authorization: str | None, address: str, how: str
    ) -> Audited:
        """Return what is written down of a request, whoever it is really from."""
        about = Audited(what=What.CLIENT_REFUSED, address=address, how=how)
        with suppress(OAuthError):
            claimed = Credentials.read(form, authorization).client_id
            about = attrs.evolve(about, client=claimed)
        return about

    async def _authenticate(self, form: Form, authorization: str | None, address: str) -> Client:
        by_address, by_client = self._token_limits
        now = self._clock()
        by_address.check(address, now)
        credentials = Credentials.read(form, authorization)
        by_client.check(credentials.client_id, now)
        client = self._registry.known(credentials.client_id, self.policy)
        if client is None and self.policy.documents and not credentials.secret:
            client = await self.find_client(credentials.client_id)
        return credentials.check(client)

    def _inspect(self, token: str) -> Principal | None:
        try:
            return TokenVerifier(self.keys, stands=self.stands).inspect(token, self._clock())
        except InvalidToken:
            return None

    def _grant_of(self, refresh_token: str, client: Client) -> Grant | None:
        grant = self.ledger.records.grants.get(refresh_token.partition(".")[0])
        return grant if grant is not None and grant.client_id == client.id else None


def answer_error(refusal: RedirectedError, issuer: str) -> str:
    """Return where to send the browser with an error (OAuth 2.1, section 4.1.2.1; RFC 9207)."""
    answer = [
        ("error", refusal.error.code),
        ("error_description", refusal.error.description),
        ("state", refusal.state),
        ("iss", issuer),
    ]
    return with_answer(refusal.redirect_uri, answer)


def _about(
    what: What, request: AuthorizationRequest, subject: str, address: str, scopes: str
) -> Audited:
    return Audited(
        what=what,
        address=address,
        client=request.client.id,
        client_name=request.client.name,
        subject=subject,
        resource=request.resource.uri,
        scopes=scopes,
    )
