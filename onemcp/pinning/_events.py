"""What happens to pins, as typed events: logs, the audit log, metrics and tests read these."""

from __future__ import annotations

import attrs


@attrs.frozen
class DefinitionsPinned:
    """What a backend lists was seen for the first time, and is trusted from now on.

    Attributes:
        backend: Its name.
        kind: What was listed: ``tools`` or ``prompts``.
        count: How many.
    """

    backend: str
    kind: str
    count: int


@attrs.frozen
class DefinitionChanged:
    """A tool or prompt doesn't look as it did when it was approved, or is new.

    Attributes:
        backend: Its backend.
        kind: What it is: ``tools`` or ``prompts``.
        item: Its name there.
        change: ``changed`` or ``new``.
        withheld: Whether it is kept from clients until it is approved.
    """

    backend: str
    kind: str
    item: str
    change: str
    withheld: bool


@attrs.frozen
class PinsUnusable:
    """What a backend's tools looked like can't be read, or not be written down.

    Attributes:
        backend: The backend.
        reason: Why, and what to do.
        withheld: Whether all of them are kept from clients until that is mended.
    """

    backend: str
    reason: str
    withheld: bool
