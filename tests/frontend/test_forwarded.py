"""Where requests come from, behind proxies that are trusted and before clients that are not."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onemcp.frontend.forwarded import FORWARDED, TrustedProxies
from tests.frontend.site import CALL, open_site

PROXIES = ("10.0.0.0/8", "127.0.0.1", "fd00::/8")
XFF = TrustedProxies(PROXIES)
RFC = TrustedProxies(PROXIES, FORWARDED)
CLIENT = "203.0.113.7"


def headers(name: str, *lines: str) -> list[tuple[bytes, bytes]]:
    return [(b"host", b"x"), *((name.encode(), line.encode()) for line in lines)]


@pytest.mark.parametrize(
    ("peer", "lines", "origin"),
    [
        ("10.0.0.1", [CLIENT], CLIENT),
        ("10.0.0.1", [f"1.1.1.1, {CLIENT}"], CLIENT),  # what the client claims itself
        ("10.0.0.1", ["1.1.1.1", CLIENT], CLIENT),
        ("10.0.0.1", [f"{CLIENT}, 10.2.3.4,fd00::1"], CLIENT),
        ("10.0.0.1", [f"{CLIENT}:5123"], CLIENT),
        ("10.0.0.1", ["[2001:db8::1]:80"], "2001:db8::1"),
        ("10.0.0.1", ["2001:DB8:0::1"], "2001:db8::1"),
        ("::ffff:10.0.0.1", [f"::ffff:{CLIENT}"], CLIENT),
        ("127.0.0.1", [], "127.0.0.1"),
        ("10.0.0.1", [""], "10.0.0.1"),
        ("10.0.0.1", ["unknown"], "10.0.0.1"),
        ("10.0.0.1", [f"{CLIENT}, nonsense"], "10.0.0.1"),
        ("10.0.0.1", [f"{CLIENT}, nonsense, 10.9.9.9"], "10.9.9.9"),
        ("10.0.0.1", ["10.1.1.1, 10.2.2.2"], "10.1.1.1"),
        ("203.0.113.9", [CLIENT], "203.0.113.9"),  # no proxy of ours
        ("10.0.0.1", [", ".join([CLIENT, *["10.0.0.2"] * 100])], "10.0.0.2"),
        ("", [CLIENT], ""),
        ("a socket", [CLIENT], "a socket"),
    ],
)
def test_the_last_address_that_is_no_proxys_is_the_clients(peer, lines, origin):
    assert XFF.origin(peer, headers("x-forwarded-for", *lines)) == origin
    assert RFC.origin(peer, headers("x-forwarded-for", *lines)) == RFC.origin(peer, [])


@pytest.mark.parametrize(
    ("line", "origin"),
    [
        (f"for={CLIENT}", CLIENT),
        (f"For={CLIENT};proto=https;by=10.0.0.1", CLIENT),
        (f"proto=https; for={CLIENT}", CLIENT),
        (f'for="{CLIENT}:4711"', CLIENT),
        ('for="[2001:db8::1]:80"', "2001:db8::1"),
        (f'for=1.1.1.1, for={CLIENT};host="a,for=2.2.2.2"', CLIENT),
        (f"for={CLIENT}, for=10.1.1.1", CLIENT),
        ("for=_hidden", "10.0.0.1"),
        ("for=unknown", "10.0.0.1"),
        ("proto=https", "10.0.0.1"),
        (f'host=";for={CLIENT}"', "10.0.0.1"),
        (f'host=";for=1.1.1.1;x";for={CLIENT}', CLIENT),
        ('for="', "10.0.0.1"),
        ("", "10.0.0.1"),
    ],
)
def test_the_standard_header_is_read_as_it_is_written(line, origin):
    assert RFC.origin("10.0.0.1", headers("forwarded", line)) == origin
    assert XFF.origin("10.0.0.1", headers("forwarded", line)) == "10.0.0.1"


@given(st.text(), st.sampled_from([XFF, RFC]))
def test_whatever_is_claimed_no_client_poses_as_another(claimed, proxies):
    said = f"for={CLIENT}" if proxies is RFC else CLIENT
    name = proxies.header.decode()
    lines = [claimed.encode("utf-8", "replace").decode("latin-1"), said]
    sent = [(name.encode(), line.encode("latin-1")) for line in lines]
    assert proxies.origin("10.0.0.1", sent) == CLIENT
    assert proxies.origin(CLIENT, sent) == CLIENT


@pytest.mark.parametrize(
    "line", ['"' * 20_000, "for=" * 8_000, 'for="' + "\\" * 20_000, "," * 30_000, ";" * 30_000]
)
def test_a_long_header_takes_no_long_time(line):
    began = time.process_time()
    for proxies in (XFF, RFC):
        proxies.origin("10.0.0.1", headers(proxies.header.decode(), line))
    assert time.process_time() - began < 2


async def test_refusals_are_told_of_the_client_and_not_of_the_proxy():
    async with open_site() as site:
        for proxies, address in ((None, "127.0.0.1"), (XFF, CLIENT)):
            site.application.proxies = proxies
            refused = await site.post(CALL, {"host": "evil.example", "x-forwarded-for": CLIENT})
            assert refused.status == 403
            assert site.events[-1].address == address
