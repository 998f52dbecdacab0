"""Whatever is sent to the endpoints that anybody may reach is answered, and never by a bug."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from onemcp.auth import Gate, TokenVerifier
from onemcp.auth.server import JWKS, WELL_KNOWN
from onemcp.frontend.oauth import OAuth
from onemcp.web import Pages
from tests.auth.server.conftest import CHALLENGE, REDIRECT, World
from tests.frontend.site import open_site

HOST: Final = b"127.0.0.1:1"
PATHS: Final = (
    *WELL_KNOWN,
    JWKS,
    "/.well-known/oauth-protected-resource",
    "/.well-known/oauth-protected-resource/mcp",
    *(
        f"/oauth/{name}"
        for name in (
            *("authorize", "login", "consent", "logout", "token", "revoke", "introspect"),
            *("register", "callback", "style.css", "nothing"),
        )
    ),
)
FIELDS: Final = {
    "client_id": ["app", "robot", "nobody", "https://example.com/c"],
    "redirect_uri": [REDIRECT, "http://127.0.0.1:9/callback", "https://evil.example/"],
    "response_type": ["code", "token"],
    "code_challenge": [CHALLENGE],
    "code_challenge_method": ["S256", "plain"],
    "scope": ["mcp", "backend:files", "admin", "\x00"],
    "resource": ["https://mcp.example.com/mcp", "http://127.0.0.1:1/mcp", "/"],
    "grant_type": ["authorization_code", "refresh_token", "client_credentials"],
    "client_secret": ["s" * 32, ""],
    "token": ["x.y", "eyJ.e30."],
    "code": ["x"],
    "code_verifier": ["v" * 43],
    "refresh_token": ["a.b"],
    "state": ["s"],
    "request": ["client_id=app", "%"],
    "username": ["ada"],
    "password": ["x"],
    "decision": ["allow", "deny"],
    "prompt": ["none", "login"],
    "iss": ["https://id.example"],
}
TEXT: Final = st.text(max_size=20)
PAIRS: Final = st.lists(
    st.one_of(
        st.sampled_from(sorted(FIELDS)).flatmap(
            lambda name: st.tuples(st.just(name), st.sampled_from(FIELDS[name]) | TEXT)
        ),
        st.tuples(TEXT, TEXT),
    ),
    max_size=10,
)


def encoded(pairs: list[tuple[str, str]]) -> bytes:
    return urlencode(pairs, errors="surrogatepass").encode()


# What the parser of HTTP lets through, which has tests of its own.
QUERIES: Final = st.one_of(
    PAIRS.map(encoded), st.text(st.characters(min_codepoint=33, max_codepoint=126)).map(str.encode)
)
VALUES: Final = st.text(
    st.characters(min_codepoint=33, max_codepoint=255, blacklist_categories=["Cc"]), max_size=20
).map(lambda text: text.encode("latin-1"))
FORMS: Final = st.one_of(PAIRS.map(encoded), st.binary(max_size=60))
HEADERS: Final = st.lists(
    st.tuples(
        st.sampled_from(
            [b"authorization", b"content-type", b"cookie", b"origin", b"accept", b"x-other"]
        ),
        st.one_of(
            st.sampled_from(
                [b"application/x-www-form-urlencoded", b"application/json", b"Basic cm9ib3Q6eA=="]
            ),
            st.sampled_from([b"onemcp=x", b"http://127.0.0.1:1", b"null", b"Basic !", b"Bearer x"]),
            VALUES,
        ),
    ),
    max_size=4,
)
REQUESTS: Final = st.builds(
    lambda method, path, query, headers, body: (
        {
            "type": "http",
            "http_version": "1.1",
            "scheme": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(errors="replace"),
            "query_string": query,
            "headers": [(b"host", HOST), *headers],
            "client": ("192.0.2.1", 5),
            "server": ("127.0.0.1", 1),
        },
        body,
    ),
    st.sampled_from(["GET", "POST", "HEAD", "PUT", "OPTIONS"]),
    st.sampled_from(PATHS) | st.sampled_from(PATHS).flatmap(lambda at: TEXT.map(lambda x: at + x)),
    QUERIES,
    HEADERS,
    FORMS | st.just(b'{"redirect_uris": ["http://127.0.0.1/c"]}'),
)


async def ask(application: Any, scope: dict[str, Any], body: bytes) -> int:
    """Send a request to an ASGI application; return the status of the answer."""
    statuses: list[int] = []
    sent = False

    async def receive() -> dict[str, Any]:
        nonlocal sent
        if sent:
            await trio.sleep_forever()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(event: dict[str, Any]) -> None:
        await trio.lowlevel.checkpoint()
        if event["type"] == "http.response.start":
            statuses.append(event["status"])

    with trio.fail_after(10):
        await application(scope, receive, send)
    [status] = statuses
    return status


async def ask_all(requests: list[tuple[dict[str, Any], bytes]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        server = World(Path(folder)).server
        gate = Gate(mode="local", verifier=TokenVerifier(server.keys), own_issuer=True)
        async with open_site(gate=gate) as site:
            application = site.application
            application.oauth = OAuth(
                server, Pages(lambda headers: gate.resource(headers, "").origin, server)
            )
            for scope, body in requests:
                assert await ask(application, scope, body) < 500, scope
            assert [each for each in site.events if "Failed" in type(each).__name__] == []


@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(st.lists(REQUESTS, min_size=10, max_size=20))
def test_whatever_is_sent_is_answered_and_never_by_a_bug(
    requests: list[tuple[dict[str, Any], bytes]],
) -> None:
    trio.run(ask_all, requests)
