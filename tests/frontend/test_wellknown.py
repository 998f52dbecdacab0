"""What a client without a token finds out."""

import pytest

from onemcp.auth import Gate, TokenVerifier
from tests.frontend.site import open_site, request

ISSUER = "https://id.example.com"
WELL_KNOWN = "/.well-known/oauth-protected-resource"


def gate(**more) -> Gate:
    return Gate(mode="external", verifier=TokenVerifier(None), issuers=[ISSUER], **more)


@pytest.mark.parametrize("path", ["", "/mcp", "/mcp/alpha", "/mcp/none"])
async def test_the_metadata_of_every_resource_is_where_the_specification_says(path: str):
    async with open_site(gate=gate()) as site:
        answer = await site.ask("GET", WELL_KNOWN + path)
        assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
        assert answer.json["resource"] == f"http://{site.host}{path}"
        assert answer.json["authorization_servers"] == [ISSUER]


async def test_the_challenge_leads_to_the_metadata():
    async with open_site(gate=gate()) as site:
        refused = await site.post(request("ping"), path="/mcp/alpha")
        assert refused.status == 401
        url = f"http://{site.host}{WELL_KNOWN}/mcp/alpha"
        assert f'resource_metadata="{url}"' in refused.headers["www-authenticate"]


async def test_a_strange_path_is_challenged_for_the_gateway_as_such():
    async with open_site(gate=gate()) as site:
        refused = await site.post(request("ping"), path="/mcp/%22%2C%20x/y")
        assert refused.status == 401
        assert f'{WELL_KNOWN}", scope="mcp"' in refused.headers["www-authenticate"]


@pytest.mark.parametrize("path", [f"{WELL_KNOWN}/other", f"{WELL_KNOWN}x", "/.well-known/other"])
async def test_other_documents_are_not_found(path: str):
    async with open_site(gate=gate()) as site:
        assert (await site.ask("GET", path)).status == 404


async def test_documents_can_only_be_read():
    async with open_site(gate=gate()) as site:
        refused = await site.ask("POST", WELL_KNOWN, body={})
        assert (refused.status, refused.headers["allow"]) == (405, "GET")


async def test_who_needs_no_token_finds_no_metadata():
    async with open_site() as site:
        assert (await site.ask("GET", WELL_KNOWN)).status == 404


async def test_pages_of_allowed_origins_may_read_the_metadata_and_others_may_not():
    page = "https://app.example.com"
    async with open_site(gate=gate(allowed_origins=[page])) as site:
        read = await site.ask("GET", WELL_KNOWN, {"origin": page})
        assert read.headers["access-control-allow-origin"] == page
        assert (await site.ask("GET", WELL_KNOWN, {"origin": "https://x.example"})).status == 403
        assert (await site.ask("GET", WELL_KNOWN, {"host": "x.example"})).status == 403
