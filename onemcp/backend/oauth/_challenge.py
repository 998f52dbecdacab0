"""What a response says about the token it wants: `WWW-Authenticate` (RFC 9110, section 11.6.1).

Implements 2026-07-28, Authorization, Scope Challenge Handling, with RFC 6750, section 3, and
RFC 9728, section 5.1. Pure. Whatever a header holds, reading it never fails: what cannot be
understood is not there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

import attrs

MAX_HEADER: Final = 8192
"""How much of the header is read, in characters."""

MAX_SCOPES: Final = 100
"""How many scopes of one challenge count."""

INSUFFICIENT_SCOPE: Final = "insufficient_scope"

_WORD: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]++"
_ELEMENT: Final = re.compile(
    rf'[ \t,]*+({_WORD})(?:[ \t]*+=[ \t]*+(?:({_WORD})|"((?:[^"\\]|\\.)*+)"))?+(?=[ \t,]|$)'
)
_SCOPE: Final = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,256}")


@attrs.frozen
class Challenge:
    """What a backend wants.

    Attributes:
        resource_metadata: Where its metadata is, or None where it does not say.
        scopes: What a token must be good for; None where it does not say.
        error: What is wrong with the token that was sent, as a code, or None.
    """

    resource_metadata: str | None = None
    scopes: tuple[str, ...] | None = None
    error: str | None = None

    @property
    def lacks_scope(self) -> bool:
        """Whether the token was good, but not for this."""
        return self.error == INSUFFICIENT_SCOPE


def read_challenge(header: str) -> Challenge:
    """Read the first challenge of the scheme Bearer; one that says nothing where there is none.

    Args:
        header: The values of all headers of that name, joined by commas.
    """
    parameters: dict[str, str] = {}
    for scheme, name, value in _parameters(header[:MAX_HEADER]):
        if scheme == 1:
            parameters.setdefault(name, value)
    scope = parameters.get("scope")
    return Challenge(
        parameters.get("resource_metadata") or None,
        None if scope is None else scopes_of(scope) or None,
        parameters.get("error"),
    )


def scopes_of(text: str) -> tuple[str, ...]:
    """Return the scopes in a list of them (RFC 6749, section 3.3), each once."""
    words = [word for word in text.split(" ") if _SCOPE.fullmatch(word)]
    return tuple(dict.fromkeys(words))[:MAX_SCOPES]


def _parameters(header: str) -> Iterator[tuple[int, str, str]]:
    """Yield every parameter: of the how-manieth Bearer challenge, or 0 of others; name, value."""
    bearers, current, position = 0, 0, 0
    while match := _ELEMENT.match(header, position):
        position = match.end()
        name, token, quoted = match.groups()
        if token is not None or quoted is not None:
            value = token if token is not None else re.sub(r"\\(.)", r"\1", quoted)
            yield current, name.lower(), value
        elif name.lower() == "bearer":
            bearers += 1
            current = bearers
        else:
            current = 0
