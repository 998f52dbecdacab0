"""What the authorization server must remember: pure values, and how they change.

Everything that opens something is here as a SHA-256 only: who reads the file can't use it.
"""

from __future__ import annotations

import hashlib
import math
import secrets
from collections.abc import Callable, Mapping
from typing import Final, TypeVar

import attrs
import msgspec

from onemcp.auth._principal import Principal

T = TypeVar("T")

MAX_GRANTS: Final = 10_000
MAX_GRANTS_ALIKE: Final = 16
"""How many consents one user can have given to one client for one resource."""

MAX_CUTOFFS: Final = 1024
MAX_TOKENS: Final = 10_000

SECRET_BYTES: Final = 32

ALL: Final = "all"


def digest(secret: str) -> str:
    """Return what is remembered of a random secret."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def new_secret() -> str:
    """Make a random secret."""
    return secrets.token_urlsafe(SECRET_BYTES)


def of_user(name: str) -> str:
    """Return the key of a cut-off for a user."""
    return f"user:{name}"


def of_client(client_id: str) -> str:
    """Return the key of a cut-off for a client."""
    return f"client:{client_id}"


@attrs.frozen(kw_only=True)
class Registration:
    """A client that has registered itself (RFC 7591).

    Attributes:
        id: Its client id.
        name: What it calls itself.
        redirect_uris: Where its users' browsers may be sent.
        grant_types: The grants that it may use.
        secret: The SHA-256 of its secret; empty for public clients.
        created: When it registered, in seconds since the epoch.
    """

    id: str
    name: str
    redirect_uris: tuple[str, ...]
    grant_types: tuple[str, ...]
    secret: str = attrs.field(default="", repr=False)
    created: int


@attrs.frozen(kw_only=True)
class Grant:
    """What a person has let a client do, or a service may do: the family of all its tokens.

    Attributes:
        id: Its id, which its access tokens carry.
        client_id: The client.
        subject: The person, or the service.
        scopes: What was granted.
        resource: What for.
        service: Whether nobody but the client itself is behind it.
        refresh: The SHA-256 of the refresh token that counts; empty if there is none.
        created: When it was granted, in seconds since the epoch.
        used: When tokens were last issued for it.
        expires: When it ends whatever happens.
        idle: How long a refresh token is good for, in seconds.
    """

    id: str
    client_id: str
    subject: str
    scopes: tuple[str, ...]
    resource: str
    service: bool = False
    refresh: str = attrs.field(default="", repr=False)
    created: int
    used: int
    expires: int
    idle: int

    def is_over(self, now: float) -> bool:
        """Tell whether nothing can come of it any more."""
        return now >= self.expires or now >= self.used + self.idle


@attrs.frozen(kw_only=True)
class TokenRecord:
    """An access token that an operator has issued.

    Attributes:
        id: Its `jti`.
        subject: Whom it is for.
        scopes: What it is good for.
        issued: When it was issued, in seconds since the epoch.
        expires: When it expires.
    """

    id: str
    subject: str
    scopes: tuple[str, ...]
    issued: int
    expires: int


@attrs.frozen(kw_only=True)
class Records:
    """All of it.

    Attributes:
        version: The form of the file.
        clients: Clients that have registered themselves, by id.
        grants: What was granted, by id.
        tokens: What operators have issued, by id.
        revoked: Tokens that don't count any more: when they would expire, by id.
        cutoffs: Whose tokens from before a time don't count any more.
    """

    version: int = 1
    clients: dict[str, Registration] = attrs.field(factory=dict)
    grants: dict[str, Grant] = attrs.field(factory=dict)
    tokens: dict[str, TokenRecord] = attrs.field(factory=dict)
    revoked: dict[str, int] = attrs.field(factory=dict)
    cutoffs: dict[str, int] = attrs.field(factory=dict)

    def stands(self, principal: Principal) -> bool:
        """Tell whether a token of our own has not been revoked."""
        if principal.token_id in self.revoked:
            return False
        if principal.grant_id and principal.grant_id not in self.grants:
            return False
        return not self.is_cut_off(principal.subject, principal.client_id, principal.issued_at)

    def is_cut_off(self, subject: str, client_id: str, at: float) -> bool:
        """Tell whether what a person or a client was let do at some time has been revoked since."""
        keys = (ALL, of_user(subject), of_client(client_id))
        return any(at < self.cutoffs.get(key, 0) for key in keys)

    # --- changes ------------------------------------------------------------------------------

    def with_client(self, client: Registration) -> Records:
        """Add a client that has registered itself."""
        return attrs.evolve(self, clients={**self.clients, client.id: client})

    def with_grant(self, grant: Grant) -> Records:
        """Add a grant, or change it; the longest unused of too many makes room."""
        grants = {**self.grants, grant.id: grant}
        alike = [
            each
            for each in grants.values()
            if (each.client_id, each.subject, each.resource)
            == (grant.client_id, grant.subject, grant.resource)
        ]
        _keep(grants, alike, MAX_GRANTS_ALIKE)
        _keep(grants, list(grants.values()), MAX_GRANTS)
        return attrs.evolve(self, grants=grants)

    def without_grants(self, condition: Callable[[Grant], bool]) -> Records:
        """Revoke the grants that a condition is true of, and all that has come of them."""
        kept = {key: grant for key, grant in self.grants.items() if not condition(grant)}
        return attrs.evolve(self, grants=kept)

    def with_token(self, token: TokenRecord) -> Records:
        """Remember a token that an operator has issued."""
        tokens = {**self.tokens, token.id: token}
        if len(tokens) > MAX_TOKENS:
            del tokens[next(iter(tokens))]
        return attrs.evolve(self, tokens=tokens)

    def without_token(self, token_id: str, expires: float) -> Records:
        """Revoke one access token."""
        tokens = {key: token for key, token in self.tokens.items() if key != token_id}
        # Other clocks may be behind ours.
        revoked = {**self.revoked, token_id: math.ceil(expires) + 300}
        return attrs.evolve(self, tokens=tokens, revoked=revoked)

    def revoked_for(self, key: str, now: float) -> Records:
        """Revoke all that there is for a user or a client, or all of it.

        Args:
            key: Whose: `of_user`, `of_client` or `ALL`.
            now: The time, in seconds since the epoch.

        Raises:
            ValueError: Too many are revoked already.
        """

        def is_meant(subject: str, client_id: str) -> bool:
            return key in {ALL, of_user(subject), of_client(client_id)}

        kept = self.without_grants(lambda grant: is_meant(grant.subject, grant.client_id))
        clients = {name: each for name, each in kept.clients.items() if not is_meant("", name)}
        tokens = {
            name: each for name, each in kept.tokens.items() if not is_meant(each.subject, "")
        }
        return attrs.evolve(kept, clients=clients, tokens=tokens).with_cutoff(key, now)

    def with_cutoff(self, key: str, now: float) -> Records:
        """Let no token count any more that was issued before now."""
        cutoffs = {name: at for name, at in self.cutoffs.items() if name != key}
        if len(cutoffs) >= MAX_CUTOFFS:
            raise ValueError("too many users and clients are revoked; revoke all")
        return attrs.evolve(self, cutoffs={**cutoffs, key: math.ceil(now)})

    def pruned(self, now: float, unused: float) -> Records:
        """Leave out what is over.

        Args:
            now: The time, in seconds since the epoch.
            unused: How long a client that nobody has let in is kept, in seconds.
        """
        grants = {key: grant for key, grant in self.grants.items() if not grant.is_over(now)}
        in_use = {grant.client_id for grant in grants.values()}
        return attrs.evolve(
            self,
            clients={
                key: client
                for key, client in self.clients.items()
                if key in in_use or now < client.created + unused
            },
            grants=grants,
            tokens={key: token for key, token in self.tokens.items() if now < token.expires},
            revoked={key: until for key, until in self.revoked.items() if now < until},
        )


def _keep(grants: dict[str, Grant], among: list[Grant], limit: int) -> None:
    for grant in sorted(among, key=lambda each: each.used)[: max(0, len(among) - limit)]:
        del grants[grant.id]


def decode(data: bytes | None) -> Records:
    """Read what was remembered; nothing if there is no file.

    Raises:
        ValueError: It is damaged.
    """
    if data is None:
        return Records()
    try:
        return msgspec.json.decode(data, type=Records)
    except msgspec.MsgspecError:
        # `from None`: the error may quote what it chokes on.
        raise ValueError("it is not what onemcp has written") from None


def encode(records: Records) -> bytes:
    """Write it down."""
    return msgspec.json.encode(records)


Change = Callable[[Records], tuple[Records, T]]
Index = Mapping[str, Registration]
