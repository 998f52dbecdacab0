"""Tasks: their methods, and where a task's id stands in messages.

There are two designs. 2025-11-25 has an experimental one, in which the client asks for a task, and
fetches its outcome with ``tasks/result``. The extension ``io.modelcontextprotocol/tasks`` has
another one for 2026-07-28: the server decides, and ``tasks/get`` gives everything. They share
names, and are not compatible on the wire.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeAlias

import msgspec
from msgspec import UNSET, Raw, UnsetType

from . import meta
from .errors import InvalidParams
from .fields import MALFORMED, Fields, join, plain, raw, split, value_of
from .methods import TASKS_CANCEL, TASKS_GET, TASKS_RESULT, TASKS_UPDATE
from .questions import ASKING
from .revisions import Era
from .translation import RESULT_TYPE

EXTENSION: Final = "io.modelcontextprotocol/tasks"
"""The extension's identifier."""

RELATED: Final = "io.modelcontextprotocol/related-task"
"""The member of ``_meta`` that names the task that a message belongs to (2025-11-25)."""

TASK: Final = "task"
"""The member of a request that asks for a task (2025-11-25), and of the result that has made one;
also the ``resultType`` of such a result (extension)."""

TASK_ID: Final = "taskId"
TASK_IDS: Final = "taskIds"
"""The member of a ``subscriptions/listen`` filter that names tasks (extension)."""

TERMINAL: Final = frozenset({"completed", "failed", "cancelled"})
"""The statuses in which a task stays for ever."""

REQUIRED: Final[dict[str, Any]] = {"requiredCapabilities": {"extensions": {EXTENSION: {}}}}
"""What an error says to a client that has not declared the extension."""

METHODS: Final = frozenset({TASKS_GET, TASKS_UPDATE, TASKS_CANCEL, TASKS_RESULT})
"""The methods that are about one task, which ``taskId`` names."""

Rename: TypeAlias = Callable[[str], str | None]
"""Gives a task's id in the receiver's terms; None where it has none there."""

_NAMED_IN_RESULT: Final = frozenset({TASKS_GET, TASKS_CANCEL})


def declares(capabilities: Any) -> bool:
    """Tell whether decoded capabilities, of a client or a server, have the extension."""
    extensions = capabilities.get("extensions") if isinstance(capabilities, dict) else None
    return isinstance(extensions, dict) and isinstance(extensions.get(EXTENSION), dict)


def makes_task(result: Raw) -> bool:
    """Tell whether a modern result is the handle of a task instead of what was asked for."""
    text = bytes(result)
    if b'"task"' not in text and rb"\u" not in text:
        return False
    try:
        return value_of(split(result, "result"), RESULT_TYPE, str) == TASK
    except InvalidParams:
        return False


def is_handle(method: str, result: Raw, era: Era) -> bool:
    """Tell whether a result describes a task instead of being what was asked for.

    Args:
        method: What was called.
        result: The result.
        era: The era of the server that sent it.
    """
    if method in METHODS:
        return method != TASKS_RESULT
    return makes_task(result) if era is Era.MODERN else made_task(result) is not None


def made_task(result: Raw) -> Fields | None:
    """Return the task of a ``CreateTaskResult`` of 2025-11-25; None where a result is none."""
    try:
        task = split(result, "result").get(TASK)
        fields = {} if task is None else split(task, "the task")
    except InvalidParams:
        return None
    return None if value_of(fields, TASK_ID, str) is None else fields


def rename_in_result(
    method: str, params: Fields, result: Raw, era: Era, rename: Rename, *, made: Rename
) -> Raw:
    """Rename the tasks that a result names.

    Args:
        method: What was called.
        params: With which parameters.
        result: The result, an object.
        era: The era of the server that sent it.
        rename: Gives the receiver's ids.
        made: Gives the receiver's id of a task that the result says was made.
    """
    if method in _NAMED_IN_RESULT:
        return join(_renamed(split(result, "result"), rename))
    if era is Era.MODERN:
        is_handle = method in ASKING and makes_task(result)
        return join(_renamed(split(result, "result"), made)) if is_handle else result
    if TASK not in params and not _has_related(result):
        return result
    fields = split(result, "result")
    renamed = _with_related(fields, rename)
    if TASK in params and TASK in fields:
        renamed = {**renamed, TASK: _renamed_object(fields[TASK], made)}
    return result if renamed is fields else join(renamed)


