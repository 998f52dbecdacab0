"""The ``Mcp-*`` request headers of streamable HTTP: writing, reading and checking them.

Implements 2026-07-28, Streamable HTTP, Request Metadata.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple, Self

import attrs

from .errors import HeaderMismatch
from .fields import Fields, plain, value_of
from .httpheaders import Headers, values_of
from .methods import NAMED

PROTOCOL_VERSION: Final = b"mcp-protocol-version"
METHOD: Final = b"mcp-method"
NAME: Final = b"mcp-name"
SESSION_ID: Final = b"mcp-session-id"
PARAM_PREFIX: Final = b"mcp-param-"

ANNOTATION: Final = "x-mcp-header"
"""The schema keyword that asks for a parameter to be repeated in a header."""

MAX_SCHEMA_NODES: Final = 100_000
"""How many subschemas of one tool are looked at for annotations."""

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_PLAIN = re.compile(r"[\x20-\x7e\t]*")
_INTEGER = re.compile(r"(-?[0-9]{1,16})(?:\.0{0,16})?")
_PREFIX, _SUFFIX = "=?base64?", "?="
_SAFE_INTEGER: Final = 2**53 - 1
_UNREADABLE: Final = object()
_PRIMITIVES: Final = frozenset({"string", "integer", "boolean"})


class InvalidAnnotation(ValueError):
    """A tool's ``x-mcp-header`` annotations break the rules, so the tool must not be used."""


@attrs.frozen
class MirroredParameter:
    """A parameter whose value is repeated in a header.

    Attributes:
        path: The chain of ``properties`` keys that leads to it.
        name: The header's name without the ``Mcp-Param-`` prefix.
    """

    path: tuple[str, ...]
    name: str

    @property
    def header(self) -> bytes:
        """The header's name in lower case, as ASGI gives it."""
        return PARAM_PREFIX + self.name.lower().encode()


def encode_value(value: str) -> str:
    """Encode a header value, in base64 where plain ASCII can't carry it (Value Encoding)."""
    is_sentinel = value.startswith(_PREFIX) and value.endswith(_SUFFIX)
    if _PLAIN.fullmatch(value) and value == value.strip() and not is_sentinel:
        return value
    return f"{_PREFIX}{base64.b64encode(value.encode('utf-8', 'replace')).decode()}{_SUFFIX}"


def decode_value(value: bytes) -> str:
    """Decode a header value.

    Raises:
        HeaderMismatch: It has characters that headers may not have, or broken base64.
    """
    text = value.decode("latin-1")
    if not _PLAIN.fullmatch(text):
        raise HeaderMismatch("a header value has characters outside visible ASCII")
    if not (text.startswith(_PREFIX) and text[len(_PREFIX) :].endswith(_SUFFIX)):
        return text
    payload = text[len(_PREFIX) : -len(_SUFFIX)]
    try:
        decoded = base64.b64decode(payload, validate=True)
        if base64.b64encode(decoded).decode() != payload:
            raise HeaderMismatch("a header value is not canonical base64")
        return decoded.decode()
    except (binascii.Error, UnicodeDecodeError) as error:
        raise HeaderMismatch("a header value is not base64 of UTF-8") from error


def single(headers: Headers, name: bytes) -> bytes | None:
    """Return the value of a header that must not be repeated, or None where it is absent.

    Raises:
        HeaderMismatch: It is there more than once, so that two readers could disagree.
    """
    found = values_of(headers, name)
    if len(found) > 1:
        raise HeaderMismatch(f"the {name.decode()} header appears more than once")
    return found[0].strip(b" \t") if found else None


class Repeated(NamedTuple):
    """What of a body the standard headers repeat.

    Attributes:
        revision: The revision.
        method: The method.
        name: What is called, read or asked for; None where nothing is, or none is named.
    """

    revision: str
    method: str
    name: str | None

    @classmethod
    def of(cls, method: str, params: Fields, revision: str) -> Self:
        """Return what is to be repeated of a request."""
        key = NAMED.get(method)
        return cls(revision, method, None if key is None else value_of(params, key, str))


def check_request(headers: Headers, repeated: Repeated) -> None:
    """Check that the standard headers repeat what the body says (Server Validation).

    Raises:
        HeaderMismatch: One is missing, malformed or different.
    """
    _check(headers, PROTOCOL_VERSION, repeated.revision, decode=False)
    _check(headers, METHOD, repeated.method, decode=False)
    if repeated.name is not None:  # a request without it is refused for its parameters
        _check(headers, NAME, repeated.name, decode=True)


def _check(headers: Headers, name: bytes, expected: str, *, decode: bool) -> None:
    value = single(headers, name)
    if value is None:
        raise HeaderMismatch(f"the {name.decode()} header is missing")
    found = decode_value(value) if decode else value.decode("latin-1")
    if found != expected:
        raise HeaderMismatch(
            f"Header mismatch: {name.decode()} header value {found[:200]!r} "
            f"does not match body value {expected[:200]!r}"
        )


