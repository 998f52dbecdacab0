"""Matching URIs against RFC 6570 templates, to find the owner of a resource.

Templates come from backends and are hostile until proven otherwise, so they are not turned into
regular expressions: matching keeps the set of positions that can have been reached, which takes
time proportional to the URI's length times the number of parts.
"""

from __future__ import annotations

import re
from typing import Final

import attrs

MAX_PARTS: Final = 256
"""Templates of more parts match nothing."""

MAX_URI: Final = 8192
"""URIs of more characters match nothing."""

_EXPRESSION = re.compile(r"\{([+#./;?&]?)([^{}]*)\}")

_RUN: Final = {
    "": re.compile(r"[^/?#]*"),
    "+": re.compile(r".*", re.DOTALL),
    "#": re.compile(r".*", re.DOTALL),
    ".": re.compile(r"[^/?#]*"),
    "/": re.compile(r"[^?#]*"),
    ";": re.compile(r"[^/?#]*"),
    "?": re.compile(r"[^#]*"),
    "&": re.compile(r"[^#]*"),
}
"""Which characters the expansion of an operator can contain (section 3.2)."""

_PREFIX: Final = {"#": "#", ".": ".", "/": "/", ";": ";", "?": "?", "&": "&"}
"""Which character the expansion of an operator begins with, where it isn't empty."""


@attrs.frozen
class _Expression:
    operator: str


class UriTemplate:
    """A URI template that URIs can be matched against."""

    def __init__(self, template: str) -> None:
        """Split a template; braces that enclose no expression are literal text."""
        self.template = template
        self._parts = _split(template)

    def matches(self, uri: str) -> bool:
        """Tell whether the template can expand to a URI."""
        if len(uri) > MAX_URI or len(self._parts) > MAX_PARTS:
            return False
        reached = {0}
        for part in self._parts:
            if isinstance(part, str):
                reached = {at + len(part) for at in reached if uri.startswith(part, at)}
            else:
                reached = _expand(part, uri, reached)
            if not reached:
                return False
        return len(uri) in reached

    def __repr__(self) -> str:
        return f"UriTemplate({self.template!r})"


def _split(template: str) -> list[str | _Expression]:
    parts: list[str | _Expression] = []
    at = 0
    for match in _EXPRESSION.finditer(template):
        if match.start() > at:
            parts.append(template[at : match.start()])
        parts.append(_Expression(match.group(1)))
        at = match.end()
    if at < len(template):
        parts.append(template[at:])
    return parts


def _expand(expression: _Expression, uri: str, starts: set[int]) -> set[int]:
    """Return the positions that an expression can end at, having begun at one of `starts`."""
    run, prefix = _RUN[expression.operator], _PREFIX.get(expression.operator, "")
    reached = set(starts)  # every expression may expand to nothing
    covered = -1
    for start in sorted(starts):
        at = start + len(prefix)
        if at <= covered or not uri.startswith(prefix, start):
            continue
        found = run.match(uri, at)
        covered = found.end() if found else at
        reached.update(range(at, covered + 1))
        if covered == len(uri):
            break
    return reached
