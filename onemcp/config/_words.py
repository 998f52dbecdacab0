"""The words of the configuration, and what somebody may have meant by others."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Final

# What other programs call the same thing.
ALIASES: Final = {
    "servers": "mcpServers",
    "mcp_servers": "mcpServers",
    "serverUrl": "url",
    "httpUrl": "url",
    "urls": "url",
    "endpoint": "url",
    "environment": "env",
    "transport": "type",
    "timeout": "timeouts",
    "logging": "log",
    "authorization": "auth",
}
TYPES: Final = {
    "object": "an object",
    "array": "a list",
    "string": "a string",
    "number": "a number",
    "integer": "a whole number",
    "boolean": "true or false",
    "null": "null",
}
ONE_SERVER = '"mcpServers": {"time": {"command": "uvx", "args": ["mcp-server-time"]}}'


def nearest(word: str, known: list[str]) -> str | None:
    """Return the one of `known` that whoever wrote `word` most likely meant."""
    if ALIASES.get(word) in known:
        return ALIASES[word]
    by_shape = {_shape(name): name for name in known}
    wanted = _shape(word)
    swapped = [shape for shape in by_shape if sorted(shape) == sorted(wanted)]
    close = swapped or get_close_matches(wanted, by_shape, n=1, cutoff=0.65)
    return by_shape[close[0]] if close else None


def _shape(word: str) -> str:
    return word.replace("_", "").replace("-", "").lower()


def type_of(value: object) -> str:
    """Name the JSON type of `value`, with its article."""
    if isinstance(value, bool):
        return "a boolean"
    if value is None:
        return "null"
    for kind, name in (
        (str, "string"),
        ((int, float), "number"),
        (list, "array"),
        (Mapping, "object"),
    ):
        if isinstance(value, kind):
            return TYPES[name]
    raise TypeError(f"not a JSON value: {type(value).__name__}")
