"""The configuration as values: frozen, valid once constructed, safe to print.

Every rule that needs more than one look at a value (an address, two options that exclude each
other) is checked here, so that a configuration built by an embedding program is held to the same
rules as one read from a file. A rule that is broken raises `InvalidOption`.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, Self, TypeAlias, get_args
from urllib.parse import urlsplit

import attrs

from onemcp.config import _rules as rules
from onemcp.config._auth import Auth
from onemcp.config._flaws import find_flaws
from onemcp.config._limits import BackendLimits, Limits
from onemcp.config._login import AuthorizationCodeLogin, Login
from onemcp.config._problems import render_path
from onemcp.config._rules import InvalidOption
from onemcp.config._server import Server
from onemcp.config._telemetry import Telemetry
from onemcp.config._views import Patterns, View

HttpType: TypeAlias = Literal["streamable-http", "sse"]
Protocol: TypeAlias = Literal[
    "auto",
    "modern",
    "legacy",
    "2024-11-05",
    "2025-03-26",
    "2025-06-18",
    "2025-11-25",
    "2026-07-28",
]
LogLevel: TypeAlias = Literal["debug", "info", "warning", "error"]
LogFormat: TypeAlias = Literal["auto", "human", "json"]


@attrs.frozen(kw_only=True)
class StdioTransport:
    """A backend that onemcp starts as a child process and speaks to over its stdin and stdout.

    Attributes:
        command: The program, looked up on PATH.
        args: Its arguments. Hidden from `repr`: they may hold secrets.
        env: Variables set for the program, over what it inherits. Values hidden from `repr`.
        cwd: Its working directory; None means onemcp's own.
        inherit: Names of variables handed on from onemcp's environment besides the usual few.
    """

    command: str = attrs.field(validator=rules.not_blank)
    args: tuple[str, ...] = attrs.field(
        default=(), converter=rules.strings, repr=rules.show_count, validator=rules.without_nul
    )
    env: Mapping[str, str] = attrs.field(
        factory=dict,
        converter=rules.read_only,
        repr=rules.show_keys,
        hash=False,
        validator=rules.variables,
    )
    cwd: Path | None = attrs.field(default=None, validator=rules.without_nul)
    inherit: tuple[str, ...] = attrs.field(default=(), converter=rules.strings)


@attrs.frozen(kw_only=True)
class Tls:
    """How a backend's certificate is verified.

    Attributes:
        ca_file: The file with the certificates of the authorities to trust, in PEM; None trusts
            the usual ones.
    """

    ca_file: Path | None = attrs.field(default=None, validator=rules.without_nul)


@attrs.frozen(kw_only=True)
class HttpTransport:
    """A backend that runs elsewhere and is spoken to over HTTP.

    Attributes:
        url: Its MCP endpoint. `repr` shows the origin only.
        headers: Sent with every request. Values hidden from `repr`.
        type: The transport it speaks; None when the configuration does not say.
        tls: How its certificate is verified.
        auth: How onemcp logs in at it; None leaves that to `headers` and to `onemcp login`.
        socket: The Unix socket that it listens on instead of what its URL names; for bridges, the
            configuration file can't say it.
    """

    url: str = attrs.field(repr=rules.show_origin, validator=rules.url)
    headers: Mapping[str, str] = attrs.field(
        factory=dict,
        converter=rules.read_only,
        repr=rules.show_keys,
        hash=False,
        validator=rules.headers,
    )
    type: HttpType | None = attrs.field(
        default=None, validator=attrs.validators.optional(rules.one_of(get_args(HttpType)))
    )
    tls: Tls = attrs.field(factory=Tls)
    auth: Login | None = None
    socket: Path | None = None

    def __attrs_post_init__(self) -> None:
        if self.auth is not None and any(name.lower() == "authorization" for name in self.headers):
            raise InvalidOption(
                "auth", "contradicts the Authorization header", "Keep one of the two"
            )
        if isinstance(self.auth, AuthorizationCodeLogin) and urlsplit(self.url).username:
            raise InvalidOption("auth", "contradicts the user in the URL", "Keep one of the two")
        if self.tls.ca_file is not None and not self.url.lower().startswith("https:"):
            raise InvalidOption(
                "tls", 'needs an "https://" URL, for others have no certificate', "Use https"
            )


Transport: TypeAlias = StdioTransport | HttpTransport


@attrs.frozen(kw_only=True)
class Timeouts:
    """How long one backend may take, in seconds.

    Attributes:
        start: To connect, agree on a revision and list what it offers.
        call: To answer one request.
        stop: To end by itself, before it is terminated.
        probe: To answer the question which era it speaks.
    """

    start: float = attrs.field(default=30.0, validator=rules.positive)
    call: float = attrs.field(default=300.0, validator=rules.positive)
    stop: float = attrs.field(default=5.0, validator=rules.positive)
    probe: float = attrs.field(default=5.0, validator=rules.positive)


@attrs.frozen(kw_only=True)
class Backoff:
    """The longest wait between two restarts, in seconds, growing from `initial` to `maximum`."""

    initial: float = attrs.field(default=0.2, validator=rules.positive)
    maximum: float = attrs.field(default=30.0, validator=rules.positive)

    def __attrs_post_init__(self) -> None:
        if self.initial > self.maximum:
            raise InvalidOption(
                "initial",
                "must not be greater than maximum",
                "Lower initial or raise maximum",
            )


@attrs.frozen(kw_only=True)
class Restart:
    """How often one backend is restarted before it is set aside.

    Attributes:
        intensity: Restarts allowed within `period`.
        period: The length of that window, in seconds.
        backoff: The wait between two restarts.
        cooldown: Seconds before a backend that used up its restarts is tried again.
    """

    intensity: int = attrs.field(default=5, validator=rules.at_least(0))
    period: float = attrs.field(default=60.0, validator=rules.positive)
    backoff: Backoff = attrs.field(factory=Backoff)
    cooldown: float = attrs.field(default=60.0, validator=rules.positive)


@attrs.frozen(kw_only=True)
class Instances:
    """How many instances of one backend there may be, for calls that ask their clients something.

    Attributes:
        max: How many at once, the first one included; 1 leases none.
        idle: Seconds that one is kept which nobody uses.
        queue: Calls that may wait at once for one of their own.
        wait: Seconds that each of them waits.
    """

    max: int = attrs.field(default=16, validator=rules.at_least(1))
    idle: float = attrs.field(default=60.0, validator=rules.positive)
    queue: int = attrs.field(default=64, validator=rules.at_least(0))
    wait: float = attrs.field(default=30.0, validator=rules.positive)


@attrs.frozen(kw_only=True)
class Backend:
    """One MCP server behind onemcp.

    Attributes:
        name: Its key in `mcpServers`, unique.
        transport: How it is reached.
        enabled: Whether it is started at all.
        required: Whether onemcp is ready only while this is up; such ones are started first.
        prefix: Put before the names of what it offers; "" exposes them bare.
        protocol: The revision or era to speak with it; "auto" finds out.
        timeouts: How long it may take.
        restart: How often it is restarted.
        limits: What it may use.
        interactive: Whether its calls ask their clients something; None to find out.
        instances: How many instances there may be for those that do.
        tags: Words by which views select it.
        tools: Which of its tools clients see, by its own names.
        prompts: Which of its prompts.
        resources: Which of its resources and templates, by URI.
    """

    name: str = attrs.field(validator=rules.matches(rules.NAME))
    transport: Transport
    enabled: bool = True
    required: bool = False
    prefix: str = attrs.field(
        default=attrs.Factory(lambda self: self.name, takes_self=True),
        validator=rules.matches(rules.PREFIX),
    )
    protocol: Protocol = attrs.field(default="auto", validator=rules.one_of(get_args(Protocol)))
    timeouts: Timeouts = attrs.field(factory=Timeouts)
    restart: Restart = attrs.field(factory=Restart)
    limits: BackendLimits = attrs.field(factory=BackendLimits)
    interactive: bool | None = None
    instances: Instances = attrs.field(factory=Instances)
    tags: tuple[str, ...] = attrs.field(default=(), converter=rules.strings)
    tools: Patterns = attrs.field(factory=Patterns)
    prompts: Patterns = attrs.field(factory=Patterns)
    resources: Patterns = attrs.field(factory=Patterns)

    @property
    def is_personal(self) -> bool:
        """Whether each user has it for themselves, with a login of their own."""
        auth = self.transport.auth if isinstance(self.transport, HttpTransport) else None
        return isinstance(auth, AuthorizationCodeLogin) and auth.per == "user"

    @property
    def running(self) -> Self:
        """What matters to the running backend: who sees or needs it is settled elsewhere."""
        return attrs.evolve(
            self,
            required=False,
            tags=(),
            tools=Patterns(),
            prompts=Patterns(),
            resources=Patterns(),
        )

    def __attrs_post_init__(self) -> None:
        sse = isinstance(self.transport, HttpTransport) and self.transport.type == "sse"
        if sse and self.protocol in {"modern", "2026-07-28"}:
            raise InvalidOption(
                "protocol",
                "the modern protocol does not run over HTTP+SSE",
                'Set "type" to "http", or leave "protocol" out',
            )


@attrs.frozen(kw_only=True)
class Naming:
    """How names of backends and of what they offer are joined: `prefix + separator + name`."""

    separator: str = attrs.field(default="__", validator=rules.matches(rules.SEPARATOR))


@attrs.frozen(kw_only=True)
class Control:
    """How operators reach onemcp at the machine it runs on.

    Attributes:
        enabled: Whether there is a control socket at all.
        socket: Where it is; None for a place of its own in the runtime directory.
    """

    enabled: bool = True
    socket: Path | None = attrs.field(default=None, validator=rules.without_nul)


@attrs.frozen(kw_only=True)
class Log:
    """What is logged, and how; `auto` is human on a terminal and JSON elsewhere."""

    level: LogLevel = attrs.field(default="info", validator=rules.one_of(get_args(LogLevel)))
    format: LogFormat = attrs.field(default="auto", validator=rules.one_of(get_args(LogFormat)))


def _in_order(backends: Iterable[Backend]) -> tuple[Backend, ...]:
    return tuple(backends)


def _views_in_order(views: Iterable[View]) -> tuple[View, ...]:
    return tuple(views)


def _check_names(
    _instance: object, attribute: Any, named: tuple[Backend, ...] | tuple[View, ...]
) -> None:
    names = [each.name for each in named]
    if len(names) != len(set(names)):
        raise InvalidOption(attribute.name, f"two {attribute.name} have the same name")


@attrs.frozen(kw_only=True)
class Configuration:
    """Everything the one file says.

    Attributes:
        backends: The MCP servers, in the order of the file.
        server: What clients meet.
        auth: Who may call.
        naming: How names are joined.
        limits: What all clients together may use.
        log: What is logged.
        telemetry: What is told of the running gateway.
        control: How operators reach it.
        views: The named views, in the order of the file.
    """

    backends: tuple[Backend, ...] = attrs.field(
        default=(), converter=_in_order, validator=_check_names
    )
    server: Server = attrs.field(factory=Server)
    auth: Auth = attrs.field(factory=Auth)
    naming: Naming = attrs.field(factory=Naming)
    limits: Limits = attrs.field(factory=Limits)
    log: Log = attrs.field(factory=Log)
    telemetry: Telemetry = attrs.field(factory=Telemetry)
    control: Control = attrs.field(factory=Control)
    views: tuple[View, ...] = attrs.field(
        default=(), converter=_views_in_order, validator=_check_names
    )

    def __attrs_post_init__(self) -> None:
        for flaw in find_flaws(self.backends, self.views, self.auth):
            raise InvalidOption("views", f"{render_path(flaw.path)} {flaw.message}", flaw.remedy)

    def backend(self, name: str) -> Backend | None:
        """Return the backend called `name`, or None."""
        return next((backend for backend in self.backends if backend.name == name), None)
