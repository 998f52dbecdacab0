"""Change one member of a JSON document, and leave all else of the text as it is.

For files that people write: their comments, their order and their indentation stay.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from onemcp.config._json import Member, Node, read

INDENT: Final = "  "


class NotAnObject(ValueError):
    """Where a member is to be, there is something else."""


def insert_member(text: str, path: Sequence[str], key: str, value: Any) -> str:
    """Return a document with one more member, which becomes the last of its object.

    Args:
        text: The document: JSON, with comments and trailing commas.
        path: The object; objects that there are not yet are made.
        key: The key, which must not be there.
        value: The value.

    Raises:
        JsonSyntaxError: The document is no JSON.
        NotAnObject: Something on the path is no object, or the key is there.
    """
    root, _ = read(text)
    node, left = root, list(path)
    while left and left[0] in _members(node, path):
        node = _members(node, path)[left.pop(0)].value
    members = _members(node, path)
    for name in reversed(left):
        key, value = name, {key: value}
    if key in members:
        raise NotAnObject(f"{key!r} is there already")
    depth = len(path) - len(left) + 1
    indent = _indent(text, members) or INDENT * depth
    written = json.dumps(value, indent=len(INDENT), ensure_ascii=False)
    lines = f"{json.dumps(key, ensure_ascii=False)}: {written}".split("\n")
    member = "\n".join(f"{indent}{line}" for line in lines)
    if members:
        end = max(each.value.end for each in members.values())
        return f"{text[:end]},\n{member}{text[end:]}"
    outer = indent.removesuffix(INDENT)
    return f"{text[: node.offset]}{{\n{member}\n{outer}}}{text[node.end :]}"


def remove_member(text: str, path: Sequence[str], key: str) -> str:
    """Return a document without a member.

    Args:
        text: The document.
        path: The object that the member is of.
        key: The key.

    Raises:
        JsonSyntaxError: The document is no JSON.
        NotAnObject: There is no such member.
    """
    node, _ = read(text)
    for name in path:
        node = _member(node, name, path).value
    gone = _member(node, key, path)
    others = [each for each in _members(node, path).values() if each is not gone]
    before = [each.value.end for each in others if each.value.end < gone.key_offset]
    if before:
        return text[: max(before)] + text[gone.value.end :]
    if not others:
        return f"{text[: node.offset]}{{}}{text[node.end :]}"
    following = min(each.key_offset for each in others)
    return text[: gone.key_offset] + text[following:]


def _member(node: Node, name: str, path: Sequence[str]) -> Member:
    members = _members(node, path)
    if name not in members:
        raise NotAnObject(f"there is no {name!r}")
    return members[name]


def _members(node: Node, path: Sequence[str]) -> dict[str, Member]:
    if not isinstance(node.value, dict):
        raise NotAnObject(f"{'.'.join(path) or 'the document'} is no object")
    return node.value


def _indent(text: str, members: dict[str, Member]) -> str:
    """Return what stands before the keys of an object, where they have lines of their own."""
    for member in members.values():
        start = text.rfind("\n", 0, member.key_offset) + 1
        before = text[start : member.key_offset]
        if not before.strip():
            return before
    return ""
