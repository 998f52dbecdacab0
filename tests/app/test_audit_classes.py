"""Everything that is to be in the audit log: one line each, with who it was, and no secret."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import attrs
import httpx
import pytest

from onemcp import config
from onemcp.app.audit import AuditLog
from onemcp.app.events import KeysRotated, ReloadApplied
from onemcp.auth import ANONYMOUS
from onemcp.auth.server import (
    INTROSPECT,
    REGISTER,
    REVOKE,
    TOKEN,
    Audited,
    LogIn,
    LoginCode,
    OAuthError,
    RedirectedError,
    What,
)
from onemcp.config import ConfigurationRejected, Problem, differences
from onemcp.frontend import OAuth, RequestDenied, TokenAccepted, Wire
from onemcp.pinning import DefinitionChanged
from onemcp.supervision import ReloadReport
from onemcp.web import Pages
from tests.auth.server.conftest import ADDRESS, ISSUER, World
from tests.support.person import Person as Visitor
from tests.web.test_pages import Wire as Browser

SECRET: Final = "s" * 32
"""What the client `robot` proves itself with."""

CODES: Final[list[str]] = []
"""What somebody has logged in with."""

SCENARIOS: Final[dict[What, Callable[[World], Awaitable[object]]]] = {}


def scenario(what: What) -> Callable[[Any], Any]:
    def keep(play: Callable[[World], Awaitable[object]]) -> Callable[[World], Awaitable[object]]:
        SCENARIOS[what] = play
        return play

    return keep


def attempt(**changes: str) -> LogIn:
    return LogIn(**{"name": "ada", "password": "x", "code": "", "address": ADDRESS} | changes)


async def ask(world: World, path: str, body: bytes, kind: str) -> int:
    """Send a request as programs do; return the status."""
    sent: list[Any] = []
    parts = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Any:
        return parts.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "query_string": b"",
        "headers": [(b"content-type", kind.encode())],
        "client": (ADDRESS, 1),
    }
    pages = Pages(lambda _: ISSUER, world.server)
    await OAuth(world.server, pages).serve(ISSUER, scope, Wire(scope, receive, send))
    return int(sent[0]["status"])


FORM: Final = "application/x-www-form-urlencoded"


@scenario(What.LOGIN_REFUSED)
async def guess(world: World) -> None:
    await world.server.log_in(attempt())


@scenario(What.REQUEST_REFUSED)
async def ask_for_nonsense(world: World) -> None:
    await world.code(client_id="nobody")


@scenario(What.CONSENT_REFUSED)
async def deny(world: World) -> None:
    request = await world.server.begin(world.asked(), ISSUER, ADDRESS)
    world.server.refuse(request, "ada", ADDRESS)


@scenario(What.CONSENT)
async def agree(world: World) -> None:
    await world.code()


@scenario(What.TOKEN)
async def redeem(world: World) -> None:
    await world.log_in()


@scenario(What.TOKEN_REFUSED)
async def redeem_nothing(world: World) -> None:
    await world.redeem("nonsense")


@scenario(What.REGISTRATION)
async def register(world: World) -> None:
    document = {"redirect_uris": ["https://x.example/"], "client_name": "X"}
    assert await ask(world, REGISTER, json.dumps(document).encode(), "application/json") == 201


@scenario(What.REGISTRATION_REFUSED)
async def register_nothing(world: World) -> None:
    assert await ask(world, REGISTER, b"{}", "application/json") == 400


@scenario(What.REVOCATION)
async def revoke(world: World) -> None:
    tokens = await world.log_in()
    body = f"client_id=app&token={tokens['refresh_token']}".encode()
    assert await ask(world, REVOKE, body, FORM) == 200


@scenario(What.INTROSPECTION)
async def introspect(world: World) -> None:
    body = f"client_id=robot&client_secret={SECRET}&token=x".encode()
    assert await ask(world, INTROSPECT, body, FORM) == 200


@scenario(What.CLIENT_REFUSED)
async def introspect_as_nobody(world: World) -> None:
    assert await ask(world, INTROSPECT, b"client_id=robot&client_secret=y&token=x", FORM) == 400


@scenario(What.MALFORMED)
async def send_it_twice(world: World) -> None:
    assert await ask(world, TOKEN, b"client_id=a&client_id=b", FORM) == 400


@scenario(What.FORM_REFUSED)
async def forge_a_form(world: World) -> None:
    visitor = Visitor(transport=Browser(Pages(lambda _: ISSUER, world.server)))
    fields = httpx.QueryParams(dict(world.asked()._fields))
    form = {"request": str(fields), "token": "forged", "decision": "allow"}
    answer = await visitor.client.post(f"{ISSUER}/oauth/consent", data=form)
    assert answer.status_code == 403
    await visitor.client.aclose()


@scenario(What.LOGIN)
async def come_in(world: World) -> None:
    shown: list[str] = []
    world.server._door.code = LoginCode(shown.append)
    assert await world.server.log_in(attempt(name="", password="", code=shown[0])) == "local"
    CODES.append(shown[0])


PRINCIPAL: Final = attrs.evolve(
    ANONYMOUS, subject="ada", client_id="app", token_id="id-1", scopes=frozenset({"mcp"})
)
OLD = config.Configuration()
NEW = attrs.evolve(
    OLD, auth=attrs.evolve(OLD.auth, users={"ada": config.User(password="$scrypt$x")})
)
PROBLEM = Problem(file="f", path="auth.mode", message="must be a word", remedy="")
EVENTS: Final[dict[What, object]] = {
    What.ACCESS: TokenAccepted(PRINCIPAL, "/mcp", ADDRESS),
    What.ACCESS_REFUSED: RequestDenied("/mcp", 401, "expired", ADDRESS),
    What.SCOPE_REFUSED: RequestDenied("/mcp", 403, "needs mcp", ADDRESS, "ada", "app", "mcp"),
    What.CONFIGURATION: ReloadApplied(NEW, ReloadReport(), differences(OLD, NEW)),
    What.CONFIGURATION_REFUSED: ConfigurationRejected((PROBLEM, PROBLEM)),
    What.KEYS: KeysRotated("kid-1"),
    What.DEFINITION: DefinitionChanged("b", "tools", "send", "changed", withheld=True),
    What.BACKEND_LOGIN: Audited(what=What.BACKEND_LOGIN, address=ADDRESS, by="ada"),
    What.BACKEND_LOGIN_REFUSED: Audited(what=What.BACKEND_LOGIN_REFUSED, reason="why"),
    What.BACKEND_LOGOUT: Audited(what=What.BACKEND_LOGOUT, subject="ada", how="b"),
}


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "state")


@pytest.fixture
def written(tmp_path: Path) -> Callable[[list[object]], list[dict[str, Any]]]:
    def write(events: list[object]) -> list[dict[str, Any]]:
        log = AuditLog(tmp_path / "audit.log")
        for event in events:
            log(event)
        return [json.loads(line) for line in (tmp_path / "audit.log").read_text().splitlines()]

    return write


def test_there_is_a_test_for_each():
    assert SCENARIOS.keys() | EVENTS.keys() == set(What)


@pytest.mark.parametrize("what", SCENARIOS)
async def test_what_the_authorization_server_does_is_one_line(what: What, world: World, written):
    with suppress(OAuthError, RedirectedError):
        await SCENARIOS[what](world)
    lines = written(world.audit)
    [line] = [each for each in lines if each["what"] == what]
    assert line["address"] == ADDRESS
    refused = what.value.endswith("refused")
    assert bool(line.get("reason")) is (refused and what is not What.CONSENT_REFUSED)
    # Before it there is what led to it, and nothing else.
    before = {What.TOKEN: [What.CONSENT], What.REVOCATION: [What.CONSENT, What.TOKEN]}
    assert [each["what"] for each in lines] == [*before.get(what, []), what]
    text = json.dumps(lines)
    assert SECRET not in text
    assert not any(code in text for code in CODES)
    assert "nonsense" not in text


@pytest.mark.parametrize("what", EVENTS)
def test_what_the_gateway_does_is_one_line(what: What, written):
    [line] = written([EVENTS[what]])
    assert line.pop("what") == what
    assert line.pop("time")
    expected = {
        What.ACCESS: {
            "address": ADDRESS,
            "client": "app",
            "subject": "ada",
            "resource": "/mcp",
            "scopes": "mcp",
            "token": "id-1",
            "issuer": "onemcp",
        },
        What.ACCESS_REFUSED: {"address": ADDRESS, "resource": "/mcp", "reason": "expired"},
        What.DEFINITION: {
            "backend": "b",
            "resource": "tools/send",
            "how": "changed",
            "outcome": "withheld",
        },
        What.SCOPE_REFUSED: {
            "address": ADDRESS,
            "client": "app",
            "subject": "ada",
            "resource": "/mcp",
            "scopes": "mcp",
            "reason": "needs mcp",
        },
        What.CONFIGURATION: {"options": ["auth.users.ada"]},
        What.CONFIGURATION_REFUSED: {"options": ["auth.mode"]},
        What.KEYS: {"how": "age", "reason": "new key kid-1"},
        What.BACKEND_LOGIN: {"address": ADDRESS, "by": "ada"},
        What.BACKEND_LOGIN_REFUSED: {"reason": "why"},
        What.BACKEND_LOGOUT: {"subject": "ada", "how": "b"},
    }
    assert line == expected[what]


async def test_who_was_refused_is_told_as_far_as_it_is_claimed(world: World, written):
    tokens = await world.log_in()
    world.audit.clear()
    body = f"client_id=other&token={tokens['refresh_token']}".encode()
    assert await ask(world, REVOKE, body, FORM) == 200
    assert await ask(world, TOKEN, b"client_id=robot&client_secret=bad", FORM) == 400
    revoked, refused = written(world.audit)
    assert (revoked["client"], revoked["reason"]) == ("other", "no token of the client")
    assert (refused["what"], refused["client"]) == ("token refused", "robot")
    await world.refresh(tokens["refresh_token"])
