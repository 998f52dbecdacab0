"""``onemcp run``: find the configuration, listen, serve, and stop when told to."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import attrs
import trio

from onemcp import config, demo
from onemcp.auth import KeyStore, load_or_create_keys, new_token
from onemcp.auth.server import AUDIT_FILE, Audited, LoginCode, is_loopback
from onemcp.config import Configuration
from onemcp.pinning import PinStore
from onemcp.state import StateUnwritable
from onemcp.systemd import inherited_listener

from .access import Access
from .address import Overrides
from .audit import AuditLog
from .door import open_door
from .durable import Durable, LoginPlace, open_durable, open_keyring
from .events import AnybodyMayCall, ReloadApplied, StateUnavailable, Stopping
from .front import EventHook
from .gateway import Gateway
from .service import Service
from .stdio import StdioFront, standard_streams
from .terminal import Terminal

DEMO_TOKEN_SECONDS: Final = 24 * 3600.0
INSTANCE: Final = "instance"
"""What a bridge calls the instance that it leads to."""

BRIDGED_CALL_SECONDS: Final = 24 * 3600.0
"""How long a bridge lets a call go on: how long it may take is for the instance to say."""

BRIDGE_RETRY: Final = 5.0
"""How long a bridge waits, at most, until it tries again to reach the instance, in seconds."""

BRIDGE_TRIES: Final = 10
"""How often a bridge tries to, half a minute at most, before calls wait no longer, but fail."""


@attrs.frozen
class RunOptions:
    """What the command line asks for.

    Attributes:
        show_code: Shows a person the code to log in with, and each of its successors; None where
            nobody would see it.
        config: The configuration file, or None to look for one.
        host: The address to listen on, or None for the configured one.
        port: The port to listen on, or None for the configured one.
        socket: The control socket to listen on, or None for the configured one.
    """

    config: Path | None = None
    host: str | None = None
    port: int | None = None
    socket: Path | None = None
    show_code: Callable[[str], object] | None = None


@attrs.frozen
class Started:
    """What a person needs to know once the gateway listens.

    Attributes:
        url: The address of the MCP endpoint.
        token: A bearer token for it, or None where none is needed.
        demo: Whether the embedded demo backend is served.
        backends: The names of the configured backends.
        auth_mode: How clients authenticate: ``local`` or ``none``.
        config: The configuration file, or None.
    """

    url: str
    token: str | None = attrs.field(repr=False)
    demo: bool
    backends: tuple[str, ...]
    auth_mode: str
    config: Path | None


def demo_configuration() -> Configuration:
    """Return a configuration of nothing but the embedded demo backend."""
    program, *arguments = demo.command()
    transport = config.StdioTransport(
        command=program, args=tuple(arguments), env=demo.environment()
    )
    return Configuration(backends=(config.Backend(name="demo", transport=transport, pin="off"),))


async def serve(
    options: RunOptions,
    *,
    announce: Callable[[Started], object],
    on_event: EventHook = lambda _: None,
    on_configuration: Callable[[Configuration], object] = lambda _: None,
    environ: Mapping[str, str] = os.environ,
) -> None:
    """Serve until SIGTERM or SIGINT, or its terminal closes; SIGHUP reloads the configuration.

    Args:
        options: What the command line asks for.
        announce: Called once, when the gateway listens.
        on_event: Takes every event of every room.
        on_configuration: Called with the configuration before anything starts, and with each new
            one that is put in force; sets up logs.
        environ: The environment: where to look for files.

    Raises:
        ConfigurationError: The configuration is invalid.
        StateError: The keys can't be read or made.
        ActivationError: The service manager has handed over what can't be listened on.
        OSError: The address can't be listened on.
        SocketInUse: Another process serves this configuration.
        SocketUnusable: The control socket can't be made where it was asked for.
        RestartIntensityExceeded: Something failed more often than it is restarted.
    """
    path, configuration = find_configuration(options.config, environ)
    on_configuration(configuration)
    audit = AuditLog(config.state_directory(environ) / AUDIT_FILE)
    service = Service(environ)
    hear = _hearing(on_event, on_configuration, audit, service)
    access = _access(
        environ,
        audit=hear,
        login_code=None if options.show_code is None else LoginCode(options.show_code),
    )
    await access.prepare(configuration)
    with contextlib.ExitStack() as stack:
        door = await open_door(configuration, path, options.socket, environ, on_event)
        if door is not None:
            stack.callback(door.close)
        key_file = configuration.server.sealing_key_file
        durable = await open_durable(config.state_directory(environ), key_file, on_event)
        stack.callback(durable.close)
        gateway = Gateway(
            configuration,
            access=access,
            durable=durable,
            path=path,
            overrides=Overrides(options.host, options.port, inherited_listener(environ)),
            on_event=hear,
            socket=door,
        )
        async with trio.open_nursery() as nursery:
            service.gateway = gateway
            await nursery.start(_obey_signals, gateway, service, hear)
            await nursery.start(gateway.run)
            service.started()
            nursery.start_soon(service.keep_alive)
            announce(_started(gateway, access.keys.current, path))
            if configuration.auth.mode == "none" and not is_loopback(gateway.url):
                hear(AnybodyMayCall(gateway.url))
            await gateway.wait_ended()
            nursery.cancel_scope.cancel()


@attrs.frozen
class StdioOptions:
    """What the command line asks for.

    Attributes:
        config: The configuration file, or None to look for one.
        connect: The MCP endpoint of a running instance to serve instead, or None.
        token: The bearer token for that instance, or None.
        socket: The control socket to reach it at, or None.
        view: The named view, or the one server, to serve; None for everything.
    """

    config: Path | None = None
    connect: str | None = None
    token: str | None = attrs.field(default=None, repr=False)
    socket: Path | None = None
    view: str | None = None


class UnknownView(Exception):
    """The command line asks for a view that the configuration doesn't have."""


