"""Calls that wait for a place: first come first served for each principal, who take turns."""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterator

import attrs
import trio

from onemcp.protocol.errors import ProtocolError


@attrs.define(eq=False)
class Waiter:
    """A call that waits for a place.

    Attributes:
        backend: Where it goes.
        principal: Whose it is.
        number: Which one it is of all that have ever waited.
        since: When it came, by Trio's clock.
        decided: Set when it has a place, or won't get any.
        error: Why it won't, or None.
    """

    backend: str
    principal: str
    number: int
    since: float
    decided: trio.Event = attrs.field(factory=trio.Event)
    error: ProtocolError | None = None


class WaitingLine:
    """All calls that wait.

    Every principal has a line of its own for each backend, so that a backend without a free place
    holds up nothing else.
    """

    def __init__(self) -> None:
        """Begin with nobody waiting."""
        # The principals in the order of their turns; each one's backends, oldest call first.
        self._lines: OrderedDict[str, dict[str, deque[Waiter]]] = OrderedDict()
        self._of_principal: Counter[str] = Counter()
        self._of_backend: Counter[str] = Counter()
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Waiter]:
        return (each for lines in self._lines.values() for line in lines.values() for each in line)

    def of_principal(self, principal: str) -> int:
        """How many calls of a principal wait."""
        return self._of_principal[principal]

    def of_backend(self, backend: str) -> int:
        """How many calls wait for a backend."""
        return self._of_backend[backend]

    def add(self, waiter: Waiter) -> None:
        """Let a call wait behind all others of its principal."""
        lines = self._lines.setdefault(waiter.principal, {})
        lines.setdefault(waiter.backend, deque()).append(waiter)
        self._of_principal[waiter.principal] += 1
        self._of_backend[waiter.backend] += 1
        self._length += 1

    def remove(self, waiter: Waiter) -> None:
        """Let a call wait no more."""
        lines = self._lines[waiter.principal]
        line = lines[waiter.backend]
        line.remove(waiter)
        if not line:
            del lines[waiter.backend]
        if not lines:
            del self._lines[waiter.principal]
        for counter, key in (
            (self._of_principal, waiter.principal),
            (self._of_backend, waiter.backend),
        ):
            counter[key] -= 1
            if not counter[key]:
                del counter[key]
        self._length -= 1

    def take_next(
        self, has_room_for: Callable[[str], bool], has_room_at: Callable[[str], bool]
    ) -> Waiter | None:
        """Return whose turn it is, who waits no more then; None where nobody can have a place.

        Args:
            has_room_for: Tells whether a principal may have another call under way.
            has_room_at: Tells whether a backend may.
        """
        for principal, lines in self._lines.items():
            if not has_room_for(principal):
                continue
            heads = [line[0] for backend, line in lines.items() if has_room_at(backend)]
            if heads:
                chosen = min(heads, key=lambda waiter: waiter.number)
                self._lines.move_to_end(principal)
                self.remove(chosen)
                return chosen
        return None

    def newest_of_the_greediest(self, backend: str | None) -> Waiter:
        """Return the call that came last of the principal with the most, here or at a backend."""

        def size(lines: dict[str, deque[Waiter]]) -> int:
            return len(lines.get(backend, ())) if backend else sum(map(len, lines.values()))

        greediest = max(self._lines.values(), key=size)
        lines = [greediest[backend]] if backend else list(greediest.values())
        return max((line[-1] for line in lines), key=lambda waiter: waiter.number)

    def size_of(self, principal: str, backend: str | None) -> int:
        """How many calls of a principal wait, here or for a backend."""
        if backend is None:
            return self._of_principal[principal]
        return len(self._lines.get(principal, {}).get(backend, ()))
