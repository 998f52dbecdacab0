"""How much clients and backends may use."""

import attrs

from onemcp.config import _rules as rules


@attrs.frozen(kw_only=True)
class BackendLimits:
    """What one backend may use.

    Attributes:
        in_flight: Requests under way at once.
        queued: Requests that may wait for one of these to end.
        message_bytes: Size of one message from the backend.
        notifications: How many notifications of it are passed on in a second.
        memory: How much a program may hold, with all that it has started, in bytes; None for any.
        cpu: Processor time that each of its processes may use, in seconds; None for any.
        open_files: Files that each of them may have open; None for as many as onemcp.
    """

    in_flight: int = attrs.field(default=256, validator=rules.at_least(1))
    queued: int = attrs.field(default=256, validator=rules.at_least(0))
    message_bytes: int = attrs.field(default=16_777_216, validator=rules.at_least(1024))
    notifications: int = attrs.field(default=500, validator=rules.at_least(1))
    memory: int | None = attrs.field(
        default=None, validator=attrs.validators.optional(rules.at_least(1_048_576))
    )
    cpu: int | None = attrs.field(
        default=None, validator=attrs.validators.optional(rules.at_least(1))
    )
    open_files: int | None = attrs.field(
        default=None, validator=attrs.validators.optional(rules.at_least(16))
    )

    @property
    def of_program(self) -> tuple[str, ...]:
        """The names of those that are set, and mean something for programs alone."""
        named = {"memory": self.memory, "cpu": self.cpu, "openFiles": self.open_files}
        return tuple(name for name, value in named.items() if value is not None)


@attrs.frozen(kw_only=True)
class Paging:
    """How much of a long result of a tool clients get at once.

    Attributes:
        characters: How much text; they can ask for the rest. None for all.
    """

    characters: int | None = attrs.field(
        default=None, validator=attrs.validators.optional(rules.at_least(1000))
    )


@attrs.frozen(kw_only=True)
class Limits:
    """What all clients together may use.

    Attributes:
        body_bytes: Size of one request body.
        in_flight: Requests under way at once.
        in_flight_per_principal: How many of them may be one client's.
        queued: Requests that may wait for one of these to end.
        queued_per_principal: How many of them may be one client's.
        sessions: Sessions of legacy clients open at once.
        sessions_per_principal: How many of them may be one client's; None where nothing is said.
        streams: Event streams open at once.
        streams_per_principal: How many of them may be one client's; None where nothing is said.
        notifications_per_principal: How many notifications one client may send in a second.
        session_idle: Seconds without traffic after which a session ends.
        session_lifetime: Seconds after which a session ends, busy or not.
        parked: Calls that may wait at once for answers of their clients.
        parked_per_principal: How many of them may be one client's.
        parked_per_backend: How many of them may be one backend's.
        parked_for: Seconds that each of them waits.
        starts: Programs of backends started at once; None for four a core.
        memory: How much onemcp itself may hold before it turns away newcomers, in bytes; None for
            what its control group may.
        lag: How late tasks may be woken before it does, in seconds.
    """

    body_bytes: int = attrs.field(default=4_194_304, validator=rules.at_least(1024))
    in_flight: int = attrs.field(default=1024, validator=rules.at_least(1))
    in_flight_per_principal: int = attrs.field(default=512, validator=rules.at_least(1))
    queued: int = attrs.field(default=1024, validator=rules.at_least(0))
    queued_per_principal: int = attrs.field(default=256, validator=rules.at_least(0))
    sessions: int = attrs.field(default=1024, validator=rules.at_least(1))
    sessions_per_principal: int | None = attrs.field(
        default=None, validator=attrs.validators.optional(rules.at_least(1))
    )
    streams: int = attrs.field(default=1024, validator=rules.at_least(1))
    streams_per_principal: int | None = attrs.field(
        default=None, validator=attrs.validators.optional(rules.at_least(1))
    )
    notifications_per_principal: int = attrs.field(default=100, validator=rules.at_least(1))
    session_idle: float = attrs.field(default=3600.0, validator=rules.positive)
    session_lifetime: float = attrs.field(default=86_400.0, validator=rules.positive)
    parked: int = attrs.field(default=256, validator=rules.at_least(1))
    parked_per_principal: int = attrs.field(default=32, validator=rules.at_least(1))
    parked_per_backend: int = attrs.field(default=64, validator=rules.at_least(1))
    parked_for: float = attrs.field(default=600.0, validator=rules.positive)
    starts: int | None = attrs.field(
        default=None, validator=attrs.validators.optional(rules.at_least(1))
    )
    memory: int | None = attrs.field(
        default=None, validator=attrs.validators.optional(rules.at_least(67_108_864))
    )
    lag: float = attrs.field(default=1.0, validator=rules.positive)
