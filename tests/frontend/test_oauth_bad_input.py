"""Every field of every endpoint of the authorization server, with everything that can be wrong.

Whatever comes is answered with an error that its RFC knows, never with a failure of onemcp's own,
and nothing is granted, revoked or registered by it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Iterator
from html import unescape
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import attrs
import pytest

from onemcp.auth import _passwords, hash_password
from onemcp.auth.server import (
    AUTHORIZE,
    INTROSPECT,
    MAX_FORM_BYTES,
    REGISTER,
    REVOKE,
    TOKEN,
    Person,
    _people,
)
from onemcp.frontend import HttpRefusal, OAuth, Wire
from onemcp.web import Pages
from tests.auth.server.conftest import ADDRESS, ISSUER, VERIFIER, World

FORM: Final = "application/x-www-form-urlencoded"
JSON: Final = "application/json"
LOGIN: Final = "/oauth/login"
CONSENT: Final = "/oauth/consent"
REDIRECT: Final = "http://127.0.0.1:5000/callback"
PASSWORD: Final = "correct horse"
SECRET: Final = "s" * 32

RFC_6749: Final = frozenset(
    {
        *("invalid_request", "invalid_client", "invalid_grant", "unauthorized_client"),
        *("unsupported_grant_type", "invalid_scope", "invalid_target"),
    }
)
RFC_7591: Final = frozenset({"invalid_redirect_uri", "invalid_client_metadata", "invalid_request"})
AUTHORIZATION: Final = frozenset(
    {
        *("invalid_request", "unauthorized_client", "unsupported_response_type"),
        *("invalid_scope", "invalid_target", "access_denied"),
    }
)
STATUSES: Final = frozenset({400, 401, 403, 405, 413})


@attrs.frozen
class Said:
    """An answer.

    Attributes:
        status: Its HTTP status.
        headers: Its headers.
        body: Its body.
    """

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def error(self) -> str:
        return str(json.loads(self.body)["error"])


async def ask(
    world: World,
    path: str,
    body: bytes = b"",
    *,
    method: str = "POST",
    kind: str | None = FORM,
    query: bytes = b"",
    headers: tuple[tuple[bytes, bytes], ...] = (),
    pages: Pages | None = None,
) -> Said:
    """Send a request as it is."""
    sent: list[Any] = []
    parts = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Any:
        return parts.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    types = () if kind is None else ((b"content-type", kind.encode()),)
    scope = {
        "type": "http",
        "http_version": "1.1",
        "scheme": "https",
        "root_path": "",
        "raw_path": path.encode(),
        "server": ("127.0.0.1", 80),
        "extensions": {},
        "method": method,
        "path": path,
        "query_string": query,
        "headers": [(b"host", b"mcp.example.com"), *types, *headers],
        "client": (ADDRESS, 1),
    }
    pages = pages or Pages(lambda _: ISSUER, world.server)
    try:
        await OAuth(world.server, pages).serve(ISSUER, scope, Wire(scope, receive, send))
    except HttpRefusal as refusal:
        return Said(refusal.status, {}, b"")
    found = {name.decode().lower(): value.decode() for name, value in sent[0]["headers"]}
    return Said(sent[0]["status"], found, b"".join(each.get("body", b"") for each in sent[1:]))


# --- what can be wrong with a field ---------------------------------------------------------------

MALFORMED: Final[dict[str, Callable[[str, str], str]]] = {
    "doubled": lambda name, value: f"{name}={quote(value)}&{name}={quote(value)}",
    "doubled with another": lambda name, value: f"{name}={quote(value)}&{name}=x",
    "oversized": lambda name, _: f"{name}={'x' * 5000}",
    "no UTF-8": lambda name, _: f"{name}=%ff%fe",
    "overlong UTF-8": lambda name, _: f"{name}=%c0%af",
    "a surrogate": lambda name, _: f"{name}=%ed%a0%80",
    "NUL": lambda name, value: f"{name}={quote(value)}%00",
    "a line": lambda name, value: f"{name}={quote(value)}%0d%0aset-cookie:x",
}
"""What is refused in every field, needed or not."""

WRONG: Final[dict[str, Callable[[str, str], str]]] = {
    "missing": lambda _name, _value: "",
    "empty": lambda name, _: f"{name}=",
    "without a value": lambda name, _: name,
    "of another kind": lambda name, value: f"{name}[]={quote(value)}",
    "another": lambda name, _: f"{name}=another",
    "in other letters": lambda name, value: f"{name}={quote(value.swapcase() + 'X')}",
    "longer": lambda name, value: f"{name}={quote(value)}x",
    "with space": lambda name, value: f"{name}=%20{quote(value)}",
    "not ASCII": lambda name, value: f"{name}={quote(value)}%c3%a9",
}
"""What is refused in fields that must be as they are."""


def broken(fields: dict[str, str], name: str, defect: Callable[[str, str], str]) -> bytes:
    rest = [urlencode({key: value}) for key, value in fields.items() if key != name]
    return "&".join(filter(None, [*rest, defect(name, fields[name])])).encode()


def defects(*, needed: bool) -> Iterator[tuple[str, Callable[[str, str], str]]]:
    yield from MALFORMED.items()
    if needed:
        yield from WRONG.items()


# --- the endpoints of programs --------------------------------------------------------------------


async def with_code(world: World) -> dict[str, str]:
    return {
        "grant_type": "authorization_code",
        "client_id": "app",
        "code": await world.code(),
        "code_verifier": VERIFIER,
        "redirect_uri": REDIRECT,
        "resource": f"{ISSUER}/mcp",
    }


async def with_refresh_token(world: World) -> dict[str, str]:
    token = (await world.log_in())["refresh_token"]
    return {
        "grant_type": "refresh_token",
        "client_id": "app",
        "refresh_token": token,
        "scope": "mcp",
        "resource": f"{ISSUER}/mcp",
    }


async def with_secret(world: World) -> dict[str, str]:
    del world
    return {
        "grant_type": "client_credentials",
        "client_id": "robot",
        "client_secret": SECRET,
        "scope": "backend:files",
        "resource": f"{ISSUER}/mcp",
    }


async def with_token(world: World) -> dict[str, str]:
    token = (await world.log_in())["access_token"]
    return {"client_id": "app", "token": token}


async def with_question(world: World) -> dict[str, str]:
    fields = await with_secret(world)
    token = (await world.token(**fields))["access_token"]
    return {"client_id": "robot", "client_secret": SECRET, "token": token}


Fields = Callable[[World], Awaitable[dict[str, str]]]
PROGRAMS: Final[dict[str, tuple[str, Fields, frozenset[str]]]] = {
    "code": (TOKEN, with_code, frozenset({"grant_type", "client_id", "code", "code_verifier"})),
    "refresh": (TOKEN, with_refresh_token, frozenset({"grant_type", "client_id", "refresh_token"})),
    "service": (TOKEN, with_secret, frozenset({"grant_type", "client_id", "client_secret"})),
    "revoke": (REVOKE, with_token, frozenset({"client_id"})),
    "introspect": (INTROSPECT, with_question, frozenset({"client_id", "client_secret"})),
}
NAMES: Final = {
    "code": ("grant_type", "client_id", "code", "code_verifier", "redirect_uri", "resource"),
    "refresh": ("grant_type", "client_id", "refresh_token", "scope", "resource"),
    "service": ("grant_type", "client_id", "client_secret", "scope", "resource"),
    "revoke": ("client_id", "token"),
    "introspect": ("client_id", "client_secret", "token"),
}
EACH: Final = [(endpoint, name) for endpoint, names in NAMES.items() for name in names]


SECRETS: Final = frozenset({"code", "code_verifier", "client_secret", "refresh_token", "token"})


def granted(world: World) -> set[str]:
    return set(world.server.ledger.records.grants)


@pytest.mark.parametrize(("endpoint", "name"), EACH)
async def test_a_program_gets_an_error_and_nothing_else(world: World, endpoint: str, name: str):
    path, make, needed = PROGRAMS[endpoint]
    for what, defect in defects(needed=name in needed):
        world.now += 3600
        fields = await make(world)
        assert fields.keys() == set(NAMES[endpoint])
        before = granted(world)
        revoked = dict(world.server.ledger.records.revoked)
        answer = await ask(world, path, broken(fields, name, defect))
        about = (endpoint, name, what, answer)
        assert answer.status in STATUSES, about
        assert answer.error in RFC_6749, about
        assert answer.headers["cache-control"] == "no-store", about
        assert b"access_token" not in answer.body, about
        assert granted(world) <= before, about
        assert world.server.ledger.records.revoked == revoked, about
        written = str(world.audit)
        assert not any(fields[key] in written for key in SECRETS & fields.keys()), about


@pytest.mark.parametrize("endpoint", PROGRAMS)
async def test_what_is_right_is_served(world: World, endpoint: str):
    path, make, _ = PROGRAMS[endpoint]
    answer = await ask(world, path, urlencode(await make(world)).encode())
    assert answer.status == 200


@pytest.mark.parametrize("endpoint", PROGRAMS)
async def test_a_request_is_refused_as_a_whole(world: World, endpoint: str):
    path, make, _ = PROGRAMS[endpoint]
    fields = await make(world)
    before = granted(world)
    right = urlencode(fields).encode()
    basic = (b"authorization", b"Basic YXBwOng=")
    for what in (
        {"method": "GET", "query": right, "body": b""},
        {"method": "GET"},
        {"method": "PUT"},
        {"method": "HEAD"},
        {"kind": JSON, "body": json.dumps(fields).encode()},
        {"kind": "multipart/form-data; boundary=x"},
        {"kind": "text/plain"},
        {"kind": None},
        {"query": right, "body": b""},  # secrets in addresses end up in logs
        {"body": right + b"&x=" + b"x" * MAX_FORM_BYTES},
        {"body": b"&".join(b"f%d=x" % number for number in range(65))},
        {"body": b"\xff\xfe" + right},
        {"headers": (basic, basic)},
        {"headers": ((b"authorization", b"Basic !"),)},
        {"headers": ((b"authorization", b"Basic YXBw"),)},
        {"headers": ((b"authorization", b"Bearer x"),)},
        {"headers": ((b"authorization", b"Basic b3RoZXI6eA=="),)},  # somebody else
    ):
        world.now += 30  # a code lives for a minute; the limits are for others to test
        options: dict[str, Any] = {"body": right, **what}
        answer = await ask(world, path, options.pop("body"), **options)
        assert answer.status in STATUSES, (what, answer)
        if answer.body:  # what is refused as HTTP has none here
            assert answer.error in RFC_6749
        else:
            assert answer.status in {405, 413}
        assert (answer.status == 401) <= ("www-authenticate" in answer.headers)
        assert granted(world) <= before
        world.now -= 30


# --- registration ---------------------------------------------------------------------------------

DOCUMENT: Final[dict[str, Any]] = {
    "redirect_uris": ["https://x.example/cb"],
    "client_name": "X",
    "grant_types": ["authorization_code"],
    "response_types": ["code"],
    "token_endpoint_auth_method": "none",
}
VALUES: Final[tuple[Any, ...]] = (
    *(None, 5, 1.5, True, "", "x", [], [None], [[]], [5], {}, {"x": "y"}, ["x"] * 100),
    *("x" * 5000, "\ud800", "a\nb", "\u202egnp", ["javascript:alert(1)"], ["https://x@y.example/"]),
)


@pytest.mark.parametrize("name", DOCUMENT)
async def test_a_wrong_registration_is_an_error_or_harmless(world: World, name: str):
    for value in VALUES:
        world.now += 3600
        before = dict(world.server.ledger.records.clients)
        body = json.dumps(DOCUMENT | {name: value}).encode()
        answer = await ask(world, REGISTER, body, kind=JSON)
        if answer.status == 201:
            assert name == "client_name" or value == DOCUMENT[name], (name, value)
            told = json.loads(answer.body)
            assert told["redirect_uris"] == DOCUMENT["redirect_uris"]
            assert told["client_name"].isprintable()
            continue
        assert answer.status == 400, (name, value, answer)
        assert answer.error in RFC_7591
        assert world.server.ledger.records.clients == before


@pytest.mark.parametrize(
    "options",
    [
        {"body": b""},
        {"body": b"null"},
        {"body": b"{" * 10_000},
        {"body": b"\xff"},
        {"body": json.dumps(DOCUMENT).encode("utf-16")[:40]},
        {"body": json.dumps(DOCUMENT | {"x": "x" * 20_000}).encode()},
        {"kind": FORM},
        {"kind": None},
        {"method": "GET"},
        {"method": "DELETE"},
    ],
    ids=lambda options: str(options)[:40],
)
async def test_a_registration_that_is_none_is_refused(world: World, options: dict[str, Any]):
    options = {"body": json.dumps(DOCUMENT).encode(), "kind": JSON, **options}
    answer = await ask(world, REGISTER, options.pop("body"), **options)
    assert answer.status in STATUSES
    assert not world.server.ledger.records.clients


# --- what people's browsers send ------------------------------------------------------------------

ASKED: Final = ("response_type", "client_id", "code_challenge", "code_challenge_method")
MAY_BE_ASKED: Final = ("redirect_uri", "scope", "state", "resource")
UNSURE: Final = frozenset({"client_id", "redirect_uri", "state"})
"""Where a defect of these is, it isn't clear whom to tell."""


