"""Show the body of a message to somebody who debugs: bounded, and without what looks secret. Pure.

Theory of operation: what goes through is anybody's, so nothing of it is known to be harmless.
Values go by the names that they have, whatever they are; texts lose what is known for a secret
wherever it stands, the queries of URLs, and words that nobody would have written by hand; then
everything is cut. Better that too much is missing than that a key is in a log.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import islice
from typing import Any, Final

import attrs
import msgspec

from onemcp.protocol.fields import MALFORMED

from ._scrub import HIDDEN, MOST_ITEMS, Scrubbed, is_secret, scrub_text

LARGEST_BODY: Final = 64 * 1024
"""How large a body may be that is looked into, in bytes."""

LONGEST_TEXT: Final = 256
"""How much of a text is shown, in characters."""

DEEPEST: Final = 8

_QUERY: Final = re.compile(r"(\b[a-z][a-z0-9+.-]*://[^\s?#\"'<>]*)[?#][^\s\"'<>]*", re.IGNORECASE)
_OPAQUE: Final = re.compile(r"(?=[\w+=/]*[0-9])(?=[\w+=/]*[A-Za-z])[\w+]{24,}(?:/[\w+]+)*={0,2}")
_PLAIN: Final = re.compile(r"[^a-z0-9]")


@attrs.frozen
class BodyScrubber:
    """Shows bodies.

    Attributes:
        names: Names of members whose values are secret, besides those that sound like it.
    """

    names: frozenset[str]
    _assigned: re.Pattern[str] | None

    @classmethod
    def of(cls, names: Iterable[str]) -> BodyScrubber:
        """Take some more names for those of secrets, however they are written."""
        names = [*names]
        alternatives = "|".join(re.escape(name) for name in names)
        assigned = rf"\b((?:{alternatives})[\"']?\s*[=:]\s*)(?:\"[^\"]*\"?|'[^']*'?|[^\s\"'&,;]+)"
        pattern = re.compile(assigned, re.IGNORECASE) if names else None
        return cls(frozenset(map(_plain, names)), pattern)

    def show(self, body: bytes) -> Scrubbed:
        """Return a JSON body as it may be seen."""
        if len(body) > LARGEST_BODY:
            return f"[{len(body)} bytes]"
        try:
            return self._show(msgspec.json.decode(body), DEEPEST)
        except MALFORMED:
            return "[malformed]"

    def _show(self, value: Any, depth: int) -> Scrubbed:
        if isinstance(value, str):
            return self._text(value)
        if depth <= 0 and isinstance(value, dict | list):
            return "..."
        if isinstance(value, dict):
            return {
                self._text(name): HIDDEN
                if self._hides(name) and member is not None
                else self._show(member, depth - 1)
                for name, member in islice(value.items(), MOST_ITEMS)
            }
        if isinstance(value, list):
            return [self._show(item, depth - 1) for item in islice(value, MOST_ITEMS)]
        shown: Scrubbed = value
        return shown

    def _hides(self, name: str) -> bool:
        return is_secret(name) or _plain(name) in self.names

    def _text(self, text: str) -> str:
        length = len(text)
        text = _QUERY.sub(rf"\1?{HIDDEN}", text[: 4 * LONGEST_TEXT])
        if self._assigned is not None:
            text = self._assigned.sub(rf"\1{HIDDEN}", text)
        text = _OPAQUE.sub(HIDDEN, scrub_text(text))
        if length <= LONGEST_TEXT:
            return text
        return f"{text[:LONGEST_TEXT]} [{length} characters]"


def _plain(name: str) -> str:
    return _PLAIN.sub("", name.lower())
