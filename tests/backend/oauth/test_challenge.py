"""What a response says about the token it wants."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onemcp.backend.oauth import Challenge, read_challenge
from onemcp.backend.oauth._challenge import MAX_SCOPES, scopes_of


@pytest.mark.requirement(
    "basic/authorization/authorization-server-discovery#protected-resource-metadata-discovery-requirements-3"
)
@pytest.mark.parametrize(
    ("header", "challenge"),
    [
        ("", Challenge()),
        ("Bearer", Challenge()),
        (
            'Bearer resource_metadata="https://a.example/x", scope="files:read files:write"',
            Challenge("https://a.example/x", ("files:read", "files:write")),
        ),
        ("bearer SCOPE=a", Challenge(None, ("a",))),
        (
            'Bearer error="insufficient_scope",scope="a"',
            Challenge(None, ("a",), "insufficient_scope"),
        ),
        ('Basic realm="x, scope=no", Bearer scope="yes"', Challenge(None, ("yes",))),
        ('Bearer scope="first", Bearer scope="second"', Challenge(None, ("first",))),
        ('DPoP scope="no"', Challenge()),
        (r'Bearer realm="a\"b, scope=no", scope="yes"', Challenge(None, ("yes",))),
        ('Bearer scope=""', Challenge()),
        ('Bearer scope="a', Challenge()),
        ('Bearer scope="a", scope="b"', Challenge(None, ("a",))),
    ],
)
def test_it_is_read(header, challenge):
    assert read_challenge(header) == challenge


@given(st.text(max_size=200))
def test_nothing_makes_it_fail(header):
    read_challenge(header)
    read_challenge(f"Bearer {header}")


def test_what_is_long_is_read_in_a_moment():
    for hostile in (
        "a" * 9000 + "=",
        'Bearer x="' + "\\" * 9000,
        "Bearer " + " ,\t" * 5000,
        "=" * 9000,
    ):
        assert read_challenge(hostile) == Challenge()


def test_scopes_are_bounded_and_each_counts_once():
    assert scopes_of('a b a "c" d\\e') == ("a", "b")
    assert len(scopes_of(" ".join(map(str, range(1000))))) == MAX_SCOPES
