"""What happens in the multiplexer, as typed events."""

from __future__ import annotations

from typing import TypeAlias

import attrs

from .table import Conflict


@attrs.frozen
class ConflictsChanged:
    """Other names or URIs than before are exposed by several backends.

    Attributes:
        conflicts: All of them; empty when the last one has gone.
    """

    conflicts: tuple[Conflict, ...]


MultiplexerEvent: TypeAlias = ConflictsChanged
