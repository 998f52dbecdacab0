"""From a request to tokens, and what goes wrong on the way."""

import json

import attrs
import pytest
import trio

from onemcp.auth._scopes import parse_scopes
from onemcp.auth.server import (
    AuthorizationServer,
    OAuthError,
    Person,
    RedirectedError,
    What,
    answer_error,
)
from tests.auth.server.conftest import ADDRESS, CHALLENGE, ISSUER, World, claims, form, query_of


async def refusal(awaitable) -> OAuthError:
    with pytest.raises(OAuthError) as refused:
        await awaitable
    return refused.value


@pytest.mark.requirement(
    "basic/authorization/index#overview-1",
    "basic/authorization/index#authorization-response-validation-2",
    "basic/authorization/index#authorization-response-validation-5",
    "basic/authorization/index#authorization-response-validation-6",
    "basic/authorization/security-considerations#token-theft-2",
)
async def test_a_person_who_agrees_gives_the_client_tokens(world: World):
    answer = await world.log_in()
    assert answer["token_type"] == "Bearer"
    assert answer["expires_in"] == 900
    assert answer["scope"] == "mcp"
    told = claims(answer["access_token"])
    assert told["iss"] == ISSUER
    assert told["aud"] == f"{ISSUER}/mcp"
    assert (told["sub"], told["client_id"], told["scope"]) == ("ada", "app", "mcp")
    assert told["exp"] == world.now + 900
    assert world.lets_in(answer["access_token"])
    assert [each.what for each in world.audit] == [What.CONSENT, What.TOKEN]


@pytest.mark.requirement(
    "basic/authorization/index#authorization-response-validation-2",
    "basic/authorization/index#authorization-response-validation-5",
    "basic/authorization/index#authorization-response-validation-6",
)
@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_type": None}, "invalid_request"),
        ({"response_mode": "fragment"}, "invalid_request"),
        ({"code_challenge": None}, "invalid_request"),
        ({"code_challenge": CHALLENGE[:-1]}, "invalid_request"),
        ({"code_challenge": CHALLENGE + "="}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge_method": None}, "invalid_request"),
        ({"request": "a.b.c"}, "invalid_request"),
        ({"request_uri": "urn:x"}, "invalid_request"),
        ({"resource": "https://other.example/mcp"}, "invalid_target"),
        ({"resource": f"{ISSUER}.evil.example/mcp"}, "invalid_target"),
        ({"resource": f"{ISSUER}/mcp/a/b"}, "invalid_target"),
        ({"resource": f"{ISSUER}/mcp#x"}, "invalid_target"),
        ({"resource": "nonsense"}, "invalid_target"),
        ({"scope": "openid profile"}, "invalid_scope"),
        ({"scope": " ".join(f"backend:b{n}" for n in range(65))}, "invalid_scope"),
    ],
)
async def test_a_wrong_request_is_told_to_the_client(world: World, changes, code):
    with pytest.raises(RedirectedError) as refused:
        await world.server.begin(world.asked(**changes), ISSUER, ADDRESS)
    answer = query_of(answer_error(refused.value, ISSUER))
    assert (answer["error"], answer["state"], answer["iss"]) == (code, "xyz", ISSUER)
    assert refused.value.redirect_uri == "http://127.0.0.1:5000/callback"
    assert world.audit[-1].what is What.REQUEST_REFUSED


@pytest.mark.requirement(
    "basic/authorization/security-considerations#open-redirection-4",
    "basic/authorization/security-considerations#open-redirection-5",
)
@pytest.mark.parametrize(
    "changes",
    [
        {"client_id": "none"},
        {"client_id": None},
        {"client_id": "https://client.example/metadata.json"},
        {"redirect_uri": "https://evil.example/callback"},
        {"redirect_uri": "http://127.0.0.1:5000/callback/more"},
        {"redirect_uri": "http://127.0.0.1:5000/callback?x=y"},
        {"redirect_uri": "http://localhost:5000/callback"},
        {"redirect_uri": "x" * 5000},
        {"state": "x" * 5000},
        {"state": "a\nb"},
    ],
)
async def test_where_the_client_is_not_clear_only_the_person_is_told(world: World, changes):
    error = await refusal(world.server.begin(world.asked(**changes), ISSUER, ADDRESS))
    assert error.code in {"invalid_request", "invalid_client"}


