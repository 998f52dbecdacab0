"""The status page of a gateway in this process: who may see it, what it shows, what it does."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from html import unescape
from pathlib import Path
from typing import Any

import attrs
import httpx
import msgspec
import pytest
import trio

from onemcp.auth.server import Audited, What
from onemcp.control import OperatorActed
from onemcp.frontend import Wire
from onemcp.web.status import page as status_page
from tests.control.conftest import DEMO, SERVERS, World, serving
from tests.frontend.site import request
from tests.support.eventually import eventually
from tests.support.passwords import hashed
from tests.support.person import Person

PASSWORD = "correct horse battery"
MANGLED = {
    "sec-fetch-site": ({"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-site"}),
    "origin": (
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:1"},
    ),
}


@attrs.define
class Browser:
    """A browser of one person.

    Attributes:
        world: The gateway.
        client: What sends the requests.
        home: The address of the visit, once there is one.
        people: Others with browsers of their own.
    """

    world: World
    client: httpx.AsyncClient
    home: str = ""
    people: list[Person] = attrs.field(factory=list)

    @property
    def origin(self) -> str:
        return self.world.gateway.url.removesuffix("/mcp")

    async def come_in(self) -> httpx.Response:
        """Come in by a link."""
        link = (await self.world.post("/page"))["url"]
        answer = await self.client.get(link)
        assert answer.status_code == 303, answer.text
        self.home = self.origin + answer.headers["location"]
        return answer

    async def get(self, path: str = "", **query: str) -> httpx.Response:
        return await self.client.get(self.home + path, params=query or None)

    async def shown(self, path: str = "", **query: str) -> str:
        answer = await self.get(path, **query)
        assert answer.status_code == 200, answer.text
        return unescape(answer.text)

    async def post(self, path: str, headers: Any = None, **fields: str) -> httpx.Response:
        if "token" not in fields:
            fields["token"] = re.search(r'name="token" value="([^"]+)"', await self.shown())[1]
        headers = {"origin": self.origin} if headers is None else headers
        return await self.client.post(self.home + path, data=fields, headers=headers, timeout=30)

    async def do(self, what: str) -> tuple[int, str]:
        token = re.search(r'name="token" value="([^"]+)"', await self.shown())[1]
        answer = await self.client.post(
            f"{self.home}act",
            data={"token": token, "do": what},
            headers={"origin": self.origin, "accept": "application/json"},
            timeout=30,
        )
        return answer.status_code, answer.json()["said"]


@pytest.fixture
async def browser(short_folder: Path) -> AsyncIterator[Browser]:
    users = {
        "ada": {"password": hashed(PASSWORD), "scopes": ["admin", "mcp"]},
        "bob": {"password": hashed(PASSWORD)},
        "cyd": {"password": hashed(PASSWORD), "scopes": ["admin"]},
    }
    async with (
        serving(short_folder, auth={"users": users}) as world,
        httpx.AsyncClient(trust_env=False) as client,
    ):
        opened = Browser(world, client)
        yield opened
        for person in opened.people:
            await person.aclose()


async def log_in(browser: Browser, name: str, password: str = PASSWORD) -> Person:
    """Let somebody log in by a password."""
    person = Person(trust_env=False)
    browser.people.append(person)
    await person.visit(f"{browser.origin}/status")
    await person.submit(username=name, password=password)
    return person


class Stream:
    """The lines of a stream that a browser follows."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._rest = b""

    async def line(self) -> str:
        """Wait for the next line; "" when the stream has ended."""
        while b"\n" not in self._rest:
            data = await self._stream.receive_some()
            if not data:
                return ""
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\n")
        return line.decode() + "\n"

    async def parts(self) -> dict[str, str]:
        """Wait for the next message."""
        while not (line := await self.line()).startswith("data: "):
            assert line
        return msgspec.json.decode(line.removeprefix("data: "))


@asynccontextmanager
async def followed(client: httpx.AsyncClient, home: str) -> AsyncIterator[Stream]:
    """Follow the gateway for as long as the block runs."""
    request = client.build_request("GET", f"{home}events")
    url, cookie = request.url, request.headers["cookie"]
    async with await trio.open_tcp_stream(url.host, url.port) as stream:
        head = f"GET {url.path} HTTP/1.1\r\nHost: {url.netloc.decode()}\r\nCookie: {cookie}\r\n\r\n"
        await stream.send_all(head.encode())
        lines = Stream(stream)
        assert "200" in await lines.line()
        yield lines


