"""What operators are told of pins, and what they approve, as JSON has it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from onemcp import config
from onemcp.pinning import Change, Definition, Key, Pins, StaleApproval
from onemcp.state import StateError

from .errors import ControlError

KINDS: Final = ("tools", "prompts")


class _Item(msgspec.Struct, forbid_unknown_fields=True):
    kind: str
    name: str
    sha256: str


class _Wanted(msgspec.Struct, forbid_unknown_fields=True):
    items: list[_Item]


def told(settings: config.Backend, pins: Pins | None) -> dict[str, Any]:
    """Return what is pinned of a backend, and what is not as it was approved.

    Args:
        settings: How it is configured.
        pins: Its pins; None where it is disabled.
    """
    changes = () if pins is None else sorted(pins.changes.items())
    return {
        "backend": settings.name,
        "pin": settings.pin,
        "problem": None if pins is None else pins.problem,
        "pinned": {kind: 0 if pins is None else pins.count(kind) for kind in KINDS},
        "changes": [_change(each) for _, each in changes],
    }


def read(body: bytes) -> Mapping[Key, str]:
    """Read what is to be approved: ``{"items": [{"kind", "name", "sha256"}, ...]}``.

    Raises:
        ControlError: It can't be read.
    """
    try:
        wanted = msgspec.json.decode(body, type=_Wanted)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ControlError(400, "body", f"the body is no list of items: {error}") from error
    return {(item.kind, item.name): item.sha256 for item in wanted.items}


async def carry_out(pins: Pins, wanted: Mapping[Key, str]) -> list[dict[str, Any]]:
    """Approve, and return what has been.

    Raises:
        ControlError: Something looks different again, or it can't be written down.
    """
    try:
        return [_change(each) for each in await pins.approve(wanted)]
    except StaleApproval as error:
        raise ControlError(409, "changed_again", str(error)) from error
    except StateError as error:
        raise ControlError(409, "not_possible", str(error)) from error


def _change(change: Change) -> dict[str, Any]:
    return {
        "kind": change.kind,
        "name": change.name,
        "change": change.how.value,
        "withheld": change.is_withheld,
        "sha256": change.now.digest,
        "pinned": None if change.pinned is None else _shown(change.pinned),
        "now": _shown(change.now),
    }


def _shown(definition: Definition) -> dict[str, Any]:
    shown = definition.shown
    return {"sha256": definition.digest} if shown is None else dict(shown)
