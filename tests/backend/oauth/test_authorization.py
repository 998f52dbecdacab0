"""One authorization: what the browser is sent with, and what it comes back with."""

from __future__ import annotations

import base64
import hashlib
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

from onemcp.backend.oauth import Challenge, OAuthError, Registration, begin_login
from onemcp.backend.oauth._authorization import Authorization, select_scopes
from onemcp.backend.oauth._metadata import ServerMetadata
from onemcp.backend.oauth._records import LoginRecord
from onemcp.config import AuthorizationCodeLogin
from tests.backend.oauth.world import (
    ISSUER,
    REDIRECT,
    REGISTER,
    SERVER,
    TOKEN,
    URL,
    World,
    server_metadata,
)

DOCUMENT = "https://me.example/client.json"


@pytest.mark.requirement(
    "basic/authorization/index#scope-selection-strategy-2",
    "basic/authorization/index#scope-selection-strategy-3",
    "basic/authorization/index#scope-selection-strategy-6",
    "basic/authorization/index#scope-selection-strategy-7",
)
@pytest.mark.parametrize(
    ("challenged", "supported", "chosen"),
    [
        (("a",), ("b",), ("a",)),
        (None, ("b", "c"), ("b", "c")),
        (None, None, ()),
        (None, (), ()),
    ],
)
def test_scopes_are_those_of_the_challenge_or_of_the_metadata(challenged, supported, chosen):
    assert select_scopes(Challenge(None, challenged), supported) == chosen


@pytest.mark.requirement("basic/authorization/index#scope-selection-strategy-4")
def test_scopes_that_were_asked_for_before_are_kept():
    assert select_scopes(Challenge(None, ("b",)), ("x",), before=("a",)) == ("a", "b")


def test_the_operator_has_the_last_word():
    assert select_scopes(Challenge(None, ("b",)), None, configured=("c",), before=("a",)) == ("c",)


def test_offline_access_is_asked_for_where_the_authorization_server_knows_it():
    knows = ("a", "offline_access")
    assert select_scopes(Challenge(None, ("a",)), None, server_knows=knows) == knows
    assert select_scopes(Challenge(), None, server_knows=knows) == ()


def authorization(*, names_issuer: bool = True) -> Authorization:
    return Authorization(ISSUER, names_issuer, REDIRECT, ("a", "offline_access"))


@pytest.mark.requirement(
    "basic/authorization/index#resource-parameter-implementation-1",
    "basic/authorization/index#resource-parameter-implementation-2",
    "basic/authorization/index#resource-parameter-implementation-4",
    "basic/authorization/security-considerations#authorization-code-protection-1",
    "basic/authorization/security-considerations#authorization-code-protection-2",
)
def test_the_browser_is_sent_with_everything_that_is_asked_for():
    server = msgspec.convert(
        server_metadata(authorization_endpoint=f"{ISSUER}/authorize?tenant=1&state=no"),
        ServerMetadata,
    )
    asked = authorization()
    url = urlsplit(asked.url(server, Registration(ISSUER, "me"), URL))
    query = {name: value for name, (value,) in parse_qs(url.query).items()}
    digest = hashlib.sha256(asked.verifier.encode()).digest()
    assert query == {
        "tenant": "1",
        "response_type": "code",
        "client_id": "me",
        "redirect_uri": REDIRECT,
        "state": asked.state,
        "code_challenge": base64.urlsafe_b64encode(digest).decode().rstrip("="),
        "code_challenge_method": "S256",
        "resource": URL,
        "scope": "a offline_access",
        "prompt": "consent",
    }
    assert asked.state not in repr(asked)
    assert asked.verifier not in repr(asked)
    with pytest.raises(OAuthError, match="no authorization endpoint"):
        asked.url(ServerMetadata(ISSUER, TOKEN), Registration(ISSUER, "me"), URL)


@pytest.mark.requirement(
    "basic/authorization/index#authorization-response-validation-1",
    "basic/authorization/index#authorization-response-validation-4",
)
@pytest.mark.parametrize("names_issuer", [True, False])
def test_an_answer_that_names_the_issuer_is_taken(names_issuer):
    asked = authorization(names_issuer=names_issuer)
    assert asked.code({"state": [asked.state], "iss": [ISSUER], "code": ["c"]}) == "c"


@pytest.mark.requirement("basic/authorization/index#authorization-response-validation-4")
def test_an_answer_need_not_name_it_where_that_is_not_announced():
    asked = authorization(names_issuer=False)
    assert asked.code({"state": [asked.state], "code": ["c"]}) == "c"


@pytest.mark.requirement("basic/authorization/index#authorization-response-validation-4")
def test_an_answer_must_name_it_where_that_is_announced():
    asked = authorization()
    with pytest.raises(OAuthError, match="does not say which"):
        asked.code({"state": [asked.state], "code": ["c"]})


