"""Metrics, scraped over real sockets with the parser of Prometheus."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import trio
from prometheus_client.parser import text_string_to_metric_families

from onemcp import config
from onemcp.auth import Gate, TokenVerifier, load_or_create_keys, new_token
from onemcp.backend import BackendDown
from onemcp.frontend import RequestDenied
from onemcp.monitor import Meter, Monitor
from onemcp.monitor.meter import LAG_INTERVAL
from onemcp.protocol.errors import BackendUnavailable
from onemcp.supervision import Event, What
from onemcp.telemetry import Family, expose
from tests.frontend.site import (
    CALL,
    Site,
    modern_headers,
    open_site,
    request,
    until,
    wait_for,
    with_meta,
)
from tests.monitor.test_health import Observed
from tests.multiplexer.fakes import Server, failure, nothing, tool


class Metrics:
    """What was scraped."""

    def __init__(self, text: str) -> None:
        self.samples = [
            sample for family in text_string_to_metric_families(text) for sample in family.samples
        ]

    @classmethod
    def of(cls, families: Iterator[Family]) -> Metrics:
        return cls(expose(families).decode())

    def __call__(self, name: str, **labels: str) -> float:
        [value] = [
            each.value for each in self.samples if each.name == name and each.labels == labels
        ]
        return value

    def series(self, name: str) -> list[dict[str, str]]:
        return [each.labels for each in self.samples if each.name == name]


def observe(site: Site, **telemetry: Any) -> Monitor:
    settings = [each.config for each in site.world.multiplexer.backends.values()]
    configuration = config.Configuration(backends=settings, telemetry=config.Telemetry(**telemetry))
    monitor = Monitor(Observed(site, configuration), "1.2.3")
    site.world.multiplexer.meter = monitor.meter
    site.application.routes = monitor.routes
    return monitor


async def scrape(site: Site) -> Metrics:
    answer = await site.ask("GET", "/metrics")
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert answer.headers["cache-control"] == "no-store"
    return Metrics(answer.body.decode())


async def test_calls_are_counted_by_backend_method_and_what_becomes_of_them():
    server = Server("alpha", tools=[tool("t")])
    async with open_site(server) as site:
        observe(site, metrics="anybody")
        await site.post_modern(CALL)
        server.handlers["tools/call"] = failure(-32000)
        await site.post_modern(CALL)
        server.handlers["tools/call"] = nothing
        client = await site.begin_modern(CALL)
        await wait_for(server, 3)
        under_way = await scrape(site)
        assert under_way("onemcp_requests_in_flight") == 1
        assert under_way("onemcp_backend_requests_in_flight", backend="alpha") == 1
        client.abort()
        await until(lambda: not site.world.multiplexer.in_flight)
        await site.post_modern(request("tools/call", {"name": "absent"}))
        await site.post_modern(request("x/unheard-of"))

        metrics = await scrape(site)
        assert metrics("onemcp_requests_total", method="tools/call") == 4
        assert metrics("onemcp_requests_total", method="other") == 1
        assert metrics("onemcp_requests_refused_total", kind="invalid_params") == 1
        assert metrics("onemcp_requests_refused_total", kind="method_not_found") == 1
        about = {"backend": "alpha", "method": "tools/call"}
        assert metrics("onemcp_backend_request_duration_seconds_count", **about) == 3
        failed = "onemcp_backend_request_errors_total"
        assert metrics(failed, backend="alpha", kind="remote") == 1
        assert metrics(failed, backend="alpha", kind="cancelled") == 1


async def test_the_state_of_everything_is_told():
    async with open_site(alpha := Server("alpha")) as site:
        observe(site, metrics="anybody")
        await site.open()
        metrics = await scrape(site)
        assert metrics("onemcp_info", version="1.2.3") == 1
        assert metrics("onemcp_ready") == 1
        assert metrics("onemcp_configuration_valid") == 1
        assert metrics("onemcp_sessions") == 1
        assert metrics("onemcp_streams") == 3
        assert metrics("onemcp_backend_up", backend="alpha") == 1
        assert metrics("onemcp_backend_state", backend="alpha", state="up") == 1
        assert metrics("onemcp_backend_instances", backend="alpha") == 1
        assert metrics("process_resident_memory_bytes") > 0
        alpha.crash()
        await until(lambda: not site.world.multiplexer.backends["alpha"].is_up)
        metrics = await scrape(site)
        assert metrics("onemcp_backend_up", backend="alpha") == 0
        assert metrics("onemcp_backend_state", backend="alpha", state="up") == 0


async def test_metrics_are_for_administrators_unless_anybody_may_read_them(tmp_path):
    keys = load_or_create_keys(tmp_path)
    gate = Gate(mode="local", verifier=TokenVerifier(keys))
    async with open_site(gate=gate) as site:
        observe(site)
        statuses = []
        for scope in ("mcp", "admin"):
            token = new_token(keys, "ada", 60.0, scope)
            headers = {"authorization": f"Bearer {token}"}
            statuses.append((await site.ask("GET", "/metrics", headers)).status)
        assert [(await site.ask("GET", "/metrics")).status, *statuses] == [401, 403, 200]
        observe(site, metrics="anybody")
        assert (await site.ask("GET", "/metrics")).status == 200
        assert (await site.ask("GET", "/metrics", {"host": "evil.example"})).status == 403
        assert (await site.ask("POST", "/metrics")).status == 405


async def test_the_number_of_series_is_bounded():
    meter = Meter()
    for number in range(1000):
        meter.requested(f"x/{number}")
        meter.carried("alpha", f"x/{number}", 0.1, BackendUnavailable)
        meter.refused(type(f"Error{number}", (Exception,), {}))
    metrics = Metrics.of(meter.families())
    assert metrics("onemcp_requests_total", method="other") == 1000
    duration = "onemcp_backend_request_duration_seconds_count"
    assert metrics.series(duration) == [{"backend": "alpha", "method": "other"}]
    assert metrics.series("onemcp_requests_refused_total") == [{"kind": "internal"}]
    meter.forget(["alpha"])
    metrics = Metrics.of(meter.families())
    assert not metrics.series(duration)
    assert not metrics.series("onemcp_backend_request_errors_total")


def test_events_are_counted():
    meter = Meter()
    meter.happened(BackendDown("alpha", "why"))
    meter.happened(RequestDenied("/mcp", 401, "no token"))
    meter.happened(Event(supervisor="s", child="c", what=What.CRASHED, at=0.0))
    metrics = Metrics.of(meter.families())
    assert metrics("onemcp_events_total", event="backend_down") == 1
    assert metrics("onemcp_requests_denied_total", status="401") == 1
    assert metrics("onemcp_supervision_events_total", what="crashed") == 1


async def test_the_lag_of_the_event_loop_is_measured(mock_clock):
    meter = Meter()
    async with trio.open_nursery() as nursery:
        await nursery.start(meter.watch_lag)
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(LAG_INTERVAL + 0.2)  # something has kept the loop busy
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    metrics = Metrics.of(meter.families())
    assert metrics("onemcp_event_loop_lag_seconds_sum") == pytest.approx(0.2)
    assert metrics("onemcp_event_loop_lag_seconds_bucket", le="0.1") == 0
    assert metrics("onemcp_event_loop_lag_seconds_count") == 1


async def test_no_client_can_make_up_series():
    async with open_site(Server("alpha", tools=[tool("t")])) as site:
        observe(site, metrics="anybody")

        async def misbehave(number: int) -> None:
            word = f"made-up-{number}"
            await site.post_modern(request("tools/call", {"name": word}))
            await site.post_modern(request("tools/call", {"name": "alpha__t", word: word}))
            await site.post_modern(request("resources/read", {"uri": f"{word}://x"}))
            await site.post_modern(request(word))
            await site.ask("POST", f"/mcp/{word}", modern_headers(CALL), with_meta(CALL))
            await site.ask("GET", "/mcp", {"origin": f"http://{word}", "mcp-session-id": word})

        await misbehave(0)
        before = {(each.name, *each.labels.items()) for each in (await scrape(site)).samples}
        for number in range(1, 9):
            await misbehave(number)
        after = {(each.name, *each.labels.items()) for each in (await scrape(site)).samples}
        assert after == before
        assert "made-up" not in repr(after)
