"""What a tool does and gives, as values: the server carries it out."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, NamedTuple, TypeAlias

Result: TypeAlias = dict[str, Any]
"""The members of a JSON-RPC result that are the same in every era."""


class Wait(NamedTuple):
    """Continue later.

    Attributes:
        seconds: How much later.
    """

    seconds: float


class Progress(NamedTuple):
    """Tell how far the work has come, if the client asked to be told.

    Attributes:
        progress: How far.
        total: Out of what.
        message: The same for a person.
    """

    progress: int
    total: int
    message: str


class LogMessage(NamedTuple):
    """Send a log message, if the client wants those of its level.

    Attributes:
        level: How severe, in the words of RFC 5424.
        data: What to say.
    """

    level: str
    data: str


Effect: TypeAlias = Wait | Progress | LogMessage
Work: TypeAlias = Generator[Effect, None, Result]
"""A tool call under way: yields effects, returns the result."""


class ToolFailed(Exception):
    """The tool can't do that; the text tells a model what to do about it."""


def text_result(text: str, structured: Result | None = None) -> Result:
    """Build the result of a tool."""
    result: Result = {"content": [{"type": "text", "text": text}], "isError": False}
    if structured is not None:
        result["structuredContent"] = structured
    return result


def failed_result(text: str) -> Result:
    """Build the result of a tool that failed (2026-07-28, Tools, Error Handling)."""
    return {"content": [{"type": "text", "text": text}], "isError": True}