async def test_a_person_who_refuses_gives_nothing(world: World):
    request = await world.server.begin(world.asked(), ISSUER, ADDRESS)
    answer = query_of(world.server.refuse(request, "ada", ADDRESS))
    assert answer == {
        "error": "access_denied",
        "error_description": "the request was denied",
        "state": "xyz",
        "iss": ISSUER,
    }


async def test_nobody_grants_more_than_was_asked_or_than_they_have(world: World):
    asked = world.asked(scope="backend:mail backend:files:read offline_access")
    request = await world.server.begin(asked, ISSUER, ADDRESS)
    assert world.server.offer(request, "bob") == parse_scopes(["backend:files:read"])
    assert world.server.offer(request, "eve") == frozenset()
    more = parse_scopes(["mcp"])
    answer = query_of(world.server.agree(request, "bob", more, ADDRESS))
    tokens = await world.redeem(answer["code"])
    assert tokens["scope"] == "backend:files:read"
    assert "error" in query_of(world.server.agree(request, "eve", more, ADDRESS))


async def test_a_name_that_is_asked_for_twice_is_offered_as_what_it_is(world: World):
    world.server = world.start(views={"some"})
    both = "backend:{0} view:{0}"
    asked = {name: world.asked(scope=both.format(name)) for name in ("some", "files")}
    requests = {name: await world.server.begin(asked[name], ISSUER, ADDRESS) for name in asked}
    assert world.server.offer(requests["some"], "ada") == parse_scopes(["view:some"])
    assert world.server.offer(requests["files"], "ada") == parse_scopes(["backend:files"])
    assert world.server.offer(requests["some"], "bob") == frozenset()
    request = await world.server.begin(world.asked(scope="backend:some"), ISSUER, ADDRESS)
    assert world.server.offer(request, "ada") == parse_scopes(["backend:some"])


async def test_without_a_scope_what_the_resource_needs_is_asked_for(world: World):
    asked = world.asked(scope=None, resource=f"{ISSUER}/mcp/files")
    request = await world.server.begin(asked, ISSUER, ADDRESS)
    assert request.scopes == parse_scopes(["backend:files", "view:files"])
    request = await world.server.begin(world.asked(scope=None, resource=None), ISSUER, ADDRESS)
    assert request.scopes == parse_scopes(["mcp"])
    assert request.resource.uri == f"{ISSUER}/mcp"


async def test_only_people_by_clients_that_are_both_named_for_it_become_administrators(
    world: World,
):
    async def granted(person: str, client: str) -> str:
        world.server.policy = attrs.evolve(
            world.server.policy,
            people={"ada": Person(name="ada", scopes=parse_scopes(person.split()))},
            clients={
                "app": attrs.evolve(
                    world.server.policy.clients["app"],
                    scopes=parse_scopes(client.split()) if client else None,
                )
            },
        )
        return str((await world.log_in(scope="mcp admin"))["scope"])

    assert await granted("mcp admin", "mcp admin") == "admin mcp"
    assert await granted("mcp", "mcp admin") == "mcp"
    assert await granted("mcp admin", "mcp") == "mcp"
    assert await granted("mcp admin", "") == "mcp"


