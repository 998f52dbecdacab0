"""The methods of MCP as data: what each one names, where it is listed, in which era it exists."""

from __future__ import annotations

from typing import Final

import attrs

INITIALIZE: Final = "initialize"
INITIALIZED: Final = "notifications/initialized"
DISCOVER: Final = "server/discover"
LISTEN: Final = "subscriptions/listen"
ACKNOWLEDGED: Final = "notifications/subscriptions/acknowledged"
PING: Final = "ping"
CANCELLED: Final = "notifications/cancelled"
PROGRESS: Final = "notifications/progress"
LOG_MESSAGE: Final = "notifications/message"
SET_LEVEL: Final = "logging/setLevel"
COMPLETE: Final = "completion/complete"
TOOLS_CALL: Final = "tools/call"
PROMPTS_GET: Final = "prompts/get"
RESOURCES_READ: Final = "resources/read"
SUBSCRIBE: Final = "resources/subscribe"
UNSUBSCRIBE: Final = "resources/unsubscribe"
RESOURCE_UPDATED: Final = "notifications/resources/updated"
ELICITATION_COMPLETE: Final = "notifications/elicitation/complete"
TASKS_GET: Final = "tasks/get"
TASKS_UPDATE: Final = "tasks/update"
TASKS_CANCEL: Final = "tasks/cancel"
TASKS_RESULT: Final = "tasks/result"
TASKS_LIST: Final = "tasks/list"
TASK_CHANGED: Final = "notifications/tasks"
TASK_STATUS: Final = "notifications/tasks/status"
ELICIT: Final = "elicitation/create"
SAMPLE: Final = "sampling/createMessage"
ROOTS: Final = "roots/list"
ROOTS_CHANGED: Final = "notifications/roots/list_changed"

LOG_LEVELS: Final = (
    "debug",
    "info",
    "notice",
    "warning",
    "error",
    "critical",
    "alert",
    "emergency",
)
"""Log levels, least severe first (RFC 5424, section 6.2.1)."""


@attrs.frozen(eq=False)
class Catalogue:
    """One kind of thing that a server lists.

    Attributes:
        method: The method that lists it.
        key: The member of the result that holds the list.
        capability: The server capability that announces it.
        identity: The member of an item that names it.
        changed: The notification that announces a changed list.
        filter: The member of a ``subscriptions/listen`` filter that asks for that notification.
    """

    method: str
    key: str
    capability: str
    identity: str
    changed: str
    filter: str


TOOLS: Final = Catalogue(
    "tools/list",
    "tools",
    "tools",
    "name",
    "notifications/tools/list_changed",
    "toolsListChanged",
)
PROMPTS: Final = Catalogue(
    "prompts/list",
    "prompts",
    "prompts",
    "name",
    "notifications/prompts/list_changed",
    "promptsListChanged",
)
RESOURCES: Final = Catalogue(
    "resources/list",
    "resources",
    "resources",
    "uri",
    "notifications/resources/list_changed",
    "resourcesListChanged",
)
TEMPLATES: Final = Catalogue(
    "resources/templates/list",
    "resourceTemplates",
    "resources",
    "uriTemplate",
    "notifications/resources/list_changed",
    "resourcesListChanged",
)
CATALOGUES: Final = (TOOLS, RESOURCES, TEMPLATES, PROMPTS)
"""Everything that is listed."""

LISTS: Final = {catalogue.method: catalogue for catalogue in CATALOGUES}
"""Catalogues by the method that lists them."""

REQUESTS: Final = frozenset(
    {
        INITIALIZE,
        DISCOVER,
        LISTEN,
        PING,
        SET_LEVEL,
        COMPLETE,
        TOOLS_CALL,
        PROMPTS_GET,
        RESOURCES_READ,
        SUBSCRIBE,
        UNSUBSCRIBE,
        TASKS_GET,
        TASKS_UPDATE,
        TASKS_CANCEL,
        TASKS_RESULT,
        TASKS_LIST,
        ELICIT,
        SAMPLE,
        ROOTS,
        *LISTS,
    }
)
"""Every request that some revision of MCP, or its tasks extension, defines."""

LIST_CHANGED: Final = frozenset(catalogue.changed for catalogue in CATALOGUES)
"""Notifications that announce a changed list."""

NAMED: Final = {
    TOOLS_CALL: "name",
    PROMPTS_GET: "name",
    RESOURCES_READ: "uri",
    TASKS_GET: "taskId",
    TASKS_UPDATE: "taskId",
    TASKS_CANCEL: "taskId",
}
"""Methods whose ``Mcp-Name`` header repeats a parameter, and which (Standard Request Headers; Tasks
extension, Routing Headers)."""

CACHEABLE: Final = frozenset({DISCOVER, RESOURCES_READ, *LISTS})
"""Methods whose complete results carry ``ttlMs`` and ``cacheScope`` (Caching)."""

QUESTIONS: Final = {ELICIT: "elicitation", SAMPLE: "sampling", ROOTS: "roots"}
"""What a server may ask of its client, and the client capability it takes."""
