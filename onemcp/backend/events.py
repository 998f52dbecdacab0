"""What happens in a backend, as typed events: logs, metrics and tests read these."""

from __future__ import annotations

from typing import ClassVar, TypeAlias

import attrs

from onemcp.telemetry import OfSession, SpanKind


@attrs.frozen
class BackendReady:
    """A backend has been connected to and has listed what it has.

    Attributes:
        backend: Its name.
        revision: The revision agreed on.
        items: How many tools, resources, templates and prompts it lists.
        seconds: How long it took from the start of the attempt.
    """

    backend: str
    revision: str
    items: dict[str, int]
    seconds: float


@attrs.frozen
class BackendDown:
    """A connection to a backend ended, or could not be made.

    Attributes:
        backend: Its name.
        reason: Why.
        detail: More for the operator, such as a program's last words, or None.
    """

    backend: str
    reason: str
    detail: str | None = None


@attrs.frozen
class BackendSessionEnded(OfSession):
    """A session of onemcp at a legacy backend is over, and so is the connection that carried it.

    Attributes:
        backend: The backend's name.
    """

    side: ClassVar[SpanKind] = "client"

    backend: str


@attrs.frozen
class ReplicaReady:
    """A replica of a backend has been connected to and has listed what it has.

    Attributes:
        backend: The backend's name.
        replica: The replica's key.
        revision: The revision agreed on.
        seconds: How long it took from the start of the attempt.
    """

    backend: str
    replica: str
    revision: str
    seconds: float


@attrs.frozen
class ReplicaDown:
    """A connection to a replica of a backend ended, or could not be made.

    Attributes:
        backend: The backend's name.
        replica: The replica's key.
        reason: Why.
        detail: More for the operator, such as a program's last words, or None.
    """

    backend: str
    replica: str
    reason: str
    detail: str | None = None


@attrs.frozen
class ReplicasDiffer:
    """Replicas of a backend don't list the same.

    Attributes:
        backend: The backend's name.
        shown: The replica whose lists clients see.
        others: Those that list something else.
        lists: What of it differs.
    """

    backend: str
    shown: str
    others: tuple[str, ...]
    lists: tuple[str, ...]


@attrs.frozen
class BackendStderr:
    """A backend's program wrote a line to stderr.

    Attributes:
        backend: Its name.
        line: The line.
    """

    backend: str
    line: str


@attrs.frozen
class ItemRejected:
    """Something that a backend lists is left out.

    Attributes:
        backend: Its name.
        item: The name of what is left out.
        reason: Why.
    """

    backend: str
    item: str
    reason: str


@attrs.frozen
class ToolWithheld:
    """A tool is not shown to modern clients over HTTP, who must not use it (Schema Extension).

    Attributes:
        backend: Its backend.
        tool: Its name there.
        reason: What is wrong with its ``x-mcp-header`` annotations.
    """

    backend: str
    tool: str
    reason: str


@attrs.frozen
class ListFailed:
    """A backend's list could not be fetched; what was known of it stays.

    Attributes:
        backend: Its name.
        method: The method that lists it.
        reason: Why.
    """

    backend: str
    method: str
    reason: str


@attrs.frozen
class InstanceReady:
    """One more instance of a backend takes calls.

    Attributes:
        backend: Its name.
        instances: How many there are now.
        seconds: How long it took.
    """

    backend: str
    instances: int
    seconds: float


@attrs.frozen
class InstanceLost:
    """An instance of a backend beside its first one ended, or could not be started.

    Attributes:
        backend: Its name.
        instances: How many there are now.
        reason: Why.
        detail: More for the operator, such as a program's last words, or None.
    """

    backend: str
    instances: int
    reason: str
    detail: str | None = None


@attrs.frozen
class InstanceRetired:
    """An instance of a backend was not needed any more, and has been ended.

    Attributes:
        backend: Its name.
        instances: How many there are now.
    """

    backend: str
    instances: int


@attrs.frozen
class BreakerOpened:
    """An instance of a backend has failed too often: calls are refused for now.

    Attributes:
        backend: Its name.
        reason: What has failed last.
        seconds: For how long.
    """

    backend: str
    reason: str
    seconds: float


@attrs.frozen
class BreakerClosed:
    """Calls to an instance of a backend go through again.

    Attributes:
        backend: Its name.
        by_operator: Whether an operator has said so; otherwise a probe was answered.
    """

    backend: str
    by_operator: bool


BreakerEvent: TypeAlias = BreakerOpened | BreakerClosed


@attrs.frozen
class InteractiveFound:
    """A call of a backend asks its client something, and gets an instance of its own from now on.

    Attributes:
        backend: Its name.
        method: The method.
        name: The name or URI that it is called with.
        certain: Whether it was that call that asked; otherwise it is one of several that may have,
            and the question was refused.
    """

    backend: str
    method: str
    name: str
    certain: bool


@attrs.frozen
class QuestionOfNobody:
    """A question of a backend was refused, for nothing tells whom it could be put to.

    Attributes:
        backend: Its name.
        method: What it asked.
        clients: How many clients it may have been for; 0 if it was asked outside of any call.
    """

    backend: str
    method: str
    clients: int


@attrs.frozen
class TokenNotRenewed:
    """onemcp could not get another access token for a backend.

    Attributes:
        backend: Its name.
        reason: Why.
        passing: Whether it is tried again by itself.
    """

    backend: str
    reason: str
    passing: bool


@attrs.frozen
class SecretExposed:
    """A file with a secret of the configuration may be read or replaced by any user of the machine.

    Attributes:
        backend: The backend that it is for.
        path: The file.
        mode: Its permissions, in octal.
    """

    backend: str
    path: str
    mode: str


@attrs.frozen
class LoginNoticed:
    """Somebody has logged in at a backend, and the running onemcp uses that from now on.

    Attributes:
        backend: Its name.
    """

    backend: str


Fault: TypeAlias = ItemRejected | ToolWithheld
"""What is wrong with something that a backend lists."""


@attrs.frozen
class UserConnected:
    """A backend that each user has for themselves has been connected to for one of them.

    Attributes:
        backend: Its name.
        user: Who.
        revision: The revision agreed on.
        seconds: How long it took from the start of the attempt.
    """

    backend: str
    user: str
    revision: str
    seconds: float


@attrs.frozen
class UserDisconnected:
    """A user's own connection to a backend ended, or could not be made.

    Attributes:
        backend: Its name.
        user: Who.
        reason: Why.
    """

    backend: str
    user: str
    reason: str


BackendEvent: TypeAlias = (
    BackendReady
    | BackendDown
    | BackendSessionEnded
    | ReplicaReady
    | ReplicaDown
    | ReplicasDiffer
    | BackendStderr
    | Fault
    | ListFailed
    | InstanceReady
    | InstanceLost
    | InstanceRetired
    | BreakerEvent
    | InteractiveFound
    | QuestionOfNobody
    | TokenNotRenewed
    | SecretExposed
    | LoginNoticed
    | UserConnected
    | UserDisconnected
)
