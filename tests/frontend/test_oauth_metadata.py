"""What the authorization server tells about itself, and what people are shown before they agree."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from onemcp.auth import Gate, TokenVerifier
from onemcp.auth.server import WELL_KNOWN, Client, Origin, Person
from onemcp.frontend import wellknown
from tests.auth.server.conftest import ISSUER, World
from tests.frontend.site import modern_headers, open_site, request, with_meta
from tests.frontend.test_oauth_bad_input import visit
from tests.frontend.test_views import Scopes, bearer
from tests.multiplexer.fakes import Server, tool
from tests.support.passwords import hashed


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "state")


@pytest.mark.parametrize("path", WELL_KNOWN)
async def test_the_metadata_is_that_of_oauth_and_of_openid(world: World, path: str):
    gate = Gate(
        mode="local", verifier=TokenVerifier(world.keys), own_issuer=True, public_url=ISSUER
    )
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": path, "headers": [(b"host", b"x")]}
    await wellknown.serve(gate, scope, send, "onemcp", world.server)
    assert sent[0]["status"] == 200
    document = json.loads(sent[1]["body"])
    assert document["issuer"] == ISSUER
    assert document["code_challenge_methods_supported"] == ["S256"]
    assert document["authorization_response_iss_parameter_supported"] is True
    endpoints = [value for name, value in document.items() if name.endswith(("_endpoint", "_uri"))]
    assert len(endpoints) == 6
    assert all(each.startswith(f"{ISSUER}/oauth/") for each in endpoints)
    assert "offline_access" not in document["scopes_supported"]


@pytest.mark.parametrize(
    ("registered", "warned"), [("app", False), ("https://client.example/x", True)]
)
async def test_people_see_where_the_answer_goes_before_anything_goes_there(
    world: World, registered: str, *, warned: bool
):
    async def fetch(client_id: str) -> Client:
        return Client(
            id=client_id,
            name="Somebody",
            origin=Origin.DOCUMENT,
            redirect_uris=["http://127.0.0.1/callback"],
        )

    people = {"ada": Person(name="ada", password=hashed("correct horse"))}
    world.server = world.start(fetch_client=fetch, documents=True, people=people)
    seen = await visit(world, "/oauth/consent", client_id=registered)
    assert "http://127.0.0.1:5000" in seen.page
    assert ("could pose as this one" in seen.page) is warned
    assert not any(each.what == "consent" for each in world.audit)


async def test_the_token_of_a_client_goes_no_further():
    gate = Gate(mode="local", verifier=Scopes())  # type: ignore[arg-type]
    async with open_site(Server("one", tools=[tool("get")]), gate=gate) as site:
        call = with_meta(request("tools/call", {"name": "one__get", "arguments": {}}))
        answer = await site.ask(
            "POST", "/mcp", modern_headers(call) | bearer("mcp", "s3cret"), call
        )
        assert answer.status == 200
        [exchange] = site.server.calls
        assert "s3cret:mcp" not in f"{exchange.call!r} {site.server.sent}"
        assert "uthorization" not in f"{exchange.call!r} {site.server.sent}"
