"""Compare the manifest with the specification itself: what is new, changed, gone.

    python -m tests.requirements.check_source PATH

PATH is a copy of the repository `modelcontextprotocol/modelcontextprotocol`. Its text is not kept
here, only a fingerprint of each sentence that has a keyword of RFC 2119 in capitals. So this is
no test that runs by itself, but what a maintainer runs when the specification has been edited.

Sentences are looked for in the pages and in the comments of `schema.ts`. Left out are
`schema.mdx`, which is made from `schema.ts`, and `changelog.mdx`, which repeats the pages.
"""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

import attrs

from tests.requirements.manifest import MANIFEST, REVISION, Requirement, load

LEFT_OUT: Final = frozenset({"schema", "changelog"})

KEYWORD: Final = re.compile(
    r"\b(MUST NOT|MUST|SHALL NOT|SHALL|REQUIRED|SHOULD NOT|SHOULD|NOT RECOMMENDED|RECOMMENDED)"
    r"\b(?!-)"
)
LEVELS: Final = {
    "MUST": "must",
    "SHALL": "must",
    "REQUIRED": "must",
    "MUST NOT": "must-not",
    "SHALL NOT": "must-not",
    "SHOULD": "should",
    "RECOMMENDED": "should",
    "SHOULD NOT": "should-not",
    "NOT RECOMMENDED": "should-not",
}

HEADING: Final = re.compile(r"#{1,6} +(.+)")
ITEM: Final = re.compile(r"^\s*(?:[-*+]|\d+[.)])\s+")
TAG: Final = re.compile(r"</?[A-Za-z][^>\n]*>")
LINK: Final = re.compile(r"!?\[([^\]]*)\](?:\([^)]*\)|\[[^\]]*\])")
EMPHASIS: Final = re.compile(r"(?<![\w*])([*_])(?=\S)([^*_]+)(?<=\S)\1(?![\w*])")
END: Final = re.compile(r"(?<!e\.g\.)(?<!i\.e\.)(?<=[.!?])[\"')*]*\s+(?=[^a-z])")
COMMENT: Final = re.compile(r"/\*\*(.*?)\*/\s*([^\n]*)", re.DOTALL)
DECLARED: Final = re.compile(r"(?:export )?(interface|type|const)? *[\"']?([\w/.]+)")


@attrs.frozen
class Sentence:
    """A sentence of the specification that asks for something.

    Attributes:
        page: Path of the page under the revision, without its suffix.
        section: Its heading; in `schema`, what the comment belongs to.
        text: Without markup, spaces made single.
        levels: What its keywords ask for.
    """

    page: str
    section: str
    text: str
    levels: frozenset[str]

    @property
    def fingerprint(self) -> str:
        """What the manifest keeps of the text."""
        return hashlib.sha256(self.text.lower().encode()).hexdigest()[:10]


def plain(markup: str) -> str:
    """Return text without links, emphasis, code marks and line breaks."""
    text = EMPHASIS.sub(r"\2", LINK.sub(r"\1", TAG.sub(" ", markup)))
    return " ".join(text.replace("**", "").replace("`", "").split())


@attrs.frozen
class Block:
    """A paragraph, a list item or a row of a table, under its heading.

    Attributes:
        indent: Columns before its first character.
        item: Whether it is one of a list.
    """

    section: str
    text: str
    indent: int
    item: bool


def blocks(lines: Iterable[str]) -> Iterator[Block]:
    """Yield the blocks of a page, without code."""
    section, block, fenced = "", list[str](), False
    for line in [*lines, ""]:
        if line.lstrip().startswith(("```", "~~~")):
            fenced = not fenced
        if fenced or line.lstrip().startswith(("```", "~~~")):
            continue
        heading = HEADING.match(line)
        starts = heading or ITEM.match(line) or line.lstrip().startswith("|")
        if block and (starts or not line.strip()):
            first = block[0]
            indent = len(first) - len(first.lstrip())
            text = plain(ITEM.sub("", " ".join(block)))
            yield Block(section, text, indent, item=ITEM.match(first) is not None)
            block = []
        if heading:
            section = plain(heading[1])
        elif line.strip():
            block.append(line)


def sentences(page: str, lines: Iterable[str]) -> list[Sentence]:
    """Return what a page asks for.

    A sentence that ends in a colon is followed by the list it introduces, because the list is
    part of what it asks for.
    """
    found: list[Sentence] = []
    introducing: dict[int, int] = {}  # the indent of the innermost list: index into `found`
    for block in blocks(lines):
        reach = block.indent if block.item else block.indent - 1
        introducing = {
            indent: index
            for indent, index in introducing.items()
            if indent < reach and found[index].section == block.section
        }
        for index in introducing.values():
            found[index] = attrs.evolve(found[index], text=f"{found[index].text} {block.text}")
        for text in END.split(block.text):
            if levels := frozenset(LEVELS[word] for word in KEYWORD.findall(text)):
                found.append(Sentence(page, block.section, text, levels))
                if text.endswith(":"):
                    introducing[reach] = len(found) - 1
    return found


def comments(source: str) -> Iterator[Sentence]:
    """Yield what the comments of `schema.ts` ask for; the section is what they belong to."""
    owner = ""
    for match in COMMENT.finditer(source):
        kind, name = DECLARED.match(match[2]).groups() if DECLARED.match(match[2]) else (None, "")
        owner = name if kind else owner
        section = owner if kind else f"{owner}.{name}"
        lines = [re.sub(r"^\s*\* ?", "", line) for line in match[1].splitlines()]
        for sentence in sentences("schema", lines):
            yield attrs.evolve(sentence, section=section)


def read(repository: Path) -> list[Sentence]:
    """Return all that the revision asks for, in the order of pages and sentences."""
    root = repository / "docs" / "specification" / REVISION
    found: list[Sentence] = []
    for path in sorted(root.rglob("*.mdx")):
        page = path.relative_to(root).with_suffix("").as_posix()
        if page not in LEFT_OUT:
            found += sentences(page, path.read_text(encoding="utf-8").splitlines())
    schema = repository / "schema" / REVISION / "schema.ts"
    return [*found, *comments(schema.read_text(encoding="utf-8"))]


def compare(found: Iterable[Sentence], entries: Iterable[Requirement]) -> list[str]:
    """Say what the manifest lacks, and what it has that the specification has not.

    A sentence that was edited is told as both, one below the other where its section is the same.
    """
    listed = {(each.page, each.section, each.source, each.level): each.id for each in entries}
    there: dict[tuple[str, str, str, str], str] = {}
    for sentence in found:
        for level in sentence.levels:
            key = (sentence.page, sentence.section, sentence.fingerprint, level)
            there[key] = sentence.text
    said = [(key, f"GONE {listed[key]} ({key[3]})") for key in listed.keys() - there.keys()]
    said += [
        (key, f"NEW  {key[0]} # {key[1]} ({key[3]}, source {key[2]}): {there[key]}")
        for key in there.keys() - listed.keys()
    ]
    return [text for _, text in sorted(said)]


def main(arguments: Sequence[str]) -> int:
    """Compare; exit with 1 where they differ."""
    if len(arguments) != 1:
        print(__doc__)
        return 2
    said = compare(read(Path(arguments[0])), load(MANIFEST))
    print("\n".join(said) or "The manifest has all that the specification asks for.")
    return 1 if said else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
