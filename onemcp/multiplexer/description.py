"""What onemcp says about itself: the answers to ``server/discover`` and ``initialize``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import attrs
from msgspec import Raw

from onemcp.backend import Backend
from onemcp.protocol import meta
from onemcp.protocol.fields import raw
from onemcp.protocol.revisions import REVISIONS
from onemcp.protocol.translation import union_capabilities

UNKNOWN: Final[dict[str, Any]] = {
    "completions": {},
    "logging": {},
    "prompts": {"listChanged": True},
    "resources": {"listChanged": True, "subscribe": True},
    "tools": {"listChanged": True},
}
"""What is promised for a backend that has not been connected to yet: a legacy client asks only
once, and must not miss what comes up a moment later."""

_OBJECTS: Final = (*UNKNOWN, "experimental", "extensions")
_CHANGING: Final = ("prompts", "resources", "tools")
_NOT_ROUTED: Final = ("tasks",)
_EXTENSIONS_NOT_ROUTED: Final = ("io.modelcontextprotocol/tasks",)


@attrs.frozen
class SelfDescription:
    """Onemcp's identity.

    Attributes:
        name: Its name.
        version: Its version.
        instructions: What the operator has written for all clients, or None.
    """

    name: str
    version: str
    instructions: str | None = None

    @property
    def info(self) -> Raw:
        """The ``Implementation`` object."""
        return raw({"name": self.name, "version": self.version})


def capabilities(backends: Sequence[Backend]) -> dict[str, Any]:
    """Unite what the visible backends can do."""
    declared = [
        UNKNOWN if backend.server is None else _valid(backend.server.capabilities)
        for backend in backends
    ]
    union = union_capabilities(declared)
    for name in _NOT_ROUTED:
        union.pop(name, None)
    extensions = union.get("extensions", {})
    for name in _EXTENSIONS_NOT_ROUTED:
        extensions.pop(name, None)
    if not extensions:
        union.pop("extensions", None)
    for name in _CHANGING:
        if name in union:
            union[name]["listChanged"] = True
    return union


def _valid(declared: dict[str, Any]) -> dict[str, Any]:
    """Leave out what would make clients refuse the whole description for one bad backend."""
    return {
        name: value
        for name, value in declared.items()
        if name not in _OBJECTS or isinstance(value, dict)
    }


def instructions(identity: SelfDescription, backends: Sequence[Backend], *, alone: bool) -> str:
    """Unite the instructions of the visible backends under their names.

    Args:
        identity: Who onemcp is.
        backends: The visible backends.
        alone: Whether the view is of a single backend, whose own words then stand bare.
    """
    if alone:
        return next((b.server.instructions or "" for b in backends if b.server is not None), "")
    parts = [identity.instructions] if identity.instructions else []
    parts.extend(
        f"# {backend.name}\n\n{backend.server.instructions}"
        for backend in backends
        if backend.server is not None and backend.server.instructions
    )
    return "\n\n".join(parts)


def discover_result(
    identity: SelfDescription,
    backends: Sequence[Backend],
    declared: dict[str, Any],
    *,
    alone: bool,
) -> Raw:
    """Answer ``server/discover`` (2026-07-28, Discovery), declaring what `capabilities` united."""
    result: dict[str, Any] = {
        "resultType": "complete",
        "supportedVersions": list(reversed(REVISIONS)),
        "capabilities": declared,
        "_meta": {meta.SERVER_INFO: identity.info},
        "ttlMs": 0,
        "cacheScope": "private",
    }
    text = instructions(identity, backends, alone=alone)
    if text:
        result["instructions"] = text
    return raw(result)


def initialize_result(
    identity: SelfDescription,
    backends: Sequence[Backend],
    declared: dict[str, Any],
    revision: str,
    *,
    alone: bool,
) -> Raw:
    """Answer ``initialize`` (2025-11-25, Lifecycle), declaring what `capabilities` united."""
    result: dict[str, Any] = {
        "protocolVersion": revision,
        "capabilities": declared,
        "serverInfo": identity.info,
    }
    text = instructions(identity, backends, alone=alone)
    if text:
        result["instructions"] = text
    return raw(result)