def bridge_configuration(url: str, token: str | None, socket: Path | None = None) -> Configuration:
    """Return a configuration of nothing but another instance, which is tried again and again.

    Raises:
        InvalidOption: It is no URL, or the token can't be sent.
    """
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    backend = config.Backend(
        name=INSTANCE,
        prefix="",
        pin="off",  # which the instance sees to
        transport=config.HttpTransport(url=url, headers=headers, socket=socket),
        timeouts=config.Timeouts(call=BRIDGED_CALL_SECONDS),
        restart=config.Restart(
            intensity=BRIDGE_TRIES,
            backoff=config.Backoff(maximum=BRIDGE_RETRY),
            cooldown=BRIDGE_RETRY,
        ),
    )
    return Configuration(backends=(backend,))


async def serve_stdio(
    options: StdioOptions,
    *,
    on_event: EventHook = lambda _: None,
    on_configuration: Callable[[Configuration], object] = lambda _: None,
    environ: Mapping[str, str] = os.environ,
) -> None:
    """Serve the client that has launched this process, until stdin ends or a signal comes.

    Nothing but messages gets to stdout as long as this runs.

    Args:
        options: What the command line asks for.
        on_event: As for `serve`.
        on_configuration: As for `serve`.
        environ: As for `serve`.

    Raises:
        ConfigurationError: The configuration is invalid.
        InvalidOption: The address of the other instance is none.
        UnknownView: There is no such view in the configuration.
        OSError: There is no stdin or stdout.
        RestartIntensityExceeded: Something failed more often than it is restarted.
    """
    path, shown = None, options.view
    if options.connect is None:
        path, configuration = find_configuration(options.config, environ)
        _check_view(configuration, shown)
    else:
        configuration = bridge_configuration(options.connect, options.token, options.socket)
        shown = INSTANCE
    on_configuration(configuration)
    with standard_streams() as streams:
        opened: list[StdioFront] = []
        hear = _hearing(on_event, on_configuration)

        def open_front(*about: Any) -> StdioFront:
            opened.append(StdioFront(*about, streams=streams, view=shown))
            return opened[0]

        gateway = Gateway(
            configuration,
            access=_access(environ),
            durable=await _logins_only(configuration, environ, on_event),
            path=path,
            on_event=hear,
            open_front=open_front,
        )
        async with trio.open_nursery() as nursery:
            service = Service({})
            service.gateway = gateway
            await nursery.start(_obey_signals, gateway, service, hear)
            await nursery.start(gateway.run)
            await opened[0].wait_ended()
            await gateway.stop()
            await gateway.wait_ended()
            nursery.cancel_scope.cancel()


