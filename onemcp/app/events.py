"""What happens to the gateway as a whole, as typed events."""

from __future__ import annotations

import attrs

from onemcp.config import Configuration
from onemcp.supervision import ReloadReport


@attrs.frozen
class ReloadApplied:
    """A new configuration is in force.

    Attributes:
        configuration: The configuration.
        report: What was done with the backends, and what failed.
        changed: The options that differ from those before, without their values.
    """

    configuration: Configuration = attrs.field(repr=False)
    report: ReloadReport
    changed: tuple[str, ...] = ()


@attrs.frozen
class AnybodyMayCall:
    """No token is asked for, and other machines may reach the gateway.

    Attributes:
        url: Where.
    """

    url: str


@attrs.frozen
class Stopping:
    """A signal has told the gateway to stop, which it does once what is in flight has ended.

    Attributes:
        signal: Its name; ``SIGHUP`` where the terminal has closed.
        in_flight: How many calls are under way.
    """

    signal: str
    in_flight: int


@attrs.frozen
class AddressChanged:
    """The gateway listens at another address.

    Attributes:
        url: The new address of the MCP endpoint.
    """

    url: str


@attrs.frozen
class AddressRefused:
    """The gateway can't listen where the new configuration says, and goes on where it did.

    Attributes:
        host: The address or name.
        port: The port.
        reason: Why.
    """

    host: str
    port: int
    reason: str


@attrs.frozen
class StateUnavailable:
    """There is nowhere to keep what outlives the process, so nothing of it does.

    Attributes:
        reason: What is wrong with the state directory.
    """

    reason: str


@attrs.frozen
class LedgerReplaced:
    """The ledger of sessions was damaged and is put aside: no session of before goes on.

    Attributes:
        directory: Where it is.
    """

    directory: str


@attrs.frozen
class KeysRotated:
    """There is a new key, which will sign tokens; the others go on to verify.

    Attributes:
        key_id: Its `kid`.
    """

    key_id: str


@attrs.frozen
class KeysNotRotated:
    """There ought to be a new key to sign tokens, but there can't be; it is tried again.

    Attributes:
        why: What is wrong, and what to do.
    """

    why: str


@attrs.frozen
class KeysUnreadable:
    """Somebody has changed the signing keys so that they can't be used; the known ones still are.

    Attributes:
        why: What is wrong, and what to do.
    """

    why: str


@attrs.frozen
class GrantsUnreadable:
    """Somebody has changed what was granted so that it can't be read; what was known counts.

    Attributes:
        why: What is wrong, and what to do.
    """

    why: str