@pytest.mark.requirement(
    "basic/authorization/index#token-handling-2",
    "basic/authorization/index#token-handling-6",
    "basic/authorization/security-considerations#token-audience-binding-and-validation-2",
    "basic/authorization/security-considerations#access-token-privilege-restriction-3",
)
async def test_a_token_for_one_endpoint_is_good_for_no_other(world: World):
    token = (
        await world.redeem(
            await world.code(resource=f"{ISSUER}/mcp/files"), resource=f"{ISSUER}/mcp/files"
        )
    )["access_token"]
    assert world.lets_in(token, "/mcp/files")
    assert not world.lets_in(token, "/mcp/mail")
    assert not world.lets_in(token)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"code_verifier": "w" * 43}, "invalid_grant"),
        ({"code_verifier": "v" * 42}, "invalid_grant"),
        ({"code_verifier": None}, "invalid_request"),
        ({"redirect_uri": "http://127.0.0.1:5001/callback"}, "invalid_grant"),
        ({"client_id": "other"}, "invalid_grant"),
        ({"client_id": None}, "invalid_client"),
        ({"client_id": "none"}, "invalid_client"),
        ({"client_secret": "guess"}, "invalid_client"),
        ({"resource": f"{ISSUER}"}, "invalid_target"),
        ({"resource": "https://other.example"}, "invalid_target"),
        ({"grant_type": None}, "invalid_request"),
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"grant_type": "client_credentials"}, "unauthorized_client"),
        ({"code": None}, "invalid_request"),
        ({"code": "guess"}, "invalid_grant"),
    ],
)
async def test_a_code_is_good_only_for_whom_and_what_it_was_made(world: World, changes, code):
    made = await world.code()
    error = await refusal(world.redeem(made, **changes))
    assert error.code == code
    assert made not in error.description
    assert world.audit[-1].what is What.TOKEN_REFUSED


async def test_a_code_that_failed_once_is_used_up(world: World):
    code = await world.code()
    await refusal(world.redeem(code, code_verifier="w" * 43))
    assert (await refusal(world.redeem(code))).code == "invalid_grant"


async def test_a_code_lasts_a_minute(world: World):
    code, late = await world.code(), await world.code()
    world.now += 59.9
    await world.redeem(code)
    world.now += 0.1
    assert (await refusal(world.redeem(late))).code == "invalid_grant"


@pytest.mark.requirement("basic/authorization/security-considerations#introduction-2")
async def test_a_code_that_comes_twice_ends_what_came_of_it(world: World):
    code = await world.code()
    tokens = await world.redeem(code)
    assert world.lets_in(tokens["access_token"])
    assert (await refusal(world.redeem(code))).code == "invalid_grant"
    assert not world.lets_in(tokens["access_token"])
    assert (await refusal(world.refresh(tokens["refresh_token"]))).code == "invalid_grant"


async def test_of_codes_redeemed_in_parallel_none_leaves_a_token_that_counts(world: World):
    code = await world.code()
    got: list[dict] = []
    refused: list[OAuthError] = []

    async def redeem() -> None:
        try:
            got.append(await world.redeem(code))
        except OAuthError as error:
            refused.append(error)

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(redeem)
    assert len(got) == 1
    assert len(refused) == 4
    assert not world.lets_in(got[0]["access_token"])


@pytest.mark.requirement("basic/authorization/security-considerations#token-theft-3")
async def test_a_refresh_token_is_replaced_each_time(world: World):
    first = await world.log_in()
    second = await world.refresh(first["refresh_token"])
    third = await world.refresh(second["refresh_token"])
    assert len({t["refresh_token"] for t in (first, second, third)}) == 3
    assert all(world.lets_in(t["access_token"]) for t in (first, second, third))