@pytest.mark.parametrize("name", [*ASKED, *MAY_BE_ASKED])
async def test_a_wrong_request_for_authorization_leads_to_no_login(world: World, name: str):
    fields = dict(world.asked(redirect_uri=REDIRECT)._fields)
    for what, defect in defects(needed=name in ASKED):
        answer = await ask(
            world, AUTHORIZE, method="GET", kind=None, query=broken(fields, name, defect)
        )
        about = (name, what, answer)
        if answer.status == 303:
            assert name not in UNSURE, about
            target = urlsplit(answer.headers["location"])
            assert f"{target.scheme}://{target.netloc}{target.path}" == REDIRECT
            told = parse_qs(target.query)
            assert told.keys() == {"error", "error_description", "state", "iss"}, about
            assert told["error"][0] in AUTHORIZATION, about
            assert (told["state"], told["iss"]) == (["xyz"], [ISSUER]), about
        else:
            assert answer.status in {400, 413}, about
            assert b"This does not work" in answer.body, about
        assert b"password" not in answer.body, about
        assert "code=" not in answer.headers.get("location", "")


@pytest.mark.parametrize(
    "uri",
    [
        "http://user@127.0.0.1:5000/callback",
        "http://127.0.0.1@evil.example/callback",
        "http://127.0.0.1:5000@evil.example/callback",
        "http://127.0.0.1:5000/callback#x",
        "http://127.0.0.1:5000/callback#",
        "http://127.0.0.1:5000/callback/../evil",
        "http://127.0.0.1:5000/x/../callback",
        "http://127.0.0.1:5000/%2e%2e/callback",
        "http://127.0.0.1:5000/./callback",
        "http://127.0.0.1:5000//callback",
        "http://127.0.0.1:5000/callback/",
        "http://127.0.0.1:5000/Callback",
        "HTTP://127.0.0.1:5000/callback",
        "http://127.0.0.1:5000/callback?x=y",
        "http://127.0.0.1:5000/callback?",
        "http://127.0.0.1:5000/callback;x",
        "http://127.0.0.1:5000\\@evil.example/callback",
        "http://127.0.0.1:99999/callback",
        "http://127.0.0.1:-1/callback",
        "http://127.0.0.1:x/callback",
        "http://127.0.0.1:\uff11/callback",
        "http://\u2460\u2461\u2466.0.0.1/callback",
        "http://127.1:5000/callback",
        "http://2130706433/callback",
        "http://0x7f000001/callback",
        "http://[::ffff:127.0.0.1]/callback",
        "http://127.0.0.1.evil.example/callback",
        "http://127.0.0.1.:5000/callback",
        "https://127.0.0.1:5000/callback",
        "http://localhost:5000/callback",
        "//127.0.0.1:5000/callback",
        "/callback",
        "callback",
        "javascript:alert(1)//127.0.0.1/callback",
        "data:text/html,x",
        " http://127.0.0.1:5000/callback",
        "http://127.0.0.1:5000/callback ",
        "http://127.0.0.1:5000/call\tback",
        "http://127.0.0.1:5000/c\u00e4llback",
        "http://ex\u00e4mple.com/callback",
        "http://xn--exmple-cua.com/callback",
    ],
)
async def test_nobody_is_sent_where_no_client_is(world: World, uri: str):
    fields = dict(world.asked(redirect_uri=uri)._fields)
    query = urlencode(fields).encode()
    for wrong in (b"", b"&response_type=x"):
        answer = await ask(world, AUTHORIZE, method="GET", kind=None, query=query + wrong)
        assert answer.status == 400
        assert "location" not in answer.headers
        assert b"evil" not in answer.body


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> str:
    """Return a hash that takes no time, as does that of nobody."""
    monkeypatch.setattr(_passwords, "LOG_N", 10)
    cheap = hash_password(PASSWORD)
    monkeypatch.setattr(_people, "NOBODY", cheap)
    return cheap


