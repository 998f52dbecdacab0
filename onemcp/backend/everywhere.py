"""What is subscribed to at all replicas of a backend.

Nothing tells at which of them something changes that is theirs alone, so each is asked for all that
is wanted, and keeps that as any backend does. The replica whose lists clients see has the say on
whether something can be subscribed to; where another one refuses it, nothing is heard from there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from .call import Caller
from .upstream import Upstream


class Everywhere(Upstream):
    """The subscriptions at all replicas of one backend."""

    def __init__(
        self,
        caller: Caller,
        replicas: Callable[[], Iterable[Upstream]],
        leader: Callable[[], Upstream],
    ) -> None:
        """Subscribe as `caller`.

        Args:
            caller: Onemcp as a client.
            replicas: Returns what is subscribed to at each of them.
            leader: Returns that of the one whose lists clients see.
        """
        super().__init__(caller, lambda _: None)
        self._replicas = replicas
        self._leader = leader

    def adopt(self, other: Upstream) -> None:
        """Take over what another backend's clients want, when this one replaces it."""
        super().adopt(other)
        for each in self._replicas():
            each.adopt(other)

    def want(self, uri: str) -> None:
        """Want to hear of a resource, on behalf of one client more."""
        super().want(uri)
        for each in self._replicas():
            each.want(uri)

    async def confirm(self, uri: str) -> None:
        """Wait until a resource that is wanted is subscribed to at the leader, if that is there.

        Raises:
            RemoteError: It refuses the subscription.
        """
        await self._leader().confirm(uri)

    def remove(self, uri: str) -> None:
        """Want to hear of a resource no longer, on behalf of one client."""
        super().remove(uri)
        for each in self._replicas():
            each.remove(uri)
