import pytest
from hypothesis import given
from hypothesis import strategies as st

from onemcp.auth import Resource, canonical, resource_metadata, resource_path

ORIGIN = "https://mcp.example.com"


@pytest.mark.requirement(
    "basic/authorization/index#canonical-server-uri-2",
    "basic/authorization/index#canonical-server-uri-3",
)
@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("https://mcp.example.com/mcp", "https://mcp.example.com/mcp"),
        ("HTTPS://MCP.Example.com/mcp/", "https://mcp.example.com/mcp"),
        ("https://mcp.example.com:443/", "https://mcp.example.com"),
        ("http://127.0.0.1:80/mcp", "http://127.0.0.1/mcp"),
        ("http://[::1]:8722/mcp", "http://[::1]:8722/mcp"),
        ("https://mcp.example.com/MCP", "https://mcp.example.com/MCP"),
        ("mcp.example.com", None),
        ("urn:example:mcp", None),
        ("ftp://mcp.example.com", None),
        ("https://mcp.example.com/mcp#part", None),
        ("https://mcp.example.com/mcp#", None),
        ("https://mcp.example.com/mcp?a=b", None),
        ("https://ada@mcp.example.com/mcp", None),
        ("https://:secret@mcp.example.com/mcp", None),
        ("https://mcp.example.com:x/mcp", None),
        ("https://mcp.example.com\\@other.example/mcp", None),
        ("https://mcp.example.com/\n", None),
        ("https:///mcp", None),
        ("", None),
    ],
)
def test_identifiers_have_one_form(written, meant):
    assert canonical(written) == meant


@pytest.mark.requirement(
    "basic/authorization/index#canonical-server-uri-2",
    "basic/authorization/index#canonical-server-uri-3",
)
@given(st.text())
def test_the_form_of_any_text_is_its_own_form(text):
    form = canonical(text)
    assert form is None or canonical(form) == form


@pytest.mark.requirement(
    "basic/authorization/index#token-handling-2",
    "basic/authorization/index#token-handling-6",
    "basic/authorization/security-considerations#token-audience-binding-and-validation-2",
    "basic/authorization/security-considerations#access-token-privilege-restriction-3",
)
@pytest.mark.parametrize(
    ("path", "audience", "good"),
    [
        ("/mcp", ORIGIN, True),
        ("/mcp", f"{ORIGIN}/mcp", True),
        ("/mcp/a", f"{ORIGIN}/mcp", True),
        ("/mcp/a", f"{ORIGIN}/mcp/a", True),
        ("", ORIGIN, True),
        ("/mcp", f"{ORIGIN}/mcp/a", False),
        ("", f"{ORIGIN}/mcp", False),
        ("/mcp/ab", f"{ORIGIN}/mcp/a", False),
        ("/mcp", f"{ORIGIN}/mc", False),
        ("/mcp", "https://mcp.example.co", False),
        ("/mcp", "https://other.example/mcp", False),
        ("/mcp", "http://mcp.example.com/mcp", False),
        ("/mcp", "", False),
    ],
)
def test_what_is_good_for_the_whole_is_good_for_its_parts_only(path, audience, good):
    assert Resource(ORIGIN, path).is_within(audience) is good


@pytest.mark.parametrize(
    ("path", "resource"),
    [
        ("", ""),
        ("/", ""),
        ("/mcp", "/mcp"),
        ("/mcp/", "/mcp"),
        ("/mcp/git.hub", "/mcp/git.hub"),
        ("/mcp/a/b", None),
        ("/mcp/-", None),
        ('/mcp/a"b', None),
        ("/other", None),
        ("mcp", None),
    ],
)
def test_every_name_that_could_be_is_a_resource_and_nothing_else(path, resource):
    assert resource_path(path, "/mcp") == resource


@pytest.mark.requirement(
    "basic/authorization/index#scope-selection-strategy-1",
    "basic/authorization/index#scope-selection-strategy-5",
    "basic/authorization/index#refresh-tokens-4",
)
def test_the_metadata_asks_for_no_more_than_the_resource_needs():
    document = resource_metadata(Resource(ORIGIN, "/mcp/files"), ["https://id.example"], "team")
    assert document == {
        "resource": "https://mcp.example.com/mcp/files",
        "authorization_servers": ["https://id.example"],
        "scopes_supported": ["backend:files", "view:files"],
        "bearer_methods_supported": ["header"],
        "resource_name": "team",
    }
