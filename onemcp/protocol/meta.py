"""The reserved members of ``_meta`` (2026-07-28, Overview, ``_meta``)."""

from __future__ import annotations

from typing import Final

import attrs
import msgspec
from msgspec import UNSET, Raw, UnsetType

from .errors import InvalidParams
from .fields import MALFORMED, Fields, join, plain, raw, split, value_of
from .methods import LOG_LEVELS

META: Final = "_meta"
PROTOCOL_VERSION: Final = "io.modelcontextprotocol/protocolVersion"
CLIENT_INFO: Final = "io.modelcontextprotocol/clientInfo"
CLIENT_CAPABILITIES: Final = "io.modelcontextprotocol/clientCapabilities"
LOG_LEVEL: Final = "io.modelcontextprotocol/logLevel"
SERVER_INFO: Final = "io.modelcontextprotocol/serverInfo"
SUBSCRIPTION_ID: Final = "io.modelcontextprotocol/subscriptionId"
PROGRESS_TOKEN: Final = "progressToken"  # noqa: S105 - a correlation token, no secret

REQUEST_FIELDS: Final = (PROTOCOL_VERSION, CLIENT_INFO, CLIENT_CAPABILITIES, LOG_LEVEL)
"""What belongs to one hop: replaced whenever a request is passed on to another revision."""

EMPTY_OBJECT: Final = Raw(b"{}")


class _ModernMeta(msgspec.Struct, gc=False):
    revision: Raw | UnsetType = msgspec.field(name=PROTOCOL_VERSION, default=UNSET)
    capabilities: Raw | UnsetType = msgspec.field(name=CLIENT_CAPABILITIES, default=UNSET)


class _Params(msgspec.Struct, gc=False):
    meta: _ModernMeta | None = msgspec.field(name=META, default=None)


_PARAMS: Final = msgspec.json.Decoder(_Params)
"""Passes over everything else without building it."""


@attrs.frozen
class RequestMeta:
    """What a modern request says about itself.

    Attributes:
        revision: The revision it is written in.
        capabilities: The client's capabilities, undecoded.
        client_info: The client's name and version, undecoded, or None.
        log_level: The lowest level of log messages it wants, or None for none at all.
    """

    revision: str
    capabilities: Raw
    client_info: Raw | None = None
    log_level: str | None = None


def meta_of(params: Fields) -> Fields:
    """Return the members of ``_meta``, none where it is absent or null.

    Raises:
        InvalidParams: ``_meta`` is no object.
    """
    source = params.get(META)
    return {} if source is None or bytes(source) == b"null" else split(source, "_meta")


def is_modern(params: Raw) -> bool:
    """Tell whether a request carries any of the per-request fields of the modern era."""
    try:
        found = _PARAMS.decode(params).meta
    except MALFORMED:
        return False
    return found is not None and (found.revision is not UNSET or found.capabilities is not UNSET)


def read_request_meta(meta: Fields) -> RequestMeta:
    """Read the per-request protocol fields.

    Raises:
        InvalidParams: A required one is missing, or one has the wrong type
            (2026-07-28, Overview, Per-request protocol fields; Logging, Error Handling).
    """
    missing = [key for key in (PROTOCOL_VERSION, CLIENT_CAPABILITIES) if key not in meta]
    if missing:
        raise InvalidParams(f"_meta lacks the required {' and '.join(missing)}")
    revision = value_of(meta, PROTOCOL_VERSION, str)
    if revision is None:
        raise InvalidParams(f"_meta {PROTOCOL_VERSION} must be a string")
    if not isinstance(plain(meta[CLIENT_CAPABILITIES]), dict):
        raise InvalidParams(f"_meta {CLIENT_CAPABILITIES} must be an object")
    return RequestMeta(revision, meta[CLIENT_CAPABILITIES], meta.get(CLIENT_INFO), _log_level(meta))


def _log_level(meta: Fields) -> str | None:
    if LOG_LEVEL not in meta:
        return None
    level = value_of(meta, LOG_LEVEL, str)
    if level not in LOG_LEVELS:
        raise InvalidParams(f"_meta {LOG_LEVEL} must be one of {', '.join(LOG_LEVELS)}")
    return level


def progress_token(meta: Fields) -> Raw | None:
    """Return the caller's progress token, undecoded, or None.

    Raises:
        InvalidParams: It is neither a string nor an integer.
    """
    source = meta.get(PROGRESS_TOKEN)
    if source is not None:
        value = plain(source)
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise InvalidParams("_meta progressToken must be a string or an integer")
    return source


def set_meta(fields: Fields, members: dict[str, Raw | None]) -> Fields:
    """Return fields whose ``_meta`` has members set, or removed where the value is None.

    A ``_meta`` that becomes empty is removed; everything else stays as it was.
    """
    meta = meta_of(fields)
    for key, value in members.items():
        if value is None:
            meta.pop(key, None)
        else:
            meta[key] = value
    changed = {key: value for key, value in fields.items() if key != META}
    if meta:
        changed[META] = join(meta)
    return changed


def modern_members(meta: RequestMeta) -> dict[str, Raw | None]:
    """Return the ``_meta`` members that make a request a modern one."""
    return {
        PROTOCOL_VERSION: raw(meta.revision),
        CLIENT_CAPABILITIES: meta.capabilities,
        CLIENT_INFO: meta.client_info,
        LOG_LEVEL: None if meta.log_level is None else raw(meta.log_level),
    }


LEGACY_MEMBERS: Final[dict[str, Raw | None]] = dict.fromkeys(REQUEST_FIELDS)
"""The ``_meta`` members that a legacy request does not have."""
