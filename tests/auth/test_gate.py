import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onemcp.auth import (
    ANONYMOUS,
    AuthError,
    BadRequest,
    Forbidden,
    Gate,
    InsufficientScope,
    KeyStore,
    Principal,
    RequestRefused,
    TokenVerifier,
    Unauthorized,
    new_token,
)


def headers(**values: str) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode("latin-1")) for name, value in values.items()]


def is_let_in(gate: Gate, **values: str) -> bool:
    request = headers(**values)
    try:
        gate.check_host(request)
        gate.check_origin(request)
    except Forbidden:
        return False
    return True


OPEN = Gate(
    mode="none",
    bound_hosts=["127.0.0.1", "192.0.2.7", "fd00::0007", "fe80::1%eth0", "0.0.0.0", "::"],  # noqa: S104
    allowed_hosts=["MCP.example.com", "pinned.example.com:8443", "2001:db8::1"],
    allowed_origins=[
        "https://App.example.com/",
        "https://default.example.com:443",
        "vscode-webview://abc",
    ],
)


@pytest.fixture
def gate(verifier: TokenVerifier) -> Gate:
    return Gate(mode="local", verifier=verifier, public_url="http://127.0.0.1:8722")


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LocalHost:1",
        "localhost:8722",
        "127.0.0.1",
        "127.0.0.1:8722",
        "[::1]",
        "[::1]:8722",
        "[0:0:0:0:0:0:0:1]:8722",
        "192.0.2.7:80",
        "[fd00::7]",
        "[fe80::1]",
        "mcp.example.com",
        "MCP.EXAMPLE.COM:443",
        "pinned.example.com:8443",
        "[2001:DB8::1]:99",
    ],
)
def test_a_host_of_this_server_is_accepted(host):
    assert is_let_in(OPEN, host=host)


BAD_HOSTS = [
    "",
    "evil.example.com",
    "evil.example.com:8722",
    "127.0.0.1.evil.example.com",
    "localhost.evil.example.com",
    "localhost.",
    "evil.example.com#localhost",
    "evil.example.com@localhost",
    "localhost@evil.example.com",
    "user:pass@localhost",
    "http://localhost",
    "localhost/",
    "localhost:",
    "localhost:port",
    "localhost:123456",
    "localhost, localhost",
    " localhost",
    "localhost\n",
    "127.1",
    "2130706433",
    "0x7f.0.0.1",
    "127.0.0.2",
    "0.0.0.0",  # noqa: S104
    "[::]",
    "::1",
    "[::1",
    "[::1]evil.example.com",
    "[:::1]",
    "[...]",
    "[::ffff:127.0.0.1]",
    "sub.mcp.example.com",
    "pinned.example.com",
    "pinned.example.com:8444",
    "*",
    "\xe9",
]


@pytest.mark.parametrize("host", BAD_HOSTS)
def test_a_host_of_anybody_else_is_forbidden(host):
    assert not is_let_in(OPEN, host=host)


@pytest.mark.parametrize(
    "origin",
    [
        "http://localhost",
        "http://localhost:3000",
        "https://127.0.0.1:6274",
        "http://[::1]:8722",
        "HTTPS://APP.EXAMPLE.COM",
        "https://default.example.com",
        "vscode-webview://abc",
        "http://mcp.example.com",
        "https://mcp.example.com",
    ],
)
def test_an_origin_that_may_call_is_accepted(origin):
    # The Host has no port, so that of either scheme is meant.
    assert is_let_in(OPEN, host="mcp.example.com", origin=origin)


@pytest.mark.requirement("basic/transports/streamable-http#security-endpoint-1")
@pytest.mark.parametrize(
    "origin",
    [
        "",
        "null",
        "*",
        "evil.example.com",
        "http://evil.example.com",
        "http://localhost.evil.example.com",
        "http://localhost@evil.example.com",
        "http://evil.example.com/http://localhost",
        "http://localhost:80:80",
        "http://localhost/",
        "http://localhost http://localhost",
        "ftp://localhost",
        "file://",
        "//localhost",
        "http://",
        "http://app.example.com",
        "https://app.example.com:8443",
        "https://sub.app.example.com",
        "https://app.example.com.evil.example.com",
        "vscode-webview://abcd",
        "https://mcp.example.com:8443",
        "https://pinned.example.com:8443",
        "http://192.0.2.7",
        "http://\xe9",
    ],
)
def test_an_origin_of_anybody_else_is_forbidden(origin):
    assert not is_let_in(OPEN, host="mcp.example.com", origin=origin)


