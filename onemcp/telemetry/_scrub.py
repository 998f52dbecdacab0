"""Make any value fit for a log: no secrets, no control characters, bounded. Pure.

Theory of operation. Much of what is logged was written by strangers: programs that onemcp starts,
servers it calls, libraries. Three things are done, in this order, to every string however deep:
secrets are taken out while the text is still as it was written; it is cut to a length; control
characters are escaped, so that it can neither drive a terminal nor begin a line of its own.
"""

import math
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from itertools import islice
from typing import Any, Final, TypeAlias

import attrs

Scrubbed: TypeAlias = (
    "str | int | float | bool | list[Scrubbed] | dict[str, Scrubbed] | None"  # what JSON has
)

HIDDEN: Final = "[redacted]"
CUT: Final = " [truncated]"
LONGEST_TEXT: Final = 8192
LONGEST_INTEGER_BITS: Final = 1024
MOST_ITEMS: Final = 64
DEEPEST: Final = 6

_SECRET_PARTS: Final = (
    "apikey",
    "assertion",
    "authorization",
    "bearer",
    "cookie",
    "credential",
    "passphrase",
    "passwd",
    "password",
    "privatekey",
    "secret",
    "token",
)
_SECRET_NAMES: Final = frozenset({"auth", "env", "environ", "environment", "headers", "header"})

_KEPT: Final = rf"\1{HIDDEN}"
_SECRETS: Final[tuple[tuple[re.Pattern[str], str], ...]] = (
    # JSON Web Tokens, whole or cut short: their header begins with {" in base64.
    (re.compile(r"\beyJ[\w-]{8,}(?:\.[\w-]*){0,4}"), HIDDEN),
    # Tokens that say whose they are.
    (re.compile(r"\b(?:gh[opsur]_|github_pat_|glpat-|sk-|xox[abprs]-|AKIA)[\w-]{8,}"), HIDDEN),
    (re.compile(r"((?:authorization|cookie)[\"']?\s*[:=]\s*)[^\r\n]+", re.IGNORECASE), _KEPT),
    (re.compile(r"\b(bearer[\s:=]+)[^\s\"',;]+", re.IGNORECASE), _KEPT),
    (
        re.compile(r"\b((?i:basic)\s+)(?=[A-Za-z]*(?:[0-9+/=]|[a-z][A-Z]))[A-Za-z0-9+/]{6,}={0,2}"),
        _KEPT,
    ),
    (re.compile(r"(://)[^\s/?#@\"']+@"), rf"{_KEPT}@"),
    (
        re.compile(
            r"((?<!/)(?:api[_-]?key|access[_-]?key|passw(?:or)?d|passphrase|private[_-]?key"
            r"|secret(?:[\w-]{0,32}key)?|token)[\"']?\s*[=:]\s*)"
            r"(?:\"[^\"]*\"?|'[^']*'?|[^\s\"'&,;]+)",
            re.IGNORECASE,
        ),
        _KEPT,
    ),
)

# Control, format (bidirectional overrides, zero-width), surrogate; line and paragraph separators.
_UNSAFE_CATEGORIES: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def is_secret(name: str) -> bool:
    """Tell whether what goes by a name is not for a log."""
    plain = re.sub(r"[^a-z]", "", name.lower())
    return plain in _SECRET_NAMES or any(part in plain for part in _SECRET_PARTS)


def scrub_text(text: str, *, lines: bool = False) -> str:
    """Return text without secrets and control characters, cut to a length.

    Args:
        text: Any text.
        lines: Whether line breaks stay; what follows them is indented, so that no line passes
            for one of the log's own.
    """
    long = len(text) > LONGEST_TEXT
    text = text[: 2 * LONGEST_TEXT]  # enough that no secret is cut before it is looked for
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    text = text[:LONGEST_TEXT]
    text = "\n    ".join(map(_escape, text.splitlines())) if lines else _escape(text)
    return text + CUT if long else text


def _escape(text: str) -> str:
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        character.encode("unicode_escape").decode("ascii")
        if unicodedata.category(character) in _UNSAFE_CATEGORIES
        else character
        for character in text
    )


def scrub(value: object, *, depth: int = DEEPEST) -> Scrubbed:
    """Return a value as JSON has it, fit for a log.

    Args:
        value: Anything. An attrs instance shows the fields that its `repr` shows.
        depth: How many levels are shown.
    """
    if value is None or isinstance(value, bool):
        return value
    for kinds, convert in _CONVERSIONS:
        if isinstance(value, kinds):
            return convert(value, depth)
    if attrs.has(type(value)):
        return _scrub_items(shown_fields(value), depth)
    return scrub_text(str(value))


def _scrub_integer(value: int) -> Scrubbed:
    # Larger ones take Python long to write down, or cannot be written at all.
    return int(value) if value.bit_length() <= LONGEST_INTEGER_BITS else "[huge integer]"


def _scrub_items(items: Iterable[tuple[object, object]], depth: int) -> Scrubbed:
    if depth <= 0:
        return "{...}"
    scrubbed: dict[str, Scrubbed] = {}
    for key, value in islice(items, MOST_ITEMS):
        name = str(key)
        shown = HIDDEN if is_secret(name) and value is not None else scrub(value, depth=depth - 1)
        scrubbed[scrub_text(name)] = shown
    return scrubbed


def _scrub_list(values: Iterable[object], depth: int) -> Scrubbed:
    if depth <= 0:
        return "[...]"
    return [scrub(value, depth=depth - 1) for value in islice(values, MOST_ITEMS)]


def shown_fields(instance: Any) -> Iterable[tuple[str, object]]:
    """Yield the fields of an attrs instance that its `repr` shows, as it shows them."""
    for field in attrs.fields(type(instance)):
        value = getattr(instance, field.name)
        if callable(field.repr):
            yield field.name, field.repr(value)
        elif field.repr:
            yield field.name, value


def describe(error: BaseException, *, depth: int = DEEPEST) -> str:
    """Describe an exception in one line: of a group its members, else its cause too."""
    text = str(error)
    if isinstance(error, BaseExceptionGroup):
        if depth <= 0:
            return "..."
        members = islice(error.exceptions, MOST_ITEMS)
        return "; ".join(describe(member, depth=depth - 1) for member in members)
    name = type(error).__name__
    described = f"{name}: {text}" if text else name
    cause = error.__cause__
    if cause is not None and depth > 0:
        described += f" (because of {describe(cause, depth=depth - 1)})"
    return described


_CONVERSIONS: Final[tuple[tuple[type | tuple[type, ...], Callable[[Any, int], Scrubbed]], ...]] = (
    (Enum, lambda value, depth: scrub(value.value, depth=depth)),
    (int, lambda value, _depth: _scrub_integer(value)),
    (float, lambda value, _depth: float(value) if math.isfinite(value) else str(value)),
    (str, lambda value, _depth: scrub_text(value)),
    (
        (bytes, bytearray),
        lambda value, _depth: scrub_text(value[:LONGEST_TEXT].decode(errors="backslashreplace")),
    ),
    (BaseException, lambda value, _depth: scrub_text(describe(value))),
    (Mapping, lambda value, depth: _scrub_items(value.items(), depth)),
    ((list, tuple, set, frozenset), _scrub_list),
)
