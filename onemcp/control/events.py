"""What operators do, as typed events: the log and the audit log have them."""

from __future__ import annotations

import attrs


@attrs.frozen
class OperatorActed:
    """An operator has done something, or tried to.

    Attributes:
        action: What, such as ``restart``.
        by: Who: the subject of a token, or a user of this machine.
        backend: With which backend, if with one.
        outcome: What came of it.
    """

    action: str
    by: str
    backend: str | None
    outcome: str


@attrs.frozen
class PeerRefused:
    """Somebody has connected to the control socket who may not.

    Attributes:
        uid: The user id, or None if the kernel didn't tell.
    """

    uid: int | None