def _check_view(configuration: Configuration, name: str | None) -> None:
    known = [view.name for view in configuration.views]
    known += [backend.name for backend in configuration.backends if backend.enabled]
    if name is not None and name not in known:
        raise UnknownView(f"there is no view or server {name!r}; there is {', '.join(known)}")


def _access(environ: Mapping[str, str], **options: Any) -> Access:
    directory = config.state_directory(environ)
    return Access(lambda: load_or_create_keys(directory), directory, **options)


async def _logins_only(
    configuration: Configuration, environ: Mapping[str, str], on_event: EventHook
) -> Durable:
    """Return what ends with the process but for pins, and logins where a backend wants one."""
    directory = config.state_directory(environ)
    ephemeral = attrs.evolve(Durable.ephemeral(), pins=PinStore(directory))
    if all(isinstance(each.transport, config.StdioTransport) for each in configuration.backends):
        return ephemeral
    try:
        keyring = await trio.to_thread.run_sync(
            open_keyring, directory, configuration.server.sealing_key_file
        )
    except StateUnwritable as error:
        on_event(StateUnavailable(str(error)))
        return ephemeral
    return attrs.evolve(ephemeral, logins=LoginPlace(directory, keyring))


def find_configuration(
    path: Path | None, environ: Mapping[str, str]
) -> tuple[Path | None, Configuration]:
    """Return the configuration file, if there is one, and what is to be served.

    Raises:
        ConfigurationError: It can't be used.
    """
    path = config.find(path, Path.cwd(), environ)
    return path, demo_configuration() if path is None else config.load(path, environ=environ)


def _hearing(
    on_event: EventHook,
    on_configuration: Callable[[Configuration], object],
    audit: AuditLog | None = None,
    service: Service | None = None,
) -> EventHook:
    def hear(event: object) -> None:
        if isinstance(event, ReloadApplied):
            on_configuration(event.configuration)
        if service is not None:
            service.hear(event)
        if audit is not None:
            audit(event)
        if not isinstance(event, Audited):
            on_event(event)

    return hear


def _started(gateway: Gateway, keys: KeyStore | None, path: Path | None) -> Started:
    configuration = gateway.configuration
    token = None if keys is None else new_token(keys, "local", DEMO_TOKEN_SECONDS)
    return Started(
        url=gateway.url,
        token=token,
        demo=path is None,
        backends=tuple(each.name for each in configuration.backends if each.enabled),
        auth_mode=configuration.auth.mode,
        config=path,
    )


async def _obey_signals(
    gateway: Gateway,
    service: Service,
    on_event: EventHook,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    wanted = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP]
    terminal = Terminal.at_start()
    with trio.open_signal_receiver(*wanted) as signals:
        task_status.started()
        async with trio.open_nursery() as nursery:
            async for number in signals:
                if number == signal.SIGHUP and not terminal.has_closed:
                    nursery.start_soon(service.reload)
                else:
                    if not gateway.is_stopping:
                        name, in_flight = signal.Signals(number).name, gateway.multiplexer.in_flight
                        on_event(Stopping(name, in_flight))
                    service.stopping()
                    nursery.start_soon(gateway.stop)
