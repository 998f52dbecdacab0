"""What clients say about themselves, right and wrong."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onemcp.auth.server import OAuthError, What, described, read_object
from onemcp.auth.server._registration import register
from tests.auth.server.conftest import ADDRESS, CHALLENGE, ISSUER, VERIFIER, World, form, query_of

GOOD = {"redirect_uris": ["http://127.0.0.1/cb"], "client_name": "App"}
PUBLIC = GOOD | {"token_endpoint_auth_method": "none", "grant_types": ["authorization_code"]}


def test_a_public_client_gets_an_id_and_no_secret():
    _, answer = register(PUBLIC, 5.5)
    assert len(answer.pop("client_id")) >= 20
    assert answer == {
        "client_id_issued_at": 5,
        "client_name": "App",
        "redirect_uris": ["http://127.0.0.1/cb"],
        "grant_types": ["authorization_code"],
        "response_types": ["code"],
        "token_endpoint_auth_method": "none",
    }


def test_a_client_has_a_secret_unless_it_says_otherwise():
    registration, answer = register(GOOD, 5)
    assert len(answer["client_secret"]) >= 40
    assert answer["client_secret_expires_at"] == 0
    assert answer["client_secret"] not in repr(registration)


def test_grants_that_strangers_may_not_have_are_left_out():
    grants = ["client_credentials", "refresh_token", "authorization_code", "implicit"]
    _, answer = register(GOOD | {"grant_types": grants}, 5)
    assert answer["grant_types"] == ["authorization_code", "refresh_token"]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"redirect_uris": None}, "invalid_client_metadata"),
        ({"redirect_uris": "http://127.0.0.1/cb"}, "invalid_client_metadata"),
        ({"redirect_uris": [1]}, "invalid_client_metadata"),
        ({"redirect_uris": []}, "invalid_redirect_uri"),
        ({"redirect_uris": [f"https://a.example/{n}" for n in range(17)]}, "invalid_redirect_uri"),
        ({"redirect_uris": ["http://a.example"]}, "invalid_redirect_uri"),
        ({"redirect_uris": ["javascript:alert(1)"]}, "invalid_redirect_uri"),
        ({"client_name": 1}, "invalid_client_metadata"),
        ({"client_name": "x" * 101}, "invalid_client_metadata"),
        ({"client_name": "a\u202eb"}, "invalid_client_metadata"),
        ({"client_name": "a\nb"}, "invalid_client_metadata"),
        ({"grant_types": "authorization_code"}, "invalid_client_metadata"),
        ({"grant_types": ["client_credentials"]}, "invalid_client_metadata"),
        ({"response_types": ["token"]}, "invalid_client_metadata"),
        ({"token_endpoint_auth_method": "private_key_jwt"}, "invalid_client_metadata"),
        ({"token_endpoint_auth_method": None}, "invalid_client_metadata"),
    ],
)
def test_a_client_that_says_something_wrong_is_not_registered(changes, code):
    with pytest.raises(OAuthError) as refused:
        register(GOOD | changes, 5)
    assert refused.value.code == code


@pytest.mark.parametrize("data", [b"", b"x", b"[]", b"null", b"[" * 50_000, b" " * 17_000, b"\xff"])
def test_what_is_no_object_is_refused(data):
    with pytest.raises(OAuthError):
        read_object(data)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=20) | st.integers(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from([*PUBLIC, "response_types", "scope"]), JSON))
def test_whatever_a_client_says_is_taken_or_refused_in_the_one_way(document):
    try:
        registration, answer = register(PUBLIC | document, 5)
    except OAuthError as error:
        assert error.status == 400  # noqa: PT017
    else:
        assert registration.redirect_uris
        json.dumps(answer)


async def test_a_registered_client_can_let_people_in_and_is_kept_while_it_does(world: World):
    answer = await world.server.register(json.dumps(PUBLIC).encode(), ADDRESS)
    client_id = answer["client_id"]
    idle = await world.server.register(json.dumps(PUBLIC).encode(), ADDRESS)
    code = await world.code(client_id=client_id, redirect_uri="http://127.0.0.1:1/cb")
    tokens = await world.redeem(code, client_id=client_id, redirect_uri="http://127.0.0.1:1/cb")
    assert "refresh_token" not in tokens, "it has not asked for that grant"
    world.now += 24 * 3600 + 1
    await world.server.register(json.dumps(PUBLIC).encode(), ADDRESS)
    assert idle["client_id"] not in world.server.ledger.records.clients


async def test_a_secret_is_asked_for_where_there_is_one(world: World):
    answer = await world.server.register(json.dumps(GOOD).encode(), ADDRESS)
    client_id, secret = answer["client_id"], answer["client_secret"]
    asked = world.asked(client_id=client_id, redirect_uri="http://127.0.0.1:1/cb")
    for said, right in ((None, False), ("guess", False), (secret, True)):
        request = await world.server.begin(asked, ISSUER, ADDRESS)
        code = query_of(world.server.agree(request, "ada", request.scopes, ADDRESS))["code"]
        fields = {"grant_type": "authorization_code", "code": code, "code_verifier": VERIFIER}
        try:
            await world.token(client_id=client_id, client_secret=said, **fields)
        except OAuthError as error:
            assert not right
            assert error.code == "invalid_client"  # noqa: PT017
        else:
            assert right
    assert CHALLENGE


async def test_registrations_are_bounded_and_the_unused_make_room(world: World):
    world.server = world.start(max_registrations=3)
    kept = []
    for _ in range(5):
        world.now += 1
        kept.append(
            (await world.server.register(json.dumps(PUBLIC).encode(), ADDRESS))["client_id"]
        )
    assert list(world.server.ledger.records.clients) == kept[-3:]


async def test_registering_is_limited_and_can_be_forbidden(world: World):
    for _ in range(20):
        await world.server.register(json.dumps(PUBLIC).encode(), ADDRESS)
    with pytest.raises(OAuthError) as refused:
        await world.server.register(json.dumps(PUBLIC).encode(), ADDRESS)
    assert refused.value.status == 429
    assert world.audit[-1].what is What.REGISTRATION_REFUSED
    await world.server.register(json.dumps(PUBLIC).encode(), "192.0.2.2")
    world.now += 200
    await world.server.register(json.dumps(PUBLIC).encode(), ADDRESS)
    world.server = world.start(registration=False)
    with pytest.raises(OAuthError) as refused:
        await world.server.register(json.dumps(PUBLIC).encode(), ADDRESS)
    assert refused.value.status == 403


URL = "https://client.example/metadata.json"
DOCUMENT = {"client_id": URL, "client_name": "C", "redirect_uris": ["https://client.example/cb"]}


@pytest.mark.requirement("basic/authorization/client-registration#implementation-requirements-1")
def test_a_document_describes_a_client():
    client = described(URL, DOCUMENT | {"logo_uri": "https://x"})
    assert (client.id, client.name, client.secret) == (URL, "C", "")


@pytest.mark.requirement("basic/authorization/client-registration#implementation-requirements-1")
@pytest.mark.parametrize(
    "changes",
    [
        {"client_id": URL + "/"},
        {"client_id": None},
        {"client_name": None},
        {"redirect_uris": None},
        {"redirect_uris": ["http://client.example/cb"]},
        {"token_endpoint_auth_method": "client_secret_post"},
        {"client_secret": "x"},
    ],
)
def test_a_document_that_is_wrong_describes_none(changes):
    with pytest.raises(OAuthError):
        described(URL, DOCUMENT | changes)


async def test_documents_count_only_where_the_operator_wants_them(world: World):
    asked: list[str] = []

    async def fetch(client_id: str):
        asked.append(client_id)
        return described(client_id, DOCUMENT)

    fields = {"client_id": URL, "redirect_uri": "https://client.example/cb"}
    for wanted in (False, True):
        world.server = world.start(fetch_client=fetch, documents=wanted)
        try:
            request = await world.server.begin(world.asked(**fields), ISSUER, ADDRESS)
        except OAuthError:
            assert not wanted
        else:
            assert wanted
            assert request.client.name == "C"
    assert asked == [URL]
    assert form()