@attrs.frozen
class Visit:
    """A browser with a form that has been filled in right.

    Attributes:
        pages: What serves it.
        cookie: What the browser has got.
        fields: What the form would send.
        page: What is shown with it.
    """

    pages: Pages
    cookie: bytes
    fields: dict[str, str]
    page: str


async def visit(world: World, path: str, **changes: str) -> Visit:
    """Open the pages up to a form."""
    pages = Pages(lambda _: ISSUER, world.server)
    query = urlencode(dict(world.asked(redirect_uri=REDIRECT, **changes)._fields))
    shown = await ask(world, AUTHORIZE, method="GET", kind=None, query=query.encode(), pages=pages)
    fields = {"username": "ada", "password": PASSWORD}
    seen = Visit(pages, _cookie(shown), {**_hidden(shown), **fields}, shown.body.decode())
    if path == CONSENT:
        body = urlencode(seen.fields).encode()
        cookie = ((b"cookie", seen.cookie),)
        logged_in = await ask(world, LOGIN, body, headers=cookie, pages=pages)
        assert logged_in.status == 303
        cookie = ((b"cookie", _cookie(logged_in)),)
        shown = await ask(
            world,
            AUTHORIZE,
            method="GET",
            kind=None,
            query=query.encode(),
            headers=cookie,
            pages=pages,
        )
        chosen = {"decision": "allow", "scope": "mcp"}
        page = shown.body.decode()
        seen = Visit(pages, _cookie(logged_in), {**_hidden(shown), **chosen}, page)
    return seen