@pytest.mark.requirement(
    "basic/authorization/index#authorization-response-validation-4",
    "basic/authorization/index#authorization-response-validation-7",
    "basic/authorization/index#authorization-response-validation-8",
)
@pytest.mark.parametrize(
    "issuer", ["https://evil.example", f"{ISSUER}/", "https://ID.example.com", ""]
)
@pytest.mark.parametrize("names_issuer", [True, False])
def test_an_answer_of_another_issuer_is_refused_whatever_it_says(names_issuer, issuer):
    asked = authorization(names_issuer=names_issuer)
    for rest in ({"code": ["c"]}, {"error": ["from_evil"]}):
        with pytest.raises(OAuthError, match="another authorization server") as refused:
            asked.code({"state": [asked.state], "iss": [issuer], **rest})
        assert "from_evil" not in str(refused.value)


@pytest.mark.requirement("basic/authorization/security-considerations#open-redirection-3")
@pytest.mark.parametrize("state", [[], ["other"], ["ö"]])
def test_an_answer_to_something_else_is_refused(state):
    said = {"iss": [ISSUER], "code": ["c"]} | ({"state": state} if state else {})
    with pytest.raises(OAuthError, match="state differs"):
        authorization().code(said)


def test_other_answers_are_told_apart():
    asked = authorization()
    base = {"state": [asked.state], "iss": [ISSUER]}
    with pytest.raises(OAuthError, match=r"said no \(access_denied\)"):
        asked.code({**base, "error": ["access_denied"], "error_description": ["x"]})
    with pytest.raises(OAuthError, match=r"said no \(an error\)"):
        asked.code({**base, "error": ["<script>"]})
    with pytest.raises(OAuthError, match="has no code"):
        asked.code(base)
    with pytest.raises(OAuthError, match="twice"):
        asked.code({**base, "code": ["c", "d"]})


# --- the whole way -------------------------------------------------------------------------------


async def log_in(world: World, login: AuthorizationCodeLogin, before: LoginRecord | None = None):
    pending = await begin_login(
        world.flow(), login, REDIRECT, before=before, headers={"x-api-key": "k"}
    )
    asked = pending.authorization
    answer = {"state": [asked.state], "code": ["c"], "iss": [ISSUER]}
    return await pending.finish(world.flow(), "b", answer), parse_qs(urlsplit(pending.url).query)


@pytest.mark.requirement(
    "basic/authorization/client-registration#application-type-and-redirect-uri-constraints-1",
    "basic/authorization/client-registration#application-type-and-redirect-uri-constraints-2",
    "basic/authorization/index#overview-4",
    "basic/authorization/index#client-registration-1",
    "basic/authorization/index#resource-parameter-implementation-1",
    "basic/authorization/index#resource-parameter-implementation-2",
    "basic/authorization/index#canonical-server-uri-4",
    "basic/authorization/index#refresh-tokens-2",
    "basic/authorization/security-considerations#token-audience-binding-and-validation-1",
    "basic/authorization/security-considerations#open-redirection-1",
    "basic/authorization/security-considerations#access-token-privilege-restriction-5",
)
async def test_a_login_registers_and_redeems_the_code():
    world = World(scopes_supported=["s"])
    record, sent = await log_in(world, AuthorizationCodeLogin())
    assert sent["client_id"] == ["registered"]
    assert world.body(REGISTER) == {
        "client_name": "onemcp",
        "application_type": "native",
        "redirect_uris": [REDIRECT],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": "none",
        "scope": "s",
    }
    (form,) = world.forms
    assert form.pop("code_verifier")
    assert form == {
        "grant_type": "authorization_code",
        "code": "c",
        "redirect_uri": REDIRECT,
        "resource": URL,
        "client_id": "registered",
    }
    assert record.tokens is not None
    assert (record.url, record.registration.issuer, record.asked) == (URL, ISSUER, ("s",))


async def test_what_goes_to_the_backend_goes_to_no_authorization_server():
    world = World()
    await log_in(world, AuthorizationCodeLogin())
    assert {str(each.url) for each in world.requests if "x-api-key" in each.headers} == {URL}


async def test_the_same_client_is_used_again_and_scopes_add_up():
    world = World()
    world.challenge = 'Bearer scope="a"'
    record, _ = await log_in(world, AuthorizationCodeLogin())
    del world.pages[REGISTER]
    world.challenge = 'Bearer scope="a"'
    again, _ = await log_in(world, AuthorizationCodeLogin(), record)
    assert again.registration == record.registration


