"""What the operator wants: who may log in, which clients there are, and for how long."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

import attrs

from onemcp.auth._scopes import Kind, Scope, meet
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


def _names(names: Iterable[str]) -> frozenset[str]:
    return frozenset(names)


def _clients(clients: Mapping[str, Client]) -> Mapping[str, Client]:
    return MappingProxyType(dict(clients))


@attrs.frozen(kw_only=True)
class Policy:
    """What the operator wants.

    Attributes:
        people: Who may log in, by name.
        clients: The clients that the operator has registered, by id.
        views: The names of the views that there are.
        registration: Whether clients may register themselves.
        documents: Whether clients may name a metadata document as their id.
        max_registrations: How many registered clients are kept.
        access_seconds: How long access tokens are good for.
        refresh_seconds: How long a refresh token that isn't used is.
        grant_seconds: After how long a person has to consent again, whatever is used.
    """

    people: Mapping[str, Person] = attrs.field(factory=dict, converter=_people)
    clients: Mapping[str, Client] = attrs.field(factory=dict, converter=_clients)
    views: frozenset[str] = attrs.field(default=frozenset(), converter=_names)
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

    def offered(self, asked: Iterable[Scope], subject: str) -> frozenset[Scope]:
        """Return what of the scopes that are asked for a person may agree to.

        Who doesn't know whether a name is a view's asks for it as a backend's and as a view's; the
        person is to decide on what there is.
        """
        scopes = meet(asked, self.rights_of(subject))
        viewed = {scope.name for scope in scopes if scope.kind is Kind.VIEW}
        twice = {
            scope
            for scope in scopes
            if (scope.kind is Kind.VIEW and scope.name not in self.views)
            or (scope.kind is Kind.BACKEND and scope.name in viewed & self.views)
        }
        return scopes - twice
