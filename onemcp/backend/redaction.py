"""Take what onemcp knows to be secret out of what a backend says. Pure.

A program that crashes may print its environment, and a server that fails may repeat the request:
what the configuration gave them would be in logs and in errors for clients. What looks like a
secret is taken out of every log line anyway; here it is the very values, whatever they look like.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, quote, quote_plus, unquote, urlsplit

import attrs

from onemcp.config import ClientCredentialsLogin, HttpTransport, StdioTransport, Transport

from .events import BackendEvent

if TYPE_CHECKING:
    from .oauth import Credentials

HIDDEN: Final = "***"
SHORTEST: Final = 4
"""How long a value must be to be looked for: shorter ones are found in any text."""

SHORTEST_VARIABLE: Final = 8
"""Likewise for a variable of a program: most short ones are words such as `info` or `true`."""

SHORTEST_STEP: Final = 16
"""Likewise for a step of a URL's path, most of which are words."""


class Redactor:
    """Takes secrets out of text."""

    def __init__(
        self, secrets: Iterable[str] = (), more: Callable[[], Iterable[str]] = tuple
    ) -> None:
        """Look for these.

        Args:
            secrets: Values that must not be shown.
            more: Returns those that change in the course of time.
        """
        self._pattern = _pattern(secrets)
        self._more = more

    def __repr__(self) -> str:
        return "<Redactor>"

    def __call__(self, text: str) -> str:
        """Return a text without secrets, neither as they are nor as JSON or a URL has them."""
        if self._pattern is not None:
            text = self._pattern.sub(HIDDEN, text)
        pattern = _pattern(self._more())
        return text if pattern is None else pattern.sub(HIDDEN, text)

    def passing_on(
        self, on_event: Callable[[BackendEvent], object]
    ) -> Callable[[BackendEvent], object]:
        """Return what takes events, and hands them on without secrets."""
        return lambda event: on_event(self.event(event))

    def event(self, event: BackendEvent) -> BackendEvent:
        """Return an event whose words are without secrets; the backend's name stays."""
        said: dict[str, Any] = {
            field.name: self(value)
            for field in attrs.fields(type(event))
            if field.name != "backend" and isinstance(value := getattr(event, field.name), str)
        }
        return attrs.evolve(event, **said)


def redactor_for(
    transport: Transport, credentials: Credentials | None, environ: Mapping[str, str]
) -> Redactor:
    """Return what looks for all that a backend is told in confidence.

    Args:
        transport: How it is reached.
        credentials: How onemcp logs in at it, if it does.
        environ: The environment, of which a program inherits what the configuration names.
    """
    if isinstance(transport, StdioTransport):
        inherited = (environ.get(name, "") for name in transport.inherit)
        return Redactor(_long((*transport.env.values(), *inherited), SHORTEST_VARIABLE))
    if credentials is None:
        return Redactor(_of_http(transport))
    return Redactor(_of_http(transport), lambda: credentials.secrets)


def _of_http(transport: HttpTransport) -> Iterator[str]:
    url = urlsplit(transport.url)
    path = unquote(url.path)
    yield from (word for value in transport.headers.values() for word in value.split())
    yield from (value for _, value in parse_qsl(url.query))
    if url.username is not None:
        user, password = unquote(url.username), unquote(url.password or "")
        yield from (user, password, url.netloc.rpartition("@")[0])
        yield base64.b64encode(f"{user}:{password}".encode()).decode()
    yield from _long(re.split("[/?&]", path), SHORTEST_STEP)
    if isinstance(transport.auth, ClientCredentialsLogin):
        yield transport.auth.client_secret or ""


def _long(values: Iterable[str], length: int) -> Iterator[str]:
    return (value for value in values if len(value) >= length)


def _pattern(secrets: Iterable[str]) -> re.Pattern[str] | None:
    """Return what finds any of the secrets, the longest first."""
    lines = (line.strip() for secret in secrets for line in (secret, *secret.splitlines()))
    forms = {form for line in _long(lines, SHORTEST) for form in _forms(line)}
    if not forms:
        return None
    return re.compile("|".join(map(re.escape, sorted(forms, key=len, reverse=True))))


def _forms(secret: str) -> Iterator[str]:
    """Yield how a secret may be written."""
    yield secret
    yield json.dumps(secret)[1:-1]
    yield json.dumps(secret, ensure_ascii=False)[1:-1]
    yield repr(secret)[1:-1]
    yield quote(secret)
    yield quote(secret, safe="")
    yield quote_plus(secret)