def _cookie(said: Said) -> bytes:
    return said.headers["set-cookie"].partition(";")[0].encode()


def _hidden(said: Said) -> dict[str, str]:
    found = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', said.body.decode())
    return {name: unescape(value) for name, value in found}


FORMS: Final = {
    LOGIN: ("request", "token", "username", "password"),
    CONSENT: ("request", "token", "decision"),
}


@pytest.mark.parametrize("path", FORMS)
async def test_a_wrong_form_lets_nobody_in(world: World, hashed: str, path: str):
    people = {"ada": Person(name="ada", password=hashed)}
    world.server = world.start(people=people)
    seen = await visit(world, path)
    before = len(world.audit)
    for name in FORMS[path]:
        for what, defect in {**MALFORMED, **WRONG}.items():
            if name == "username" and what == "with space":
                continue  # space around a name is no part of it
            world.now += 3600
            answer = await ask(
                world,
                path,
                broken(seen.fields, name, defect),
                headers=((b"cookie", seen.cookie),),
                pages=seen.pages,
            )
            about = (path, name, what, answer)
            if name == "decision" and answer.status == 303:  # what isn't a yes is a no
                assert "error=access_denied" in answer.headers["location"], about
                continue
            assert answer.status in {*STATUSES, 429}, about
            assert "code=" not in answer.headers.get("location", ""), about
            assert PASSWORD.encode() not in answer.body, about
    told = {event.what.value for event in world.audit[before:]}
    assert not told & {"login", "consent", "token issued"}
    right = urlencode(seen.fields).encode()
    for cookie in ((), ((b"cookie", b"__Host-onemcp=forged"),), ((b"cookie", b"\xff=\xff"),)):
        answer = await ask(world, path, right, headers=cookie, pages=seen.pages)
        assert answer.status == 403, "a form is good for one browser"
    for method in ("GET", "PUT", "DELETE"):
        assert (await ask(world, path, right, method=method, pages=seen.pages)).status in {404, 405}
    answer = await ask(world, path, right, headers=((b"cookie", seen.cookie),), pages=seen.pages)
    assert answer.status == 303, "what is right is served"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "state")
