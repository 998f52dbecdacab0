"""Era mapping of everything that needs no interaction: results, errors and capabilities.

A payload crosses eras with the fewest changes that make it valid on the other side: what the
receiving revision requires is added, what it defines differently is mapped, and the rest,
known or unknown, stays as it is.
"""

from __future__ import annotations

from typing import Any, Final

from msgspec import Raw

from . import meta
from .errors import INVALID_PARAMS, RESOURCE_NOT_FOUND, InvalidParams
from .fields import Fields, items, join, raw, split, value_of
from .methods import CACHEABLE, RESOURCES_READ, TOOLS, TOOLS_CALL
from .revisions import Era

RESULT_TYPE: Final = "resultType"
COMPLETE: Final = raw("complete")
INPUT_REQUIRED: Final = "input_required"
TTL: Final = "ttlMs"
CACHE_SCOPE: Final = "cacheScope"
STRUCTURED: Final = "structuredContent"
CONTENT: Final = "content"
OUTPUT_SCHEMA: Final = "outputSchema"
PRIVATE: Final = raw("private")
IMMEDIATELY_STALE: Final = raw(0)

MAX_NESTING: Final = 16
"""How many levels of a capability's settings are kept."""


def is_input_required(result: Raw) -> bool:
    """Tell whether a modern result asks for input instead of completing the request."""
    text = bytes(result)
    if b"input_required" not in text and rb"\u" not in text:
        return False
    try:
        return value_of(split(result, "result"), RESULT_TYPE, str) == INPUT_REQUIRED
    except InvalidParams:
        return False


def translate_result(
    method: str, result: Raw, source: Era, target: Era, server_info: Raw | None = None
) -> Raw:
    """Turn a complete result of one era into one of the other.

    Args:
        method: The method whose result it is.
        result: The result, as received.
        source: The era of the server that sent it.
        target: The era of the client that gets it.
        server_info: The server's name and version, which a legacy result doesn't carry.

    Returns:
        The result; unchanged where the eras are the same, but for a modern one that lacks its
        type: it counts as complete (2026-07-28, Schema, Result), and clients insist on it.

    Raises:
        InvalidParams: It is no JSON object, or of a type that legacy clients have no form for.
    """
    if source is target is Era.LEGACY:
        return result
    fields = split(result, "the result")
    if source is target and RESULT_TYPE in fields:
        return result
    if target is Era.MODERN:
        return join(complete(method, fields, server_info))
    if RESULT_TYPE in fields and value_of(fields, RESULT_TYPE, str) != "complete":
        kind = bytes(fields[RESULT_TYPE])[:80].decode(errors="replace")
        raise InvalidParams(f"a result of type {kind} means nothing in legacy revisions")
    return join(strip(method, fields))


def complete(method: str, fields: Fields, server_info: Raw | None = None) -> Fields:
    """Add what a modern result must have (2026-07-28: ResultType; Caching)."""
    fields.setdefault(RESULT_TYPE, COMPLETE)
    if method in CACHEABLE:
        fields.setdefault(TTL, IMMEDIATELY_STALE)
        fields.setdefault(CACHE_SCOPE, PRIVATE)
    if server_info is not None and meta.SERVER_INFO not in meta.meta_of(fields):
        return meta.set_meta(fields, {meta.SERVER_INFO: server_info})
    return fields


def strip(method: str, fields: Fields) -> Fields:
    """Remove what modern revisions require or allow and legacy ones don't define."""
    fields.pop(RESULT_TYPE, None)
    if method in CACHEABLE:
        fields.pop(TTL, None)
        fields.pop(CACHE_SCOPE, None)
    if method == TOOLS_CALL:
        _strip_structured_content(fields)
    elif method == TOOLS.method and TOOLS.key in fields:
        fields[TOOLS.key] = _strip_tools(fields[TOOLS.key])
    return fields


def _strip_tools(tools: Raw) -> Raw:
    try:
        before = items(tools, TOOLS.key)
    except InvalidParams:
        return tools
    after = [strip_tool(tool) for tool in before]
    return (
        raw(after) if any(new is not old for new, old in zip(after, before, strict=True)) else tools
    )


