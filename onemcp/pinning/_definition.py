"""What a model gets to see of a tool or a prompt, and its fingerprint. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import attrs
import msgspec
from msgspec import Raw

from onemcp.protocol.fields import MALFORMED
from onemcp.protocol.methods import PROMPTS, TOOLS, Catalogue

PINNED: Final[Mapping[Catalogue, tuple[str, ...]]] = MappingProxyType(
    {
        TOOLS: ("name", "title", "description", "inputSchema", "outputSchema", "annotations"),
        PROMPTS: ("name", "title", "description", "arguments"),
    }
)
"""What is pinned, and which members of it: those that reach a model, or decide what is asked first.

Resources and their templates are not: they are data, which is made to change, and no instructions.
"""

LARGEST: Final = 262_144
"""How large a definition may be to be kept for comparison, in bytes; of others the digest is."""

_KINDS: Final = MappingProxyType({kind.key: kind for kind in PINNED})


@attrs.frozen
class Definition:
    """What a tool or prompt looks like.

    Attributes:
        digest: SHA-256 of its canonical form, in hexadecimal: members sorted, no whitespace, what
            is no one's business left out. The order of members and how they are written makes
            no difference.
        shown: What a model gets to see; None where that is too large to be kept.
    """

    digest: str
    shown: Mapping[str, Any] | None = attrs.field(default=None, eq=False)


def define(kind: str, source: Raw) -> Definition:
    """Return what an item looks like.

    Args:
        kind: What it is: ``tools`` or ``prompts``.
        source: The whole item, undecoded.
    """
    try:
        decoded = msgspec.json.decode(source, type=dict[str, Any])
        members = PINNED[_KINDS[kind]]
        shown = {name: decoded[name] for name in members if name in decoded}
        canonical = msgspec.json.encode(shown, order="sorted")
    except MALFORMED:
        # Too strange to be compared by what it means: then by what it is.
        return Definition(_digest(bytes(source)))
    return Definition(_digest(canonical), shown if len(canonical) <= LARGEST else None)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
