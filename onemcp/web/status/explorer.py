"""Tools, as a person looks at them and calls them in a browser.

Theory of operation: a tool's schema and what it answers are its server's, and hostile until proven
otherwise: each is bounded here, and escaped where it is shown. Of a schema only as much is
understood as makes a form; what is filled in is for the server to judge.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import attrs

MOST_TOOLS: Final = 200
"""How many tools one page lists."""

MOST_FIELDS: Final = 64
"""How many arguments get a field of their own."""

MOST_CHOICES: Final = 100
LONGEST_TEXT: Final = 64 * 1024
"""How many characters of one text are shown."""

MOST_CONTENTS: Final = 50
"""How many contents of one result are shown."""

WHOLE: Final = "arguments"
"""The field that holds all arguments as JSON."""

PREFIX: Final = "argument:"
"""How fields of single arguments begin."""

CUT: Final = "\n[… the rest is left out]"
_SIMPLE: Final = {"string": "text", "integer": "number", "number": "number", "boolean": "boolean"}


class BadArguments(Exception):
    """What was filled in can't be sent; the message is for the person in front of the browser."""


@attrs.frozen
class Field:
    """A field of a form.

    Attributes:
        name: The argument.
        kind: ``text``, ``number``, ``boolean``, ``choice`` or ``json``.
        required: Whether it has to be filled in.
        about: What it is.
        choices: What there is to choose from, as JSON.
        value: What is filled in.
    """

    name: str
    kind: str
    required: bool
    about: str
    choices: tuple[str, ...]
    value: str


def fields_of(schema: Any, filled: Mapping[str, str]) -> list[Field] | None:
    """Return the fields of a tool's form; None where its schema doesn't say what they are.

    Args:
        schema: The tool's ``inputSchema``.
        filled: What is filled in already.
    """
    properties = schema.get("properties", {}) if isinstance(schema, dict) else None
    if not isinstance(properties, dict) or len(properties) > MOST_FIELDS:
        return None
    required = schema.get("required")
    required = required if isinstance(required, list) else []
    return [
        _field(name, sub if isinstance(sub, dict) else {}, name in required, filled)
        for name, sub in properties.items()
    ]


def _field(name: str, schema: Mapping[str, Any], required: bool, filled: Any) -> Field:  # noqa: FBT001
    choices = schema.get("enum")
    kind = _SIMPLE.get(str(schema.get("type")), "json")
    options: tuple[str, ...] = ()
    if isinstance(choices, list) and 0 < len(choices) <= MOST_CHOICES:
        kind, options = "choice", tuple(json.dumps(choice)[:LONGEST_TEXT] for choice in choices)
    default = schema.get("default")
    plain = default if kind == "text" and isinstance(default, str) else json.dumps(default)
    value = filled.get(PREFIX + name, "" if default is None else plain)
    return Field(name, kind, required, cut(str(schema.get("description", ""))), options, value)


def arguments_of(schema: Any, filled: Mapping[str, str]) -> dict[str, Any]:
    """Return the arguments that a form was filled in with; what was left empty is left out.

    Raises:
        BadArguments: They can't be read.
    """
    if WHOLE in filled:
        value = _read(filled[WHOLE].strip() or "{}", "The arguments")
        if not isinstance(value, dict):
            raise BadArguments("The arguments must be a JSON object.")
        return value
    fields = fields_of(schema, filled) or []
    return {
        each.name: each.value if each.kind == "text" else _read(each.value, f"“{each.name}”")
        for each in fields
        if each.value.strip() and PREFIX + each.name in filled
    }


def _read(text: str, what: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadArguments(f"{what} can't be read as JSON: {error}.") from error


def search(tools: Sequence[Mapping[str, Any]], words: str) -> list[Mapping[str, Any]]:
    """Return the tools that have all words in their names, titles or descriptions."""
    wanted = words.lower().split()
    return [tool for tool in tools if all(word in _text(tool) for word in wanted)]


def _text(tool: Mapping[str, Any]) -> str:
    return " ".join(str(tool.get(key, "")) for key in ("name", "title", "description")).lower()


@attrs.frozen
class Answer:
    """What has come of a call.

    Attributes:
        failed: Whether it has failed.
        texts: What it says, piece by piece.
        structured: Its structured content as JSON; empty where there is none.
        seconds: How long it took, in seconds.
    """

    failed: bool
    texts: tuple[str, ...]
    structured: str
    seconds: float


def answer_of(result: Mapping[str, Any], seconds: float) -> Answer:
    """Make a result fit for being shown."""
    contents = result.get("content")
    structured = result.get("structuredContent")
    return Answer(
        bool(result.get("isError")),
        tuple(_contents(contents if isinstance(contents, list) else [])),
        "" if structured is None else pretty(structured),
        seconds,
    )


def _contents(contents: Sequence[Any]) -> Iterator[str]:
    for content in contents[:MOST_CONTENTS]:
        item = content if isinstance(content, dict) else {}
        resource = item.get("resource")
        inner = resource if isinstance(resource, dict) else {}
        if isinstance(text := item.get("text", inner.get("text")), str):
            yield cut(text)
        else:
            kind = item.get("mimeType") or item.get("uri") or inner.get("uri") or "no text"
            size = len(str(item.get("data") or inner.get("blob") or ""))
            yield cut(f"[{item.get('type', 'unknown')}: {kind}, {size} characters]")
    if len(contents) > MOST_CONTENTS:
        yield f"[{len(contents) - MOST_CONTENTS} more contents are left out]"


def pretty(value: Any) -> str:
    """Write a value as JSON for people, cut to a length."""
    try:
        return cut(json.dumps(value, indent=2, ensure_ascii=False))
    except (ValueError, RecursionError):
        return "[too deep to be shown]"


def cut(text: str) -> str:
    """Return text that isn't too long to be shown."""
    return text if len(text) <= LONGEST_TEXT else text[:LONGEST_TEXT] + CUT
