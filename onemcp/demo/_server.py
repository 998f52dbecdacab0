"""The server without I/O and without a clock: lines and the time come in, lines go out.

Theory of operation. A request is answered at once, or becomes a *job*: a generator whose effects
are carried out until it wants to wait. Jobs wait in a heap by the time they are due. To cancel a
job is to forget it: nothing of it can be sent afterwards.

The era is a property of each request: one that carries modern ``_meta`` is served statelessly, one
that doesn't needs the handshake first (2026-07-28, Versioning, Backward Compatibility).
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple, TypeAlias

from msgspec import Raw

from onemcp.protocol import jsonrpc, meta, methods, revisions
from onemcp.protocol.errors import (
    RESOURCE_NOT_FOUND,
    ErrorObject,
    InvalidParams,
    InvalidRequest,
    MethodNotFound,
    Overloaded,
    ProtocolError,
    ResourceNotFound,
    UnsupportedVersion,
)
from onemcp.protocol.fields import Fields, plain, raw, split, text, value_of
from onemcp.protocol.framing import Oversized

from . import _content as content
from . import _tools as tools
from ._work import LogMessage, Progress, Result, Wait, Work

INFO: Final = {"name": "onemcp-demo", "title": "onemcp demo", "version": "1.0.0"}
INSTRUCTIONS: Final = "A demo: tools, resources and a prompt to try a gateway with."
CAPABILITIES: Final[Result] = {
    "completions": {},
    "logging": {},
    "prompts": {},
    "resources": {},
    "tools": {},
}
SUPPORTED: Final = list(reversed(revisions.REVISIONS))
FRESH_MS: Final = 3_600_000
"""How long results may be kept: nothing here changes while the program runs."""
MOST_JOBS: Final = 64
MOST_SUBSCRIPTIONS: Final = 64


class _Context(NamedTuple):
    """What a request says about itself.

    Attributes:
        request: The request.
        params: Its parameters.
        modern: Whether it is of the modern era.
        log_level: The lowest level of log messages it wants; None for none at all.
        progress_token: What it wants progress reported under, if at all.
    """

    request: jsonrpc.Request
    params: Fields
    modern: bool
    log_level: str | None
    progress_token: Raw | None


_Handler: TypeAlias = "Callable[[DemoServer, _Context], Result | Work | None]"


class DemoServer:
    """One connection to the demo backend."""

    def __init__(self) -> None:
        self._revision: str | None = None
        self._log_level: str | None = None
        self._jobs: set[jsonrpc.RequestId] = set()
        self._subscriptions: set[jsonrpc.RequestId] = set()
        self._waiting: list[tuple[float, int, _Context, Work]] = []
        self._order = itertools.count()

    def __repr__(self) -> str:
        return (
            f"<DemoServer revision={self._revision} jobs={len(self._jobs)} "
            f"subscriptions={len(self._subscriptions)}>"
        )

    @property
    def due(self) -> float | None:
        """When `advance` is to be called; None while there is no need to."""
        return self._waiting[0][0] if self._waiting else None

    def advance(self, now: float) -> Iterator[bytes]:
        """Go on with what is due, and yield what is to be sent."""
        while self._waiting and self._waiting[0][0] <= now:
            _, _, context, work = heapq.heappop(self._waiting)
            yield from self._go_on(context, work, now)

    def receive(self, line: bytes | Oversized, now: float) -> Iterator[bytes]:
        """Take one line, and yield what is to be sent."""
        try:
            if isinstance(line, Oversized):
                raise InvalidRequest(f"A line of {line.size} bytes is too long")
            batch = self._batch(line)
        except ProtocolError as error:
            yield jsonrpc.encode_failure(None, error.error)
            return
        for message in batch:
            yield from self._receive(message, now)

    def _batch(self, line: bytes) -> list[Raw]:
        batch = None
        if self._revision is not None and revisions.allows_batches(self._revision):
            batch = jsonrpc.decode_batch(line, MOST_JOBS)
        return [Raw(line)] if batch is None else batch

    def _receive(self, source: Raw, now: float) -> Iterator[bytes]:
        try:
            message = jsonrpc.decode(source)
        except ProtocolError as error:
            yield jsonrpc.encode_failure(jsonrpc.peek_id(source), error.error)
            return
        if isinstance(message, jsonrpc.Notification):
            self._note(message)
        elif isinstance(message, jsonrpc.Request):
            yield from self._answer(message, now)

    def _note(self, message: jsonrpc.Notification) -> None:
        if message.method == methods.CANCELLED:
            cancelled = plain(split(message.params).get("requestId"))
            # 2026-07-28, Cancellation, Error Handling: what is malformed is ignored. True is no id.
            if type(cancelled) in {int, str}:
                self._forget(cancelled)

    def _forget(self, request_id: jsonrpc.RequestId) -> None:
        self._subscriptions.discard(request_id)
        if request_id in self._jobs:
            self._jobs.discard(request_id)
            self._waiting = [job for job in self._waiting if job[2].request.id != request_id]
            heapq.heapify(self._waiting)

    def _answer(self, request: jsonrpc.Request, now: float) -> Iterator[bytes]:
        modern = True
        try:
            if request.id in self._jobs or request.id in self._subscriptions:
                raise InvalidRequest("A request with this id is still in progress")
            context = self._context(request)
            modern = context.modern
            outcome = self._handle(context)
        except ProtocolError as error:
            yield jsonrpc.encode_failure(request.id, _error(error, modern=modern))
            return
        if isinstance(outcome, dict):
            yield _success(context, outcome)
        elif outcome is not None:
            self._jobs.add(request.id)
            yield from self._go_on(context, outcome, now)
        else:
            self._subscriptions.add(request.id)
            yield _acknowledgement(request.id)

    def _context(self, request: jsonrpc.Request) -> _Context:
        params = split(request.params)
        members = meta.meta_of(params)
        if request.method == methods.INITIALIZE or not self._is_modern(request):
            token = meta.progress_token(members)
            return _Context(request, params, modern=False, log_level=None, progress_token=token)
        said = meta.read_request_meta(members)
        if said.revision not in revisions.MODERN_REVISIONS:
            raise UnsupportedVersion(
                "Unsupported protocol version", {"supported": SUPPORTED, "requested": said.revision}
            )
        token = meta.progress_token(members)
        return _Context(request, params, True, said.log_level, token)  # noqa: FBT003  (a record)

    def _is_modern(self, request: jsonrpc.Request) -> bool:
        # What carries no era and comes without a handshake is a modern request that lacks fields.
        without_handshake = self._revision is None and request.method != methods.PING
        return meta.is_modern(request.params) or without_handshake

    def _handle(self, context: _Context) -> Result | Work | None:
        method = context.request.method
        handler = _BOTH.get(method) or (_MODERN if context.modern else _LEGACY).get(method)
        if handler is None:
            raise MethodNotFound(f"Method not found: {method[:200]}")
        return handler(self, context)

    def _go_on(self, context: _Context, work: Work, now: float) -> Iterator[bytes]:
        """Carry out effects until the work is done or wants to wait."""
        while True:
            try:
                effect = next(work)
            except StopIteration as done:
                self._jobs.discard(context.request.id)
                yield _success(context, done.value)
                return
            if isinstance(effect, Wait):
                due = now + effect.seconds
                heapq.heappush(self._waiting, (due, next(self._order), context, work))
                return
            yield from self._tell(context, effect)

    def _tell(self, context: _Context, effect: Progress | LogMessage) -> Iterator[bytes]:
        if isinstance(effect, Progress):
            if context.progress_token is not None:
                params = {meta.PROGRESS_TOKEN: context.progress_token, **effect._asdict()}
                yield _notification(methods.PROGRESS, params)
            return
        wanted = context.log_level if context.modern else self._log_level
        if wanted is not None and _severity(effect.level) >= _severity(wanted):
            yield _notification(methods.LOG_MESSAGE, {"logger": "demo", **effect._asdict()})

    def initialize(self, context: _Context) -> Result:
        """Answer ``initialize`` (2025-11-25, Lifecycle)."""
        requested = text(context.params, "protocolVersion", "protocolVersion")
        for key in ("capabilities", "clientInfo"):
            split(context.params.get(key, Raw(b"null")), key)
        self._revision = revisions.negotiate_legacy(requested)
        self._log_level = None
        return {
            "protocolVersion": self._revision,
            "capabilities": CAPABILITIES,
            "serverInfo": INFO,
            "instructions": INSTRUCTIONS,
        }

    def set_level(self, context: _Context) -> Result:
        """Answer ``logging/setLevel`` (2025-11-25, Logging)."""
        level = value_of(context.params, "level", str)
        if level not in methods.LOG_LEVELS:
            raise InvalidParams(f"level must be one of {', '.join(methods.LOG_LEVELS)}")
        self._log_level = level
        return {}

    def discover(self, _context: _Context) -> Result:
        """Answer ``server/discover`` (2026-07-28, Discovery)."""
        return {
            "supportedVersions": SUPPORTED,
            "capabilities": CAPABILITIES,
            "instructions": INSTRUCTIONS,
        }

    def listen(self, context: _Context) -> None:
        """Answer ``subscriptions/listen`` (2026-07-28, Subscriptions)."""
        split(context.params.get("notifications", Raw(b"null")), "notifications")
        if len(self._subscriptions) >= MOST_SUBSCRIPTIONS:
            raise Overloaded(f"More than {MOST_SUBSCRIPTIONS} subscriptions at once")

    def call_tool(self, context: _Context) -> Result | Work:
        """Answer ``tools/call``."""
        name = text(context.params, "name", "name")
        arguments = context.params.get("arguments", Raw(b"{}"))
        split(arguments, "arguments")
        if len(self._jobs) >= MOST_JOBS:
            raise Overloaded(f"More than {MOST_JOBS} calls at once")
        return tools.call(name, arguments)


def _list(key: str, describe: Callable[[], list[Result]]) -> _Handler:
    def handle(_server: DemoServer, context: _Context) -> Result:
        # Every list fits on one page, so no cursor has ever been given out.
        if plain(context.params.get("cursor")) is not None:
            raise InvalidParams("Invalid cursor")
        return {key: describe()}

    return handle


_BOTH: Final[dict[str, _Handler]] = {
    methods.TOOLS.method: _list("tools", tools.describe),
    methods.PROMPTS.method: _list("prompts", content.prompts),
    methods.RESOURCES.method: _list("resources", content.resources),
    methods.TEMPLATES.method: _list("resourceTemplates", content.templates),
    methods.TOOLS_CALL: DemoServer.call_tool,
    methods.PROMPTS_GET: lambda _server, context: content.get_prompt(context.params),
    methods.RESOURCES_READ: lambda _server, context: content.read(context.params),
    methods.COMPLETE: lambda _server, context: content.complete(context.params),
}
_MODERN: Final[dict[str, _Handler]] = {
    methods.DISCOVER: DemoServer.discover,
    methods.LISTEN: DemoServer.listen,
}
_LEGACY: Final[dict[str, _Handler]] = {
    methods.INITIALIZE: DemoServer.initialize,
    methods.PING: lambda _server, _context: {},
    methods.SET_LEVEL: DemoServer.set_level,
}


def _severity(level: str) -> int:
    return methods.LOG_LEVELS.index(level)


def _success(context: _Context, result: Result) -> bytes:
    if context.modern:
        result = {"resultType": "complete", **result, "_meta": {meta.SERVER_INFO: INFO}}
        if context.request.method in methods.CACHEABLE:
            result |= {"ttlMs": FRESH_MS, "cacheScope": "public"}
    return jsonrpc.encode_response(context.request.id, raw(result))


def _error(error: ProtocolError, *, modern: bool) -> Raw:
    if isinstance(error, ResourceNotFound) and not modern:
        data = raw(error.data)
        return raw(ErrorObject(code=RESOURCE_NOT_FOUND, message=error.message, data=data))
    return error.error


def _notification(method: str, params: Result) -> bytes:
    return jsonrpc.encode_notification(method, raw(params))


def _acknowledgement(subscription: jsonrpc.RequestId) -> bytes:
    # Nothing here ever changes, so that none of the notifications asked for is promised.
    params = {"_meta": {meta.SUBSCRIPTION_ID: subscription}, "notifications": {}}
    return _notification(methods.ACKNOWLEDGED, params)
