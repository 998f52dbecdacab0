"""What is secret stays secret, whatever goes wrong: a run with known secrets, searched for them.

None of the secrets looks like one: what finds them must know them.
"""

from __future__ import annotations

import base64
import json
import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from tests.secrets.mirror import MANNERS, mirror
from tests.secrets.planted import Secrets, configuration
from tests.support import logging_in
from tests.support.logging_in import CALLBACK, World
from tests.support.person import Person
from tests.support.running import running

JSON = "application/json"
ACCEPT = {"accept": "application/json, text/event-stream"}
MODERN = "2026-07-28"
TYPED = "password in the place of a name"


class Site:
    """A running gateway, and all that it told its clients when it refused something.

    Attributes:
        world: The gateway, and who logs in there.
        known: What must not be told.
        requests: What remote backends were sent.
        environ: What the gateway has in its environment.
        refusals: Where something was refused, and the answer.
    """

    def __init__(
        self,
        world: World,
        known: Secrets,
        requests: list[bytes],
        environ: dict[str, str],
    ) -> None:
        self.world = world
        self.known = known
        self.requests = requests
        self.environ = environ
        self.refusals: list[tuple[str, str]] = []

    async def note(self, response: httpx.Response) -> None:
        """Keep a response if it refuses something."""
        body = await response.aread()
        kinds = ('"error"', '"isError":true', '"isError": true')
        if response.status_code >= 400 or any(kind in response.text for kind in kinds):
            head = f"{response.status_code} {response.headers.multi_items()}"
            self.refusals.append((response.request.url.path, f"{head} {body.decode()}"))

    async def post(
        self, path: str, message: Any, token: str | None = None, **headers: str
    ) -> httpx.Response:
        sent = {**ACCEPT, **headers}
        if token is not None:
            sent["authorization"] = f"Bearer {token}"
        content = message if isinstance(message, str) else json.dumps(message)
        return await self.world.web.post(
            self.world.origin + path, content=content, headers={**sent, "content-type": JSON}
        )

    async def modern(self, token: str, method: str, path: str = "/mcp", **params: Any) -> Any:
        meta = {"protocolVersion": MODERN, "clientCapabilities": {}}
        params["_meta"] = {f"io.modelcontextprotocol/{name}": each for name, each in meta.items()}
        headers = {"mcp-protocol-version": MODERN, "mcp-method": method}
        if "name" in params:
            headers["mcp-name"] = params["name"]
        message = {"jsonrpc": "2.0", "id": 7, "method": method, "params": params}
        return await self.post(path, message, token, **headers)

    async def legacy(self, token: str, method: str, **params: Any) -> httpx.Response:
        opened = await self.world.call(token)
        headers = {"mcp-session-id": opened.headers["mcp-session-id"]}
        ready = {"jsonrpc": "2.0", "method": "notifications/initialized"}
        await self.post("/mcp", ready, token, **headers)
        message = {"jsonrpc": "2.0", "id": 7, "method": method, "params": params}
        return await self.post("/mcp", message, token, **headers)


@asynccontextmanager
async def site(folder: Path) -> AsyncIterator[Site]:
    known = Secrets()
    requests: list[bytes] = []
    async with AsyncExitStack() as stack:
        addresses = {
            manner: await stack.enter_async_context(mirror(manner, requests)) for manner in MANNERS
        }
        document = configuration(known, addresses, folder)
        environ = {
            "XDG_STATE_HOME": str(folder / "state"),
            "PLAIN": known.new("variable"),
            "HANDED_ON": known.new("variable that is handed on"),
            "BEARER": known.new("bearer in a variable"),
            "OWN": known.new("variable of the gateway's own"),
        }
        gateway = await stack.enter_async_context(
            running(folder / "onemcp.json", document, environ=environ)
        )
        hooks: dict[str, Any] = {"response": []}
        web = await stack.enter_async_context(httpx.AsyncClient(timeout=30, event_hooks=hooks))
        person = Person(event_hooks=hooks)
        stack.push_async_callback(person.aclose)
        made = Site(World(gateway, folder, person, web), known, requests, environ)
        hooks["response"].append(made.note)
        web.event_hooks = person.client.event_hooks = hooks
        yield made


async def issue(at: Site, *options: str) -> str:
    """Issue a token by hand; it is printed, and nothing else."""
    issued = await trio.run_process(
        [sys.executable, "-m", "onemcp", "token", *options],
        env={"XDG_STATE_HOME": str(at.world.folder / "state")},
        capture_stdout=True,
        capture_stderr=True,
    )
    token = issued.stdout.decode().strip()
    at.known[f"token by hand {options}"] = token.rpartition(".")[2]
    assert issued.stderr == b""
    return token


