"""Write events: their names and fields as they are, their levels by table."""

import logging
import re
import time
import traceback
from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar

import attrs
from structlog.typing import FilteringBoundLogger

from onemcp.config import (
    ConfigurationRejected,
    ConfigurationRepaired,
    LogLevel,
    ReloadResumed,
    ReloadSuspended,
)
from onemcp.supervision import Event, What
from onemcp.telemetry._floods import WINDOW, Floods
from onemcp.telemetry._logging import EXCEPTION, LEVELS, MESSAGE
from onemcp.telemetry._scrub import Scrubbed, scrub, shown_fields

E = TypeVar("E")
Fields: TypeAlias = dict[str, Any]

OF_CHILDREN: Final[dict[What, LogLevel]] = {
    What.STARTING: "debug",
    What.STARTED: "debug",
    What.STOPPING: "debug",
    What.STOPPED: "debug",
    What.RESTARTING: "info",
    What.PAUSED: "warning",
    What.EXITED: "debug",
    What.CRASHED: "warning",
    What.START_FAILED: "warning",
    What.CLEANUP_FAILED: "warning",
    What.OVERDUE: "warning",
    What.ADDED: "debug",
    What.REMOVED: "debug",
    What.REPLACED: "info",
    What.REPLACEMENT_FAILED: "error",
    What.EXHAUSTED: "error",
}
OF_SUPERVISORS: Final[dict[What, LogLevel]] = {
    What.SUPERVISOR_STARTED: "debug",
    What.SUPERVISOR_STOPPING: "debug",
    What.SUPERVISOR_STOPPED: "debug",
    What.RELOADED: "info",
}
BACKENDS: Final = "backends"
"""The supervisor whose children are the backends, by their names."""

SUSPENDED: Final = (
    "The configuration is left alone until it is reloaded by hand (SIGHUP, systemctl reload)"
)

REPEATED: Final = frozenset({What.CRASHED, What.EXHAUSTED})
"""What says nothing new of a crash whose reason and consequence are logged."""

_WORD_START: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_TAKEN: Final = frozenset(
    {"event", "level", "timestamp", "logger", "exc_info", "stack", MESSAGE, EXCEPTION}
)


class _Rule(NamedTuple):
    level: Callable[[Any], LogLevel]
    message: str | None


class LogEvents:
    """Writes one line for each event it is called with.

    What happens in supervisors and to the configuration it knows; other events are attrs
    instances, whose levels are told by `register`, else "info".

    Attributes:
        logger: Where lines go. May be replaced when the configuration has changed.
    """

    def __init__(
        self, logger: FilteringBoundLogger, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.logger = logger
        self._clock = clock
        self._floods = Floods()
        self._limited: tuple[type, ...] = ()
        self._rules: dict[type, _Rule] = {}
        self._told: tuple[type[BaseException], ...] = ()
        self.register(ConfigurationRejected, "error", "The configuration is not usable; kept")
        self.register(ConfigurationRepaired, "info", "The configuration is usable again")
        self.register(ReloadSuspended, "error", SUSPENDED)
        self.register(ReloadResumed, "info")

    def __repr__(self) -> str:
        return f"<LogEvents rules={len(self._rules)}>"

    def register(
        self,
        kind: type[E],
        level: LogLevel | Callable[[E], LogLevel],
        message: str | None = None,
    ) -> None:
        """Say how events of a class, and of its subclasses, are logged.

        Args:
            kind: The class.
            level: The level, or what tells it by the event.
            message: What to tell people instead of the event's name.
        """
        if callable(level):
            self._rules[kind] = _Rule(level, message)
        else:
            self._rules[kind] = _Rule(lambda _event: level, message)

    def limit(self, *kinds: type) -> None:
        """Say of which events only so many are written at a time: strangers can cause them."""
        self._limited = kinds

    def told_otherwise(self, *reasons: type[BaseException]) -> None:
        """Say which reasons of crashes have events of their own: one line about each is enough."""
        self._told = reasons

    def __call__(self, event: object) -> None:
        """Write one line about an event. Never raises."""
        try:
            now = self._clock()
            for kind, count in self._floods.over(now):
                about = _snake_case(kind.__name__)
                self.logger.warning("events_left_out", about=about, count=count, seconds=WINDOW)
            if isinstance(event, Event):
                self._log_supervision(event)
            elif isinstance(event, self._limited) and not self._floods.admits(type(event), now):
                return
            else:
                self._log(event)
        except Exception as error:  # noqa: BLE001  (a log line must not end what it is about)
            self.logger.warning("log_failed", about=type(event).__name__, why=type(error).__name__)

    def _log(self, event: object) -> None:
        rule = next(filter(None, map(self._rules.get, type(event).__mro__)), None)
        level = LEVELS["info" if rule is None else rule.level(event)]
        if not self.logger.is_enabled_for(level):
            return
        fields: Fields = {}
        if rule is not None and rule.message is not None:
            fields[MESSAGE] = rule.message
        for name, value in _fields(event):
            if value is not None:
                fields[f"{name}_" if name in _TAKEN else name] = value
            if isinstance(value, BaseException):
                fields |= self._traceback(value, level)
        self.logger.log(level, name_of(event), **fields)

    def _log_supervision(self, event: Event) -> None:
        levels = OF_SUPERVISORS if event.child is None else OF_CHILDREN
        told = event.what in REPEATED and isinstance(event.reason, self._told)
        level = LEVELS["debug" if told else levels[event.what]]
        if not self.logger.is_enabled_for(level):
            return
        fields = _supervision_fields(event)
        self.logger.log(level, name_of(event), **fields, **self._traceback(event.reason, level))

    def _traceback(self, reason: BaseException | None, level: int) -> Fields:
        unexpected = level >= logging.ERROR and not isinstance(reason, self._told)
        if reason is None or not (unexpected or self.logger.is_enabled_for(logging.DEBUG)):
            return {}
        return {EXCEPTION: "".join(traceback.format_exception(reason))}


def name_of(event: object) -> str:
    """Return what an event is called in logs, and wherever else it is told."""
    if isinstance(event, Event):
        prefix = "supervisor" if event.child is None else "child"
        return f"{prefix}_{event.what.value.removeprefix('supervisor_')}"
    return _snake_case(type(event).__name__)


def describe_event(event: object) -> dict[str, Scrubbed]:
    """Return an event as JSON has it, fit for people: its name as ``event``, then its fields."""
    fields = _supervision_fields(event) if isinstance(event, Event) else dict(_fields(event))
    told = scrub({name: value for name, value in fields.items() if value is not None})
    assert isinstance(told, dict)  # noqa: S101  (for mypy)
    return {"event": name_of(event)} | told


def _fields(event: object) -> Iterable[tuple[str, object]]:
    if attrs.has(type(event)):
        return shown_fields(event)
    return [("value", event)]


def _supervision_fields(event: Event) -> Fields:
    fields: Fields = {}
    backend = _backend(event)
    if backend is not None:
        fields["backend"] = backend
    fields["supervisor"] = event.supervisor
    if event.child is not None:
        fields["child"] = event.child
    if event.generation:
        fields["generation"] = event.generation
    if event.reason is not None:
        fields["reason"] = event.reason
    if event.next_attempt is not None:
        fields["retry_in"] = round(max(0.0, event.next_attempt - event.at), 3)
    return fields


def _backend(event: Event) -> str | None:
    path = event.supervisor.split("/")
    if event.child is not None:
        path.append(event.child)
    if BACKENDS in path[:-1]:
        return path[path.index(BACKENDS) + 1]
    return None


def _snake_case(name: str) -> str:
    return _WORD_START.sub("_", name).lower()
