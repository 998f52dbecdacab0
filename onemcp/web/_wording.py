"""What people are told: scopes and addresses in words."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from onemcp.auth import Kind, Scope
from onemcp.auth.server import AuthorizationRequest, Origin, is_loopback

_ONLY_READ: Final = "without changing anything"
_ANY_PROGRAM: Final = "Any program there could pose as this one."
_MEANINGS: Final = {
    Kind.EVERYTHING: "Use everything: all tools, resources and prompts of all servers",
    Kind.BACKEND: "Use all that the server {0} offers",
    Kind.TAG: "Use all that is tagged {0}",
    Kind.VIEW: "Use all that the view {0} shows",
    Kind.TOOL: "Call the tools {1} of the server {0}",
    Kind.ADMIN: "Administer onemcp: see its state and its logs; stop, start and restart servers",
}


class Item(NamedTuple):
    """A scope to agree to.

    Attributes:
        value: The scope.
        text: What it means.
        proposed: Whether it is chosen unless a person says otherwise.
    """

    value: str
    text: str
    proposed: bool


def describe(scope: Scope) -> str:
    """Tell what a scope opens."""
    what = _MEANINGS[scope.kind].format(scope.name, scope.pattern)
    return f"{what}, {_ONLY_READ}" if scope.read_only else what


def items(scopes: Iterable[Scope]) -> list[Item]:
    """Return scopes as a list to choose from, always in the same order."""
    return sorted(
        Item(str(scope), describe(scope), scope.kind is not Kind.ADMIN) for scope in scopes
    )


def where(request: AuthorizationRequest) -> str:
    """Tell where the answer goes."""
    if is_loopback(request.redirect_uri):
        said = "A program on the computer that this browser runs on."
        # A document or a name is no proof there: no program of a machine owns its ports.
        return said if request.client.origin is Origin.CONFIGURED else f"{said} {_ANY_PROGRAM}"
    return "Make sure that you know this address."


def trust(request: AuthorizationRequest) -> str:
    """Tell where the client's name comes from."""
    match request.client.origin:
        case Origin.CONFIGURED:
            return "The operator of this server knows this program."
        case Origin.REGISTERED:
            return "This program named itself; nobody has checked the name."
        case Origin.DOCUMENT:
            return f"This program is described by {request.client.id}."