@pytest.mark.requirement("basic/authorization/security-considerations#introduction-2")
async def test_a_refresh_token_that_comes_twice_ends_the_family(world: World):
    first = await world.log_in()
    second = await world.refresh(first["refresh_token"])
    error = await refusal(world.refresh(first["refresh_token"]))
    assert error.code == "invalid_grant"
    assert world.audit[-1].reason == "a refresh token came twice"
    assert (await refusal(world.refresh(second["refresh_token"]))).code == "invalid_grant"
    assert not world.lets_in(second["access_token"])


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"client_id": "other"}, "invalid_grant"),
        ({"refresh_token": "x"}, "invalid_grant"),
        ({"refresh_token": None}, "invalid_request"),
        ({"scope": "openid"}, "invalid_scope"),
        ({"resource": "https://other.example"}, "invalid_target"),
        ({"resource": ISSUER}, "invalid_target"),
    ],
)
async def test_a_refresh_request_that_is_wrong_is_refused_and_ends_nothing(
    world: World, changes, code
):
    tokens = await world.log_in()
    assert (await refusal(world.refresh(tokens["refresh_token"], **changes))).code == code
    assert world.lets_in(tokens["access_token"])
    assert await world.refresh(tokens["refresh_token"])


async def test_scopes_can_be_narrowed_for_one_access_token_but_not_widened(world: World):
    tokens = await world.log_in(scope="backend:files")
    narrow = await world.refresh(tokens["refresh_token"], scope="backend:files:read")
    assert narrow["scope"] == "backend:files:read"
    wide = await world.refresh(narrow["refresh_token"], scope="mcp")
    assert wide["scope"] == "backend:files"


async def test_refresh_tokens_end_unused_and_in_any_case(world: World):
    world.server = world.start(refresh_seconds=100, grant_seconds=250)
    tokens = await world.log_in()
    for _ in range(2):
        world.now += 99
        tokens = await world.refresh(tokens["refresh_token"])
    world.now += 52
    assert (await refusal(world.refresh(tokens["refresh_token"]))).code == "invalid_grant"
    tokens = await world.log_in()
    world.now += 100
    assert (await refusal(world.refresh(tokens["refresh_token"]))).code == "invalid_grant"


async def test_grants_survive_a_restart_and_codes_do_not(world: World):
    tokens, code = await world.log_in(), await world.code()
    world.server = world.start()
    await world.server.ledger.refresh()
    assert world.lets_in(tokens["access_token"])
    assert await world.refresh(tokens["refresh_token"])
    assert (await refusal(world.redeem(code))).code == "invalid_grant"


async def test_who_loses_all_rights_loses_the_tokens(world: World):
    tokens = await world.log_in("bob", scope="backend:files")
    people = {"ada": world.server.policy.people["ada"]}
    world.server.policy = attrs.evolve(world.server.policy, people=people)
    assert not world.lets_in(tokens["access_token"])
    assert (await refusal(world.refresh(tokens["refresh_token"]))).code == "invalid_grant"


async def test_who_loses_some_rights_gets_tokens_for_the_rest(world: World):
    tokens = await world.log_in(scope="mcp")
    less = attrs.evolve(world.server.policy.people["ada"], scopes=parse_scopes(["tag:x"]))
    people = {"ada": less}
    world.server.policy = attrs.evolve(world.server.policy, people=people)
    assert (await world.refresh(tokens["refresh_token"]))["scope"] == "tag:x"


async def test_what_a_client_could_have_is_what_its_person_and_the_operator_let_it(world: World):
    principal = world.principal((await world.log_in(scope="tag:x"))["access_token"])
    assert world.server.attainable(principal) == parse_scopes(["mcp"])
    limited = attrs.evolve(
        world.server.policy.clients["app"], scopes=parse_scopes(["mcp:read", "tag:x"])
    )
    clients = {**world.server.policy.clients, "app": limited}
    world.server.policy = attrs.evolve(world.server.policy, clients=clients)
    assert world.server.attainable(principal) == parse_scopes(["mcp:read", "tag:x"])
    world.server.policy = attrs.evolve(world.server.policy, people={})
    assert world.server.attainable(principal) == frozenset()


