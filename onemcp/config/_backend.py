"""One backend as the configuration names it: what it is, and what it may do."""

from collections.abc import Mapping
from typing import Final, Literal, Self, TypeAlias, get_args
from urllib.parse import urlsplit

import attrs

from onemcp.config import _rules as rules
from onemcp.config._limits import BackendLimits, Paging
from onemcp.config._login import AuthorizationCodeLogin
from onemcp.config._recovery import Breaker, Retry
from onemcp.config._rules import InvalidOption
from onemcp.config._transport import HttpTransport, StdioTransport, Transport
from onemcp.config._views import Patterns

REPLICA_VARIABLE: Final = "ONEMCP_REPLICA"
"""The environment variable that tells a program which replica it is."""

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


Pin: TypeAlias = Literal["off", "report", "enforce"]


@attrs.frozen(kw_only=True)
class Timeouts:
    """How long one backend may take, in seconds.

    Attributes:
        start: To connect, agree on a revision and list what it offers.
        call: To answer one request.
        stop: To end by itself, before it is terminated.
        probe: To answer the question which era it speaks.
        idle: Until a legacy one of which nothing is asked is pinged; 0 for never.
    """

    start: float = attrs.field(default=30.0, validator=rules.positive)
    call: float = attrs.field(default=300.0, validator=rules.positive)
    stop: float = attrs.field(default=5.0, validator=rules.positive)
    probe: float = attrs.field(default=5.0, validator=rules.positive)
    idle: float = attrs.field(default=0.0, validator=rules.at_least(0))


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
        breaker: When it isn't called for a while, because calls fail.
        retry: Which calls are made again when it went away with them.
        limits: What it may use.
        paging: How much of a long result of a tool clients get at once.
        interactive: Whether its calls ask their clients something; None to find out.
        instances: How many instances there may be for those that do.
        replicas: How many times a program is started.
        replica: Which of several it is, where it is one; the configuration file can't say it.
        sticky: Whether calls of a client's session go to the same replica while that is up.
        pin: What becomes of tools and prompts that don't look as they did when they were approved.
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
    breaker: Breaker = attrs.field(factory=Breaker)
    retry: Retry = attrs.field(factory=Retry)
    limits: BackendLimits = attrs.field(factory=BackendLimits)
    paging: Paging = attrs.field(factory=Paging)
    interactive: bool | None = None
    instances: Instances = attrs.field(factory=Instances)
    replicas: int = attrs.field(default=1, validator=rules.at_least(1))
    replica: str = ""
    sticky: bool = True
    pin: Pin = attrs.field(default="report", validator=rules.one_of(get_args(Pin)))
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
    def is_replicated(self) -> bool:
        """Whether there are several of it."""
        others = isinstance(self.transport, HttpTransport) and bool(self.transport.others)
        return others or self.replicas > 1

    def of_replicas(self) -> Mapping[str, Self]:
        """Return how each replica is configured, by its key.

        That is the number of a program, from 1, and the host and port of a server that runs
        elsewhere; where several have the same ones, its place in the list.
        """
        transport = self.transport
        if isinstance(transport, HttpTransport):
            hosts = [urlsplit(url).netloc.rpartition("@")[2] for url in transport.urls]
            if len(set(hosts)) < len(hosts):
                hosts = [str(number) for number in range(1, 1 + len(hosts))]
            return {
                host: self._replica(host, attrs.evolve(transport, url=url, others=()))
                for host, url in zip(hosts, transport.urls, strict=True)
            }
        return {
            key: self._replica(
                key, attrs.evolve(transport, env={**transport.env, REPLICA_VARIABLE: key})
            )
            for key in map(str, range(1, 1 + self.replicas))
        }

    def _replica(self, key: str, transport: Transport) -> Self:
        return attrs.evolve(self, transport=transport, replica=key, replicas=1, sticky=True)

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
        for name in () if isinstance(self.transport, StdioTransport) else self.limits.of_program:
            raise InvalidOption(
                "limits",
                f"{name} is for programs that onemcp starts, and this server runs elsewhere",
                "Leave it out, and limit the server where it runs",
            )
        if self.replicas > 1 and isinstance(self.transport, HttpTransport):
            raise InvalidOption(
                "replicas",
                "is for programs that onemcp starts, and this server runs elsewhere",
                'Give "url" a list of the addresses of its replicas',
            )
        sse = isinstance(self.transport, HttpTransport) and self.transport.type == "sse"
        if sse and self.protocol in {"modern", "2026-07-28"}:
            raise InvalidOption(
                "protocol",
                "the modern protocol does not run over HTTP+SSE",
                'Set "type" to "http", or leave "protocol" out',
            )
