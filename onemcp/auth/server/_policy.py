"""What the operator wants: who may log in, which clients there are, and for how long."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import attrs

from onemcp.auth._scopes import Kind, Scope
from onemcp.auth.server._clients import Client

EVERYTHING: Final = frozenset({Scope(kind=Kind.EVERYTHING)})
OPERATOR: Final = "local"
"""Who logs in with the code on the terminal."""


@attrs.frozen(kw_only=True)
class Person:
    """Somebody who may log in.

    Attributes:
        name: The name.
        password: The hash of the password; empty for nobody who has one.
        scopes: What the person may let clients do.
    """

    name: str
    password: str = attrs.field(default="", repr=False)
    scopes: frozenset[Scope] = EVERYTHING


def _people(people: Mapping[str, Person]) -> Mapping[str, Person]:
    return MappingProxyType(dict(people))


def _clients(clients: Mapping[str, Client]) -> Mapping[str, Client]:
    return MappingProxyType(dict(clients))


@attrs.frozen(kw_only=True)
class Policy:
    """What the operator wants.

    Attributes:
        people: Who may log in, by name.
        clients: The clients that the operator has registered, by id.
        registration: Whether clients may register themselves.
        documents: Whether clients may name a metadata document as their id.
        max_registrations: How many registered clients are kept.
        access_seconds: How long access tokens are good for.
        refresh_seconds: How long a refresh token that isn't used is.
        grant_seconds: After how long a person has to consent again, whatever is used.
    """

    people: Mapping[str, Person] = attrs.field(factory=dict, converter=_people)
    clients: Mapping[str, Client] = attrs.field(factory=dict, converter=_clients)
    registration: bool = True
    documents: bool = False
    max_registrations: int = 1000
    access_seconds: int = 900
    refresh_seconds: int = 30 * 86_400
    grant_seconds: int = 90 * 86_400

    def rights_of(self, subject: str) -> frozenset[Scope]:
        """Return what a person may do; nothing if there is no such person."""
        person = self.people.get(subject)
        return frozenset() if person is None else person.scopes
