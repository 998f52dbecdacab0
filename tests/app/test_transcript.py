"""Bodies of messages: in the log where the configuration says so, and nowhere else."""

from __future__ import annotations

import io
import json
from typing import Any

import httpx
import pytest

from onemcp.app import BodiesLogged, MessageSeen
from onemcp.cli.events import new_log
from onemcp.config import InvalidOption, Log
from onemcp.telemetry import configure_logging
from tests.app.test_reload import IN_FORCE, SERVER, World, serving
from tests.frontend.site import modern_headers, request, with_meta

NONE = {"mode": "none"}
DEBUG = {"level": "debug", "bodies": True, "redact": ["iban", "x/iban"]}
SECRET = "hunter2-SEKRIT"
TRACE = "0af7651916cd43dd8448eb211c80319c"


async def echo(world: World, message: str) -> dict[str, Any]:
    params = {"name": "demo__echo", "arguments": {"message": message}}
    call = request("tools/call", params, "r-1")
    context = f"00-{TRACE}-00f067aa0ba902b7-01"
    body = with_meta(call, traceparent=context, **{"x/apiKey": SECRET, "x/iban": SECRET})
    async with httpx.AsyncClient() as client:
        answer = await client.post(world.gateway.url, json=body, headers=modern_headers(call))
    found: dict[str, Any] = answer.json()
    return found


def lines(events: list[Any]) -> list[dict[str, Any]]:
    stream = io.StringIO()
    log = new_log(configure_logging(Log(level="debug", format="json"), stream, {}))
    for event in events:
        log(event)
    return [json.loads(line) for line in stream.getvalue().splitlines()]


async def test_bodies_are_logged_without_secrets_while_that_is_asked_for(tmp_path):
    async with serving(tmp_path, auth=NONE, log=DEBUG) as world:
        assert world.of(BodiesLogged)
        await echo(world, f"hello, password={SECRET} iban: {SECRET}")
        [warning] = [each for each in lines(world.events) if each["event"] == "bodies_logged"]
        assert warning["level"] == "warning"
        asked, *_, told = [each for each in lines(world.events) if each["event"] == "message_seen"]
        ids = {"request": "r-1", "method": "tools/call", "principal": "anonymous", "trace": TRACE}
        for line in (asked, told):
            assert line.items() >= {**ids, "level": "debug"}.items()
        assert (asked["way"], told["way"]) == ("from_client", "to_client")
        assert asked["body"]["name"] == "demo__echo"
        assert asked["body"]["arguments"]["message"].startswith("hello, ")
        assert told["body"]["content"][0]["text"].startswith("hello, ")
        assert SECRET not in json.dumps([asked, told])

        journal = list(world.gateway.control.journal.last("demo", 1000))
        assert "hello" not in json.dumps(journal)
        seen = len(world.of(MessageSeen))
        world.write(server=SERVER, auth=NONE, log={"level": "debug"})
        assert await world.reload() in IN_FORCE
        await echo(world, "hello")
        assert len(world.of(MessageSeen)) == seen


async def test_without_it_no_body_is_told_of_to_anybody(tmp_path):
    async with serving(tmp_path, auth=NONE, log={"level": "debug"}) as world:
        await echo(world, SECRET)
        assert not world.of(MessageSeen)
        assert SECRET not in json.dumps(lines(world.events))


def test_it_takes_the_level_that_it_logs_at():
    with pytest.raises(InvalidOption, match='"level" is "info"'):
        Log(bodies=True)
    with pytest.raises(InvalidOption):
        Log(level="debug", redact=("",))
