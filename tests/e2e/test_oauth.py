"""Logging in at a running onemcp: from the first 401 to tokens that are revoked."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from urllib.parse import parse_qs, urlsplit

import attrs
import httpx
import pytest
import trio

from tests.support.logging_in import DEMO, PASSWORD, World, settings, world
from tests.support.person import Person, forms_of
from tests.support.running import COMMAND


@pytest.mark.requirement(
    "basic/authorization/authorization-server-discovery#authorization-server-location-1",
    "basic/authorization/authorization-server-discovery#authorization-server-location-2",
    "basic/authorization/authorization-server-discovery#protected-resource-metadata-discovery-requirements-1",
    "basic/authorization/index#overview-3",
    "basic/authorization/index#overview-5",
    "basic/authorization/index#authorization-server-discovery-1",
    "basic/authorization/index#authorization-response-validation-3",
    "basic/authorization/index#token-handling-3",
    "basic/authorization/index#token-handling-4",
    "basic/authorization/security-considerations#authorization-code-protection-7",
)
async def test_a_client_finds_its_way_in_and_is_kept_in(tmp_path):
    async with world(tmp_path) as at:
        resource = await at.discover()
        assert resource["resource"] == at.gateway.url
        assert at.metadata["authorization_response_iss_parameter_supported"] is True
        assert at.metadata["code_challenge_methods_supported"] == ["S256"]
        openid = await at.web.get(f"{at.origin}/.well-known/openid-configuration")
        assert openid.json().items() >= at.metadata.items()
        await at.register()
        tokens = await at.log_in()
        assert (await at.call(tokens["access_token"])).status_code == 200
        assert (await at.call(tokens["access_token"], "/mcp/demo")).status_code == 200

        renewed = (
            await at.token(grant_type="refresh_token", refresh_token=tokens["refresh_token"])
        ).json()
        assert (await at.call(renewed["access_token"])).status_code == 200

        told = await at.web.post(
            at.metadata["revocation_endpoint"],
            data={"token": renewed["refresh_token"], "client_id": at.client_id},
        )
        assert told.status_code == 200
        refused = await at.call(renewed["access_token"])
        assert refused.status_code == 401
        assert 'error="invalid_token"' in refused.headers["www-authenticate"]

        lines = at.audit()
        unasked = {"access refused", "token accepted"}
        assert [line["what"] for line in lines if line["what"] not in unasked] == [
            "client registered",
            "login",
            "consent",
            "token issued",
            "token issued",
            "revocation",
        ]
        assert lines[-1]["reason"] == "revoked"
        accepted = [line["token"] for line in lines if line["what"] == "token accepted"]
        assert len(accepted) == len(set(accepted)) == 2, "each token once"
        written = "".join(
            path.read_text(errors="replace")
            for path in at.state.rglob("*")
            if path.is_file() and path.name != "keys.json"
        ) + json.dumps(at.gateway.log)
        for secret in (
            PASSWORD,
            tokens["access_token"],
            renewed["access_token"],
            renewed["refresh_token"].partition(".")[2],
            at.verifier,
        ):
            assert secret not in written


@pytest.mark.requirement("basic/authorization/index#error-handling-1")
async def test_a_token_that_is_good_for_less_is_told_what_is_missing(tmp_path):
    async with world(tmp_path) as at:
        await at.discover("/mcp/demo")
        await at.register()
        tokens = await at.log_in("bob", scope="mcp")
        assert tokens["scope"] == "backend:demo", "nobody gives away what is not theirs"
        refused = await at.call(tokens["access_token"], "/mcp/other")
        assert refused.status_code == 403
        challenge = refused.headers["www-authenticate"]
        assert 'error="insufficient_scope"' in challenge
        assert 'scope="backend:other view:other"' in challenge
        assert f'"{at.origin}/.well-known/oauth-protected-resource/mcp/other"' in challenge
        assert (await at.call(tokens["access_token"])).status_code == 200
        assert (await at.call(tokens["access_token"], "/mcp/demo")).status_code == 200


async def test_what_a_user_loses_is_lost_at_once(tmp_path):
    async with world(tmp_path) as at:
        await at.discover()
        await at.register()
        tokens = await at.log_in("bob")
        url = at.origin + "/mcp/demo"
        assert (await at.call(tokens["access_token"], "/mcp/demo")).status_code == 200
        opened = (await at.call(tokens["access_token"], "/mcp/demo")).headers["mcp-session-id"]
        headers = {
            "authorization": f"Bearer {tokens['access_token']}",
            "accept": "text/event-stream",
            "mcp-session-id": opened,
        }
        async with at.web.stream("GET", url, headers=headers) as stream:
            assert stream.status_code == 200
            document = settings()
            del document["auth"]["users"]["bob"]
            at.gateway.rewrite(document)
            with pytest.raises(httpx.RemoteProtocolError):
                async for _ in stream.aiter_raw():
                    pass
        assert (await at.call(tokens["access_token"], "/mcp/demo")).status_code in {401, 403}


@pytest.mark.requirement(
    "basic/authorization/security-considerations#localhost-redirect-uri-risks-1",
    "basic/authorization/security-considerations#localhost-redirect-uri-risks-2",
    "index#implementation-guidelines-1",
)
async def test_the_pages_keep_to_themselves(tmp_path):
    async with world(tmp_path) as at:
        await at.discover()
        await at.register()
        login = await at.person.visit(at.authorization_url())
        assert "Test &lt;client&gt;" in login.text
        assert "<script" not in login.text
        policy = login.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert login.headers["x-frame-options"] == "DENY"
        assert login.headers["cache-control"] == "no-store"
        cookie = login.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Lax" in cookie

        wrong = await at.person.submit(username="ada", password="x")
        assert wrong.status_code == 403
        assert "That is not right" in wrong.text
        unknown = await at.person.submit(username="nobody", password="x")
        assert unknown.status_code == 403
        consent = await at.person.submit(username="ada", password=PASSWORD)
        assert "It may" in consent.text
        assert "http://127.0.0.1:49152<" in consent.text
        assert "A program on the computer" in consent.text
        assert f"{at.origin}/mcp" in consent.text
        policy = consent.headers["content-security-policy"]
        assert policy.endswith("form-action 'self' http://127.0.0.1:49152")

        [form] = forms_of(consent.text)
        fields = dict(form["fields"])
        other = Person()
        for jar in (other.client, at.person.client):
            forged = dict(fields, token="0" * 64, decision="allow")
            answer = await jar.post(f"{at.origin}/oauth/consent", data=forged)
            assert answer.status_code == 403
        stolen = await other.client.post(
            f"{at.origin}/oauth/consent", data=dict(fields, decision="allow")
        )
        assert stolen.status_code == 403
        changed = dict(fields, decision="allow")
        changed["request"] = changed["request"].replace("scope=mcp", "scope=mcp%3Aread")
        answer = await at.person.client.post(f"{at.origin}/oauth/consent", data=changed)
        assert answer.status_code == 403
        foreign = await at.person.client.post(
            f"{at.origin}/oauth/consent",
            data=dict(fields, decision="allow"),
            headers={"origin": "https://evil.example"},
        )
        assert foreign.status_code == 403
        await other.aclose()

        denied = await at.person.submit(decision="deny")
        answer = parse_qs(urlsplit(denied.headers["location"]).query)
        assert answer["error"] == ["access_denied"]
        assert answer["iss"] == [at.origin]


async def test_a_request_that_leads_nowhere_is_told_on_a_page(tmp_path):
    wrong = {"client_id": "none", "redirect_uri": "https://evil.example/", "state": "x" * 5000}
    async with world(tmp_path) as at:
        await at.discover()
        await at.register()
        for name, value in wrong.items():
            page = await at.person.visit(at.authorization_url(**{name: value}))
            assert page.status_code == 400, name
            assert "This does not work" in page.text
            assert "evil" not in page.text


async def test_a_wrong_request_is_told_to_the_client_without_asking_anybody(tmp_path):
    async with world(tmp_path) as at:
        await at.discover()
        await at.register()
        answer = await at.person.visit(at.authorization_url(code_challenge_method="plain"))
        told = parse_qs(urlsplit(answer.headers["location"]).query)
        assert (told["error"], told["state"]) == (["invalid_request"], ["s t&te"])


async def test_every_endpoint_refuses_what_it_does_not_understand(tmp_path):
    async with world(tmp_path) as at:
        await at.discover()
        await at.register()
        form = {"content-type": "application/x-www-form-urlencoded"}
        for name in ("token", "revocation", "introspection"):
            url = at.metadata[f"{name}_endpoint"]
            assert (await at.web.get(url)).status_code == 405
            for body, headers in (
                (b"", form),
                (b"client_id=a&client_id=b", form),
                (b"x=" + b"y" * 20_000, form),
                (b"client_id=%ff", form),
                (b"{}", {"content-type": "application/json"}),
                (b"client_id=a", form | {"authorization": "Basic !"}),
                (b"", form | {"authorization": "Bearer x"}),
            ):
                answer = await at.web.post(url, content=body, headers=headers)
                assert answer.status_code in {400, 401, 413}, (name, body[:20])
        register = at.metadata["registration_endpoint"]
        for body in (b"", b"[]", b"{}", b"\xff", b'{"redirect_uris":["http://x.example"]}'):
            headers = {"content-type": "application/json"}
            answer = await at.web.post(register, content=body, headers=headers)
            assert answer.status_code == 400
            assert answer.json()["error"].startswith("invalid_")
        for path in ("/oauth/none", "/oauth/login"):
            assert (await at.person.visit(at.origin + path)).status_code == 404
        huge = await at.web.post(at.origin + "/oauth/login", data={"password": "x" * 100_000})
        assert huge.status_code == 413
        keys = (await at.web.get(at.metadata["jwks_uri"])).json()["keys"]
        assert all("d" not in key for key in keys)
        assert not at.gateway.lines("request_failed")


async def command(at: World, *arguments: str) -> str:
    """Run a command beside the gateway, as an operator does."""
    environ = {**os.environ, "XDG_STATE_HOME": str(at.folder / "state")}
    environ.pop("STATE_DIRECTORY", None)
    ended = await trio.run_process(
        [sys.executable, "-m", "onemcp", *arguments], capture_stdout=True, env=environ
    )
    return ended.stdout.decode().strip()


@pytest.mark.parametrize("how", ["client", "user", "all"])
async def test_what_an_operator_revokes_ends_at_once(tmp_path, how):
    async with world(tmp_path) as at:
        await at.discover()
        await at.register()
        tokens = await at.log_in()
        access = tokens["access_token"]
        session = (await at.call(access)).headers["mcp-session-id"]
        listed = await command(at, "auth", "list")
        assert "ada" in listed
        assert at.client_id in listed
        headers = {
            "authorization": f"Bearer {access}",
            "accept": "text/event-stream",
            "mcp-session-id": session,
        }
        option = {"client": ["--client", at.client_id], "user": ["--user", "ada"], "all": ["--all"]}
        async with at.web.stream("GET", at.gateway.url, headers=headers) as stream:
            assert stream.status_code == 200
            said = await command(at, "auth", "revoke", *option[how])
            assert said.startswith("Ended 1 login;")
            with pytest.raises(httpx.RemoteProtocolError):
                async for _ in stream.aiter_raw():
                    pass
        assert (await at.call(access)).status_code == 401
        refused = await at.token(grant_type="refresh_token", refresh_token=tokens["refresh_token"])
        assert refused.status_code == 400
        assert await command(at, "auth", "list") == ""


async def test_a_token_that_was_issued_by_hand_can_be_revoked(tmp_path):
    async with world(tmp_path) as at:
        one = await command(at, "token", "issue", "--subject", "robot", "--scope", "backend:demo")
        two = await command(at, "token")
        assert (await at.call(one, "/mcp/demo")).status_code == 200
        assert (await at.call(one)).status_code == 200  # and shows no more than that server
        assert (await at.call(two)).status_code == 200
        [line] = [
            line for line in (await command(at, "token", "list")).splitlines() if "robot" in line
        ]
        await command(at, "token", "revoke", line.split()[0])
        with trio.fail_after(20):
            while (await at.call(one, "/mcp/demo")).status_code != 401:  # noqa: ASYNC110
                await trio.sleep(0.02)
        assert (await at.call(two)).status_code == 200
        assert "robot" not in await command(at, "token", "list")


def test_who_lets_everybody_in_from_elsewhere_is_warned(tmp_path):
    file = tmp_path / "onemcp.json"
    server = {"host": "0.0.0.0", "port": 0}  # noqa: S104  (what it is about)
    file.write_text(
        json.dumps({"mcpServers": {"demo": DEMO}, "auth": {"mode": "none"}, "server": server})
    )
    with subprocess.Popen(
        [*COMMAND, "--config", str(file)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "XDG_STATE_HOME": str(tmp_path / "state")},
    ) as process:
        assert process.stderr is not None
        try:
            assert any('"event": "anybody_may_call"' in line for line in process.stderr)
        finally:
            process.terminate()
            process.stderr.read()


async def test_on_a_terminal_there_is_a_code_to_log_in_with(tmp_path):
    file = tmp_path / "onemcp.json"
    file.write_text(json.dumps({"mcpServers": {"demo": DEMO}}))
    mine, its = os.openpty()
    environ = {**os.environ, "XDG_STATE_HOME": str(tmp_path / "state"), "TERM": "dumb"}
    process = await trio.lowlevel.open_process(
        [*COMMAND, "--config", str(file), "--port", "0"],
        stdin=subprocess.DEVNULL,
        stdout=its,
        stderr=subprocess.DEVNULL,
        env=environ,
    )
    os.close(its)
    try:
        said = ""
        with trio.fail_after(60):
            while not re.search(r"MCP Inspector", said):
                said += (await trio.to_thread.run_sync(os.read, mine, 4096)).decode()
        code = re.search(r"use the code (\S{4}-\S{4})\.", said)
        url = re.search(r"http://127\.0\.0\.1:\d+/mcp", said)
        assert code is not None
        assert url is not None
        person = Person()
        async with httpx.AsyncClient(timeout=30) as web:
            at = World(attrs.make_class("Told", ["url"])(url[0]), tmp_path, person, web)
            await at.discover()
            await at.register()
            page = await person.visit(at.authorization_url())
            assert "password" not in page.text
            page = await person.submit(code="AAAA-AAAA")
            assert page.status_code == 403
            await person.submit(code=code[1])
            answer = await person.submit(decision="allow")
            tokens = await at.redeem(answer.headers["location"])
            assert (await at.call(tokens["access_token"])).status_code == 200
        await person.aclose()
    finally:
        process.terminate()
        await process.wait()
        os.close(mine)
