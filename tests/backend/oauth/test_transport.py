"""Backends that want a token, over real sockets; and small requests to whoever issues them."""

from __future__ import annotations

import json

import pytest
import trio

from onemcp.backend.call import Call
from onemcp.backend.connection import LoginRequired
from onemcp.backend.handshake import answer_of
from onemcp.backend.http import connect_http
from onemcp.backend.oauth import BearerToken, Challenge, Fetcher, NotNow, OAuthError
from onemcp.config import BackendLimits, BearerLogin, HttpTransport, Timeouts, Tls
from onemcp.protocol.fields import raw
from onemcp.protocol.jsonrpc import Response
from tests.backend.http.servers import (
    LIMIT,
    Catalogue,
    Modern,
    Visit,
    caller,
    failure_of,
    serving,
    talking,
    terms,
)


class Rotating(BearerToken):
    """A token that can be had anew.

    Attributes:
        challenges: What has been said about those that were refused.
    """

    def __init__(self, *tokens: str) -> None:
        super().__init__("b", BearerLogin(token_variable="T"), {"T": tokens[0]}, lambda _: None)
        self.challenges: list[Challenge] = []
        self.failure: OAuthError | None = None
        self._rest = [*tokens[1:]]

    async def renew(self, used: str | None, challenge: Challenge) -> bool:
        self.challenges.append(challenge)
        if self.failure is not None:
            raise self.failure
        if used == self._token and not self._rest:
            return False
        if used == self._token:
            self._token = self._rest.pop(0)
        return True


def wanting(token: str, status: int = 401, challenge: str = "Bearer"):
    async def handler(visit: Visit, go_on) -> None:
        if visit.headers.get("authorization") == f"Bearer {token}":
            await go_on(visit)
        else:
            headers = ("www-authenticate", challenge)
            await visit.answer(status, f"not {visit.headers}".encode(), "text/plain", headers)

    return handler


class Guarded(Modern):
    """A backend of the modern era that wants a token."""

    def __init__(self, token: str, **more) -> None:
        super().__init__()
        self._wants = wanting(token, **more)

    async def post(self, visit: Visit) -> None:
        await self._wants(visit, super().post)


def connection_to(url: str, credentials):
    return connect_http(
        HttpTransport(url=url),
        Timeouts(),
        BackendLimits(),
        terms(),
        on_notification=lambda _: None,
        tools=Catalogue(),
        credentials=credentials,
    )


@pytest.mark.requirement(
    "basic/authorization/authorization-server-discovery#protected-resource-metadata-discovery-requirements-3",
    "basic/authorization/index#token-requirements-2",
    "basic/authorization/index#token-requirements-3",
    "basic/authorization/index#token-requirements-4",
)
async def test_a_refused_request_is_sent_again_with_a_new_token():
    server, credentials = Guarded("two"), Rotating("one", "two")
    with trio.fail_after(LIMIT):
        async with serving(server) as url, trio.open_nursery() as nursery:
            connection = connection_to(url, credentials)
            await nursery.start(connection.run)
            sent = [each.headers["authorization"] for each in server.visits]
            assert sent == ["Bearer one", "Bearer two"]
            assert credentials.challenges == [Challenge()]
            nursery.cancel_scope.cancel()


async def test_where_there_is_no_other_token_a_login_is_needed_and_none_is_repeated():
    server, credentials = Guarded("other"), Rotating("the-secret-one")
    with trio.fail_after(LIMIT):
        async with serving(server) as url:
            with pytest.raises(LoginRequired) as lost:
                await connection_to(url, credentials).run()
    assert "it refuses the token in the environment variable T" in lost.value.reason
    assert "the-secret-one" not in lost.value.reason
    assert len(server.visits) == 1


async def test_a_login_that_is_over_is_told():
    server, credentials = Guarded("other"), Rotating("one")
    credentials.failure = OAuthError("it is over")
    with trio.fail_after(LIMIT):
        async with serving(server) as url:
            with pytest.raises(LoginRequired, match="it is over"):
                await connection_to(url, credentials).run()


async def test_no_token_to_be_had_right_now_is_no_matter_of_a_login():
    server, credentials = Guarded("other"), Rotating("one")
    credentials.failure = NotNow("it is asleep")
    with trio.fail_after(LIMIT):
        async with serving(server) as url:
            with pytest.raises(Exception, match="it is asleep") as lost:
                await connection_to(url, credentials).run()
    assert not isinstance(lost.value, LoginRequired)


async def test_a_call_that_lacks_a_scope_fails_alone():
    credentials = Rotating("one")
    missing = "insufficient_scope"
    lacking = f'Bearer error="{missing}", scope="files:write"'

    async def lacks(visit: Visit) -> None:
        await visit.answer(403, b"no", "text/plain", ("www-authenticate", lacking))

    server = Guarded("one")
    server.on("tools/call", lacks)
    with trio.fail_after(LIMIT):
        async with serving(server) as url, trio.open_nursery() as nursery:
            connection = connection_to(url, credentials)
            await nursery.start(connection.run)
            refused = Call("tools/call", {"name": raw("x")}, caller())
            answer = await answer_of(connection.open(refused))
            assert "a login or a token" in failure_of(answer)["message"]
            assert credentials.challenges == [
                Challenge(None, ("files:write",), "insufficient_scope")
            ]
            assert connection.server is not None
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    "method", ["tools/list", "subscriptions/listen", "tasks/get", "resources/read", "x/unknown"]
)
@pytest.mark.parametrize("is_granted", [True, False])
async def test_any_request_is_sent_once_more_with_more_rights_and_no_more_often(method, is_granted):
    """Lists, streams, tasks and extensions get their step-up as calls do."""
    credentials = Rotating("one", "two")
    lacking = 'Bearer error="insufficient_scope", scope="more"'
    sent: list[str] = []

    async def wants_more(visit: Visit) -> None:
        sent.append(visit.headers["authorization"])
        if is_granted and sent[-1] == "Bearer two":
            await visit.result({"did": method})
        else:
            await visit.answer(403, b"no", "text/plain", ("www-authenticate", lacking))

    server = Modern()
    server.on(method, wants_more)
    with trio.fail_after(LIMIT):
        async with serving(server) as url, trio.open_nursery() as nursery:
            connection = connection_to(url, credentials)
            await nursery.start(connection.run)
            answer = await answer_of(connection.open(Call(method, {}, caller())))
            nursery.cancel_scope.cancel()
    assert sent == ["Bearer one", "Bearer two"]
    assert isinstance(answer, Response) is is_granted


# --- requests to authorization servers ------------------------------------------------------------


async def fetched(answer: bytes):
    async def reply(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(answer)

    with trio.fail_after(LIMIT):
        async with talking(reply) as url:
            return await Fetcher(Tls(), url).get(url)


async def test_an_answer_is_fetched():
    body = json.dumps({"a": 1}).encode()
    answer = await fetched(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
    assert (answer.status, answer.body) == (200, body)


async def test_a_server_that_is_not_there_can_be_asked_again():
    with pytest.raises(NotNow):
        await Fetcher(Tls(), "http://127.0.0.1:1/").get("http://127.0.0.1:1/")