async def test_what_a_client_may_no_more_its_tokens_are_not_good_for(world: World):
    fields = {"grant_type": "client_credentials", "client_id": "robot"}
    service = await world.token(**fields, client_secret="s" * 32, resource=f"{ISSUER}/mcp")
    robots = world.principal(service["access_token"])
    hers = world.principal((await world.log_in(scope="mcp"))["access_token"])
    assert world.server.attainable(robots) == frozenset()
    assert world.server.rights(robots) == parse_scopes(["backend:files", "backend:mail"])
    some = parse_scopes(["backend:files"])
    clients = {
        name: attrs.evolve(client, scopes=some)
        for name, client in world.server.policy.clients.items()
    }
    world.server.policy = attrs.evolve(world.server.policy, clients=clients)
    assert world.server.rights(robots) == world.server.rights(hers) == some
    del clients["robot"]
    world.server.policy = attrs.evolve(world.server.policy, clients=clients)
    assert not world.server.stands(robots)
    assert world.server.stands(hers)


async def test_a_service_acts_on_its_own_behalf(world: World):
    fields = {
        "grant_type": "client_credentials",
        "client_id": "robot",
        "client_secret": "s" * 32,
        "resource": f"{ISSUER}/mcp",
    }
    answer = await world.token(**fields)
    assert "refresh_token" not in answer
    assert answer["scope"] == "backend:files backend:mail"
    assert claims(answer["access_token"])["sub"] == "robot"
    assert world.lets_in(answer["access_token"])
    narrow = await world.token(**fields, scope="backend:files tool:mail/read*")
    assert narrow["scope"] == "backend:files tool:mail/read*"
    error = await refusal(world.token(**fields, scope="backend:other"))
    assert error.code == "invalid_scope"
    error = await refusal(world.token(**(fields | {"client_secret": "s" * 31})))
    assert (error.code, error.status) == ("invalid_client", 400)


async def introspected(server: AuthorizationServer, token: str, **who: str) -> dict:
    who = who or {"client_id": "robot", "client_secret": "s" * 32}
    return await server.introspect(form(token=token, **who), None, ADDRESS)


async def test_a_client_may_ask_about_its_own_tokens_only(world: World):
    own = await world.token(
        grant_type="client_credentials", client_id="robot", client_secret="s" * 32
    )
    told = await introspected(world.server, own["access_token"])
    assert (told["active"], told["client_id"], told["sub"]) == (True, "robot", "robot")
    json.dumps(told)
    others = await world.log_in()
    for token in (others["access_token"], others["refresh_token"], "nonsense"):
        assert await introspected(world.server, token) == {"active": False}
    error = await refusal(introspected(world.server, own["access_token"], client_id="app"))
    assert error.code == "invalid_client"
    world.now += 1000
    assert await introspected(world.server, own["access_token"]) == {"active": False}


async def test_a_client_may_revoke_its_own_tokens_only(world: World):
    tokens = await world.log_in()
    for kind in ("access_token", "refresh_token"):
        await world.server.revoke(form(token=tokens[kind], client_id="other"), None, ADDRESS)
    assert world.lets_in(tokens["access_token"])
    await world.server.revoke(form(token=tokens["access_token"], client_id="app"), None, ADDRESS)
    assert not world.lets_in(tokens["access_token"])
    tokens = await world.refresh(tokens["refresh_token"])
    await world.server.revoke(form(token=tokens["refresh_token"], client_id="app"), None, ADDRESS)
    assert not world.lets_in(tokens["access_token"])
    await world.server.revoke(form(token="nonsense", client_id="app"), None, ADDRESS)
    assert (await refusal(world.server.revoke(form(token="x"), None, ADDRESS))).code


@pytest.mark.requirement("basic/authorization/security-considerations#token-theft-1")
async def test_nothing_that_opens_anything_is_written_down(world: World):
    tokens = await world.log_in()
    code = await world.code()
    tokens |= await world.refresh(tokens["refresh_token"])
    written = b"".join(path.read_bytes() for path in world.folder.iterdir()).decode()
    told = repr(world.audit) + repr(world.server.ledger.records)
    for secret in (code, tokens["access_token"], tokens["refresh_token"].partition(".")[2]):
        assert secret not in written + told
