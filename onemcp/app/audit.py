"""The audit log: who was let in to what, and who was not; one JSON object a line.

It is a file of its own, because it is kept for other reasons than the ordinary log, and for other
people. The process that serves writes to it, and so do the commands that change what it goes by.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias

import attrs

from onemcp.auth.server import Audited, AuditFile, What
from onemcp.config import ConfigurationRejected
from onemcp.control import OperatorActed, PeerRefused
from onemcp.frontend import RequestDenied, TokenAccepted
from onemcp.pinning import DefinitionChanged
from onemcp.telemetry import scrub_text

from .events import KeysRotated, ReloadApplied

Line: TypeAlias = Mapping[str, Any]


class AuditLog:
    """Writes events that belong there; others are passed over. Owned by one task."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        """Write to a file; see `AuditFile`."""
        self._file = AuditFile(path, clock)

    def __call__(self, event: object) -> None:
        """Write one line about an event, if it belongs here. Never raises."""
        line_of = _LINES.get(type(event))
        if line_of is not None:
            self._file.write({name: _fit(name, said) for name, said in line_of(event).items()})


def _fit(name: str, said: object) -> object:
    """Take secrets out of what strangers wrote; why something is refused is in our own words."""
    return scrub_text(said) if isinstance(said, str) and name != "reason" else said


def _accepted(event: TokenAccepted) -> Line:
    who = event.principal
    return {
        "what": What.ACCESS,
        "address": event.address,
        "client": who.client_id,
        "subject": who.subject,
        "resource": event.path,
        "scopes": " ".join(sorted(who.scopes)),
        "grant": who.grant_id,
        "token": who.token_id,
        "issuer": who.issuer,
    }


def _denied(event: RequestDenied) -> Line:
    return {
        "what": What.SCOPE_REFUSED if event.scope else What.ACCESS_REFUSED,
        "address": event.address,
        "client": event.client,
        "subject": event.subject,
        "resource": event.path,
        "scopes": event.scope,
        "reason": event.reason,
    }


def _reloaded(event: ReloadApplied) -> Line:
    return {"what": What.CONFIGURATION, "options": event.changed}


def _rejected(event: ConfigurationRejected) -> Line:
    paths = dict.fromkeys(problem.path for problem in event.problems)
    return {"what": What.CONFIGURATION_REFUSED, "options": list(paths)}


def _rotated(event: KeysRotated) -> Line:
    return {"what": What.KEYS, "how": "age", "reason": f"new key {event.key_id}"}


def _acted(event: OperatorActed) -> Line:
    return {
        "what": f"operator: {event.action}",
        "subject": event.by,
        "backend": event.backend,
        "outcome": event.outcome,
    }


def _changed(event: DefinitionChanged) -> Line:
    return {
        "what": What.DEFINITION,
        "backend": event.backend,
        "resource": f"{event.kind}/{event.item}",
        "how": event.change,
        "outcome": "withheld" if event.withheld else "reported",
    }


def _peer_refused(event: PeerRefused) -> Line:
    return {"what": What.ACCESS_REFUSED, "resource": "control socket", "uid": event.uid}


_LINES: Final[Mapping[type, Callable[[Any], Line]]] = {
    Audited: attrs.asdict,
    TokenAccepted: _accepted,
    RequestDenied: _denied,
    ReloadApplied: _reloaded,
    ConfigurationRejected: _rejected,
    KeysRotated: _rotated,
    OperatorActed: _acted,
    DefinitionChanged: _changed,
    PeerRefused: _peer_refused,
}