async def log_in(at: Site) -> tuple[str, str]:
    """Let a client in, with all that may go wrong; return an access and a refresh token."""
    world, known = at.world, at.known
    await world.discover()
    registered = await world.register(token_endpoint_auth_method="client_secret_post")
    secret = known["secret of a registered client"] = registered["client_secret"]
    page = await world.person.visit(world.authorization_url())
    assert page.status_code == 200
    wrong = known.new("wrong password")
    await world.person.submit(username="ada", password=wrong)
    await world.person.submit(username=known.new(TYPED), password=wrong)
    await world.person.submit(username="ada", password=logging_in.PASSWORD)
    answer = await world.person.submit(decision="allow")
    code = httpx.URL(answer.headers["location"]).params["code"]
    known["code"], known["verifier"] = code, world.verifier
    redeem = {"grant_type": "authorization_code", "code": code, "redirect_uri": CALLBACK}
    wrong = known.new("wrong client secret")
    await world.token(**redeem, code_verifier=world.verifier, client_secret=wrong)
    own = {"client_secret": secret}
    tokens = (await world.token(**redeem, code_verifier=world.verifier, **own)).json()
    for name, token in (("access", tokens["access_token"]), ("refresh", tokens["refresh_token"])):
        known[f"first {name} token"] = token.rpartition(".")[2]
    refresh = {"grant_type": "refresh_token", **own}
    renewed = (await world.token(**refresh, refresh_token=tokens["refresh_token"])).json()
    access, again = renewed["access_token"], renewed["refresh_token"]
    known["access token"], known["refresh token"] = (
        token.rpartition(".")[2] for token in (access, again)
    )
    basic = httpx.BasicAuth("service", known.new("wrong secret of a service"))
    metadata, form = world.metadata, {"token": access}
    await world.web.post(metadata["introspection_endpoint"], data=form, auth=basic)
    await world.web.post(metadata["token_endpoint"], data={"grant_type": "unknown"})
    await world.web.post(metadata["registration_endpoint"], content=known.new("registration"))
    return access, again


async def misuse(at: Site, access: str, refresh: str) -> None:
    """Show tokens where they don't belong, and others than those that count."""
    claims, _, signature = access.rpartition(".")
    forged = at.known.new("forged signature")
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    for token in (f"{claims}.{forged}", f"{signature}.{signature}", refresh, at.known.new("word")):
        assert (await at.post("/mcp", message, token)).status_code == 401
    for query in (f"?access_token={access}", f"/{access}"):
        assert (await at.post(f"/mcp{query}", message)).status_code in {401, 404}
    basic = base64.b64encode(at.known.new("basic").encode()).decode()
    assert (await at.post("/mcp", message, authorization=f"Basic {basic}")).status_code == 401
    await at.post("/mcp", message, access, **{"mcp-session-id": at.known.new("session id")})


async def use(at: Site, token: str, round_: str) -> None:
    """Call what is there and what isn't, in both eras; have a backend crash."""
    argument = at.known.new(f"{round_} argument")
    for ask in (at.modern, at.legacy):
        call = {"arguments": {"message": argument, "api_key": argument}}
        told = await ask(token, "tools/call", name="talker__echo", **call)
        assert argument in told.text
        await ask(token, "tools/call", name="talker__nothing", **call)
        await ask(token, "tools/call", name="talker__echo", arguments=[argument])
        await ask(token, "resources/read", uri="file:///nothing")
        await ask(token, "no/method", secret=argument)
    crashes = len(at.world.gateway.lines("backend_down", backend="talker"))
    await at.modern(token, "tools/call", name="talker__die", **call)
    if round_ == "json":
        await at.world.gateway.logged("backend_down", backend="talker", times=crashes + 1)
        await at.world.gateway.logged("backend_ready", backend="talker", times=crashes + 2)
    for broken in (f'{{"jsonrpc": "2.0", "id": "{argument}', f'["{argument}"]', argument):
        await at.post("/mcp", broken, token)
    for name in (*MANNERS, "file", "variable", "nothing"):
        await at.modern(token, "tools/list", f"/mcp/{name}")
        await at.modern(token, "tools/call", f"/mcp/{name}", name="x")


async def look_after(at: Site, token: str) -> None:
    """See that nothing is told to an administrator either."""
    backends = [f"/control/backends/{name}" for name in (*MANNERS, "talker", "file")]
    logs = [f"{path}/logs" for path in backends]
    others = ("/metrics", "/health", "/health/ready", "/control", "/control/status")
    for path in (*others, *backends, *logs):
        answer = await at.world.web.get(
            at.world.origin + path, headers={"authorization": f"Bearer {token}"}
        )
        assert answer.status_code in {200, 503}, path
        assert at.known.found_in(answer.text) == set(), path
        if path == "/control/backends/talker/logs":
            assert "SERVICE is set to ***" in answer.text


async def look_from_a_shell(at: Site) -> None:
    """See that commands tell nothing either; `doctor` starts everything once more."""
    file = str(at.world.gateway.config)
    config = ["--config", file]
    for command in (
        ["doctor", *config, "talker", "errs", "guarded"],
        ["check", file],
        ["status", *config, "--json"],
        ["logs", *config, "talker"],
    ):
        done = await trio.run_process(
            [sys.executable, "-m", "onemcp", *command],
            env={**os.environ, **at.environ},
            capture_stdout=True,
            capture_stderr=True,
            check=False,
        )
        assert done.stdout, command
        for said in (done.stdout, done.stderr):
            assert at.known.found_in(said) == set(), (command, said.decode())


