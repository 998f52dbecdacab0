"""How the status page says things: times, states and events in words. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from onemcp.telemetry import scrub_text

from .explorer import cut

PARTS: Final = ("summary", "configuration", "tree", "incidents", "calls", "waiting", "sessions")
"""What of the first page is told live, besides the cards of the backends."""

MINUTE: Final = 60.0

LONGEST: Final = 300
"""How many characters of something that a backend has said are shown in one line."""

_STATES: Final[Mapping[str, str]] = {
    "up": "good",
    "running": "good",
    "ok": "good",
    "starting": "busy",
    "restarting": "busy",
    "stopping": "busy",
    "degraded": "busy",
    "needs-login": "busy",
    "needs_login": "busy",
    "paused": "bad",
    "down": "bad",
    "failed": "bad",
    "unavailable": "bad",
}
_RELOADED: Final[Mapping[str, str]] = {
    "applied": "The configuration file has been read, and is in force.",
    "unchanged": "The configuration file has been read; nothing has changed.",
    "rejected": "The configuration file can't be used. What was in force before stays so.",
}
_ACTED: Final[Mapping[str, str]] = {
    "restart": "has been restarted",
    "start": "has been started",
    "stop": "has been stopped",
}
_DURATIONS: Final = frozenset({"retry_in", "seconds"})
_SHOWN_OTHERWISE: Final = frozenset(
    {"action", "backend", "by", "child", "event", "generation", "supervisor", "time"}
)


def reloaded(outcome: str) -> str:
    """Tell what came of reading the configuration file."""
    return _RELOADED.get(outcome, f"The configuration file has been read: {outcome}.")


def acted(action: str, backend: str, state: str) -> str:
    """Tell what came of an action."""
    return f"{backend} {_ACTED[action]}. It is {state} now."


def sentence(text: str) -> str:
    """Write a message as a sentence."""
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith('?') else '.'}"


def tone(state: str) -> str:
    """Return whether a state is good, bad, on its way, or neither."""
    return _STATES.get(state, "idle")


def duration(seconds: float | None) -> str:
    """Write how long something takes."""
    if seconds is None:
        return "none"
    if seconds < 1:
        return f"{_rounded(1000 * seconds):g} ms"
    if seconds < MINUTE:
        return f"{_rounded(seconds):g} s"
    return f"{seconds / MINUTE:.0f} min"


def _rounded(value: float) -> float:
    return float(f"{value:.3g}")


def moment(at: float) -> str:
    """Write a moment as machines read it."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")


def clock(at: float) -> str:
    """Write a moment of today, or of some other day, for people; it is UTC."""
    return datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S")


def line(value: Any) -> str:
    """Write something on one line, without control characters, cut to a length."""
    text = scrub_text(str(value))
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def whose(identity: str) -> str:
    """Write who somebody is: as onemcp knows them, or as somebody else says (see `Principal`)."""
    try:
        issuer, client, subject = msgspec.json.decode(identity, type=tuple[str, str, str])
    except msgspec.MsgspecError:
        return line(identity)
    return line(f"{subject} ({issuer}, {client})")


def words(name: str) -> str:
    """Write the name of an event or of a state as words."""
    return name.replace("_", " ").replace("-", " ")


def who(fields: Mapping[str, Any]) -> str:
    """Tell what an event is about."""
    if "backend" in fields:
        return line(fields["backend"])
    path = [str(fields[key]) for key in ("supervisor", "child") if key in fields]
    return line(" / ".join(path)) or "onemcp"


def what(event: str, fields: Mapping[str, Any]) -> str:
    """Tell what has happened."""
    if event == "operator_acted":
        return line(f"{fields.get('action')}, asked for by {fields.get('by')}")
    return words(event.removeprefix("child_"))


def rest(fields: Mapping[str, Any]) -> str:
    """Write all else that is known of an event."""
    told = dict(fields)
    for name in _DURATIONS & told.keys():
        told[name] = duration(told[name])
    return line(
        "; ".join(
            f"{words(name)}: {_said(value)}"
            for name, value in told.items()
            if name not in _SHOWN_OTHERWISE
        )
    )


def _said(value: Any) -> str:
    if isinstance(value, Mapping) and "message" in value:  # a problem of the configuration
        return " ".join(str(value[key]) for key in ("path", "message") if value.get(key))
    if isinstance(value, Mapping):
        return ", ".join(f"{number} {name}" for name, number in value.items())
    if isinstance(value, list):
        return ", ".join(map(_said, value))
    return str(value)


FILTERS: Final[Mapping[str, Callable[..., str]]] = {
    function.__name__: function
    for function in (tone, duration, moment, clock, line, whose, words, who, what, rest, cut)
}
