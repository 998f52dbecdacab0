"""Why a backend does not start: one attempt, alone, with everything that is said in it."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import attrs
import trio

from onemcp import config
from onemcp.backend import (
    Backend,
    BackendDown,
    BackendReady,
    BackendStderr,
    ConnectionLost,
    Identity,
    redactor_for,
)
from onemcp.backend.places import login_command
from onemcp.backend.process import Guardian, ProcessInstance, ProcessSpec
from onemcp.config import Configuration
from onemcp.protocol.fields import raw
from onemcp.protocol.jsonrpc import Notification
from onemcp.telemetry import scrub_text

from .connecting import Connector, stop_seconds
from .durable import LoginPlace, open_keyring
from .identity import NAME, VERSION
from .logins import credentials_for

MOST_NOTES: Final = 500
"""How much of what is said is kept."""

OVERTIME: Final = 5.0
"""How much longer than a start may take the whole attempt may, in seconds."""


@attrs.frozen
class Note:
    """Something that was said.

    Attributes:
        at: When, in seconds since the attempt began.
        who: ``onemcp``, ``server`` or ``stderr``.
        text: What, without secrets.
    """

    at: float
    who: str
    text: str


@attrs.frozen(kw_only=True)
class Diagnosis:
    """What came of one attempt.

    Attributes:
        backend: The backend's name.
        ok: Whether it came up.
        seconds: How long that took.
        facts: What there is to know beforehand: the program and its environment, or the address.
        protocol: The revision and the era that it speaks, once that is known.
        server: What it calls itself, once that is known.
        items: How many tools and the like it lists.
        reason: Why it has not come up, or None.
        detail: More about that, or None.
        remedy: What to try, or None.
        notes: What was said.
    """

    backend: str
    ok: bool
    seconds: float
    facts: Mapping[str, str]
    protocol: str | None
    server: str | None
    items: Mapping[str, int]
    reason: str | None
    detail: str | None
    remedy: str | None
    notes: tuple[Note, ...]


class _Nobody:
    """Hears of nothing; see :class:`onemcp.backend.BackendObserver`."""

    def changed(self, backend: Backend) -> None:
        """Pass it over."""

    def announced(self, backend: Backend, notification: Notification) -> None:
        """Pass it over."""


class _Record:
    """Takes down what is said and what happens, without secrets."""

    def __init__(self, redact: Callable[[str], str]) -> None:
        self.notes: list[Note] = []
        self.ready: BackendReady | None = None
        self.down: BackendDown | None = None
        self.left_out = 0
        self._redact = redact
        self._began = trio.current_time()

    @property
    def elapsed(self) -> float:
        return round(trio.current_time() - self._began, 3)

    def said(self, who: str, text: str | bytes) -> None:
        if len(self.notes) >= MOST_NOTES:
            self.left_out += 1
            return
        if isinstance(text, bytes):
            text = text.decode(errors="backslashreplace")
        for line in text.splitlines() or [""]:
            self.notes.append(Note(self.elapsed, who, scrub_text(self._redact(line))))

    def happened(self, event: object) -> None:
        match event:
            case BackendStderr():
                self.said("stderr", event.line)
            case BackendReady():
                self.ready = event
            case BackendDown():
                self.down = event


async def examine(
    settings: config.Backend, configuration: Configuration, environ: Mapping[str, str] = os.environ
) -> Diagnosis:
    """Start one backend alone, and stop it again.

    Args:
        settings: The backend.
        configuration: What it is part of: says where the keys of stored logins are.
        environ: The environment.

    Raises:
        StateError: Its stored login can't be read.
    """
    instance = ProcessInstance()
    identity = Identity(raw({"name": NAME, "version": VERSION}))
    store = await _logins(settings, configuration, environ)
    credentials = credentials_for(settings, store, lambda _: None, environ)
    record = _Record(redactor_for(settings.transport, credentials, environ))
    backend = Backend(
        settings,
        connect=Connector(instance, identity, record.said),
        observer=_Nobody(),
        identity=identity,
        on_event=record.happened,
        credentials=credentials,
        shutdown=stop_seconds(settings.timeouts),
    )
    async with _guarded(instance):
        with trio.move_on_after(settings.timeouts.start + OVERTIME):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_attempt, backend)
                await backend.wait_settled()
                seconds = record.elapsed
                nursery.cancel_scope.cancel()
    return _diagnosis(settings, backend, record, instance, seconds=seconds)


async def _attempt(backend: Backend) -> None:
    try:
        await backend.serve()
    except ConnectionLost:
        await trio.sleep_forever()  # its reason is known, and there is no second attempt


@asynccontextmanager
async def _guarded(instance: ProcessInstance) -> AsyncIterator[None]:
    """Have what is started within the block ended, should this process be killed."""
    async with trio.open_nursery() as nursery:
        await nursery.start(Guardian(instance).run)
        try:
            yield
        finally:
            nursery.cancel_scope.cancel()


async def _logins(
    settings: config.Backend, configuration: Configuration, environ: Mapping[str, str]
) -> LoginPlace | None:
    if isinstance(settings.transport, config.StdioTransport):
        return None
    directory, key_file = config.state_directory(environ), configuration.server.sealing_key_file
    if key_file is None and not directory.exists():
        return None  # there is no login, and nothing to be made for it
    keyring = await trio.to_thread.run_sync(open_keyring, directory, key_file)
    return LoginPlace(directory, keyring)


def _diagnosis(
    settings: config.Backend,
    backend: Backend,
    record: _Record,
    instance: ProcessInstance,
    *,
    seconds: float,
) -> Diagnosis:
    ready, down, server = record.ready, record.down, backend.server
    if record.left_out:
        record.notes.append(Note(record.elapsed, "onemcp", f"[{record.left_out} more left out]"))
    protocol = None if server is None else f"{server.revision} ({server.era.value})"
    return Diagnosis(
        backend=settings.name,
        ok=ready is not None,
        seconds=seconds,
        facts=_facts(settings, instance),
        protocol=protocol,
        server=None
        if server is None or server.info is None
        else scrub_text(str(bytes(server.info), "utf-8", "replace")),
        items={} if ready is None else ready.items,
        reason=None if down is None or ready is not None else scrub_text(down.reason),
        detail=None if down is None or down.detail is None else scrub_text(down.detail, lines=True),
        remedy=None if ready is not None else _remedy(settings, backend, instance),
        notes=tuple(record.notes),
    )


def _facts(settings: config.Backend, instance: ProcessInstance) -> Mapping[str, str]:
    transport = settings.transport
    if not isinstance(transport, config.StdioTransport):
        return {
            "address": config.origin_of(transport.url),
            "headers": ", ".join(transport.headers) or "none",
        }
    spec = _spec(transport)
    environment = instance.environment(spec, "0" * 32)
    found = _program(transport, environment)
    missing = [name for name in transport.inherit if name not in instance.environ]
    facts = {
        "command": " ".join([transport.command, f"({len(transport.args)} arguments)"]),
        "program": found or "not found",
        "directory": str(transport.cwd or Path.cwd()),
        "environment": ", ".join(sorted(environment)),
    }
    return facts | ({"not inherited": f"{', '.join(missing)}: not set here"} if missing else {})


def _remedy(settings: config.Backend, backend: Backend, instance: ProcessInstance) -> str | None:
    transport = settings.transport
    if backend.needs_login:
        return f"Run `{login_command(settings.name, replica=settings.replica)}`."
    if not isinstance(transport, config.StdioTransport):
        return None
    environment = instance.environment(_spec(transport), "0" * 32)
    if transport.cwd is not None and not Path(transport.cwd).is_dir():
        return 'Its "cwd" is no directory.'
    if _program(transport, environment) is None:
        path = environment.get("PATH", "")
        return f"Install {transport.command}, or give its full path. PATH is {path}"
    return None


def _spec(transport: config.StdioTransport) -> ProcessSpec:
    cwd = None if transport.cwd is None else str(transport.cwd)
    return ProcessSpec(transport.command, transport.args, transport.env, cwd, transport.inherit)


def _program(transport: config.StdioTransport, environment: Mapping[str, str]) -> str | None:
    command = transport.command
    if os.sep in command:
        path = Path(transport.cwd or ".") / command
        return str(path) if os.access(path, os.X_OK) and path.is_file() else None
    return shutil.which(command, path=environment.get("PATH"))
