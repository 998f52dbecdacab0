"""The one tool of onemcp's own, with which clients read on in long results; see :mod:`.paging`."""

from __future__ import annotations

from typing import Final

from msgspec import Raw

from onemcp.protocol.fields import raw

OWN: Final = "onemcp"
"""What stands for onemcp itself where otherwise a backend is named."""

PAGE: Final = "page"
"""The tool's only argument."""


def pager_name(separator: str) -> str:
    """Return the name of the tool, as names are put together."""
    return f"{OWN}{separator}next_page"


def pager_tool(name: str) -> Raw:
    """Return what is listed of the tool under a name."""
    page = {"type": "string", "description": "The id that the part before has given."}
    return raw(
        {
            "name": name,
            "title": "Next page",
            "description": (
                "Returns the next part of a long tool result. Call it only when a result says that "
                "there is more, with the page id that it gives."
            ),
            "inputSchema": {
                "type": "object",
                "properties": {PAGE: page},
                "required": [PAGE],
                "additionalProperties": False,
            },
            "annotations": {"readOnlyHint": True, "idempotentHint": True, "openWorldHint": False},
        }
    )
