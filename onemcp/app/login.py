"""``onemcp login``: a person lets onemcp in at a backend, with a browser.

Theory of operation: a listener on this machine's loopback takes the browser's way back (RFC 8252,
section 7.3). Whoever can reach that port may knock, so what counts is the state in the answer:
anything else is turned away and the listener goes on, until the answer comes or time is up. A
browser on another machine comes back to a gateway that runs, which stores the login; then all there
is to do here is to wait for that.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, urlsplit

import attrs
import httptools
import trio

from onemcp import config
from onemcp.backend.oauth import (
    Flow,
    LoginNeeded,
    LoginRecord,
    LoginStore,
    OAuthError,
    PendingLogin,
    StoredAt,
    WaitingLogin,
)
from onemcp.backend.places import callback_at, document_at

from .authorizing import flow_for
from .durable import open_keyring
from .serving import find_configuration
from .upstream import Target

HOST: Final = "127.0.0.1"
PATH: Final = "/callback"
MAX_HEAD: Final = 16 * 1024
"""How long the head of the browser's request may be, in bytes."""

LOOK: Final = 0.5
"""How often it is looked whether the gateway has stored the login, in seconds."""

REDEEM_PATIENCE: Final = 30.0
"""How long the gateway may take to redeem what the browser came back with, in seconds."""

READ_PATIENCE: Final = 10.0
"""How long one request to the listener may take, in seconds."""

_PAGE: Final = (
    "<!doctype html><html lang=en><meta charset=utf-8><title>onemcp</title>"
    "<body><p>{}</p></body></html>"
)


@attrs.frozen
class LoginOptions:
    """What the command line asks for.

    Attributes:
        backend: The name of the backend.
        config: The configuration file, or None to look for one.
        patience: How long to wait for the browser, in seconds.
        local_browser: Whether the browser is on this machine. If not, and the gateway has a public
            address, it comes back through the gateway that is running.
        user: Whose login it is, at a backend where each user has one; "" for everybody's.
        replica: Which address it is at, where the backend has several; "" where it has one.
    """

    backend: str
    config: Path | None = None
    patience: float = 300.0
    local_browser: bool = True
    user: str = ""
    replica: str = ""


async def log_in(
    options: LoginOptions,
    show: Callable[[str], object],
    environ: Mapping[str, str] = os.environ,
) -> LoginRecord:
    """Have a person log in at a backend, and store the login.

    Args:
        options: What is wanted.
        show: Shows the person where to go; may block, so it is called in a thread.
        environ: The environment: where to look for files.

    Raises:
        ConfigurationError: The configuration is invalid.
        LoginImpossible: It has no such backend, or none to log in at.
        OAuthError: The login failed.
        StateError: It can't be stored.
        OSError: There is no port to listen on.
        TooSlowError: Nobody came back in time.
    """
    _, configuration = find_configuration(options.config, environ)
    target = Target.find(configuration, options.backend, options.replica)
    directory = config.state_directory(environ)
    key_file = configuration.server.sealing_key_file
    keyring = await trio.to_thread.run_sync(open_keyring, directory, key_file)
    store = LoginStore(directory, keyring)
    place = target.place(store, options.user)
    origin = None if options.local_browser else configuration.server.public_url
    with trio.fail_after(options.patience):
        if origin is None:
            return await _log_in_here(target, place, show)
        return await _log_in_at(origin, target, place, show)


async def _log_in_at(
    origin: str, target: Target, place: StoredAt, show: Callable[[str], object]
) -> LoginRecord:
    """Have the browser come back to the gateway, and wait until that has stored the login."""
    pending = await target.begin(place, callback_at(origin), document_at(origin))
    waiting = place.store.waiting
    login = WaitingLogin(place.backend, place.url, pending, place.user, replica=place.replica)
    sight, state = place.sight(), pending.authorization.state
    await trio.to_thread.run_sync(waiting.put, login)
    await trio.to_thread.run_sync(show, pending.url, abandon_on_cancel=True)
    taken_at: float | None = None
    while place.sight() == sight:
        if taken_at is None and not waiting.has(state):
            taken_at = trio.current_time()
        if taken_at is not None and trio.current_time() > taken_at + REDEEM_PATIENCE:
            raise LoginNeeded("the gateway has not logged in; the page in the browser says why")
        await trio.sleep(LOOK)
    record = await trio.to_thread.run_sync(place.load)
    if record is None or record.tokens is None:
        raise LoginNeeded("somebody else has changed the login meanwhile")
    return record


