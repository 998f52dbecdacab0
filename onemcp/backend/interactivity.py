"""Which calls of a backend are known to ask their client something.

It is learned from questions that come on a shared channel, outlives connections, and makes such
calls lease an instance of the backend from then on. A question that may belong to several calls
makes all of them suspects; a suspect that then asks nothing, alone on its instance, several times,
is one no more.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, TypeAlias

from onemcp.protocol.fields import value_of
from onemcp.protocol.methods import NAMED

from .call import Call

SUSPICION: Final = 8
"""How many calls that ask nothing clear a suspect."""

CERTAIN: Final = 0
MAX_KNOWN: Final = 1024
"""How many are remembered; the one that was found out first is forgotten first."""

Key: TypeAlias = tuple[str, str]
"""A method, and the name or URI that it is called with."""


class Interactivity:
    """What is known of one backend's calls."""

    def __init__(self, configured: bool | None) -> None:  # noqa: FBT001 - it is the option's value
        """Know nothing yet.

        Args:
            configured: Whether all calls are interactive, or none; None to find out.
        """
        self._configured = configured
        self._known: dict[Key, int] = {}
        self._is_needed = False

    def expects(self, call: Call, *, is_shared: bool) -> bool:
        """Tell whether a call is expected to ask something that only its client may be asked.

        Args:
            call: The call.
            is_shared: Whether nothing on the connection tells whose a question is.
        """
        if self._configured is False or not (is_shared or self._is_needed):
            return False
        known = self._configured or (bool(self._known) and _key(call) in self._known)
        return known and call.method in NAMED and call.caller.can_be_asked

    def learn(self, calls: Iterable[Call]) -> list[Key]:
        """Take note of a question on a shared channel.

        Args:
            calls: Those that it may belong to.

        Returns:
            What was not known before.
        """
        self._is_needed = True
        keys = {key for call in calls if (key := _key(call)) is not None}
        if len(keys) == 1:
            (key,) = keys
            is_new = key not in self._known
            self._remember(key, CERTAIN)
            return [key] if is_new else []
        if any(self._known.get(key) == CERTAIN for key in keys):
            return []  # that one explains it
        found = sorted(key for key in keys if key not in self._known)
        for key in keys:
            self._remember(key, SUSPICION)
        return found

    def clear(self, call: Call) -> None:
        """Take note that a call has asked nothing, though it was alone on its instance."""
        key = _key(call)
        if key is not None and self._known.get(key, CERTAIN) != CERTAIN:
            self._known[key] -= 1
            if self._known[key] == CERTAIN:
                del self._known[key]

    def adopt(self, other: Interactivity) -> None:
        """Take over what is known of a backend that this one's replaces."""
        self._known.update(other._known)
        self._is_needed = other._is_needed

    def __repr__(self) -> str:
        return f"<Interactivity known={len(self._known)}>"

    def _remember(self, key: Key, suspicion: int) -> None:
        if key not in self._known and len(self._known) >= MAX_KNOWN:
            del self._known[next(iter(self._known))]
        self._known[key] = suspicion


def _key(call: Call) -> Key | None:
    parameter = NAMED.get(call.method)
    name = None if parameter is None else value_of(call.params, parameter, str)
    return None if name is None else (call.method, name)
