"""JSON objects of which one level is decoded and every value stays raw.

This is how payloads travel unread: the members of ``params`` or ``result`` that onemcp maps
are replaced, the others are spliced into the outgoing message byte for byte.
"""

from __future__ import annotations

from typing import Any, TypeAlias, TypeVar

import msgspec

from .errors import InvalidParams

Fields: TypeAlias = dict[str, msgspec.Raw]
"""One level of a JSON object; the values are undecoded JSON."""

T = TypeVar("T")

_FIELDS: msgspec.json.Decoder[Fields] = msgspec.json.Decoder(Fields)
_ITEMS: msgspec.json.Decoder[list[msgspec.Raw]] = msgspec.json.Decoder(list[msgspec.Raw])
_ENCODER = msgspec.json.Encoder()

MALFORMED = (msgspec.MsgspecError, RecursionError, UnicodeDecodeError)
"""What decoding hostile JSON can raise."""


def raw(value: Any) -> msgspec.Raw:
    """Encode a value once, to be spliced in where it is needed."""
    return msgspec.Raw(_ENCODER.encode(value))


def split(source: msgspec.Raw | bytes, what: str = "params") -> Fields:
    """Decode the first level of a JSON object.

    Args:
        source: The object's JSON.
        what: What the object is, for the error message.

    Returns:
        Its members, in order; of a repeated key the last value, as JSON parsers do.

    Raises:
        InvalidParams: It is no JSON object.
    """
    try:
        return _FIELDS.decode(source)
    except MALFORMED as error:
        raise InvalidParams(f"{what} must be a JSON object") from error


def join(fields: Fields) -> msgspec.Raw:
    """Encode fields back into one JSON object, their values untouched."""
    return msgspec.Raw(_ENCODER.encode(fields))


def items(source: msgspec.Raw, what: str) -> list[msgspec.Raw]:
    """Decode a JSON array whose items stay raw.

    Raises:
        InvalidParams: It is no JSON array.
    """
    try:
        return _ITEMS.decode(source)
    except MALFORMED as error:
        raise InvalidParams(f"{what} must be a JSON array") from error


def text(fields: Fields, key: str, what: str) -> str:
    """Decode a member that must be a string.

    Raises:
        InvalidParams: It is missing or of another type.
    """
    value = value_of(fields, key, str)
    if value is None:
        raise InvalidParams(f"{what} must be a string")
    return value


def value_of(fields: Fields, key: str, kind: type[T]) -> T | None:
    """Decode a member, or return None where it is missing or of another type."""
    source = fields.get(key)
    if source is None:
        return None
    try:
        return msgspec.json.decode(source, type=kind)
    except MALFORMED:
        return None


def plain(source: msgspec.Raw | None, default: Any = None) -> Any:
    """Decode a value whole, for the few small ones that onemcp must understand."""
    if source is None:
        return default
    try:
        return msgspec.json.decode(source)
    except MALFORMED:
        return default


def single_line(source: bytes) -> bytes:
    """Remove line breaks from JSON, where they can only stand between tokens."""
    if b"\n" in source or b"\r" in source:
        return source.replace(b"\r", b" ").replace(b"\n", b" ")
    return source
