"""Answers to list requests, prepared once for each state of the routing table.

Implements 2026-07-28, Pagination and Caching. A cursor names the state of the list that it was
made for; once the list has changed it is refused, rather than skipping or repeating items.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import Final

from msgspec import Raw

from onemcp.protocol.errors import InvalidParams
from onemcp.protocol.fields import Fields, join, raw, value_of
from onemcp.protocol.meta import META, SERVER_INFO
from onemcp.protocol.methods import TOOLS, Catalogue
from onemcp.protocol.revisions import Era
from onemcp.protocol.taskdesigns import offering_task
from onemcp.protocol.translation import CACHE_SCOPE, COMPLETE, RESULT_TYPE, TTL, strip_tool

from .table import Section

PAGE_SIZE: Final = 1000
"""How many items one page holds: few clients need more than one."""

_STALE: Final = "the cursor belongs to a list that has changed since; list again from the start"


class ListPages:
    """The pages of one list, in both eras."""

    def __init__(
        self, kind: Catalogue, section: Section, server_info: Raw, page_size: int = PAGE_SIZE
    ) -> None:
        """Prepare a list; its pages are written when they are first asked for."""
        self._server_info = server_info
        self._kind = kind
        self._section = section
        self._page_size = page_size
        self._pages: dict[tuple[int, Era], Raw] = {}
        self._version: str | None = None

    def page(self, params: Fields, era: Era) -> Raw:
        """Return the result of a list request.

        Raises:
            InvalidParams: Its cursor is none of ours, or of a list that has changed.
        """
        start = self._start(params)
        page = self._pages.get((start, era))
        if page is None:
            page = self._pages[start, era] = self._write(start, era)
        return page

    def _start(self, params: Fields) -> int:
        if "cursor" not in params:
            return 0
        cursor = value_of(params, "cursor", str)
        try:
            version, _, start = (
                base64.b64decode(cursor or "", validate=True).decode().partition(":")
            )
            position = int(start)
        except (binascii.Error, ValueError) as error:
            raise InvalidParams("the cursor was not issued here") from error
        if version != self.version:
            raise InvalidParams(_STALE)
        if position % self._page_size or not 0 < position < len(self._section.definitions):
            raise InvalidParams("the cursor was not issued here")
        return position

    @property
    def version(self) -> str:
        """A digest of the list, which cursors carry."""
        if self._version is None:
            digest = hashlib.sha256()
            for definition in self._section.definitions:
                digest.update(definition)
            self._version = digest.hexdigest()[:16]
        return self._version

    def _write(self, start: int, era: Era) -> Raw:
        end = start + self._page_size
        definitions = self._section.definitions[start:end]
        if era is Era.LEGACY and self._kind is TOOLS:
            definitions = tuple(map(strip_tool, definitions))
            routes = list(self._section.routes.values())[start:end]
            if any(route.may_be_task for route in routes):
                definitions = tuple(
                    offering_task(tool) if route.may_be_task else tool
                    for tool, route in zip(definitions, routes, strict=True)
                )
        listed = b",".join(map(bytes, definitions))
        result: Fields = {self._kind.key: Raw(b"[%b]" % listed)}
        if end < len(self._section.definitions):
            cursor = base64.b64encode(f"{self.version}:{end}".encode()).decode()
            result["nextCursor"] = raw(cursor)
        if era is Era.MODERN:
            result[RESULT_TYPE] = COMPLETE
            result[TTL] = raw(self._section.ttl_ms)
            result[CACHE_SCOPE] = raw("public" if self._section.is_public else "private")
            result[META] = join({SERVER_INFO: self._server_info})
        return join(result)
