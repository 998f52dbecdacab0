"""Where a name leads, and whether that is everybody's Internet."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final, TypeAlias

import trio

from ._errors import Unreachable

Address: TypeAlias = IPv4Address | IPv6Address

MAX_ADDRESSES: Final = 16
"""How many addresses of one name count."""

_NAT64: Final = IPv6Network("64:ff9b::/96")
"""What leads on to an IPv4 address (RFC 6052)."""

_NOT_GLOBAL: Final = (
    IPv6Network("64:ff9b:1::/48"),  # NAT64 of a network's own (RFC 8215)
    IPv6Network("::/96"),  # what once was IPv4 (RFC 4291, section 2.5.5.1)
    IPv4Network("192.88.99.0/24"),  # relays of 6to4 (RFC 7526)
    IPv4Network("168.63.129.16/32"),  # what Azure tells a machine about itself
)
"""What `ipaddress` takes for global, though it leads where only this machine or network can go."""


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
    if any(address in network for network in _NOT_GLOBAL):
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