def rename_related(source: Raw, rename: Rename) -> Raw:
    """Rename the task that a message of 2025-11-25 belongs to, if it names one in ``_meta``.

    Args:
        source: The message's parameters or result.
        rename: Gives the receiver's id.
    """
    if not _has_related(source):
        return source
    try:
        fields = split(source)
        renamed = _with_related(fields, rename)
        return source if renamed is fields else join(renamed)
    except InvalidParams:
        return source


def with_related(source: Raw, task_id: str | None) -> Raw:
    """Say which task a message belongs to; with None that it belongs to none.

    Args:
        source: The message's parameters or result.
        task_id: The receiver's id of the task.

    Raises:
        InvalidParams: It is no JSON object.
    """
    if task_id is None and not _has_related(source):
        return source
    related = None if task_id is None else raw({TASK_ID: task_id})
    return join(meta.set_meta(split(source), {RELATED: related}))


def related_task(source: Raw) -> str | None:
    """Return the id of the task that a message belongs to, None where it names none."""
    if not _has_related(source):
        return None
    try:
        related = meta.meta_of(split(source)).get(RELATED)
        return None if related is None else value_of(split(related), TASK_ID, str)
    except InvalidParams:
        return None


def task_id_of(params: Raw) -> str | None:
    """Return the id of the task that a notification is about, None where there is none."""
    try:
        return value_of(split(params), TASK_ID, str)
    except InvalidParams:
        return None


def with_task_id(params: Raw, task_id: str) -> Raw:
    """Return the parameters of a notification about a task, with another id for it."""
    return join({**split(params), TASK_ID: raw(task_id)})


def without_extension(capabilities: Raw) -> Raw:
    """Remove the extension from a client's capabilities.

    It doesn't exist in earlier revisions, whatever a client of one declares (SEP-2663, Backward
    Compatibility).
    """
    if EXTENSION.encode() not in bytes(capabilities) or not declares(plain(capabilities)):
        return capabilities
    fields = split(capabilities)
    extensions = split(fields["extensions"])
    del extensions[EXTENSION]
    return join({**fields, "extensions": join(extensions)})


def with_extension(capabilities: Raw) -> Raw:
    """Add the extension to a client's capabilities, for tasks that onemcp itself sees to."""
    try:
        fields = split(capabilities)
        extensions = split(fields.get("extensions", Raw(b"{}")))
    except InvalidParams:
        fields, extensions = {}, {}
    return join({**fields, "extensions": join({**extensions, EXTENSION: Raw(b"{}")})})


class _Meta(msgspec.Struct, gc=False):
    members: Raw | UnsetType = msgspec.field(name=meta.META, default=UNSET)


_META: Final = msgspec.json.Decoder(_Meta)
"""Passes over everything else without building it, or copying it to look for words in it."""


def _has_related(source: Raw) -> bool:
    try:
        found = _META.decode(source).members
    except MALFORMED:
        return False
    return found is not UNSET and (b"related-task" in bytes(found) or rb"\u" in bytes(found))


def _with_related(fields: Fields, rename: Rename) -> Fields:
    related = meta.meta_of(fields).get(RELATED)
    if related is None:
        return fields
    return meta.set_meta(fields, {RELATED: _renamed_object(related, rename)})


def _renamed_object(source: Raw, rename: Rename) -> Raw:
    try:
        return join(_renamed(split(source), rename))
    except InvalidParams:
        return source


def _renamed(fields: Fields, rename: Rename) -> Fields:
    task_id = value_of(fields, TASK_ID, str)
    if task_id is None:
        return fields
    renamed = rename(task_id)
    if renamed is None:
        return {key: value for key, value in fields.items() if key != TASK_ID}
    return {**fields, TASK_ID: raw(renamed)}
