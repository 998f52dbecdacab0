"""Where telemetry is sent to: by the file, and by the environment where the file doesn't say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from onemcp.config import ConfigurationError, InvalidOption, Otlp, Telemetry, Tls, parse
from onemcp.config import _telemetry as telemetry

PREFIX = "OTEL_EXPORTER_OTLP_"
SERVERS = '{"mcpServers": {"a": {"command": "a"}}}'
SECRET = "hunter2-SEKRIT"


def read(otlp: str = "{}", **environ: str) -> Otlp | None:
    text = SERVERS.replace("}}", f'}}}}, "telemetry": {{"otlp": {otlp}}}', 1)
    return parse(text, source="x.json", environ=environ).telemetry.otlp


def refused(otlp: str = "{}", **environ: str) -> Any:
    with pytest.raises(ConfigurationError) as caught:
        read(otlp, **environ)
    [problem] = caught.value.problems
    assert SECRET not in str(problem)
    return problem


def test_nothing_is_sent_unless_the_file_says_so():
    environ = {f"{PREFIX}ENDPOINT": "http://elsewhere:4318"}
    assert parse(SERVERS, source="x.json", environ=environ).telemetry.otlp is None
    assert read() == Otlp()
    assert Otlp().url_of("metrics") == "http://127.0.0.1:4318/v1/metrics"


def test_what_the_file_leaves_out_is_taken_from_the_variables_of_opentelemetry():
    environ = {
        f"{PREFIX}ENDPOINT": "https://c.example.com/otlp/",
        f"{PREFIX}METRICS_ENDPOINT": "https://m.example.com/push",
        f"{PREFIX}HEADERS": f"api-key={SECRET},x-scope=a%2Cb",
        f"{PREFIX}TIMEOUT": "2500",
        f"{PREFIX}COMPRESSION": "gzip",
        f"{PREFIX}CERTIFICATE": "/etc/ca.pem",
        f"{PREFIX}PROTOCOL": "http/protobuf",
        "OTEL_SERVICE_NAME": "gate",
        "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=prod,team=a%20b",
        "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
        "OTEL_TRACES_SAMPLER_ARG": "0.25",
        "OTEL_METRIC_EXPORT_INTERVAL": "15000",
        "OTEL_BSP_MAX_QUEUE_SIZE": "99",
    }
    found = read(**environ)
    assert found == Otlp(
        endpoint="https://c.example.com/otlp/",
        metrics_endpoint="https://m.example.com/push",
        headers={"api-key": SECRET, "x-scope": "a,b"},
        timeout=2.5,
        compression="gzip",
        tls=Tls(ca_file=Path("/etc/ca.pem")),
        service="gate",
        resource={"deployment.environment.name": "prod", "team": "a b"},
        sampling=0.25,
        interval=15.0,
        queue=99,
    )
    assert found.url_of("traces") == "https://c.example.com/otlp/v1/traces"
    assert found.url_of("metrics") == "https://m.example.com/push"
    assert SECRET not in repr(found)
    file = '{"endpoint": "http://f:1", "headers": {"a": "${K}"}, "sampling": 1, "timeout": 3}'
    found = read(file, **environ, K=SECRET)
    assert found is not None
    assert (found.endpoint, found.headers) == ("http://f:1", {"a": SECRET})
    assert (found.sampling, found.timeout, found.service) == (1.0, 3.0, "gate")


@pytest.mark.parametrize(
    ("sampler", "ratio"),
    [("parentbased_always_on", 1.0), ("parentbased_always_off", 0.0), ("traceidratio", 1.0)],
)
def test_samplers_go_by_their_names(sampler: str, ratio: float):
    found = read(OTEL_TRACES_SAMPLER=sampler)
    assert found is not None
    assert found.sampling == ratio


def test_the_environment_can_switch_it_off_and_what_is_empty_is_unset():
    assert read(OTEL_SDK_DISABLED="true") is None
    assert read(**{f"{PREFIX}ENDPOINT": " ", "OTEL_SERVICE_NAME": ""}) == Otlp()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (f"{PREFIX}ENDPOINT", SECRET),
        (f"{PREFIX}TRACES_ENDPOINT", f"grpc://{SECRET}"),
        (f"{PREFIX}HEADERS", SECRET),
        (f"{PREFIX}HEADERS", f"a b={SECRET}"),
        (f"{PREFIX}HEADERS", f"a={SECRET}%0a"),
        (f"{PREFIX}TIMEOUT", "10s"),
        (f"{PREFIX}TIMEOUT", "0"),
        (f"{PREFIX}COMPRESSION", "zstd"),
        (f"{PREFIX}PROTOCOL", "grpc"),
        ("OTEL_TRACES_SAMPLER", "jaeger_remote"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "many"),
        ("OTEL_RESOURCE_ATTRIBUTES", "=x"),
    ],
)
def test_a_variable_that_cannot_be_used_is_named(name: str, value: str):
    problem = refused(**{name: value})
    assert (problem.path, name in problem.message) == ("telemetry.otlp", True)
    assert problem.remedy


def test_a_ratio_that_is_none_is_named():
    for wrong in ("2", "-1", "nan", "x"):
        problem = refused(OTEL_TRACES_SAMPLER="traceidratio", OTEL_TRACES_SAMPLER_ARG=wrong)
        assert "OTEL_TRACES_SAMPLER_ARG" in problem.message


@pytest.mark.parametrize(
    ("otlp", "path"),
    [
        ('{"endpoint": "collector:4317"}', "telemetry.otlp.endpoint"),
        ('{"endpoint": "http://"}', "telemetry.otlp.endpoint"),
        ('{"signals": []}', "telemetry.otlp.signals"),
        ('{"signals": ["logs"]}', "telemetry.otlp.signals[0]"),
        ('{"sampling": 1.5}', "telemetry.otlp.sampling"),
        ('{"headers": {"a b": "x"}}', "telemetry.otlp.headers"),
        ('{"header": {}}', "telemetry.otlp.header"),
        ('{"interval": 0}', "telemetry.otlp.interval"),
    ],
)
def test_a_mistake_in_the_file_is_named(otlp: str, path: str):
    assert refused(otlp).path.startswith(path)


def test_what_is_not_installed_is_named_with_the_extra(monkeypatch):
    monkeypatch.setattr(telemetry, "find_spec", lambda _: None)
    problem = refused()
    assert problem.path == "telemetry.otlp"
    assert "pip install 'onemcp[otel]'" in problem.remedy
    with pytest.raises(InvalidOption):
        Telemetry(otlp=Otlp())
    assert Telemetry().otlp is None


def test_nothing_of_it_is_imported_unless_it_is_asked_for():
    program = (
        "import sys, onemcp.cli.run, onemcp.embedding; "
        "print([name for name in sys.modules if name.startswith(('google.', 'opentelemetry'))])"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert found.stdout == b"[]\n"
