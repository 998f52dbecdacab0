"""Many MCP servers as one.

Inside another Trio program, :func:`open_gateway` is the way in; `onemcp.supervision` is a library
of its own. docs/how-to/embed.md says what of this is stable.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onemcp.embedding import (
        Answers,
        ControlError,
        EmbeddedGateway,
        EventStream,
        McpError,
        Question,
        open_gateway,
    )

__all__ = [
    "Answers",
    "ControlError",
    "EmbeddedGateway",
    "EventStream",
    "McpError",
    "Question",
    "open_gateway",
]


def __getattr__(name: str) -> Any:
    """Import what is for programs when it is first asked for: commands don't need it (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from onemcp import embedding  # noqa: PLC0415

    return getattr(embedding, name)