async def misconfigure(at: Site, document: dict[str, Any]) -> None:
    """Make every mistake in a secret that the configuration can have."""
    known, servers = at.known, document["mcpServers"]
    wrong: list[dict[str, Any]] = [
        {
            "mcpServers": {
                "talker": {**servers["talker"], "env": {"A": [known.new("env in a list")]}}
            }
        },
        {"mcpServers": {"x": {"url": f"htp://{known.new('wrong url')}@h/"}}},
        {"mcpServers": {"x": {"url": f"http://u:{known.new('wrong port')}@h:port/"}}},
        {
            "mcpServers": {
                "x": {"url": "http://h", "headers": {"A": known.new("wrong header") + "é"}}
            }
        },
        {
            "mcpServers": {
                "x": {"url": "http://h", "headers": {"A": [known.new("header in a list")]}}
            }
        },
        {"auth": {"users": {"ada": {"password": known.new("password without a hash")}}}},
        {"auth": {"users": {"ada": {"password": "$scrypt$" + known.new("broken hash")}}}},
        {"auth": {"clients": {"service": {"secret": "Qshort"}}}},
    ]
    for number, part in enumerate(wrong, 1):
        at.world.gateway.rewrite({**document, **part})
        await at.world.gateway.logged("configuration_rejected", times=number)
        if number % 4 == 0:  # a fifth mistake in a row would suspend reloading
            at.world.gateway.rewrite(document)
            await at.world.gateway.logged("configuration_repaired", times=number // 4)
    assert len(wrong) % 4 == 0


def processes(pids: set[int]) -> Iterator[tuple[str, bytes, bytes]]:
    """Yield the title, the command line and the environment of processes."""
    for pid in pids:
        folder = Path("/proc", str(pid))
        title = (folder / "comm").read_text().strip()
        yield title, (folder / "cmdline").read_bytes(), (folder / "environ").read_bytes()


def check_processes(at: Site) -> None:
    """See that what runs tells nothing to others, and knows nothing of others' secrets."""
    known, gateway = at.known, at.world.gateway
    seen = set()
    for title, arguments, environ in processes({gateway.pid, *gateway.family()}):
        assert known.found_in(title) == set()
        assert known.found_in(arguments) == set(), arguments
        seen.add(frozenset(known.found_in(environ)))
    handed_on = {"variable that is handed on"}
    given = {"env", "first line", "second line", "quoted", "variable"} | handed_on
    assert frozenset(given) in seen
    assert frozenset({"other env"} | handed_on) in seen
    assert seen <= {
        frozenset(each)
        for each in (
            (),  # the guardian
            given,
            {"other env"} | handed_on,
            {"variable", "bearer in a variable", "variable of the gateway's own"} | handed_on,
        )
    }


@pytest.mark.requirement(
    "basic/authorization/index#token-handling-7",
    "basic/authorization/security-considerations#access-token-privilege-restriction-4",
    "client/elicitation#understanding-the-distinction-2",
)
async def test_a_run_with_known_secrets_tells_none(tmp_path: Path) -> None:
    async with site(tmp_path) as at:
        gateway, known = at.world.gateway, at.known
        document = json.loads(gateway.config.read_text())
        await gateway.ready("talker", "other")
        for name in (*MANNERS, "file", "variable"):
            await gateway.logged("backend_down", backend=name)
        token = await issue(at)
        admin = await issue(at, "--scope", "admin")
        access, refresh = await log_in(at)
        await misuse(at, access, refresh)
        await use(at, token, "json")
        await look_after(at, admin)
        await look_from_a_shell(at)
        check_processes(at)
        await misconfigure(at, document)
        human = {**document, "log": {"level": "debug", "format": "human"}}
        gateway.rewrite(human)
        await gateway.until(lambda: any("text" in line for line in gateway.log))
        await use(at, access, "human")
        # A refresh token that comes twice ends the login.
        for _ in range(2):
            await at.world.token(
                grant_type="refresh_token",
                refresh_token=refresh,
                client_secret=known["secret of a registered client"],
            )
    assert len(at.refusals) > 50
    for path, refusal in at.refusals:
        told = known.found_in(refusal)
        # What somebody has typed as a name is shown to the same person again.
        assert told <= ({TYPED} if path == "/oauth/login" else set()), refusal
    for line in gateway.log:
        text = line.get("text") or json.dumps(line, ensure_ascii=False)
        assert known.found_in(text) == set(), text
    assert gateway.lines("backend_stderr", backend="talker")
    for request in at.requests:
        told = known.found_in(request)
        assert not any("token" in name for name in told), "no token is passed on"
    for file in (tmp_path / "state").rglob("*"):
        if file.is_file():
            assert known.found_in(file.read_bytes()) == set(), file
