"""Read JSON with comments and trailing commas, and remember where everything stood.

The standard library's parser cannot say where a value came from, keeps the last of two equal keys
without a word and ends in `RecursionError` on deep nesting. This one reads what VS Code calls
"JSON with Comments" and nothing more: `//` and `/* */` comments, and a comma after the last
element. For plain JSON it returns what `json.loads` returns, except that it refuses what other
JSON parsers refuse too: NaN, infinities and lone surrogates.

Theory of operation: `_Reader` walks the text once, left to right, by regular expressions anchored
at the current offset. Nesting is bounded, so plain recursion is safe. The first mistake in the
syntax ends the reading, since what follows would be guesswork; equal keys are collected.
"""

import math
import re
from bisect import bisect_right
from typing import Final, NoReturn, TypeAlias

import attrs

DEEPEST = 64
SKIP = re.compile(r"(?:[ \t\r\n]+|//[^\r\n]*|/\*.*?\*/)*", re.DOTALL)
NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
WORD = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*")
CHUNK = re.compile(r'[^"\\\x00-\x1f]*')
HEX = re.compile(r"[0-9A-Fa-f]{4}")
LINE_END = re.compile(r"\r\n|\r|\n")
SURROGATE = re.compile(r"[\ud800-\udfff]")
ESCAPES: Final = {
    '"': '"',
    "\\": "\\",
    "/": "/",
    "b": "\b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
}
WORDS: Final[dict[str, bool | None]] = {"true": True, "false": False, "null": None}
LONGEST_NUMBER = 400

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"


@attrs.frozen(eq=False)
class Member:
    """One key of an object and its value."""

    key_offset: int
    value: "Node"


@attrs.frozen(eq=False)
class Node:
    """A value and where it stands.

    Attributes:
        offset: Where the value starts.
        end: Where it has ended.
        value: A scalar, the members of an object, or the elements of an array.
    """

    offset: int
    value: "dict[str, Member] | list[Node] | str | int | float | bool | None"
    end: int

    def plain(self) -> Json:
        """Return the value without offsets, as `json.loads` would."""
        if isinstance(self.value, dict):
            return {key: member.value.plain() for key, member in self.value.items()}
        if isinstance(self.value, list):
            return [element.plain() for element in self.value]
        return self.value


@attrs.frozen
class Duplicate:
    """A key that its object had already.

    Attributes:
        path: The path of the key.
        first: Where it stood first.
        second: Where it stood again.
    """

    path: tuple[str | int, ...]
    first: int
    second: int


