"""The requirements of the specification that concern onemcp, as data.

Each page of the specification has a file of its own under `2026-07-28/`. Each requirement says in
our own words what is asked, of whom, and either which tests pin it, or why it doesn't apply to
onemcp, or which issue brings it, or which other one it repeats.
"""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import attrs

REVISION: Final = "2026-07-28"
ROOT: Final = Path(__file__).parents[2]
MANIFEST: Final = Path(__file__).parent / REVISION

LEVELS: Final = frozenset({"must", "must-not", "should", "should-not"})
BOUND: Final = frozenset(
    {
        "author",  # of a server's tools, prompts and resources, or of an extension
        "authorization-server",
        "client",
        "host",  # what people use, around a client
        "intermediary",
        "server",
        "specification",  # itself
    }
)
STATES: Final = ("tests", "not_applicable", "planned", "repeats")


@attrs.frozen
class Requirement:
    """One thing that the specification asks for.

    Attributes:
        id: Page, section and number, as in ``basic/transports/stdio#shutdown-1``.
        level: One of ``LEVELS``.
        binds: Whom it binds, of ``BOUND``. To its clients onemcp is a server, to its backends a
            client, and between them an intermediary.
        section: The heading that it stands under; in the schema, what it is a comment of.
        text: What is asked, in our own words.
        source: Fingerprint of the sentence; see `check_source`.
        tests: The tests that pin it, as pytest names them, without parameters.
        not_applicable: Why it doesn't apply, or isn't followed.
        planned: The issue that brings it.
        repeats: The id of the requirement that says the same elsewhere, and what holds for it.
    """

    id: str
    level: str
    binds: tuple[str, ...]
    section: str
    text: str
    source: str
    tests: tuple[str, ...] = ()
    not_applicable: str = ""
    planned: str = ""
    repeats: str = ""

    @property
    def page(self) -> str:
        """The page that it stands on."""
        return self.id.partition("#")[0]

    @property
    def state(self) -> str:
        """Which of ``STATES`` it is in."""
        return next(state for state in STATES if getattr(self, state))


class Invalid(ValueError):
    """The manifest says something that can't be."""


def read(table: Mapping[str, Any], page: str) -> Requirement:
    """Read one entry of a page's file.

    Raises:
        Invalid: What is wrong with it.
    """
    where = table.get("id", f"an entry of {page}")
    unknown = table.keys() - {field.name for field in attrs.fields(Requirement)}
    if unknown:
        raise Invalid(f"{where}: {sorted(unknown)} mean nothing")
    entry = Requirement(
        **{key: tuple(value) if isinstance(value, list) else value for key, value in table.items()}
    )
    if entry.page != page:
        raise Invalid(f"{where}: the id must begin with {page}#")
    if entry.level not in LEVELS:
        raise Invalid(f"{where}: level {entry.level!r} is none of {sorted(LEVELS)}")
    if not entry.binds or not BOUND.issuperset(entry.binds):
        raise Invalid(f"{where}: binds {entry.binds!r} must be some of {sorted(BOUND)}")
    if not (entry.text and entry.source):
        raise Invalid(f"{where}: text and source must be there")
    if sum(bool(getattr(entry, state)) for state in STATES) != 1:
        raise Invalid(f"{where}: exactly one of {', '.join(STATES)} must be there")
    return entry


def load(folder: Path = MANIFEST) -> list[Requirement]:
    """Read the files of all pages, in order.

    Raises:
        Invalid: What is wrong with one of them.
    """
    return _checked(_entries(folder))


def _entries(folder: Path) -> Iterator[Requirement]:
    for path in sorted(folder.rglob("*.toml")):
        page = path.relative_to(folder).with_suffix("").as_posix()
        document = tomllib.loads(path.read_text(encoding="utf-8"))
        if document.keys() != {"requirement"}:
            raise Invalid(f"{page}: a file holds [[requirement]] tables and nothing else")
        for table in document["requirement"]:
            yield read(table, page)


def _checked(entries: Iterable[Requirement]) -> list[Requirement]:
    found = list(entries)
    repeated = [key for key, count in Counter(entry.id for entry in found).items() if count > 1]
    if repeated:
        raise Invalid(f"ids are used more than once: {repeated}")
    originals = {entry.id for entry in found if not entry.repeats}
    for entry in found:
        if entry.repeats and entry.repeats not in originals:
            raise Invalid(f"{entry.id}: {entry.repeats} is not there, or a repetition itself")
    return found