def strip_tool(tool: Raw) -> Raw:
    """Remove an output schema that legacy clients can't read: one whose type is not object.

    They would refuse the whole list for it (2025-11-25, Schema, Tool; 2026-07-28, Key Changes).
    """
    if b"outputSchema" not in bytes(tool):
        return tool
    try:
        fields = split(tool, "tool")
        if value_of(split(fields[OUTPUT_SCHEMA], OUTPUT_SCHEMA), "type", str) == "object":
            return tool
    except (InvalidParams, KeyError):
        return tool
    del fields[OUTPUT_SCHEMA]
    return join(fields)


def _strip_structured_content(fields: Fields) -> None:
    """Show structured content that is no object as text, where the server has not done so."""
    structured = fields.get(STRUCTURED)
    if structured is None or bytes(structured)[:1] == b"{":
        return
    text = bytes(fields.pop(STRUCTURED)).decode()
    content = bytes(fields.get(CONTENT, Raw(b"[]")))
    if text != "null" and b"".join(content.split()) == b"[]":
        fields[CONTENT] = raw([{"type": "text", "text": text}])


def translate_error(method: str, error: Raw, target: Era, uri: str | None = None) -> Raw:
    """Give an unknown resource the code that the receiver's revision has for it.

    ``-32002`` up to 2025-11-25, ``-32602`` with the URI in ``data`` since (2026-07-28,
    Resources, Error Handling), whatever the method: the old code must not be sent any more.
    Other errors keep code, message and data.
    """
    try:
        fields = split(error, "error")
    except InvalidParams:
        return error
    code, read = value_of(fields, "code", int), uri if method == RESOURCES_READ else None
    if target is Era.MODERN and code == RESOURCE_NOT_FOUND:
        fields["code"] = raw(INVALID_PARAMS)
        if read is not None:
            fields["data"] = _with_uri(fields.get("data"), read)
    elif target is Era.LEGACY and code == INVALID_PARAMS and read and _uri_of(fields) == read:
        fields["code"] = raw(RESOURCE_NOT_FOUND)
    else:
        return error
    return join(fields)


def is_not_found(error: Raw) -> bool:
    """Tell whether an error of ``resources/read`` can mean that the server lacks the resource."""
    try:
        fields = split(error, "error")
    except InvalidParams:
        return False
    code = value_of(fields, "code", int)
    return code in (RESOURCE_NOT_FOUND, INVALID_PARAMS)


def _with_uri(data: Raw | None, uri: str) -> Raw:
    if data is None or bytes(data) == b"null":
        return raw({"uri": uri})
    try:
        members = split(data, "data")
    except InvalidParams:
        return data
    members.setdefault("uri", raw(uri))
    return join(members)


def _uri_of(fields: Fields) -> str | None:
    try:
        return value_of(split(fields["data"], "data"), "uri", str) if "data" in fields else None
    except InvalidParams:
        return None


def union_capabilities(declared: list[dict[str, Any]]) -> dict[str, Any]:
    """Unite the capabilities of several servers: what one of them can, all together can.

    Settings of the same capability are united member by member; where two differ in a value,
    anything wins over null, everything else over false, and otherwise the first server wins.
    What is nested more than ``MAX_NESTING`` levels deep is cut off.
    """
    union: dict[str, Any] = {}
    for capabilities in declared:
        _merge(union, capabilities, MAX_NESTING)
    return union


def _merge(into: dict[str, Any], more: dict[str, Any], depth: int) -> None:
    for key, value in more.items():
        present = into.get(key)
        if isinstance(present, dict) and isinstance(value, dict):
            if depth:
                _merge(present, value, depth - 1)
        elif key not in into or _rank(value) > _rank(present):
            into[key] = _copy(value, depth)


def _rank(value: Any) -> int:
    if value is None:
        return 0
    return 1 if value is False else 2


def _copy(value: Any, depth: int) -> Any:
    if isinstance(value, dict):
        return {key: _copy(member, depth - 1) for key, member in value.items()} if depth else {}
    if isinstance(value, list):
        return [_copy(member, depth - 1) for member in value] if depth else []
    return value
