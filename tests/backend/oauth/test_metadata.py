"""Where metadata is looked for, and what of it is believed."""

from __future__ import annotations

import pytest

from onemcp.backend.oauth import Challenge, NotNow, OAuthError
from onemcp.backend.oauth._metadata import (
    Guard,
    ResourceMetadata,
    canonical,
    check_resource,
    choose_issuer,
    resource_locations,
    server_locations,
)
from tests.backend.oauth.world import ISSUER, PRM, SERVER, URL, World, server_metadata

A = "https://a.example"


def test_a_resource_is_looked_for_at_its_path_and_then_at_the_root():
    assert resource_locations(f"{A}/public/mcp") == (
        f"{A}/.well-known/oauth-protected-resource/public/mcp",
        f"{A}/.well-known/oauth-protected-resource",
    )
    assert resource_locations(A) == (f"{A}/.well-known/oauth-protected-resource",)


@pytest.mark.requirement(
    "basic/authorization/authorization-server-discovery#authorization-server-metadata-discovery-2"
)
def test_an_issuer_with_a_path_has_three_places():
    assert server_locations(f"{A}/tenant1") == (
        f"{A}/.well-known/oauth-authorization-server/tenant1",
        f"{A}/.well-known/openid-configuration/tenant1",
        f"{A}/tenant1/.well-known/openid-configuration",
    )


@pytest.mark.requirement(
    "basic/authorization/authorization-server-discovery#authorization-server-metadata-discovery-3"
)
@pytest.mark.parametrize("issuer", [A, f"{A}/"])
def test_an_issuer_without_a_path_has_two_places(issuer):
    assert server_locations(issuer) == (
        f"{A}/.well-known/oauth-authorization-server",
        f"{A}/.well-known/openid-configuration",
    )


@pytest.mark.requirement("basic/authorization/index#resource-parameter-implementation-4")
@pytest.mark.parametrize(
    ("url", "same"),
    [
        ("https://a.example", "https://a.example"),
        ("https://a.example/", "https://a.example"),
        ("HTTPS://A.example:443/mcp", "https://a.example/mcp"),
        ("https://user:secret@a.example/mcp?key=1#x", "https://a.example/mcp"),
    ],
)
def test_the_canonical_address_has_nothing_secret(url, same):
    assert canonical(url) == same


@pytest.mark.requirement("basic/authorization/index#canonical-server-uri-1")
@pytest.mark.parametrize("resource", [f"{A}/mcp", A, f"{A}/"])
def test_metadata_may_be_of_the_resource_or_of_what_contains_it(resource):
    assert check_resource(ResourceMetadata(resource), f"{A}/mcp") == resource


@pytest.mark.requirement("basic/authorization/index#resource-parameter-implementation-3")
@pytest.mark.parametrize(
    "resource",
    [
        "https://evil.example/mcp",
        f"{A}/other",
        f"{A}/mc",
        f"{A}/mcp/deeper",
        "http://a.example/mcp",
        ":",
        "",
    ],
)
def test_metadata_of_another_resource_is_not_used(resource):
    with pytest.raises(OAuthError):
        check_resource(ResourceMetadata(resource), f"{A}/mcp")


@pytest.mark.requirement("basic/authorization/client-registration#authorization-server-binding-4")
def test_the_first_authorization_server_is_used_or_the_one_that_is_insisted_on():
    metadata = ResourceMetadata(A, ("https://one.example", "https://two.example"))
    assert choose_issuer(metadata, None) == "https://one.example"
    assert choose_issuer(metadata, "https://two.example") == "https://two.example"
    with pytest.raises(OAuthError, match=r"auth\.issuer"):
        choose_issuer(metadata, "https://three.example")
    with pytest.raises(OAuthError, match="no authorization server"):
        choose_issuer(ResourceMetadata(A), None)


@pytest.mark.parametrize(
    "url",
    [
        "http://id.example.com",
        "https://127.0.0.1/x",
        "http://localhost:1/x",
        "https://10.0.0.1",
        "https://[::1]/",
        "https://169.254.169.254/latest",
        "https://[fd00::1]",
        "https://user@id.example.com",
        "https://id.example.com/#x",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "//id.example.com",
        "https://",
        "",
    ],
)
def test_a_backend_elsewhere_cannot_make_onemcp_ask_this(url):
    with pytest.raises(OAuthError):
        Guard(URL).check(url, "it")