async def test_strangers_learn_nothing(browser: Browser):
    door = await browser.client.get(f"{browser.origin}/status")
    assert door.status_code == 200
    assert "Password" in door.text
    for secret in ("demo", "broken", "onemcp.json", "127.0.0.1"):
        assert secret not in door.text
    await browser.come_in()
    names = [browser.home.rstrip("/").rpartition("/")[2], "nobody"]
    async with httpx.AsyncClient(trust_env=False, base_url=browser.origin) as stranger:
        for path in ("", "events", "tools", "tool?name=demo__add", "backend?name=demo"):
            told = [await stranger.get(f"/status/{name}/{path}") for name in names]
            assert [each.status_code for each in told] == [303, 303]
            assert [each.headers["location"] for each in told] == ["/status", "/status"]
        for path in ("act", "call", "leave"):
            headers = {"origin": browser.origin}
            answer = await stranger.post(f"/status/{names[0]}/{path}", headers=headers)
            assert answer.headers["location"] == "/status"
        for name in ("style.css", "status.css", "status.js"):
            assert (await stranger.get(f"/status/{name}")).status_code == 200
        refused = await stranger.get("/status", headers={"host": "evil.example"})
        assert refused.status_code == 403
    assert not browser.world.of(OperatorActed)[-1].backend


async def test_a_link_lets_in_one_browser_once(browser: Browser):
    link = (await browser.world.post("/page"))["url"]
    assert link.startswith(f"{browser.origin}/status/enter?code=")
    first, second = await browser.client.get(link), await browser.client.get(link)
    assert first.status_code == 303
    assert second.status_code == 403
    assert "used up" in second.text
    assert "set-cookie" not in second.headers
    cookie = first.headers["set-cookie"]
    path = first.headers["location"]
    assert {"HttpOnly", "SameSite=Strict", f"Path={path}"} <= set(cookie.split("; "))
    assert "code" not in path
    over_http = await browser.world.over_http("/control/page", "admin", "POST")
    assert over_http.status_code == 403
    assert "socket" in over_http.text


async def test_everything_is_shown(browser: Browser):
    await browser.come_in()
    answer = await browser.get()
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("script-src 'self'; connect-src 'self'; default-src 'none';")
    assert "unsafe" not in policy
    assert answer.headers["cache-control"] == "no-store"
    assert not re.search(r"<script>|<style|style=| on\w+=", answer.text)
    text = unescape(answer.text)
    for told in (
        "demo",
        "broken",
        "disabled",
        "guardian",
        "No call waits",
        "Parked calls",
        "refuses connections",
    ):
        assert told in text
    assert str(browser.world.folder / "onemcp.json") in text
    assert "backend ready" in text
    backend = await browser.shown("backend", name="broken")
    assert "backend down" in backend
    for path in ("backend?name=zzz", "nothing", "tool?name=zzz", "act"):
        assert (await browser.get(path)).status_code == 404


async def test_actions_need_the_page_s_own_form(browser: Browser):
    await browser.come_in()
    for field, headers in ((f, h) for f, each in MANGLED.items() for h in each):
        given = {"origin": browser.origin} | headers
        assert (await browser.post("act", given, do="stop demo")).status_code == 403, field
    assert (await browser.post("act", {}, do="stop demo")).status_code == 403
    for path in ("act", "call", "leave"):
        assert (await browser.post(path, token="x", do="stop demo")).status_code == 403
    assert await browser.world.state("demo") == "up"


async def test_operators_act(browser: Browser):
    await browser.come_in()
    assert await browser.do("stop demo") == (200, "demo has been stopped. It is stopped now.")
    assert await browser.world.state("demo") == "stopped"
    assert "Start" in await browser.shown("backend", name="demo")
    assert (await browser.post("act", do="start demo")).headers["location"] in browser.home
    assert await browser.world.state("demo") == "up"
    assert await browser.do("restart dmeo") == (
        404,
        "There is no backend 'dmeo'; did you mean 'demo'?",
    )
    status, said = await browser.do("explode demo")
    assert (status, said) == (400, "There is no such action.")
    assert (await browser.do("reload"))[0] == 200
    browser.world.write({"demo": {**DEMO, "prefix": 5}})
    assert "can't be used" in (await browser.do("reload"))[1]
    text = await browser.shown()
    assert "mcpServers.demo.prefix" in text
    assert "What was in force before stays in force" in text
    acted = [event for event in browser.world.of(OperatorActed) if event.action == "stop"]
    assert [event.by[:4] for event in acted] == ["uid "]


async def test_users_log_in_if_they_may_look_after_it(browser: Browser):
    ada = await log_in(browser, "ada")
    assert "Supervision" in ada.pages[-1].text
    bob = await log_in(browser, "bob")
    assert bob.pages[-1].status_code == 403
    assert "scope admin" in bob.pages[-1].text
    assert not any("SameSite=strict" in value for value in bob.pages[-1].headers.values())
    wrong = await log_in(browser, "ada", "wrong")
    assert wrong.pages[-1].status_code == 403
    assert "Try again" in wrong.pages[-1].text
    home = str(ada.pages[-1].url)
    async with followed(ada.client, home) as lines:
        await lines.parts()
        browser.world.write(SERVERS, auth={"users": {}})
        await browser.world.post("/reload")
        while (line := await lines.line()) and "event: over" not in line:
            pass
        assert line
    assert (await ada.visit(home)).url.path == "/status"
    assert "onemcp page" in ada.pages[-1].text


