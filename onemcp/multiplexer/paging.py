"""Long text results of tools, given to clients in parts where the configuration asks for that.

Theory of operation: an answer is divided on its way to the client. The first part takes its place,
ends with a notice for the model, and says how to call the tool of :mod:`.pager`, which any client
of any era can; the other parts are kept here, in memory, for a bounded time and in bounded space.
Reading a part doesn't use it up, so a call that was lost can be made again.

Only blocks of text are divided. Everything else of a result, ``structuredContent`` above all, stays
as it is with the first part: it has to fit the tool's ``outputSchema`` (2025-06-18 and later,
Tools, Structured Content). What is announced of tasks to those who listen is not divided.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import attrs
import trio
from msgspec import Raw

from onemcp.backend import Answer, Backend, Caller
from onemcp.protocol import translation
from onemcp.protocol.errors import InvalidParams
from onemcp.protocol.fields import Fields, items, join, raw, split, value_of
from onemcp.protocol.jsonrpc import Response
from onemcp.protocol.methods import TASKS_GET, TASKS_RESULT, TOOLS_CALL
from onemcp.protocol.revisions import Era

from .inquiry import Origin
from .pager import PAGE
from .reply import Immediate, Reply
from .tasks.watched import Watched

if TYPE_CHECKING:
    from .view import View

KEPT: Final = 600.0
"""How long parts are kept after one of them was given out, in seconds."""

MAX_RESULTS: Final = 1024
MAX_OF_ONE: Final = 128
"""Of how many results parts are kept, and of how many of one principal; then the oldest go."""

MAX_BYTES: Final = 64 * 1024 * 1024
MAX_BYTES_OF_ONE: Final = 16 * 1024 * 1024
"""How large these may be together, and those of one principal."""

MAX_ID: Final = 64
"""How long an id is that is looked for, in characters."""

_DIVIDED: Final = frozenset({TOOLS_CALL, TASKS_RESULT, TASKS_GET})


@attrs.frozen
class Holder:
    """Whose a result is, and of what.

    Attributes:
        principal: Who has called.
        endpoint: The view where that was.
        backend: The backend that has answered.
        tool: Its tool.
    """

    principal: str
    endpoint: str | None
    backend: str
    tool: str


@attrs.frozen
class Part:
    """A part of a result.

    Attributes:
        content: Its blocks.
        number: Which one it is, counted from 1.
        count: How many there are.
        start: How many characters of text come before it.
        end: How many have come after it.
        total: How many there are in all.
    """

    content: tuple[Raw, ...]
    number: int
    count: int
    start: int
    end: int
    total: int

    @property
    def size(self) -> int:
        """How large it is, in bytes."""
        return sum(map(len, self.content))


@attrs.frozen
class Page:
    """A part that was found, and where it goes on.

    Attributes:
        holder: Whose it is.
        part: The part.
        following: The id of the next one; None after the last one.
    """

    holder: Holder
    part: Part
    following: str | None


@attrs.define
class _Held:
    holder: Holder
    parts: Sequence[Part]
    size: int
    until: float


class Pages:
    """The parts of results that clients have not asked for yet. Of this process alone."""

    def __init__(self, clock: Callable[[], float] = trio.current_time) -> None:
        """Begin with none; `clock` tells the time in seconds."""
        self._now = clock
        self._held: OrderedDict[str, _Held] = OrderedDict()  # what expires first stands first
        self._size = 0

    def keep(self, holder: Holder, parts: Sequence[Part]) -> str | None:
        """Keep the parts of a result from the second one on.

        Returns:
            The id of the first of them; None where they are too large to be kept.
        """
        size = sum(part.size for part in parts)
        if size > MAX_BYTES_OF_ONE:
            return None
        self._expire()
        key = secrets.token_urlsafe(16)
        self._held[key] = _Held(holder, parts, size, self._now() + KEPT)
        self._size += size
        self._make_room(holder.principal)
        return f"{key}.{parts[0].number}"

    def find(self, page_id: str, principal: str, endpoint: str | None) -> Page | None:
        """Return what a page's id stands for; None where it is none, or kept no more.

        Args:
            page_id: The id.
            principal: Who asks for it.
            endpoint: The view where that is.
        """
        self._expire()
        key, _, number = page_id.rpartition(".")
        held = self._held.get(key) if len(page_id) <= MAX_ID else None
        if held is None or (held.holder.principal, held.holder.endpoint) != (principal, endpoint):
            return None
        part = next((part for part in held.parts if str(part.number) == number), None)
        if part is None:
            return None
        held.until = self._now() + KEPT
        self._held.move_to_end(key)
        following = f"{key}.{part.number + 1}" if part.number < part.count else None
        return Page(held.holder, part, following)

    def __len__(self) -> int:
        return len(self._held)

    def __repr__(self) -> str:
        return f"<Pages results={len(self._held)} bytes={self._size}>"

    def _expire(self) -> None:
        now = self._now()
        while self._held and next(iter(self._held.values())).until <= now:
            self._forget(next(iter(self._held)))

    def _make_room(self, principal: str) -> None:
        own = [key for key, held in self._held.items() if held.holder.principal == principal]
        size = sum(self._held[key].size for key in own)
        while len(own) > MAX_OF_ONE or size > MAX_BYTES_OF_ONE:
            size -= self._held[own[0]].size
            self._forget(own.pop(0))
        while len(self._held) > MAX_RESULTS or self._size > MAX_BYTES:
            self._forget(next(iter(self._held)))

    def _forget(self, key: str) -> None:
        self._size -= self._held.pop(key).size


# --- dividing ------------------------------------------------------------------------------------


def divide(content: Sequence[Raw], characters: int) -> list[Part]:
    """Divide the content of a result into parts.

    A text is divided at the end of a line where there is one in the second half of its part, and
    not at all where it fits into a part of its own. What is not text stays in the first part.

    Args:
        content: The blocks.
        characters: How much text one part may have.
    """
    filled: list[list[Raw]] = [[]]
    lengths = [0]
    for block in content:
        text = _text_of(block)
        if text is None:
            filled[0].append(block)
            continue
        fields, start = split(block), 0
        while start < len(text) or not text:
            end = _end(text, start, characters, characters - lengths[-1])
            if end > start or not text:
                filled[-1].append(join({**fields, "text": raw(text[start:end])}))
                lengths[-1] += end - start
            if end == len(text):
                break
            filled.append([])
            lengths.append(0)
            start = end
    parts, count, total, start = [], len(filled), sum(lengths), 0
    for number, (blocks, length) in enumerate(zip(filled, lengths, strict=True), start=1):
        parts.append(Part(tuple(blocks), number, count, start, start + length, total))
        start += length
    return parts


def _text_of(block: Raw) -> str | None:
    try:
        fields = split(block)
    except InvalidParams:
        return None
    return value_of(fields, "text", str) if value_of(fields, "type", str) == "text" else None


def _end(text: str, start: int, most: int, room: int) -> int:
    """Return where a part of a text ends of which one part takes so much, and this one so much."""
    left = len(text) - start
    if left <= room:
        return len(text)
    if room < most and (left <= most or room < most // 2):
        return start  # it rather begins on a part of its own
    end = start + room
    line = text.rfind("\n", start + room // 2, end)
    return end if line < 0 else line + 1


# --- serving -------------------------------------------------------------------------------------


def paged(
    view: View, reply: Reply, backend: Backend, tool: str, *, method: str, caller: Caller
) -> Reply:
    """Return a reply whose result is given in parts, if its backend is configured so.

    Args:
        view: Where the request was sent.
        reply: The reply.
        backend: The backend that answers.
        tool: Its tool whose result it is.
        method: What was called.
        caller: Who has called.
    """
    characters = backend.config.paging.characters
    if characters is None or method not in _DIVIDED:
        return reply
    holder = Holder(caller.principal, view.name, backend.name, tool)
    return Watched(reply, partial(_on_answer, view, method, characters, holder))


async def _on_answer(
    view: View, method: str, characters: int, holder: Holder, answer: Answer
) -> Answer:
    await trio.lowlevel.checkpoint_if_cancelled()
    if not isinstance(answer, Response) or len(answer.result) <= characters:
        return answer
    pager = view.contents.table.pager
    if not pager:
        return answer  # nobody could read on
    shorten = partial(_shortened, view.multiplexer.pages, pager, characters, holder)
    try:
        if method != TASKS_GET:
            return Response(answer.id, shorten(answer.result))
        task = split(answer.result)  # of the extension: the result is part of it (Tasks, Polling)
        if "result" not in task:
            return answer
        return Response(answer.id, join({**task, "result": shorten(task["result"])}))
    except InvalidParams:
        return answer  # as the backend has it


def _shortened(pages: Pages, pager: str, characters: int, holder: Holder, result: Raw) -> Raw:
    """Return the first part of a result, and keep the others.

    Raises:
        InvalidParams: It is no object, or its content no array.
    """
    fields = split(result)
    if "content" not in fields:
        return result
    first, *rest = divide(items(fields["content"], "content"), characters)
    if not rest:
        return result
    following = pages.keep(holder, rest)
    return join({**fields, "content": _content(first, following, pager)})


def _content(part: Part, following: str | None, pager: str) -> Raw:
    which = f"part {part.number} of {part.count} of a long result"
    where = f"characters {part.start + 1} to {part.end} of {part.total}"
    if following is not None:
        argument = bytes(raw({PAGE: following})).decode()
        more = (
            f'There is more: call the tool "{pager}" with the arguments {argument} to get the next '
            f"part. It is kept for {KEPT / 60:g} minutes."
        )
    elif part.number < part.count:
        more = "The rest is too large to be kept: call the tool again, and ask for less at once."
    else:
        more = "It is the last one."
    return raw([*part.content, _text(f"[onemcp: this is {which}: {where}. {more}]")])


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


async def read_on(view: View, origin: Origin, params: Fields, caller: Caller) -> Reply:
    """Serve a call of the tool that gives the next part of a result.

    What can't be given is said in a result, for the model to read (Tools, Error Handling).

    Raises:
        InvalidParams: The arguments are no object.
    """
    await trio.lowlevel.checkpoint_if_cancelled()
    arguments = split(params.get("arguments", Raw(b"{}")), "params.arguments")
    page_id = value_of(arguments, PAGE, str)
    pages, contents = view.multiplexer.pages, view.contents
    page = None if page_id is None else pages.find(page_id, caller.principal, view.name)
    if page is not None and contents.shows_tool(page.holder.backend, page.holder.tool):
        fields = {"content": _content(page.part, page.following, contents.table.pager)}
    else:
        said = (
            "There is no such page here: its id is not what a result has given, or it has not "
            f"been read for {KEPT / 60:g} minutes, or newer results took its place. Call the tool "
            "that gave the result again."
        )
        if page_id is None:
            said = f'The argument "{PAGE}" is missing: it is the id that the part before has given.'
        fields = {"content": raw([_text(said)]), "isError": raw(value=True)}
    if caller.era is Era.MODERN:
        fields = translation.complete(TOOLS_CALL, fields, contents.server_info)
    return Immediate(Response(origin.id, join(fields)))
