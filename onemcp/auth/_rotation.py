"""Changing the signing key without logging anybody out. Pure.

Theory of operation: a new key is announced first, and signs a little later, when every instance
that shares the keys has seen it. The one before goes on to verify for as long as something may
count that it has signed: what the authorization server issues lives for a day at most, and of what
the operator issues it is known when that was. Refresh tokens are signed by no key.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from onemcp.auth._keys import ANNOUNCED_SECONDS, MAX_KEYS, KeyStore, SigningKey

LONGEST_SECONDS: Final = 86_400.0
"""How long a token may be good for that isn't remembered."""

MARGIN: Final = 300.0
"""How far the clocks of those who sign and verify may be apart, in seconds."""


def is_due(keys: KeyStore, now: float, lifetime: float) -> bool:
    """Tell whether the newest key is older than keys are to become, in seconds; 0 is for ever."""
    return bool(lifetime) and now >= keys.newest.created + lifetime


def rotated(keys: KeyStore, now: float, issued: Iterable[float]) -> KeyStore:
    """Return the keys with a new one, and without those that nothing needs any more.

    Args:
        keys: The keys so far.
        now: The time, in seconds since the epoch.
        issued: When each token was issued that is remembered and still counts.

    Raises:
        ValueError: There would be too many keys; the message says what to do.
    """
    # Never older than the one before, whose clock may have been ahead: it must come to sign.
    created = max(int(now), keys.newest.created)
    needed = list(_needed(keys, now, created, list(issued)))
    if len(needed) >= MAX_KEYS:
        raise ValueError(
            f"there are {MAX_KEYS} keys, and each has signed a token that still counts; revoke old "
            "ones (onemcp token list), or wait until they expire"
        )
    return KeyStore([*needed, SigningKey.generate(created)])


def renewed(now: float) -> KeyStore:
    """Return keys of which nobody has any: nothing that was signed before counts any more."""
    return KeyStore([SigningKey.generate(int(now))])


def _needed(
    keys: KeyStore, now: float, superseded: float, issued: list[float]
) -> Iterator[SigningKey]:
    """Return the keys that something may count of which they have signed."""
    ends = [key.created for key in keys.by_age[1:]] + [superseded]
    for key, end in zip(keys.by_age, ends, strict=True):
        last = end + ANNOUNCED_SECONDS + MARGIN
        if now < last + LONGEST_SECONDS or any(key.created - MARGIN <= at <= last for at in issued):
            yield key