async def test_forms_that_the_page_has_not_made_let_nobody_in_and_are_written_down(
    browser: Browser,
):
    person = await log_in(browser, "ada", "wrong")
    [made] = re.findall(r'name="token" value="([^"]+)"', person.pages[-1].text)
    for wrong, status, what in (
        ({"token": "x"}, 403, What.FORM_REFUSED),
        ({"username": ["ada", "ada"]}, 400, What.MALFORMED),
    ):
        fields = {"username": "ada", "password": PASSWORD, "token": made, **wrong}
        refused = await person.client.post(
            f"{browser.origin}/status", data=fields, headers={"origin": browser.origin}
        )
        assert (refused.status_code, "Password" in refused.text) == (status, True)
        assert browser.world.of(Audited)[-1].what is what


async def test_it_is_told_live_what_changes(browser: Browser, monkeypatch):
    monkeypatch.setattr(status_page, "PACE", 0.05)
    await browser.come_in()
    async with followed(browser.client, browser.home) as lines:
        first = await lines.parts()
        assert first["names"] == "demo broken off"
        assert {"card-demo", "tree-part", "summary-part", "incidents-part"} <= first.keys()
        await browser.world.post("/backends/demo/stop")
        parts = await lines.parts()
        while ">stopped<" not in parts.get("card-demo", ""):
            parts = await lines.parts()
        assert "card-off" not in parts


async def test_streams_are_bounded(browser: Browser, monkeypatch):
    await browser.come_in()
    monkeypatch.setattr(status_page, "STREAMS", 1)
    page = browser.world.gateway._front._application.status.__self__
    async with followed(browser.client, browser.home) as lines:
        await lines.parts()
        assert (await browser.get("events")).status_code == 503
    await eventually(lambda: not page.followers, "the browser that has gone is missed")


async def test_a_browser_that_does_not_keep_up_is_given_up(monkeypatch):
    monkeypatch.setattr(status_page, "SEND_SECONDS", 0.01)

    async def send(message: Any) -> None:
        await trio.sleep_forever()

    wire = Wire({"headers": []}, trio.sleep_forever, send)
    with pytest.raises(trio.BrokenResourceError, match="keep up"):
        await status_page._send_in_time(wire, b"data: {}\n\n")


async def test_sessions_are_shown_with_what_their_clients_call_themselves(browser: Browser):
    params = {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "<b>old</b>", "version": "7"},
    }
    opened = await browser.world.client.post(
        "/mcp",
        json=request("initialize", params),
        headers={"accept": "application/json, text/event-stream"},
    )
    assert opened.headers["mcp-session-id"]
    await browser.come_in()
    page = (await browser.get()).text
    assert "&lt;b&gt;old&lt;/b&gt; 7" in page
    assert "2025-11-25" in page


async def test_it_can_be_turned_off(browser: Browser):
    await browser.come_in()
    await browser.world.post("/page")
    async with followed(browser.client, browser.home) as stream:
        browser.world.write(control={"page": False}, auth={"mode": "none"})
        assert (await browser.world.post("/reload"))["outcome"] == "applied"
        while (line := await stream.line()) != "event: over\n":
            assert line
    for address in (browser.home, f"{browser.origin}/status", f"{browser.origin}/status/style.css"):
        assert (await browser.client.get(address)).status_code == 404
    status, error = await browser.world.refused("POST", "/page")
    assert (status, error["message"]) == (409, "there is no status page: control.page is false")
    browser.world.write(auth={"mode": "none"})
    await browser.world.post("/reload")
    assert (await browser.client.get(browser.home)).status_code == 303  # that visit is over
    await browser.come_in()


async def test_leaving_ends_the_visit(browser: Browser):
    await browser.come_in()
    assert (await browser.post("leave")).headers["location"] == "/status"
    assert (await browser.get()).status_code == 303


async def test_tools_are_listed_searched_and_called(browser: Browser):
    await browser.come_in()
    assert "demo__echo" in await browser.shown("tools")
    found = await browser.shown("tools", q="two NUMBERS")
    assert "demo__add" in found
    assert "demo__echo" not in found
    assert "“zzz”" not in (await browser.shown("tools", q="zzz"))
    tool = await browser.shown("tool", name="demo__add")
    assert '"description": "One number."' in tool
    called = await browser.post(
        "call", name="demo__add", **{"argument:a": "1", "argument:b": "2.5"}
    )
    assert "3.5" in called.text
    hostile = "<script>alert(1)</script>\u202e"
    echoed = await browser.post("call", name="demo__echo", **{"argument:message": hostile})
    assert "<script>alert" not in echoed.text
    assert hostile in unescape(echoed.text)
    bad = await browser.post("call", name="demo__add", **{"argument:a": "{", "argument:b": "1"})
    assert "can't be read as JSON" in unescape(bad.text)
    failed = await browser.post("call", name="demo__add", **{"argument:a": '"x"'})
    assert ">failed<" in failed.text
    await browser.world.post("/backends/demo/stop")
    assert (await browser.post("call", name="demo__add")).status_code == 404


async def test_who_may_call_no_tools_sees_none(browser: Browser):
    cyd = await log_in(browser, "cyd")
    page = await cyd.visit(f"{cyd.pages[-1].url}tools")
    assert "no tools that you may call" in page.text
    assert "demo__" not in page.text
