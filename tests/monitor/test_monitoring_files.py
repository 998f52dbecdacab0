"""What ``configs/monitoring`` holds, as Prometheus' own tool and the metrics themselves have it."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from onemcp.config import Otlp
from onemcp.monitor import Health, Meter
from onemcp.monitor.metrics import Resources, families
from onemcp.otlp import Exporter
from onemcp.telemetry import Family, Usage, expose, own_usage
from tests.frontend.site import open_site
from tests.monitor.test_health import observe
from tests.support.promtool import promtool

FILES = Path(__file__).parents[2] / "configs" / "monitoring"
NAME = re.compile(r"\b(?:onemcp|process)_[a-z_]+\b")
SUFFIX = re.compile(r"_(?:bucket|count|sum)$")


@pytest.fixture(scope="module")
def tool() -> str:
    return promtool()


def run(tool: str, *arguments: str, text: bytes = b"") -> str:
    done = subprocess.run(
        [tool, *arguments], input=text, capture_output=True, cwd=FILES, timeout=60, check=False
    )
    assert done.returncode == 0, (done.stdout + done.stderr).decode()
    return done.stdout.decode()


async def nothing() -> list[Family]:
    return []


@pytest.fixture
async def text() -> bytes:
    """Everything that can be scraped, with a value for each family."""
    async with open_site() as site:
        health = Health.of(observe(site))
        seen = families(health, Resources(own_usage(), {"alpha": Usage(1.0, 2, 3)}), "1")
        meter = Meter()
        meter.carried("alpha", "tools/call", 0.2, RuntimeError)
        meter.refused(RuntimeError)
        exporter = Exporter(nothing, "1", print)
        exporter.reconfigure(Otlp())
        return expose([*seen, *meter.families(), *exporter.families()])


def expressions(dashboard: Any) -> list[str]:
    return [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]


def test_the_alerts_fire_when_they_should(tool):
    assert "SUCCESS" in run(tool, "check", "rules", "alerts.yml")
    assert "SUCCESS" in run(tool, "test", "rules", "alerts_test.yml")
    run(tool, "check", "config", "--syntax-only", "prometheus.yml")


async def test_metrics_are_as_prometheus_would_have_them(tool, text):
    run(tool, "check", "metrics", text=text)


def test_every_expression_of_the_dashboard_can_be_evaluated(tool, tmp_path):
    dashboard = json.loads((FILES / "grafana.json").read_text(encoding="utf-8"))
    rules = [
        {"record": f"panel:{number}", "expr": expression.replace("$__rate_interval", "5m")}
        for number, expression in enumerate(expressions(dashboard))
    ]
    path = tmp_path / "rules.yml"
    path.write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}))
    assert f"{len(rules)} rules found" in run(tool, "check", "rules", str(path))


async def test_dashboard_and_alerts_name_only_metrics_that_there_are(text):
    exposed = set(re.findall(r"^# TYPE (\S+)", text.decode(), re.MULTILINE))
    for name in ("grafana.json", "alerts.yml"):
        used = set(NAME.findall((FILES / name).read_text(encoding="utf-8")))
        assert used
        assert {SUFFIX.sub("", each) for each in used} <= exposed
