"""What onemcp says about itself: the answers to ``server/discover`` and ``initialize``."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, Final

import attrs
from msgspec import Raw

from onemcp.backend import Backend, ServerDescription
from onemcp.protocol import meta
from onemcp.protocol.fields import raw
from onemcp.protocol.revisions import REVISIONS, V2025_11_25, Era, era_of
from onemcp.protocol.tasks import EXTENSION
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

TASKS: Final = "tasks"
EXTENSIONS: Final = "extensions"
EXTENDING: Final = frozenset({"experimental", EXTENSIONS})
"""What may have methods that onemcp has never heard of."""

KNOWN: Final = frozenset({EXTENSION, "io.modelcontextprotocol/ui"})
"""Extensions whose methods are known, or that have none."""

_TASKS: Final[dict[str, Any]] = {"cancel": {}, "requests": {"tools": {"call": {}}}}
"""What a legacy client can do where a modern backend has tasks."""

_OBJECTS: Final = (*UNKNOWN, "experimental", EXTENSIONS, TASKS)
_CHANGING: Final = ("prompts", "resources", "tools")


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


def capabilities(
    backends: Sequence[Backend],
    revision: str,
    withheld: Callable[[Backend], Collection[str]] = lambda _: (),
    *,
    lists_tasks: bool = True,
) -> dict[str, Any]:
    """Unite what the visible backends can do for a client of a revision.

    Args:
        backends: The visible backends.
        revision: The client's revision.
        withheld: Tells which of its capabilities a backend has nothing visible for; with
            ``extensions``, which of these have methods.
        lists_tasks: Whether clients are told apart, so that each can be shown its own tasks.
    """
    declared = []
    for backend in backends:
        own = UNKNOWN if backend.server is None else _declared(backend.server, revision)
        hidden = withheld(backend)
        shown = {name: value for name, value in own.items() if name not in hidden}
        kept = {key: own[EXTENSIONS][key] for key in own.get(EXTENSIONS, ()) if key in KNOWN}
        declared.append({**shown, EXTENSIONS: kept} if kept and EXTENSIONS in hidden else shown)
    union = union_capabilities(declared)
    for name in _CHANGING:
        if name in union:
            union[name]["listChanged"] = True
    if TASKS in union and lists_tasks:
        union[TASKS]["list"] = {}
    return union


def _declared(server: ServerDescription, revision: str) -> dict[str, Any]:
    """Return what a backend can do, without what would make clients refuse all of it."""
    declared = {
        name: value
        for name, value in server.capabilities.items()
        if name not in _OBJECTS or isinstance(value, dict)
    }
    listed = declared.pop(TASKS, None)
    extensions = dict(declared.pop(EXTENSIONS, {}))
    extension = extensions.pop(EXTENSION, None)
    makes_tasks = server.makes_tasks
    if revision == V2025_11_25 and (makes_tasks or server.revision == revision):
        if server.era is Era.MODERN:
            declared[TASKS] = _TASKS
        elif listed is not None:
            # What a backend lists are the tasks of all clients: onemcp alone can tell them apart.
            declared[TASKS] = {key: value for key, value in listed.items() if key != "list"}
    elif makes_tasks and era_of(revision) is Era.MODERN:
        extensions[EXTENSION] = extension or {}
    return {**declared, EXTENSIONS: extensions} if extensions else declared


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


def discover_result(identity: SelfDescription, declared: dict[str, Any], told: str) -> Raw:
    """Answer ``server/discover`` (2026-07-28, Discovery), with capabilities and instructions."""
    result: dict[str, Any] = {
        "resultType": "complete",
        "supportedVersions": list(reversed(REVISIONS)),
        "capabilities": declared,
        "_meta": {meta.SERVER_INFO: identity.info},
        "ttlMs": 0,
        "cacheScope": "private",
    }
    if told:
        result["instructions"] = told
    return raw(result)


def initialize_result(
    identity: SelfDescription, declared: dict[str, Any], told: str, revision: str
) -> Raw:
    """Answer ``initialize`` (2025-11-25, Lifecycle), with capabilities and instructions."""
    result: dict[str, Any] = {
        "protocolVersion": revision,
        "capabilities": declared,
        "serverInfo": identity.info,
    }
    if told:
        result["instructions"] = told
    return raw(result)
