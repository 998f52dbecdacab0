"""What is asked of a backend, and on whose behalf."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Final

import attrs
import msgspec
from msgspec import Raw

from onemcp.protocol import meta
from onemcp.protocol.fields import Fields, join, plain, raw
from onemcp.protocol.meta import RequestMeta
from onemcp.protocol.methods import LOG_LEVELS, QUESTIONS, TOOLS_CALL
from onemcp.protocol.questions import INPUT_RESPONSES, REQUEST_STATE
from onemcp.protocol.revisions import LATEST_MODERN, V2025_11_25, Era, era_of
from onemcp.protocol.tasks import TASK, with_extension, without_extension
from onemcp.telemetry import Attributes, Span

_NOT_CROSSING: Final = frozenset({INPUT_RESPONSES, REQUEST_STATE, TASK})
"""What modern clients send, or may not mean anything by, and legacy backends would understand
otherwise."""

NO_CAPABILITIES: Final = Raw(b"{}")


@attrs.frozen
class Caller:
    """Whom a call is for: the client at the far end, as far as it matters to a backend.

    Attributes:
        owner: What tells this client from others; a message belongs to the one owner or no one.
        principal: Who has authenticated; several owners may be the same principal.
        revision: The revision that the client speaks.
        capabilities: Its capabilities, undecoded.
        client_info: Its name and version, undecoded, or None.
        log_level: The lowest level of log messages that it wants, or None for none.
        mirrors: Whether it repeats parameters in HTTP headers, as modern clients over HTTP do.
        grant: What its rights come from, which means something to whoever has let it in.
        session: What its session is called in logs and traces; None where it has none. That is
            not the session's id, with which somebody could go on with it.
        era: The era of its revision.
    """

    owner: Hashable
    principal: str
    revision: str = LATEST_MODERN
    capabilities: Raw = NO_CAPABILITIES
    client_info: Raw | None = None
    log_level: str | None = None
    mirrors: bool = False
    grant: Hashable = attrs.field(default=None, eq=False, repr=False)
    session: str | None = attrs.field(default=None, eq=False)
    era: Era = attrs.field(init=False, eq=False, repr=False)

    @era.default
    def _era(self) -> Era:
        return era_of(self.revision) or Era.LEGACY

    def can(self, capability: str) -> bool:
        """Tell whether the client has declared a capability such as ``sampling``."""
        declared = plain(self.capabilities)
        return isinstance(declared, dict) and isinstance(declared.get(capability), dict)

    @property
    def can_be_asked(self) -> bool:
        """Whether the client has declared that it can be asked anything at all."""
        return any(map(self.can, QUESTIONS.values()))

    def wants(self, level: Any) -> bool:
        """Tell whether the client wants log messages of a level."""
        if self.log_level is None or level not in LOG_LEVELS:
            return False
        return LOG_LEVELS.index(level) >= LOG_LEVELS.index(self.log_level)


class Call(msgspec.Struct, frozen=True):
    """A request for a backend, in the backend's own names.

    Attributes:
        method: What is called.
        params: Its parameters; ``_meta`` as the client sent it.
        caller: Whom it is for.
        task: With which parameters a backend of 2025-11-25 is to make a task of it; a modern one
            may make one if there are any. Whatever the client has declared, onemcp sees to it.
        span: The span that it is part of, and once it is sent its own; None where there is none.
    """

    method: str
    params: Fields
    caller: Caller
    task: Raw | None = None
    span: Span | None = None

    def sent(self, about: Attributes) -> Call:
        """Return it as it is sent: in a span of its own, which its backend hears of.

        Args:
            about: What spans tell of the backend.

        Raises:
            InvalidParams: ``_meta`` is malformed.
        """
        if self.span is None:
            return self
        span = self.span.to_backend(self.method, self.params, about)
        return msgspec.structs.replace(self, params=span.in_context(self.params), span=span)


def outgoing_params(call: Call, revision: str, token: int) -> tuple[Raw, Raw | None]:
    """Write a call's parameters for the revision of the connection that carries it.

    Per-request fields of the modern era are added or removed, and a progress token is replaced
    by one that is unique on the connection. What makes a modern request a retry means nothing to
    legacy backends, and ``task`` nothing to modern clients: both are left out between them.

    Args:
        call: The call.
        revision: The revision that the backend speaks.
        token: The progress token to use.

    Returns:
        The parameters to send, and the caller's own progress token if it has one.

    Raises:
        InvalidParams: ``_meta`` is malformed.
    """
    members = meta.meta_of(call.params)
    wanted = meta.progress_token(members)
    changes: dict[str, Raw | None] = {}
    if era_of(revision) is Era.MODERN:
        caller = call.caller
        able = caller.capabilities
        if call.task is not None:
            able = with_extension(able)
        elif caller.era is Era.LEGACY:
            able = without_extension(able)
        changes.update(
            meta.modern_members(RequestMeta(revision, able, caller.client_info, caller.log_level))
        )
    elif members and not members.keys().isdisjoint(meta.REQUEST_FIELDS):
        changes.update(meta.LEGACY_MEMBERS)
    if wanted is not None:
        changes[meta.PROGRESS_TOKEN] = raw(token)
    params = meta.set_meta(call.params, changes) if changes else call.params
    crosses = call.caller.era is Era.MODERN and era_of(revision) is Era.LEGACY
    if crosses and not _NOT_CROSSING.isdisjoint(params):
        params = {key: value for key, value in params.items() if key not in _NOT_CROSSING}
    if call.task is not None and call.method == TOOLS_CALL and revision == V2025_11_25:
        params = {**params, TASK: call.task}
    return join(params), wanted
