"""Where browsers are sent, and the tricks with addresses that don't work."""

from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onemcp.auth.server import fault_of, is_loopback, origin_of
from onemcp.auth.server._redirects import is_registered, with_answer


@pytest.mark.parametrize(
    "uri",
    [
        "https://app.example.com/callback",
        "https://app.example.com:8443/cb?tenant=a",
        "https://xn--mnchen-3ya.example/cb",
        "http://127.0.0.1/callback",
        "http://127.0.0.1:33418/",
        "http://localhost:6274/oauth/callback",
        "http://[::1]:9/cb",
    ],
)
def test_addresses_that_may_be_registered(uri):
    assert fault_of(uri) is None


@pytest.mark.requirement("basic/authorization/security-considerations#communication-security-3")
@pytest.mark.parametrize(
    "uri",
    [
        "",
        "/callback",
        "callback",
        "//app.example.com/cb",
        "https:///cb",
        "https:app.example.com",
        "http://app.example.com/cb",
        "http://127.0.0.1.evil.example/cb",
        "http://127.1/cb",
        "http://2130706433/cb",
        "http://0.0.0.0/cb",
        "https://app.example.com/cb#",
        "https://app.example.com/cb#part",
        "https://app.example.com@evil.example/cb",
        "https://user:secret@app.example.com/cb",
        "https://app.example.com\\@evil.example/cb",
        "https://app.example.com/a/../cb",
        "https://app.example.com/a/./cb",
        "https://app.example.com/%2e%2E/cb",
        "https://app.example.com/cb\n",
        "https://app.example.com/c b",
        "https://app.example.com:99999/cb",
        "https://app.example.com:x/cb",
        "https://münchen.example/cb",
        "https://app_.example*/cb",
        "https://*.example.com/cb",
        "HTTPS://app.example.com/cb",
        "javascript:alert(1)",
        "data:text/html,x",
        "file:///etc/passwd",
        "vscode://some.extension/cb",
        "com.example.app:/cb",
        "https://app.example.com/" + "x" * 3000,
    ],
)
def test_addresses_that_may_not(uri):
    assert fault_of(uri) is not None


def test_a_scheme_of_the_clients_own_needs_the_operators_word():
    assert fault_of("vscode://some.extension/cb", private_schemes=True) is None
    for scheme in ("javascript", "data", "file", "vbscript", "blob", "about"):
        assert fault_of(f"{scheme}:x", private_schemes=True) is not None


REGISTERED = ["http://127.0.0.1/cb", "https://app.example.com/cb", "http://localhost:80/cb?a=b"]


@pytest.mark.requirement("basic/authorization/security-considerations#open-redirection-2")
@pytest.mark.parametrize(
    ("uri", "same"),
    [
        ("https://app.example.com/cb", True),
        ("http://127.0.0.1/cb", True),
        ("http://127.0.0.1:1/cb", True),
        ("http://127.0.0.1:65535/cb", True),
        ("http://localhost:5/cb?a=b", True),
        ("https://app.example.com:443/cb", False),
        ("https://app.example.com/cb/", False),
        ("https://app.example.com/CB", False),
        ("https://APP.example.com/cb", False),
        ("https://app.example.com/cb?", False),
        ("https://app.example.com/cb#x", False),
        ("http://app.example.com/cb", False),
        ("https://127.0.0.1/cb", False),
        ("http://127.0.0.1:99999/cb", False),
        ("http://127.0.0.1:1/cb/x", False),
        ("http://127.0.0.1:1/cb?x", False),
        ("http://127.0.0.1:1@evil.example/cb", False),
        ("http://127.0.0.1.evil.example:1/cb", False),
        ("http://[::1]:1/cb", False),
        ("http://localhost:5/cb", False),
        ("http://LOCALHOST:5/cb?a=b", False),
        ("", False),
    ],
)
def test_an_address_is_one_of_the_registered_exactly_but_for_a_loopback_port(uri, same):
    assert is_registered(uri, REGISTERED) is same


TRICKS = st.text("abc.:/@\\#?%127 0[]\n[::1]httpslocalhost-", max_size=40)


@pytest.mark.requirement(
    "basic/authorization/security-considerations#open-redirection-4",
    "basic/authorization/security-considerations#open-redirection-5",
)
@given(uri=TRICKS | TRICKS.map("http://127.0.0.1".__add__) | TRICKS.map("https://".__add__))
def test_what_is_let_through_leads_where_it_seems_to(uri):
    if fault_of(uri) is None:
        parts = urlsplit(uri)
        assert parts.hostname
        assert parts.username is None
        assert not parts.fragment
        assert parts.scheme == "https" or is_loopback(uri)
    if is_registered(uri, REGISTERED):
        assert urlsplit(uri).hostname in {"127.0.0.1", "localhost", "app.example.com"}


def test_the_answer_is_added_to_what_is_there():
    answer = [("code", "a b&c"), ("state", None), ("iss", "http://x")]
    told = "code=a+b%26c&iss=http%3A%2F%2Fx"
    assert with_answer("https://a.example/cb", answer) == f"https://a.example/cb?{told}"
    assert with_answer("https://a.example/cb?x=y", answer) == f"https://a.example/cb?x=y&{told}"


def test_people_are_told_the_host_or_the_scheme():
    assert origin_of("https://a.example:8/cb?x") == "https://a.example:8"
    assert origin_of("com.example:/cb") == "com.example:"