async def test_more_scopes_than_it_was_registered_for_need_another_client():
    world = World()
    world.challenge = 'Bearer scope="a"'
    record, _ = await log_in(world, AuthorizationCodeLogin())
    world.requests.clear()
    world.challenge = 'Bearer scope="b"'
    again, sent = await log_in(world, AuthorizationCodeLogin(), record)
    assert sent["scope"] == ["a b"]
    assert world.body(REGISTER)["scope"] == "a b"
    assert again.asked == ("a", "b")


@pytest.mark.requirement(
    "basic/authorization/authorization-server-discovery#authorization-server-location-3",
    "basic/authorization/authorization-server-discovery#authorization-server-location-4",
    "basic/authorization/client-registration#authorization-server-binding-1",
    "basic/authorization/client-registration#authorization-server-binding-2",
    "basic/authorization/client-registration#authorization-server-binding-3",
)
async def test_another_authorization_server_gets_nothing_of_the_first():
    world = World()
    record, _ = await log_in(world, AuthorizationCodeLogin())
    other = "https://other.example"
    elsewhere = Registration(other, "of-the-other", None, "none", REDIRECT, None, dynamic=True)
    foreign = LoginRecord("b", URL, URL, f"{other}/token", elsewhere, record.tokens, ("x",))
    again, sent = await log_in(world, AuthorizationCodeLogin(), foreign)
    assert again.registration.client_id == "registered"
    assert "scope" not in sent
    assert "of-the-other" not in str(sent)


@pytest.mark.requirement(
    "basic/authorization/client-registration#introduction-1",
    "basic/authorization/client-registration#pre-registration-1",
    "basic/authorization/index#client-registration-1",
)
async def test_a_client_that_was_registered_by_hand_comes_first():
    world = World()
    world.pages[SERVER] = (200, server_metadata(client_id_metadata_document_supported=True))
    login = AuthorizationCodeLogin(client_id="mine", client_metadata_url=DOCUMENT)
    _, sent = await log_in(world, login)
    assert sent["client_id"] == ["mine"]
    assert REGISTER not in {url for _, url in world.asked}


@pytest.mark.requirement(
    "basic/authorization/client-registration#introduction-1",
    "basic/authorization/client-registration#client-id-metadata-documents-1",
    "basic/authorization/client-registration#advertising-cimd-support-1",
)
async def test_a_metadata_document_comes_before_registration_where_it_is_supported():
    login = AuthorizationCodeLogin(client_metadata_url=DOCUMENT)
    world = World()
    _, sent = await log_in(world, login)
    assert sent["client_id"] == ["registered"]
    world.pages[SERVER] = (200, server_metadata(client_id_metadata_document_supported=True))
    _, sent = await log_in(world, login)
    assert sent["client_id"] == [DOCUMENT]


@pytest.mark.requirement("basic/authorization/client-registration#introduction-1")
async def test_where_there_is_no_way_to_register_somebody_is_told_what_to_do():
    world = World()
    world.pages[SERVER] = (200, server_metadata(registration_endpoint=None))
    with pytest.raises(OAuthError, match=r"auth\.clientId"):
        await log_in(world, AuthorizationCodeLogin())


@pytest.mark.requirement(
    "basic/authorization/client-registration#application-type-and-redirect-uri-constraints-4",
    "basic/authorization/client-registration#application-type-and-redirect-uri-constraints-5",
)
@pytest.mark.parametrize("body", [{"error": "invalid_redirect_uri"}, {"error": "<b>"}, b"no"])
async def test_a_refused_registration_is_told_with_the_redirect_uri(body):
    world = World()
    world.pages[REGISTER] = (400, body)
    with pytest.raises(OAuthError, match=r"refuses to register.*127\.0\.0\.1:4711/callback"):
        await log_in(world, AuthorizationCodeLogin())


@pytest.mark.parametrize(
    "answer", [{}, {"client_id": "x", "token_endpoint_auth_method": "tls_client_auth"}]
)
async def test_a_registration_that_is_of_no_use_is_refused(answer):
    world = World()
    world.pages[REGISTER] = (201, answer)
    with pytest.raises(OAuthError):
        await log_in(world, AuthorizationCodeLogin())


@pytest.mark.requirement(
    "basic/authorization/security-considerations#authorization-code-protection-1",
    "basic/authorization/security-considerations#authorization-code-protection-3",
    "basic/authorization/security-considerations#authorization-code-protection-4",
    "basic/authorization/security-considerations#authorization-code-protection-5",
    "basic/authorization/security-considerations#authorization-code-protection-6",
)
@pytest.mark.parametrize("methods", [None, [], ["plain"]])
async def test_without_pkce_there_is_no_login(methods):
    world = World()
    world.pages[SERVER] = (200, server_metadata(code_challenge_methods_supported=methods))
    with pytest.raises(OAuthError, match="PKCE"):
        await log_in(world, AuthorizationCodeLogin())
    assert REGISTER not in {url for _, url in world.asked}
