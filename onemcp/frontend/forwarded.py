"""Where a request really comes from, as far as proxies say so that may be believed.

Anybody can send `X-Forwarded-For` (or `Forwarded`, RFC 7239), and proxies add to what they get:
what stands last was said by the proxy that is connected, what stands before it by whoever that
names, and so on. So the chain is followed from its end for as long as it names proxies of the
operator's, and the first address that is none of them is the client's. Sans-IO.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Final, TypeAlias

import attrs

from onemcp.protocol.httpheaders import Headers

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network

MAX_HOPS: Final = 32
"""How far a chain is followed."""

FORWARDED: Final = b"forwarded"

_NODE: Final = re.compile(r"\[(?P<six>[^\]]*)\](?::\d+)?|(?P<four>\d+\.\d+\.\d+\.\d+)(?::\d+)?")
_ELEMENT: Final = re.compile(r'(?:[^",]|"(?:[^"\\]|\\.)*")+')
_PAIR: Final = re.compile(r'(?:[^";]|"(?:[^"\\]|\\.)*")+')
_FOR: Final = re.compile(r'for=(?:"([^"\\]*)"|([^\s"]*))', re.IGNORECASE)


def _networks(entries: Iterable[str]) -> tuple[Network, ...]:
    return tuple(ip_network(entry) for entry in entries)


@attrs.frozen
class TrustedProxies:
    """The proxies that are believed where a request comes from.

    Attributes:
        networks: Where they are.
        header: What they say it in, in lower case.
    """

    networks: tuple[Network, ...] = attrs.field(converter=_networks)
    header: bytes = b"x-forwarded-for"

    def origin(self, peer: str, headers: Headers) -> str:
        """Return the address that a request comes from.

        Args:
            peer: The address of whoever is connected.
            headers: The request's.
        """
        here = _address(peer)
        if here is None:
            return peer
        for _, hop in zip(range(MAX_HOPS), self._hops(headers), strict=False):
            before = None if not self._trusts(here) else _read(hop)
            if before is None:
                break
            here = before
        return str(here)

    def _trusts(self, address: Address) -> bool:
        return any(address in network for network in self.networks)

    def _hops(self, headers: Headers) -> Iterator[str]:
        """Yield what each proxy has said, that of the last one first."""
        lines = [value.decode("latin-1") for name, value in headers if name == self.header]
        split = _forwarded if self.header == FORWARDED else _listed
        for line in reversed(lines):
            yield from reversed(split(line))


def _listed(line: str) -> list[str]:
    return [entry.strip() for entry in line.split(",")]


def _forwarded(line: str) -> list[str]:
    return [_node(element) for element in _ELEMENT.findall(line)]


def _node(element: str) -> str:
    """Return what an element says of where its request comes from; "" where it says nothing."""
    for pair in _PAIR.findall(element):
        match = _FOR.fullmatch(pair.strip())
        if match:
            return match[1] or match[2] or ""
    return ""


def _read(node: str) -> Address | None:
    """Read an address, with or without a port; None for what hides one, or is none."""
    match = _NODE.fullmatch(node)
    return _address((match["six"] or match["four"] or "") if match else node)


def _address(text: str) -> Address | None:
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
