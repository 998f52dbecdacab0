"""Updates of resources that several replicas announce."""

from __future__ import annotations

import trio
from msgspec import Raw

from onemcp.backend.coalescing import GATHER, MAX_GATHERED, Coalescer
from onemcp.protocol.fields import raw
from onemcp.protocol.jsonrpc import Notification
from onemcp.protocol.methods import RESOURCE_UPDATED

BOTH = {"1", "2"}


def update(uri: str, **more: object) -> Notification:
    return Notification(RESOURCE_UPDATED, raw({"uri": uri, **more}))


async def test_each_resource_waits_for_itself_alone(autojump_clock, nursery):
    told: list[tuple[float, Notification]] = []
    updates = Coalescer(lambda note: told.append((trio.current_time(), note)))
    await nursery.start(updates.run)
    begun = trio.current_time()
    first, again, other, late = (update("a"), update("a", n=1), update("b"), update("a", n=2))
    assert not updates.add(first, "1", BOTH)
    await trio.sleep(GATHER / 2)
    assert updates.add(again, "1", BOTH)
    assert not updates.add(other, "1", BOTH)
    await trio.sleep(GATHER)
    assert not updates.add(late, "2", BOTH)  # a client may have read what it was before
    await trio.sleep(2 * GATHER)
    expected = [(GATHER, again), (1.5 * GATHER, other), (2.5 * GATHER, late)]
    assert told == [(begun + after, note) for after, note in expected]


async def test_what_has_nothing_to_wait_for_is_told_at_once():
    told: list[Notification] = []
    updates = Coalescer(told.append)
    malformed = Notification(RESOURCE_UPDATED, Raw(b'{"uri": 1}'))
    hopeless = Notification(RESOURCE_UPDATED, Raw(b"{"))
    for note in (update("a"), malformed, hopeless):
        updates.add(note, "1", {"1"} if note is not malformed else BOTH)
    assert told == [update("a"), malformed, hopeless]


async def test_no_more_wait_than_there_is_room_for():
    told: list[Notification] = []
    updates = Coalescer(told.append)
    for number in range(MAX_GATHERED + 1):
        updates.add(update(str(number)), "1", BOTH)
    assert told == [update(str(MAX_GATHERED))]
    assert repr(updates) == f"<Coalescer of {MAX_GATHERED} updates>"
