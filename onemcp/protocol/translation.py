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
from .fields import Fields, join, plain, raw, split, value_of
from .methods import CACHEABLE, RESOURCES_READ
from .revisions import Era

RESULT_TYPE: Final = "resultType"
COMPLETE: Final = raw("complete")
INPUT_REQUIRED: Final = "input_required"
TTL: Final = "ttlMs"
CACHE_SCOPE: Final = "cacheScope"
PRIVATE: Final = raw("private")
IMMEDIATELY_STALE: Final = raw(0)


def is_input_required(result: Raw) -> bool:
    """Tell whether a modern result asks for input instead of completing the request."""
    if b"input_required" not in bytes(result):
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
        The result; unchanged where the eras are the same.

    Raises:
        InvalidParams: It is no JSON object.
    """
    if source is target:
        return result
    fields = split(result, "result")
    if target is Era.MODERN:
        return join(complete(method, fields, server_info))
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
    """Remove what legacy revisions don't define and modern ones require."""
    fields.pop(RESULT_TYPE, None)
    if method in CACHEABLE:
        fields.pop(TTL, None)
        fields.pop(CACHE_SCOPE, None)
    return fields


def translate_error(method: str, error: Raw, target: Era, uri: str | None = None) -> Raw:
    """Give an unknown resource the code that the receiver's revision has for it.

    ``-32002`` up to 2025-11-25, ``-32602`` with the URI in ``data`` since (2026-07-28,
    Resources, Error Handling). Other errors keep code, message and data.
    """
    if method != RESOURCES_READ or uri is None:
        return error
    try:
        fields = split(error, "error")
    except InvalidParams:
        return error
    code = value_of(fields, "code", int)
    if target is Era.MODERN and code == RESOURCE_NOT_FOUND:
        fields["code"] = raw(INVALID_PARAMS)
        fields["data"] = _with_uri(fields.get("data"), uri)
    elif target is Era.LEGACY and code == INVALID_PARAMS and _uri_of(fields) == uri:
        fields["code"] = raw(RESOURCE_NOT_FOUND)
    else:
        return error
    return join(fields)


def is_not_found(error: Raw) -> bool:
    """Tell whether an error of ``resources/read`` can mean that the server lacks the resource."""
    fields = plain(error)
    return isinstance(fields, dict) and fields.get("code") in {RESOURCE_NOT_FOUND, INVALID_PARAMS}


def _with_uri(data: Raw | None, uri: str) -> Raw:
    value: Any = plain(data)
    if data is None or value is None:
        return raw({"uri": uri})
    if isinstance(value, dict) and "uri" not in value:
        return raw({**value, "uri": uri})
    return data


def _uri_of(fields: Fields) -> Any:
    data = plain(fields.get("data"))
    return data.get("uri") if isinstance(data, dict) else None


def union_capabilities(declared: list[dict[str, Any]]) -> dict[str, Any]:
    """Unite the capabilities of several servers: what one of them can, all together can.

    Settings of the same capability are united member by member; where two differ in a value, a
    truth wins over a falsehood and otherwise the first server wins.
    """
    union: dict[str, Any] = {}
    for capabilities in declared:
        _merge(union, capabilities)
    return union


def _merge(into: dict[str, Any], more: dict[str, Any]) -> None:
    for key, value in more.items():
        present = into.get(key)
        if isinstance(present, dict) and isinstance(value, dict):
            _merge(present, value)
        elif key not in into or (present is False and value is True):
            into[key] = _copy(value)


def _copy(value: Any) -> Any:
    return (
        {key: _copy(member) for key, member in value.items()} if isinstance(value, dict) else value
    )
