"""The logger: human lines on a terminal, JSON elsewhere; libraries' logs lead to it too.

Where the journal of systemd reads them, lines begin with their priority (sd-daemon(3)).
"""

import logging
import os
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any, Final, TextIO, TypeAlias

import structlog
from structlog.typing import FilteringBoundLogger, WrappedLogger

from onemcp.config import Log
from onemcp.telemetry._scrub import HIDDEN, is_secret, scrub, scrub_text
from onemcp.telemetry._writer import BackgroundWriter

Renderer: TypeAlias = Callable[[WrappedLogger, str, MutableMapping[str, Any]], str]

LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
PRIORITIES: Final = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}
"""What the journal calls the levels (syslog(3))."""

QUIET: Final = ("watchfiles", "httpx", "httpcore", "hpack")
"""Libraries whose lower levels are chatter, or carry URLs and headers."""
SILENT: Final = "hypercorn.access"

EVENT: Final = "event"
MESSAGE: Final = "message"
EXCEPTION: Final = "exception"


def configure_logging(
    log: Log, stream: TextIO | BackgroundWriter, environ: Mapping[str, str] = os.environ
) -> FilteringBoundLogger:
    """Make the logger, and lead the logs of libraries to it.

    It may be called again when the configuration has changed: the new logger takes the place of
    the former one for the libraries.

    Args:
        log: What is logged, and how.
        stream: Where to; usually stderr.
        environ: The environment, which tells of the journal.

    Returns:
        The logger. It never raises: what cannot be written is lost.
    """
    level = LEVELS[log.level]
    logger: FilteringBoundLogger = structlog.wrap_logger(
        _Output(stream),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _scrub_values,
            *_rendering(log, stream, environ),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        context_class=dict,
    )
    _lead_libraries_to(logger, level)
    if isinstance(stream, BackgroundWriter):
        stream.on_dropped = lambda count: logger.warning("log_lines_dropped", count=count)
    return logger


class _Output:
    """Writes lines to a stream that may have gone away, or take no more."""

    def __init__(self, stream: TextIO | BackgroundWriter) -> None:
        self._stream = stream

    def msg(self, line: str) -> None:
        """Write one line."""
        try:
            self._write(line)
        except (OSError, ValueError):
            return  # Closed, full or gone: there is nobody to tell.

    def _write(self, line: str) -> None:
        try:
            self._stream.write(line + "\n")
        except UnicodeEncodeError:  # the terminal knows fewer characters than the text has
            self._stream.write(line.encode("ascii", "backslashreplace").decode() + "\n")
        self._stream.flush()

    debug = info = warning = error = critical = exception = msg


def _scrub_values(
    _logger: WrappedLogger, _method: str, fields: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    scrubbed: dict[str, Any] = dict.fromkeys(("timestamp", "level", EVENT))  # they come first
    for key, value in fields.items():
        if is_secret(key) and value is not None:
            scrubbed[scrub_text(key)] = HIDDEN
        elif key == EXCEPTION:
            scrubbed[key] = scrub_text(str(value), lines=True)
        else:
            scrubbed[scrub_text(key)] = _scrub_safely(value)
    return scrubbed


def _scrub_safely(value: object) -> Any:
    try:
        return scrub(value)
    except Exception:  # noqa: BLE001  (whatever somebody's __str__ raises)
        return f"[unprintable {type(value).__name__}]"


def _rendering(
    log: Log, stream: TextIO | BackgroundWriter, environ: Mapping[str, str]
) -> list[Any]:
    terminal = _is_terminal(stream)
    prioritized = _prioritized if _is_journal(stream, environ) else _as_it_is
    if log.format == "json" or (log.format == "auto" and not terminal):
        return [prioritized(structlog.processors.JSONRenderer())]  # type: ignore[arg-type]
    return [
        _show_message,
        prioritized(
            structlog.dev.ConsoleRenderer(
                colors=terminal and not environ.get("NO_COLOR"),
                exception_formatter=structlog.dev.plain_traceback,
                sort_keys=False,
                pad_event_to=0,
            )
        ),
    ]


def _as_it_is(render: Renderer) -> Renderer:
    return render


def _prioritized(render: Renderer) -> Renderer:
    """Begin every line with its priority, where one entry has several."""

    def rendered(logger: WrappedLogger, method: str, fields: MutableMapping[str, Any]) -> str:
        prefix = f"<{PRIORITIES.get(fields.get('level', 'info'), PRIORITIES['info'])}>"
        return "\n".join(prefix + line for line in render(logger, method, fields).split("\n"))

    return rendered


def _is_journal(stream: TextIO | BackgroundWriter, environ: Mapping[str, str]) -> bool:
    """Tell whether the journal reads the stream (systemd.exec(5), "$JOURNAL_STREAM")."""
    wanted = environ.get("JOURNAL_STREAM")
    if not wanted:
        return False
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):  # closed, or no file at all
        return False
    return wanted == f"{status.st_dev}:{status.st_ino}"


def _is_terminal(stream: TextIO | BackgroundWriter) -> bool:
    try:
        return stream.isatty()
    except ValueError:  # closed
        return False


def _show_message(
    _logger: WrappedLogger, _method: str, fields: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Show the message instead of the event's name, if there is one."""
    if MESSAGE in fields:
        fields[EVENT] = fields.pop(MESSAGE)
    return fields


class _Forward(logging.Handler):
    """Hands the records of the standard library's loggers on."""

    def __init__(self, logger: FilteringBoundLogger) -> None:
        super().__init__()
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        try:
            fields: dict[str, Any] = {"logger": record.name}
            if record.exc_info and record.exc_info[1] is not None:
                fields["reason"] = record.exc_info[1]
            self._logger.log(_known_level(record.levelno), record.getMessage(), **fields)
        except Exception:  # noqa: BLE001  (a log line must not end what it is about)
            self._logger.warning("log_failed", logger=record.name)


def _known_level(level: int) -> int:
    """Return the level that structlog knows and that is nearest below."""
    known = (logging.CRITICAL, *sorted(LEVELS.values(), reverse=True))
    return next((one for one in known if one <= level), logging.DEBUG)


def _lead_libraries_to(logger: FilteringBoundLogger, level: int) -> None:
    root = logging.getLogger()
    for handler in [*root.handlers]:
        if isinstance(handler, _Forward):
            root.removeHandler(handler)
    root.addHandler(_Forward(logger))
    root.setLevel(level)
    for name in QUIET:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
    logging.getLogger(SILENT).disabled = True
