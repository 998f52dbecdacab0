"""Revisions of the Model Context Protocol and the two eras they fall into.

*Modern* revisions carry version, identity and capabilities in every request's ``_meta``;
*legacy* ones open a session with an ``initialize`` handshake
(2026-07-28, "Versioning and Compatibility", Terminology).
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Final

V2024_11_05: Final = "2024-11-05"
V2025_03_26: Final = "2025-03-26"
V2025_06_18: Final = "2025-06-18"
V2025_11_25: Final = "2025-11-25"
V2026_07_28: Final = "2026-07-28"

LEGACY_REVISIONS: Final = (V2024_11_05, V2025_03_26, V2025_06_18, V2025_11_25)
"""Revisions with a handshake and a session, oldest first."""

MODERN_REVISIONS: Final = (V2026_07_28,)
"""Stateless revisions, oldest first."""

REVISIONS: Final = LEGACY_REVISIONS + MODERN_REVISIONS
"""Every revision that onemcp speaks, oldest first."""

LATEST_LEGACY: Final = LEGACY_REVISIONS[-1]
LATEST_MODERN: Final = MODERN_REVISIONS[-1]


class Era(enum.Enum):
    """The two incompatible ways in which MCP peers talk."""

    LEGACY = "legacy"
    MODERN = "modern"


_ERAS: Final[Mapping[str, Era]] = {
    **dict.fromkeys(LEGACY_REVISIONS, Era.LEGACY),
    **dict.fromkeys(MODERN_REVISIONS, Era.MODERN),
}


def era_of(revision: str) -> Era | None:
    """Return the era of a revision, or None for one that onemcp does not speak."""
    return _ERAS.get(revision)


def negotiate_legacy(requested: str) -> str:
    """Choose the revision that answers an ``initialize`` request.

    The requested one where it is legacy and known, else the latest legacy revision
    (2025-11-25, Lifecycle, Version Negotiation).
    """
    return requested if requested in LEGACY_REVISIONS else LATEST_LEGACY


def allows_batches(revision: str) -> bool:
    """Tell whether JSON-RPC batches exist in a revision: only in 2025-03-26."""
    return revision == V2025_03_26