class JsonSyntaxError(ValueError):
    """The text is no JSON.

    Attributes:
        offset: The character at fault.
        remedy: What to do about it.
    """

    def __init__(self, offset: int, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.offset = offset
        self.remedy = remedy


class EmptyDocumentError(JsonSyntaxError):
    """There is nothing but white space and comments."""


class Lines:
    """Translates offsets in a text to lines and columns, both counted from 1."""

    def __init__(self, text: str) -> None:
        self._starts = [0, *(match.end() for match in LINE_END.finditer(text))]

    def locate(self, offset: int) -> tuple[int, int]:
        """Return the line and column of the character at `offset`."""
        line = bisect_right(self._starts, offset)
        return line, offset - self._starts[line - 1] + 1


def plain_json(text: str) -> Json:
    """Return what a document says, as `json.loads` would.

    Raises:
        EmptyDocumentError: There is nothing in it.
        JsonSyntaxError: It is no JSON, or nested more than 64 levels deep.
    """
    return read(text)[0].plain()


def read(text: str) -> tuple[Node, list[Duplicate]]:
    """Read one JSON document.

    Args:
        text: The document, without a byte order mark.

    Returns:
        The document, and the keys that occur twice in one object. Of two equal keys the last wins.

    Raises:
        EmptyDocumentError: There is nothing in it.
        JsonSyntaxError: It is no JSON, or nested more than 64 levels deep.
    """
    reader = _Reader(text)
    if not reader.skip():
        raise EmptyDocumentError(0, "is empty")
    node = reader.value(())
    reader.skip()
    if reader.offset < len(text):
        raise JsonSyntaxError(
            reader.offset,
            "unexpected text after the end of the document",
            "Remove it, or look for a bracket closed too early above",
        )
    return node, reader.duplicates


class _Reader:
    """The text, how far it has been read, and the equal keys met on the way."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.offset = 0
        self.duplicates: list[Duplicate] = []

    def skip(self) -> str:
        """Pass over white space and comments; return the next character, or "" at the end."""
        match = SKIP.match(self.text, self.offset)
        self.offset = match.end() if match else self.offset
        if self.text.startswith("/*", self.offset):
            self.fail("this comment never ends", "Close it with */")
        return self.text[self.offset : self.offset + 1]

    def fail(self, message: str, remedy: str = "", *, offset: int | None = None) -> NoReturn:
        raise JsonSyntaxError(self.offset if offset is None else offset, message, remedy)

    def fail_at(self, character: str, expected: str) -> NoReturn:
        """Complain about `character`, where `expected` should be."""
        if not character:
            self.fail(f"the file ends where {expected} should follow", "Close what is open")
        if character == "'":
            self.fail("strings are written in double quotes", "Replace ' by \"")
        shown = character if character.isprintable() else f"U+{ord(character):04X}"
        self.fail(f"expected {expected}, found {shown}")

    def value(self, path: tuple[str | int, ...]) -> Node:
        character = self.skip()
        start = self.offset
        if len(path) > DEEPEST:
            self.fail(f"nested more than {DEEPEST} levels deep")
        return Node(start, self.content(character, path), self.offset)

    def content(
        self, character: str, path: tuple[str | int, ...]
    ) -> "dict[str, Member] | list[Node] | str | int | float | bool | None":
        if character == "{":
            return self.members(path)
        if character == "[":
            return self.elements(path)
        if character == '"':
            return self.string()
        if character == "-" or (character.isascii() and character.isdigit()):
            return self.number()
        return self.word(character)

    def members(self, path: tuple[str | int, ...]) -> dict[str, Member]:
        members: dict[str, Member] = {}
        start = self.offset
        self.offset += 1
        while (character := self.skip()) != "}":
            if character != '"':
                self.fail_at(character, 'a key in double quotes, or "}"')
            key_offset = self.offset
            key = self.string()
            if (character := self.skip()) != ":":
                self.fail_at(character, '":" after the key')
            self.offset += 1
            if key in members:
                first = members[key].key_offset
                self.duplicates.append(Duplicate((*path, key), first, key_offset))
            members[key] = Member(key_offset, self.value((*path, key)))
            self.separator("}", start)
        self.offset += 1
        return members

    def elements(self, path: tuple[str | int, ...]) -> list[Node]:
        elements: list[Node] = []
        start = self.offset
        self.offset += 1
        while self.skip() != "]":
            elements.append(self.value((*path, len(elements))))
            self.separator("]", start)
        self.offset += 1
        return elements

    def separator(self, closing: str, start: int) -> None:
        """Pass over the comma after an element; the last one may do without."""
        character = self.skip()
        if character == ",":
            self.offset += 1
        elif not character:
            opening = self.text[start]
            self.fail(f'this "{opening}" is never closed', f'Add "{closing}"', offset=start)
        elif character != closing:
            self.fail_at(character, f'"," or "{closing}"')

    def string(self) -> str:
        start = self.offset
        self.offset += 1
        parts: list[str] = []
        while True:
            chunk = CHUNK.match(self.text, self.offset)
            if chunk:
                parts.append(chunk.group())
                self.offset = chunk.end()
            character = self.text[self.offset : self.offset + 1]
            if character == '"':
                self.offset += 1
                break
            if character != "\\":
                self.fail_in_string(character, start)
            parts.append(self.escape())
        return self.join_pairs("".join(parts), start)

    def join_pairs(self, text: str, start: int) -> str:
        """Make one character of the two halves of a surrogate pair."""
        if not SURROGATE.search(text):
            return text
        try:
            return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le")
        except UnicodeDecodeError:
            self.fail("half of a surrogate pair is no character", offset=start)

    def fail_in_string(self, character: str, start: int) -> NoReturn:
        if character and character not in "\r\n":
            self.fail("control character in a string", f"Write it as \\u{ord(character):04x}")
        self.fail("this string is not closed on its line", 'Close it with "', offset=start)

    def escape(self) -> str:
        letter = self.text[self.offset + 1 : self.offset + 2]
        if letter == "u":
            digits = HEX.match(self.text, self.offset + 2)
            if not digits:
                self.fail("\\u takes four hexadecimal digits")
            self.offset = digits.end()
            return chr(int(digits.group(), 16))
        if letter not in ESCAPES:
            self.fail("unknown escape in a string", "Write a backslash as \\\\")
        self.offset += 2
        return ESCAPES[letter]

    def number(self) -> int | float:
        match = NUMBER.match(self.text, self.offset)
        if not match or self.text[match.end() : match.end() + 1].isalnum():
            self.fail("this is no JSON number")
        if match.end() - match.start() > LONGEST_NUMBER:
            self.fail(f"numbers of more than {LONGEST_NUMBER} characters are refused")
        whole = match.group(1) is None and match.group(2) is None
        value = int(match.group()) if whole else float(match.group())
        if not whole and math.isinf(value):
            self.fail("this number is too large")
        self.offset = match.end()
        return value

    def word(self, character: str) -> bool | None:
        match = WORD.match(self.text, self.offset)
        if not match:
            self.fail_at(character, "a value")
        if match.group() not in WORDS:
            self.fail(f"{match.group()} is no JSON value", "Write texts in double quotes")
        self.offset = match.end()
        return WORDS[match.group()]