@pytest.mark.parametrize(
    "url", ["http://localhost:1/x", "https://id.example.com", "http://[::1]:1/"]
)
def test_a_backend_on_this_machine_may_have_everything_there(url):
    assert Guard("http://127.0.0.1:1/mcp").check(url, "it") == url


@pytest.mark.requirement("basic/authorization/security-considerations#communication-security-1")
def test_http_is_for_this_machine_only():
    with pytest.raises(OAuthError, match="not https"):
        Guard("http://localhost:1/mcp").check("http://id.example.com", "it")


@pytest.mark.requirement(
    "basic/authorization/authorization-server-discovery#protected-resource-metadata-discovery-requirements-2"
)
async def test_the_place_that_the_backend_names_is_asked_alone():
    world = World()
    named = "https://mcp.example.com/somewhere"
    world.pages[named] = world.pages.pop(PRM)
    found = await world.flow().discover(Challenge(named), None)
    assert found.server.issuer == ISSUER
    assert world.asked == [("GET", named), ("GET", SERVER)]


@pytest.mark.requirement(
    "basic/authorization/authorization-server-discovery#protected-resource-metadata-discovery-requirements-2",
    "basic/authorization/authorization-server-discovery#authorization-server-metadata-discovery-1",
    "basic/authorization/index#overview-6",
)
async def test_without_one_the_well_known_places_are_asked_in_order():
    world = World()
    root = "https://mcp.example.com/.well-known/oauth-protected-resource"
    world.pages[root] = world.pages.pop(PRM)
    openid = f"{ISSUER}/.well-known/openid-configuration"
    world.pages[openid] = world.pages.pop(SERVER)
    await world.flow().discover(Challenge(), None)
    assert [url for _, url in world.asked] == [PRM, root, SERVER, openid]


@pytest.mark.requirement(
    "basic/authorization/authorization-server-discovery#authorization-server-metadata-discovery-4",
    "basic/authorization/authorization-server-discovery#authorization-server-metadata-discovery-5",
    "basic/authorization/authorization-server-discovery#authorization-server-metadata-discovery-6",
)
@pytest.mark.parametrize("issuer", [f"{ISSUER}/", "https://ID.example.com", "https://evil.example"])
async def test_metadata_of_another_issuer_is_not_used(issuer):
    world = World()
    world.pages[SERVER] = (200, server_metadata(issuer))
    with pytest.raises(OAuthError, match="another issuer"):
        await world.flow().discover(Challenge(), None)
    assert world.asked[-1] == ("GET", SERVER)


@pytest.mark.parametrize(
    "field", ["token_endpoint", "authorization_endpoint", "registration_endpoint"]
)
async def test_endpoints_must_be_fit_to_be_asked(field):
    world = World()
    world.pages[SERVER] = (200, server_metadata(**{field: "http://127.0.0.1:22/"}))
    with pytest.raises(OAuthError, match="endpoint is"):
        await world.flow().discover(Challenge(), None)


@pytest.mark.parametrize("value", [b"{", b"[]", b"null", b'{"resource": 1}', b"[" * 100_000])
async def test_nonsense_is_told_without_being_repeated(value):
    world = World()
    world.pages[PRM] = (200, value)
    with pytest.raises(OAuthError, match="its metadata is not as it should be"):
        await world.flow().discover(Challenge(), None)


@pytest.mark.requirement("basic/authorization/index#overview-4")
async def test_a_backend_without_metadata_has_no_login():
    world = World()
    del world.pages[PRM]
    with pytest.raises(OAuthError, match="no metadata"):
        await world.flow().discover(Challenge(), None)


async def test_a_server_that_fails_is_asked_another_time():
    world = World()
    world.pages[SERVER] = (503, {})
    with pytest.raises(NotNow):
        await world.flow().discover(Challenge(), None)


async def test_an_authorization_server_without_metadata_is_not_used():
    world = World()
    del world.pages[SERVER]
    with pytest.raises(OAuthError, match="has no metadata"):
        await world.flow().discover(Challenge(), None)


async def test_metadata_is_not_looked_for_where_it_must_not_be():
    with pytest.raises(OAuthError):
        await World().flow().discover(Challenge("http://127.0.0.1:22/"), None)
