"""From the configuration to what the authorization server goes by."""

from __future__ import annotations

from onemcp import config
from onemcp.auth import is_hash, parse_scopes
from onemcp.auth.server import (
    CODE,
    OPERATOR,
    REFRESH,
    SERVICE,
    Client,
    Origin,
    Person,
    Policy,
    digest,
    fault_of,
)
from onemcp.config import Configuration, ConfigurationError, Problem


def policy_of(configuration: Configuration) -> Policy:
    """Return what the operator wants; the configuration has been checked."""
    auth = configuration.auth
    people = {
        name: Person(name=name, password=user.password, scopes=parse_scopes(user.scopes))
        for name, user in auth.users.items()
    }
    return Policy(
        people={OPERATOR: Person(name=OPERATOR), **people},
        clients={name: _client(name, client) for name, client in auth.clients.items()},
        views=frozenset(view.name for view in configuration.views),
        registration=auth.registration,
        documents=auth.documents,
        max_registrations=auth.registrations,
        access_seconds=int(auth.access_token_lifetime),
        refresh_seconds=int(auth.refresh_token_lifetime),
        grant_seconds=int(auth.consent_lifetime),
    )


def check_policy(configuration: Configuration) -> None:
    """Check what only the authorization server understands.

    Raises:
        ConfigurationError: Something can't be right; all of it is told.
    """
    auth = configuration.auth
    problems = []
    for name, user in auth.users.items():
        path = f"auth.users.{name}"
        if not is_hash(user.password):
            problems.append(
                _problem(
                    f"{path}.password",
                    "is no hash of scrypt or argon2id, or one that would take too much",
                    "Make it with `onemcp user hash`",
                )
            )
        problems += _check_scopes(path, user.scopes)
    for name, client in auth.clients.items():
        path = f"auth.clients.{name}"
        problems += _check_scopes(path, client.scopes or ())
        for number, uri in enumerate(client.redirect_uris):
            fault = fault_of(uri, private_schemes=True)
            if fault is not None:
                remedy = "Write it like http://127.0.0.1/callback or https://app.example.com/cb"
                problems.append(_problem(f"{path}.redirectUris[{number}]", fault, remedy))
    if problems:
        raise ConfigurationError(tuple(problems))


def _check_scopes(path: str, words: tuple[str, ...]) -> list[Problem]:
    return [
        _problem(
            f"{path}.scopes[{number}]",
            "is no scope of onemcp",
            "Write mcp, backend:NAME, tag:NAME, view:NAME, tool:SERVER/PATTERN or admin; all but "
            "the last two may end in :read",
        )
        for number, word in enumerate(words)
        if not parse_scopes([word])
    ]


def _problem(path: str, message: str, remedy: str) -> Problem:
    return Problem(file="", path=path, message=message, remedy=remedy)


def _client(name: str, client: config.OAuthClient) -> Client:
    return Client(
        id=name,
        name=client.name or name,
        origin=Origin.CONFIGURED,
        redirect_uris=client.redirect_uris,
        grant_types=(CODE, REFRESH) if client.redirect_uris else (SERVICE,),
        secret="" if client.secret is None else digest(client.secret),
        scopes=None if client.scopes is None else parse_scopes(client.scopes),
    )
