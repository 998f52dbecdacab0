"""What logins at backends need of the gateway: a way back, and a document about itself."""

import pytest

from onemcp.auth import Gate, TokenVerifier
from onemcp.backend.places import CALLBACK, CLIENT_DOCUMENT
from onemcp.frontend.asgi import respond
from tests.frontend.site import open_site

ORIGIN = "https://gateway.example"


async def pages(scope, receive, send) -> None:
    await receive()
    await respond(send, 200, scope["path"].encode())


def gate(public_url: str | None = ORIGIN) -> Gate:
    return Gate(mode="none", public_url=public_url)


@pytest.mark.requirement(
    "basic/authorization/client-registration#implementation-requirements-2",
    "basic/authorization/client-registration#implementation-requirements-4",
    "basic/authorization/client-registration#implementation-requirements-5",
)
async def test_onemcp_says_who_it_is_at_the_address_that_is_its_id():
    async with open_site(gate=gate()) as site:
        site.application.callback = pages
        answer = await site.ask("GET", CLIENT_DOCUMENT)
        assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
        assert answer.json["client_id"] == ORIGIN + CLIENT_DOCUMENT
        assert answer.json["client_name"] == "onemcp"
        assert answer.json["redirect_uris"] == [ORIGIN + CALLBACK]
        assert "client_secret" not in answer.json
        refused = await site.ask("POST", CLIENT_DOCUMENT, body={})
        assert (refused.status, refused.headers["allow"]) == (405, "GET")


@pytest.mark.parametrize("public_url", [None, "http://gateway.example"])
async def test_where_nobody_could_fetch_it_there_is_no_document(public_url):
    async with open_site(gate=gate(public_url)) as site:
        site.application.callback = pages
        assert (await site.ask("GET", CLIENT_DOCUMENT)).status == 404


async def test_browsers_come_back_without_a_token():
    refusing = Gate(
        mode="external",
        verifier=TokenVerifier(None),
        issuers=["https://id.example.com"],
        public_url=ORIGIN,
    )
    async with open_site(gate=refusing) as site:
        assert (await site.ask("GET", CALLBACK)).status == 401, "there is nothing"
        site.application.callback = pages
        assert (await site.ask("GET", CALLBACK + "?state=x")).status == 200
        assert (await site.ask("GET", CALLBACK + "/x")).status == 401


async def test_a_page_of_another_site_cannot_read_what_comes_back():
    page = "https://app.example.com"
    async with open_site(gate=Gate(mode="none", allowed_origins=[page])) as site:
        site.application.callback = pages
        answer = await site.ask("GET", CALLBACK, {"origin": page})
        assert "access-control-allow-origin" not in answer.headers
        assert (await site.ask("GET", CALLBACK, {"origin": "https://evil.example"})).status == 403