async def _log_in_here(
    target: Target, place: StoredAt, show: Callable[[str], object]
) -> LoginRecord:
    """Have the browser come back to this process."""
    before = await trio.to_thread.run_sync(place.load)
    listeners = await _listen(target.login, before)
    port = listeners[0].socket.getsockname()[1]
    try:
        pending = await target.begin(place, f"http://{HOST}:{port}{PATH}")
        flow = flow_for(target.transport)
        record = await _await_browser(listeners, _Waiting(pending, flow, place), show)
    finally:
        for listener in listeners:
            listener.socket.close()
    await trio.to_thread.run_sync(place.change, lambda _: record)
    return record


async def _listen(
    login: config.AuthorizationCodeLogin, before: LoginRecord | None
) -> list[trio.SocketListener]:
    """Listen where the configuration says, or where an earlier login did, or anywhere."""
    if login.callback_port:
        return await trio.open_tcp_listeners(login.callback_port, host=HOST)
    known = None if before is None else urlsplit(before.registration.redirect_uri).port
    if known is not None:
        try:
            return await trio.open_tcp_listeners(known, host=HOST)
        except OSError:
            await trio.lowlevel.checkpoint()  # somebody else has it: onemcp registers anew
    return await trio.open_tcp_listeners(0, host=HOST)


async def _await_browser(
    listeners: list[trio.SocketListener], waiting: _Waiting, show: Callable[[str], object]
) -> LoginRecord:
    """Wait for the one answer that is meant, and redeem it."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(trio.serve_listeners, waiting.serve, listeners))
        nursery.start_soon(
            partial(trio.to_thread.run_sync, show, waiting.url, abandon_on_cancel=True)
        )
        await waiting.ended.wait()
        nursery.cancel_scope.cancel()
    if waiting.record is None:
        raise waiting.error or LoginNeeded("nobody logged in")
    return waiting.record


class _Waiting:
    """Waits for the browser.

    Attributes:
        url: Where to send it.
        ended: Set once it has come back and been told what came of it.
        record: The login, or None.
        error: Why there is none, or None.
    """

    def __init__(self, pending: PendingLogin, flow: Flow, place: StoredAt) -> None:
        """Nobody has come yet."""
        self.url = pending.url
        self.ended = trio.Event()
        self.record: LoginRecord | None = None
        self.error: OAuthError | None = None
        self._pending = pending
        self._flow = flow
        self._place = place
        self._taken = False

    async def serve(self, stream: trio.SocketStream) -> None:
        """Answer one request."""
        try:
            with trio.move_on_after(READ_PATIENCE):
                target = await _read_target(stream)
            if target is not None:
                await self._answer(stream, target)
        except trio.BrokenResourceError:
            await trio.lowlevel.checkpoint()  # whoever it was has gone
        finally:
            with trio.move_on_after(READ_PATIENCE, shield=True):
                await stream.aclose()

    async def _answer(self, stream: trio.SocketStream, target: bytes) -> None:
        parts = urlsplit(target.decode("ascii", "replace"))
        answer: Mapping[str, Sequence[str]] = parse_qs(
            parts.query, keep_blank_values=True, max_num_fields=50
        )
        if parts.path != PATH or self._taken or not self._is_meant(answer):
            await _say(stream, "404 Not Found", "There is nothing here.")
            return
        self._taken = True
        try:
            self.record = await self._pending.finish(
                self._flow, self._place.backend, answer, self._place.user
            )
        except OAuthError as error:
            self.error = error
        said = "You can close this window." if self.error is None else "The terminal says why."
        done = "onemcp has logged in." if self.error is None else "onemcp has not logged in."
        try:
            await _say(stream, "200 OK", f"{done} {said}")
        finally:
            self.ended.set()

    def _is_meant(self, answer: Mapping[str, Sequence[str]]) -> bool:
        return any(map(self._pending.authorization.expects, answer.get("state", ())))


async def _read_target(stream: trio.SocketStream) -> bytes | None:
    """Read the head of a request; return what it is for, or None where it is no GET."""
    head = _Head()
    parser, size = httptools.HttpRequestParser(head), 0
    while not head.complete and size <= MAX_HEAD:
        data = await stream.receive_some(MAX_HEAD)
        size += len(data)
        if not data:
            return None
        try:
            parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            return None
    return head.target if head.complete and parser.get_method() == b"GET" else None


class _Head:
    """What httptools tells."""

    def __init__(self) -> None:
        self.target = b""
        self.complete = False

    def on_url(self, url: bytes) -> None:
        """Take a part of the target."""
        self.target += url

    def on_headers_complete(self) -> None:
        """Note that there is all of it."""
        self.complete = True


async def _say(stream: trio.SocketStream, status: str, text: str) -> None:
    body = _PAGE.format(text).encode()
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: text/html; charset=utf-8\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\nCache-Control: no-store\r\n"
        "Content-Security-Policy: default-src 'none'; frame-ancestors 'none'\r\n"
        "Referrer-Policy: no-referrer\r\nX-Content-Type-Options: nosniff\r\n\r\n"
    )
    await stream.send_all(head.encode() + body)
