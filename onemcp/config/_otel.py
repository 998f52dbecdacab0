"""What the environment says of OTLP, where the configuration file doesn't.

Implements the general and the OTLP variables of OpenTelemetry's specification ("Environment
Variable Specification", "OpenTelemetry Protocol Exporter") that mean anything here. What is empty
is unset, as there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias
from urllib.parse import unquote

from onemcp.config._rules import HEADER_NAME, HEADER_VALUE

Values: TypeAlias = Mapping[str, Any]

PREFIX: Final = "OTEL_EXPORTER_OTLP_"
PROTOCOL: Final = "http/protobuf"
PARENT_BASED: Final = "parentbased_"
MILLISECONDS: Final = 1000


class VariableFault(ValueError):
    """A variable of the environment can't be used.

    Attributes:
        remedy: What to do about it.
    """

    def __init__(self, name: str, what: str, remedy: str) -> None:
        """Say what is wrong; never with its value."""
        super().__init__(f"the environment variable {name} {what}")
        self.remedy = remedy


def with_environment(otlp: Values, environ: Mapping[str, str]) -> Values | None:
    """Return what is said of OTLP altogether; None where the environment says that it is off.

    Args:
        otlp: What the file says, which goes first.
        environ: The environment.

    Raises:
        VariableFault: What is wrong with a variable.
    """
    given = {name: value.strip() for name, value in environ.items() if value.strip()}
    if given.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return None
    protocol = given.get(f"{PREFIX}PROTOCOL", PROTOCOL)
    if protocol != PROTOCOL:
        name = f"{PREFIX}PROTOCOL"
        raise VariableFault(name, "names what onemcp doesn't speak", f"Set it to {PROTOCOL}")
    found = {
        option: read(name, given[name])
        for option, (name, read) in _OPTIONS.items()
        if name in given and option not in otlp
    }
    if "sampling" not in otlp and "OTEL_TRACES_SAMPLER" in given:
        found["sampling"] = _sampling(given)
    return {**found, **otlp}


def _url(name: str, value: str) -> str:
    if not value.lower().startswith(("http://", "https://")):
        raise VariableFault(name, "is no http:// or https:// URL", "Write one, or unset it")
    return value


def _pairs(name: str, value: str) -> Mapping[str, str]:
    """Read a list as W3C Baggage has it, without properties."""
    pairs = [each.partition("=") for each in value.split(",") if each.strip()]
    if not all(key.strip() and equals for key, equals, _ in pairs):
        raise VariableFault(name, "is no list of key=value", "Write key=value,key=value")
    return {unquote(key.strip()): unquote(text.strip()) for key, _, text in pairs}


def _headers(name: str, value: str) -> Mapping[str, str]:
    found = _pairs(name, value)
    if not all(HEADER_NAME.fullmatch(key) for key in found):
        raise VariableFault(name, "has a key that is no name of an HTTP header", "Correct it")
    if not all(HEADER_VALUE.fullmatch(text) for text in found.values()):
        raise VariableFault(name, "has a value that is not printable ASCII", "Correct it")
    return found


def _seconds(name: str, value: str) -> float:
    if not value.isascii() or not value.isdecimal() or int(value) < 1:
        raise VariableFault(name, "is no number of milliseconds", "Write one such as 10000")
    return int(value) / MILLISECONDS


def _count(name: str, value: str) -> int:
    if not value.isascii() or not value.isdecimal() or int(value) < 1:
        raise VariableFault(name, "is no whole number above zero", "Write one such as 2048")
    return int(value)


def _compression(name: str, value: str) -> str:
    if value not in {"none", "gzip"}:
        raise VariableFault(name, "names no compression known here", "Set it to gzip or none")
    return value


def _text(_name: str, value: str) -> str:
    return value


def _certificate(_name: str, value: str) -> Values:
    return {"caFile": value}


def _sampling(given: Mapping[str, str]) -> float:
    name = "OTEL_TRACES_SAMPLER"
    match given[name].removeprefix(PARENT_BASED):
        case "always_on":
            return 1.0
        case "always_off":
            return 0.0
        case "traceidratio":
            return _ratio("OTEL_TRACES_SAMPLER_ARG", given.get("OTEL_TRACES_SAMPLER_ARG", "1"))
    remedy = f"Set it to {PARENT_BASED}traceidratio, and the ratio in OTEL_TRACES_SAMPLER_ARG"
    raise VariableFault(name, "names no sampler known here", remedy)


def _ratio(name: str, value: str) -> float:
    try:
        ratio = float(value)
    except ValueError:
        ratio = -1.0
    if not 0 <= ratio <= 1:
        raise VariableFault(name, "is no number from 0 to 1", "Write one such as 0.1")
    return ratio


_OPTIONS: Final[Mapping[str, tuple[str, Callable[[str, str], Any]]]] = {
    "endpoint": (f"{PREFIX}ENDPOINT", _url),
    "tracesEndpoint": (f"{PREFIX}TRACES_ENDPOINT", _url),
    "metricsEndpoint": (f"{PREFIX}METRICS_ENDPOINT", _url),
    "headers": (f"{PREFIX}HEADERS", _headers),
    "tls": (f"{PREFIX}CERTIFICATE", _certificate),
    "compression": (f"{PREFIX}COMPRESSION", _compression),
    "timeout": (f"{PREFIX}TIMEOUT", _seconds),
    "interval": ("OTEL_METRIC_EXPORT_INTERVAL", _seconds),
    "queue": ("OTEL_BSP_MAX_QUEUE_SIZE", _count),
    "service": ("OTEL_SERVICE_NAME", _text),
    "resource": ("OTEL_RESOURCE_ATTRIBUTES", _pairs),
}
"""Which variable stands for which option, and how it is read."""