def mirrored_parameters(schema: Any) -> tuple[MirroredParameter, ...]:
    """Find the parameters that a tool wants repeated in headers (Schema Extension).

    Args:
        schema: The tool's ``inputSchema``, decoded.

    Raises:
        InvalidAnnotation: An annotation breaks a rule; the message says which and where.
    """
    found: dict[str, MirroredParameter] = {}
    for path, node in _schemas(schema):
        if ANNOTATION not in node:
            continue
        parameter = _parameter(path, node)
        if found.setdefault(parameter.name.lower(), parameter) is not parameter:
            raise InvalidAnnotation(f"{ANNOTATION} {parameter.name!r} is used more than once")
    return tuple(found.values())


def _parameter(path: tuple[str, ...] | None, node: Mapping[str, Any]) -> MirroredParameter:
    if not path:
        raise InvalidAnnotation(f"{ANNOTATION} stands where no chain of properties leads to")
    where, name, kind = ".".join(path), node[ANNOTATION], node.get("type")
    if not isinstance(name, str) or not _TOKEN.fullmatch(name):
        raise InvalidAnnotation(f"{ANNOTATION} of {where} is not an HTTP field name token")
    if not isinstance(kind, str) or kind not in _PRIMITIVES:
        raise InvalidAnnotation(f"{ANNOTATION} of {where} needs type string, integer or boolean")
    return MirroredParameter(path, name)


_ONE = frozenset(
    {
        "additionalItems",
        "additionalProperties",
        "contains",
        "contentSchema",
        "else",
        "if",
        "items",
        "not",
        "propertyNames",
        "then",
        "unevaluatedItems",
        "unevaluatedProperties",
    }
)
_LIST = frozenset({"allOf", "anyOf", "items", "oneOf", "prefixItems"})
_MAP = frozenset({"$defs", "definitions", "dependencies", "dependentSchemas", "patternProperties"})


def _schemas(root: Any) -> Iterator[tuple[tuple[str, ...] | None, Mapping[str, Any]]]:
    """Yield every subschema with its path of properties, None once that chain is broken."""
    stack: list[tuple[tuple[str, ...] | None, Any]] = [((), root)]
    seen = 0
    while stack:
        path, node = stack.pop()
        if not isinstance(node, Mapping):
            continue
        seen += 1
        if seen > MAX_SCHEMA_NODES:
            raise InvalidAnnotation("the schema has too many subschemas")
        yield path, node
        for keyword, value in node.items():
            if keyword == "properties" and isinstance(value, Mapping):
                for key, sub in value.items():
                    stack.append((None if path is None else (*path, key), sub))
            else:
                stack.extend((None, sub) for sub in _children(keyword, value))


def _children(keyword: str, value: Any) -> Iterator[Any]:
    if keyword in _ONE and isinstance(value, Mapping):
        yield value
    elif keyword in _LIST and isinstance(value, list):
        yield from value
    elif keyword in _MAP and isinstance(value, Mapping):
        yield from value.values()


def parameter_headers(
    mirrored: Sequence[MirroredParameter], arguments: Any
) -> list[tuple[str, str]]:
    """Write the ``Mcp-Param-*`` headers of a ``tools/call`` (Client Behavior)."""
    headers = []
    for parameter in mirrored:
        value = _as_header(_value_at(arguments, parameter.path))
        if value is not None:
            headers.append((f"Mcp-Param-{parameter.name}", encode_value(value)))
    return headers


def check_parameters(
    headers: Headers, mirrored: Sequence[MirroredParameter], params: Fields
) -> None:
    """Check that ``Mcp-Param-*`` headers repeat the arguments (Server Behavior).

    Raises:
        HeaderMismatch: One is missing, superfluous, malformed or different.
    """
    if not mirrored:
        return
    arguments = plain(params.get("arguments"), _UNREADABLE)
    if arguments is _UNREADABLE and "arguments" in params:
        raise HeaderMismatch("the arguments hold a value that no header can be compared with")
    for parameter in mirrored:
        header = single(headers, parameter.header)
        value = _value_at(arguments, parameter.path)
        expected = _as_header(value)
        name = f"Mcp-Param-{parameter.name}"
        if expected is None and isinstance(value, int | float):
            raise HeaderMismatch(f"{name} is asked for, but its value is no safe integer")
        if header is None:
            if expected is not None:
                raise HeaderMismatch(f"the {name} header is missing")
            continue
        found = decode_value(header)
        if expected is None:
            raise HeaderMismatch(f"the {name} header has no value in the arguments")
        if found != expected and not _same_number(found, value):
            raise HeaderMismatch(f"the {name} header does not match the arguments")


def _value_at(arguments: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        if not isinstance(arguments, Mapping):
            return None
        arguments = arguments.get(key)
    return arguments


def _as_header(value: Any) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) <= _SAFE_INTEGER:
        return str(int(value))
    if isinstance(value, int):
        return str(value) if abs(value) <= _SAFE_INTEGER else None
    return value if isinstance(value, str) else None


def _same_number(found: str, value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    number = _INTEGER.fullmatch(found)
    return number is not None and int(number[1]) == value