def test_an_own_origin_has_the_port_of_the_host():
    assert is_let_in(OPEN, host="192.0.2.7:8722", origin="http://192.0.2.7:8722")
    assert not is_let_in(OPEN, host="192.0.2.7:8722", origin="http://192.0.2.7:8723")
    assert is_let_in(OPEN, host="mcp.example.com:443", origin="https://mcp.example.com")
    assert not is_let_in(OPEN, host="mcp.example.com:443", origin="http://mcp.example.com")


def test_a_rebound_name_is_no_own_origin_even_if_only_the_origin_is_checked(gate):
    # What the conformance suite's scenario dns-rebinding-protection sends.
    rebound = headers(host="evil.example.com", origin="http://evil.example.com")
    with pytest.raises(Forbidden):
        gate.check_origin(rebound)
    with pytest.raises(Forbidden) as refused:
        gate.check_host(rebound)
    assert refused.value.status == 403


@pytest.mark.parametrize("host", ["localhost:8722", "127.0.0.1:8722", "[::1]:8722"])
def test_what_the_conformance_suite_sends_as_valid_is_accepted(gate, host):
    assert is_let_in(gate, host=host, origin=f"http://{host}")


def test_a_request_without_an_origin_is_no_page(gate):
    assert is_let_in(gate, host="localhost")


def test_a_request_without_a_host_is_bad(gate):
    with pytest.raises(BadRequest) as refused:
        gate.check_host([])
    assert refused.value.status == 400


@pytest.mark.parametrize("name", ["host", "origin", "authorization"])
@pytest.mark.parametrize("mode", ["local", "none"])
def test_a_doubled_header_is_bad_even_if_both_are_the_same(verifier, name, mode):
    gate = Gate(mode=mode, verifier=verifier)
    doubled = [*headers(host="localhost"), *headers(**{name: "localhost"}) * 2]
    doubled[-1] = (name.title().encode(), b"localhost")
    with pytest.raises(BadRequest, match=f"The {name.title()} header is doubled") as refused:
        check_all(gate, doubled, 0)
    assert refused.value.status == 400


def check_all(gate: Gate, request: list[tuple[bytes, bytes]], now: float) -> None:
    gate.check_host(request)
    gate.check_origin(request)
    gate.authenticate(request, now)


def test_the_log_says_which_host_and_no_more_than_fits(gate):
    with pytest.raises(Forbidden) as refused:
        gate.check_host(headers(host="evil\n" + "x" * 5000))
    assert refused.value.reason.startswith("host 'evil\\nxxx")
    assert len(refused.value.reason) < 100
    assert str(refused.value) == "The Host is not allowed"


@pytest.mark.parametrize("entry", ["", "*", "*.example.com", "http://a", "a/b", "münchen", "::x"])
def test_an_allowed_host_that_is_none_is_refused(entry):
    with pytest.raises(ValueError, match="is no host"):
        Gate(mode="none", allowed_hosts=[entry])


@pytest.mark.parametrize("entry", ["", "*", "null", "a.example", "https://a/b", "https://*.a"])
def test_an_allowed_origin_that_is_none_is_refused(entry):
    with pytest.raises(ValueError, match="is no origin"):
        Gate(mode="none", allowed_origins=[entry])


def test_a_bound_address_that_is_no_host_is_left_out():
    assert Gate(mode="none", bound_hosts=["unix:/run/onemcp.sock", ""]).bound_hosts == frozenset()


def test_asking_for_tokens_needs_somebody_who_checks_them():
    with pytest.raises(ValueError, match="needs a verifier"):
        Gate(mode="local")


def test_a_mode_that_does_not_exist_is_refused(verifier):
    with pytest.raises(ValueError, match="mode"):
        Gate(mode="nnoe", verifier=verifier)


