"""One of the replicas of a backend."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable
from typing import TYPE_CHECKING, Any, Final

from msgspec import Raw

from onemcp import config
from onemcp.protocol import tasks
from onemcp.protocol.fields import Fields, split, value_of
from onemcp.protocol.methods import PROMPTS, PROMPTS_GET, TOOLS, TOOLS_CALL
from onemcp.protocol.questions import REQUEST_STATE

from .backend import Backend
from .call import Call
from .succession import Replaced

if TYPE_CHECKING:
    from .replicas import ReplicatedBackend

_LISTED: Final = {TOOLS_CALL: TOOLS, PROMPTS_GET: PROMPTS}


class Replica(Backend):
    """One of several of a backend.

    Attributes:
        key: What tells it from the others.
        whole: What stands for all of them.
    """

    def __init__(
        self, settings: config.Backend, *, key: str, whole: ReplicatedBackend, **more: Any
    ) -> None:
        """Describe a replica; the other arguments are those of `Backend`."""
        super().__init__(settings, observer=whole, identity=whole.identity, **more)
        self.key = key
        self.whole = whole
        self.pool.interactivity = whole.pool.interactivity  # what one has learned, all know

    @property
    def is_open(self) -> bool:
        """Whether it takes calls just now."""
        return self.is_up and self.standing.is_open and self.breaker.retry_in is None

    def offers(self, call: Call) -> bool:
        """Tell whether it lists what a call names."""
        kind = _LISTED.get(call.method)
        if kind is None:
            return True
        name = value_of(call.params, "name", str)
        return any(item.identity == name for item in self.listings[kind].items)

    def _admits_now(self, call: Call) -> bool:
        if not self.is_open and call.method not in tasks.METHODS:
            raise Replaced(self.whole)
        return super()._admits_now(call)

    def _forget_lists(self) -> None:
        """Keep what is known: others may list it still."""

    def __repr__(self) -> str:
        return f"<Replica {self.key!r} of {self.whole!r}>"


def state_of(fields: Fields) -> Hashable | None:
    """Return what tells the state in a result or a retry from others; None where there is none."""
    state = value_of(fields, REQUEST_STATE, str)
    return None if state is None else hashlib.blake2b(state.encode(), digest_size=16).digest()


def keep_state(backend: Backend, result: Raw) -> None:
    """Take note of the state in a result that wants input, for its retry to find its replica.

    Implements 2026-07-28, Multi Round-Trip Requests, for servers that keep the key of their states
    to themselves, as such do that are written for one process.
    """
    if isinstance(backend, Replica) and (state := state_of(split(result))) is not None:
        backend.whole.keep_state(state, backend)


def replica_of(backend: Backend) -> str:
    """Return the key of a replica; "" for a backend that is none."""
    return backend.key if isinstance(backend, Replica) else ""
