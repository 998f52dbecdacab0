"""What health answers, over real sockets and before scripted backends."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import attrs
import pytest

from onemcp import config
from onemcp.admission import Level
from onemcp.auth import Gate, KeyStore, TokenVerifier, load_or_create_keys, new_token
from onemcp.config import ConfigurationRejected, Problem
from onemcp.monitor import Monitor
from onemcp.supervision import ChildSpec, Supervisor, TreeSnapshot
from tests.frontend.site import Site, open_site, until
from tests.multiplexer.fakes import Server


@attrs.define
class Reloading:
    """What is known of the file."""

    problem: ConfigurationRejected | None = None
    suspended: bool = False


@attrs.define
class Observed:
    """A gateway that is as a test says."""

    site: Site
    configuration: config.Configuration
    reloader: Any = attrs.field(factory=Reloading)
    is_stopping: bool = False
    is_listening: bool = True
    streams: int = 3
    processes: Any = attrs.field(factory=dict)
    shed: Any = attrs.field(factory=lambda: {"calls": 2})

    @property
    def multiplexer(self) -> Any:
        return self.site.world.multiplexer

    @property
    def sessions(self) -> Any:
        return self.site.sessions

    def backends_snapshot(self) -> TreeSnapshot:
        names = [each.name for each in self.configuration.backends]
        inner = {
            name: Supervisor(name, [ChildSpec(id="connection", start=_never)]) for name in names
        }
        return Supervisor("backends", map(ChildSpec.for_supervisor, inner.values())).snapshot()


async def _never(*, task_status: Any) -> None:
    raise NotImplementedError


def observe(site: Site, **required: bool) -> Observed:
    backends = [
        attrs.evolve(backend.config, required=required.get(name, False))
        for name, backend in site.world.multiplexer.backends.items()
    ]
    observed = Observed(site, config.Configuration(backends=backends))
    site.application.routes = Monitor(observed, "1.2.3").routes
    return observed


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> KeyStore:
    return load_or_create_keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture
def gate(keys: KeyStore) -> Gate:
    return Gate(mode="local", verifier=TokenVerifier(keys))


@pytest.fixture(scope="module")
def admin(keys: KeyStore) -> dict[str, str]:
    return {"authorization": f"Bearer {new_token(keys, 'ada', 60.0, 'mcp admin')}"}


async def health(
    site: Site, path: str = "/health", headers: Mapping[str, str] | None = None
) -> tuple[int, Any]:
    answer = await site.ask("GET", path, headers)
    assert answer.headers["cache-control"] == "no-store"
    return answer.status, answer.json


async def test_a_gateway_is_ready_while_every_required_backend_is_up(gate, admin):
    async with open_site(alpha := Server("alpha"), Server("beta"), gate=gate) as site:
        observe(site, alpha=True)
        assert await health(site, "/health/ready") == (200, {"status": "ready"})
        alpha.crash()
        await until(lambda: not site.world.multiplexer.backends["alpha"].is_up)
        reasons = ["required_backends_not_up"]
        told = {"status": "not ready", "reasons": reasons}
        assert await health(site, "/health/ready") == (503, told)
        assert await health(site, "/health/live") == (200, {"status": "alive"})
        status, detail = await health(site, headers=admin)
        assert (status, detail["status"], detail["reasons"]) == (503, "unavailable", reasons)
        assert detail["backends"]["alpha"]["failure"] == "it crashed"


async def test_a_backend_that_is_not_required_leaves_a_gateway_ready_but_degraded(gate, admin):
    async with open_site(alpha := Server("alpha"), gate=gate) as site:
        observe(site)
        assert (await health(site, headers=admin))[1]["status"] == "ok"
        alpha.crash()
        await until(lambda: not site.world.multiplexer.backends["alpha"].is_up)
        assert (await health(site, "/health/ready"))[0] == 200
        status, detail = await health(site, headers=admin)
        assert (status, detail["status"]) == (200, "degraded")
        assert detail["backends"]["alpha"]["state"] == "down"


async def test_a_gateway_that_turns_newcomers_away_is_ready_but_degraded(gate, admin):
    async with open_site(gate=gate) as site:
        observe(site)
        site.world.multiplexer.admission.shed(Level.NO_NEWCOMERS, "onemcp is short of memory")
        assert (await health(site, "/health/ready"))[0] == 200
        status, detail = await health(site, headers=admin)
        assert (status, detail["status"]) == (200, "degraded")
        told = {"level": 1, "reason": "onemcp is short of memory"}
        assert detail["connections"]["shedding"] == told
        metrics = (await site.ask("GET", "/metrics", admin)).body.decode()
        assert "\nonemcp_shedding_level 1\n" in metrics


@pytest.mark.parametrize(
    ("change", "reason"),
    [({"is_stopping": True}, "stopping"), ({"is_listening": False}, "not_listening")],
)
async def test_a_gateway_that_stops_or_does_not_listen_is_not_ready(
    change: dict[str, bool], reason: str
):
    async with open_site() as site:
        observed = observe(site)
        for name, value in change.items():
            setattr(observed, name, value)
        status, told = await health(site, "/health/ready")
        assert (status, told["reasons"]) == (503, [reason])


async def test_what_is_wrong_with_the_file_shows_but_takes_no_clients_away(gate, admin):
    async with open_site(gate=gate) as site:
        observed = observe(site)
        problem = Problem(file="f", path="server.port", message="is none", remedy="Write one")
        observed.reloader = Reloading(ConfigurationRejected((problem,)), suspended=True)
        assert (await health(site, "/health/ready"))[0] == 200
        status, detail = await health(site, headers=admin)
        assert (status, detail["status"]) == (200, "degraded")
        about = detail["configuration"]
        assert (about["state"], about["reloadSuspended"]) == ("rejected", True)
        assert "server.port" in about["problems"][0]


async def test_details_tell_of_connections_backends_and_the_system(gate, admin):
    async with open_site(Server("alpha"), gate=gate) as site:
        observe(site)
        await site.open(headers=admin)
        _, detail = await health(site, headers=admin)
        assert detail["connections"] == {
            "sessions": 1,
            "streams": 3,
            "inFlight": 0,
            "queued": 0,
            "waitedSeconds": 0.0,
            "shed": {"calls": 2},
            "parked": 0,
            "shedding": {"level": 0, "reason": ""},
        }
        assert detail["system"]["version"] == "1.2.3"
        alpha = detail["backends"]["alpha"]
        assert (alpha["state"], alpha["revision"], alpha["instances"]) == ("up", "2026-07-28", 1)


async def test_details_are_for_the_scope_admin_alone(keys, gate):
    async with open_site(gate=gate) as site:
        observe(site, alpha=True)
        assert await health(site) == (200, {"status": "ok"})
        for scope, sees in ("mcp", False), ("mcp admin", True):
            token = new_token(keys, "ada", 60.0, scope)
            status, told = await health(site, headers={"authorization": f"Bearer {token}"})
            assert status == 200
            assert ("backends" in told) is sees
        answer = await site.ask("GET", "/health", {"authorization": "Bearer nonsense"})
        assert answer.status == 401
        for path in ("/health/live", "/health/ready"):
            assert (await health(site, path))[0] == 200


async def test_only_live_and_ready_answer_whoever_asks_for_another_host():
    async with open_site() as site:
        observe(site)
        elsewhere = {"host": "evil.example", "origin": "https://evil.example"}
        for path in ("/health/live", "/health/ready"):
            assert (await site.ask("GET", path, elsewhere)).status == 200
        assert (await site.ask("GET", "/health", elsewhere)).status == 403


async def test_a_head_gets_the_same_head_and_no_body():
    async with open_site() as site:
        observe(site)
        client = await site.connect()
        for path in ("/health/live", "/health/ready", "/health"):
            got = await client.ask("GET", path)
            head = await client.ask("HEAD", path)
            assert (head.status, head.body) == (got.status, b"")
            assert json.loads(got.body)["status"]
            assert head.headers["content-length"] == got.headers["content-length"]
        refused = await client.ask("POST", "/health/live")
        assert (refused.status, refused.headers["allow"]) == (405, "GET, HEAD")