@pytest.mark.parametrize("scheme", ["Bearer ", "bearer ", "BEARER  "])
def test_a_token_lets_in(gate, forge, scheme):
    request = headers(authorization=scheme + forge.issue())
    assert gate.authenticate(request, forge.now, "/mcp").subject == "ada"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "no token"),
        ("", "no bearer token"),
        ("Bearer", "no bearer token"),
        ("Bearer ", "no bearer token"),
        ("Basic YWRhOmFkYQ==", "no bearer token"),
        ("DPoP abc", "no bearer token"),
    ],
)
def test_who_presents_no_token_gets_a_challenge_without_an_error(gate, forge, value, reason):
    request = [] if value is None else headers(authorization=value)
    with pytest.raises(Unauthorized) as refused:
        gate.authenticate(request, forge.now)
    assert refused.value.status == 401
    assert refused.value.reason == reason
    assert refused.value.www_authenticate == 'Bearer realm="onemcp"'


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (lambda f: "nonsense", "malformed"),
        (lambda f: f.issue() + " " + f.issue(), "malformed"),
        (lambda f: f.issue() + ", Bearer x", "malformed"),
        (lambda f: "\xe9", "malformed"),
        (lambda f: "a" * 9000, "oversize"),
        (lambda f: f.issue(now=f.now - 3600), "expired"),
        (lambda f: f.issue(audience="https://other"), "audience"),
    ],
)
def test_a_token_that_does_not_let_in_is_answered_the_same_whatever_is_wrong(
    gate, forge, build, reason
):
    token = build(forge)
    with pytest.raises(Unauthorized) as refused:
        gate.authenticate(headers(authorization=f"Bearer {token}"), forge.now, "/mcp")
    error = refused.value
    assert error.status == 401
    assert error.reason == reason
    assert str(error) == "The access token is invalid or has expired"
    assert error.www_authenticate.startswith('Bearer realm="onemcp", error="invalid_token", ')
    assert token not in f"{error!r} {error.reason} {error.www_authenticate}"
    assert error.__suppress_context__


def test_without_authentication_everybody_is_anonymous():
    assert OPEN.authenticate([], 0) is ANONYMOUS
    assert OPEN.authenticate(headers(authorization="Bearer x"), 0) is ANONYMOUS


def test_all_refusals_are_one_family():
    assert issubclass(RequestRefused, AuthError)
    assert {kind.__name__ for kind in RequestRefused.__subclasses__()} == {
        "BadRequest",
        "Forbidden",
        "InsufficientScope",
        "Unauthorized",
    }


NAMES = st.sampled_from([b"host", b"origin", b"authorization", b"Host", b"cookie"])
VALUES = st.one_of(
    st.binary(max_size=40),
    st.sampled_from(
        [b"Bearer ", b"http://[", b"localhost", b"[::1]:", b"https://localhost:"]
    ).flatmap(lambda start: st.binary(max_size=20).map(lambda rest: start + rest)),
    st.from_regex(rb"\A(https?://)?\[?[0-9a-f:.]*\]?(:[0-9]*)?\Z"),
)


@given(request=st.lists(st.tuples(NAMES, VALUES), max_size=4))
def test_any_headers_pass_or_are_refused_in_the_one_way(forge, request):
    verifier = TokenVerifier(forge.keys)
    gate = Gate(mode="local", verifier=verifier)
    for check in (
        gate.check_host,
        gate.check_origin,
        lambda request: gate.authenticate(request, forge.now),
    ):
        try:
            check(request)
        except RequestRefused as refused:
            assert refused.status in {400, 401, 403}  # noqa: PT017  (any other error fails)


def test_only_a_token_with_the_scope_admin_administers(gate: Gate, keys: KeyStore):
    def enter(scope: str) -> Principal:
        token = new_token(keys, "ada", 60, scope)
        request = headers(host="localhost", authorization=f"Bearer {token}")
        return gate.authenticate_admin(request, time.time(), "/mcp")

    assert enter("admin").subject == "ada"
    assert gate.is_admin(enter("mcp admin"))
    with pytest.raises(InsufficientScope) as refused:
        enter("mcp backend:a")
    assert "admin" in str(refused.value)
    with pytest.raises(Unauthorized):
        gate.authenticate_admin(headers(host="localhost"), time.time(), "/mcp")
    with pytest.raises(InsufficientScope):
        OPEN.authenticate_admin(headers(host="localhost"), time.time(), "/mcp")
