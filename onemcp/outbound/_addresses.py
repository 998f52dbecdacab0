"""Where a name leads, and whether that is everybody's Internet."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Final, TypeAlias

import trio

from ._errors import Unreachable

Address: TypeAlias = IPv4Address | IPv6Address

MAX_ADDRESSES: Final = 16
"""How many addresses of one name count."""

_NAT64: Final = IPv6Network("64:ff9b::/96")
"""What leads on to an IPv4 address (RFC 6052)."""


def is_public(address: Address) -> bool:
    """Tell whether an address is one that anybody could reach as well.

    What is written as IPv6 and leads on to an IPv4 address is judged by that.
    """
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if address in _NAT64:
            inner = IPv4Address(int(address) & 0xFFFF_FFFF)
        if inner is not None:
            return is_public(inner)
        if address.teredo is not None or address.is_site_local:
            return False
    return address.is_global and not address.is_multicast


async def resolve(host: str, port: int) -> tuple[Address, ...]:
    """Return the addresses of a host, at least one; a literal is its own.

    Raises:
        Unreachable: There is no such name.
    """
    try:
        found = await trio.socket.getaddrinfo(host, port, type=trio.socket.SOCK_STREAM)
    except (OSError, UnicodeError, ValueError):
        raise Unreachable("is no host name that is known") from None
    addresses = dict.fromkeys(ip_address(str(where[0]).partition("%")[0]) for *_, where in found)
    if not addresses:
        raise Unreachable("has no address")
    return tuple(addresses)[:MAX_ADDRESSES]
