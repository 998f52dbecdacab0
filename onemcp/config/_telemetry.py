"""What is told of the running gateway, as the configuration says it."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any, Literal, TypeAlias, get_args

import attrs

from onemcp.config import _rules as rules
from onemcp.config._rules import InvalidOption
from onemcp.config._transport import Tls

Readers: TypeAlias = Literal["admin", "anybody"]
Signal: TypeAlias = Literal["traces", "metrics"]
Compression: TypeAlias = Literal["none", "gzip"]


def _signals(_instance: object, attribute: Any, values: tuple[str, ...]) -> None:
    if not values or not set(values) <= set(get_args(Signal)):
        raise InvalidOption(attribute.name, f"must be some of {', '.join(get_args(Signal))}")


@attrs.frozen(kw_only=True)
class Otlp:
    """Where metrics and traces are sent to, over OTLP/HTTP.

    Attributes:
        endpoint: The address of the collector, to which `/v1/traces` and `/v1/metrics` are added.
            `repr` shows the origin only, as of the next two.
        traces_endpoint: Where traces go instead, as it is.
        metrics_endpoint: Where metrics go instead, as it is.
        headers: Sent with every request. Values hidden from `repr`.
        tls: How the collector's certificate is verified.
        compression: How requests are compressed.
        timeout: How long one request may take, in seconds.
        signals: What is sent.
        sampling: Which part of the traces that begin here is taken, from 0 to 1.
        interval: How often metrics are sent, in seconds.
        queue: How many spans may wait to be sent.
        service: What the gateway is called there.
        resource: What else is said of it there.
    """

    endpoint: str = attrs.field(
        default="http://127.0.0.1:4318", repr=rules.show_origin, validator=rules.url
    )
    traces_endpoint: str | None = attrs.field(
        default=None, repr=rules.show_any_origin, validator=attrs.validators.optional(rules.url)
    )
    metrics_endpoint: str | None = attrs.field(
        default=None, repr=rules.show_any_origin, validator=attrs.validators.optional(rules.url)
    )
    headers: Mapping[str, str] = attrs.field(
        factory=dict,
        converter=rules.read_only,
        repr=rules.show_keys,
        hash=False,
        validator=rules.headers,
    )
    tls: Tls = attrs.field(factory=Tls)
    compression: Compression = attrs.field(
        default="none", validator=rules.one_of(get_args(Compression))
    )
    timeout: float = attrs.field(default=10.0, validator=rules.positive)
    signals: tuple[Signal, ...] = attrs.field(
        default=("traces", "metrics"), converter=rules.strings, validator=_signals
    )
    sampling: float = attrs.field(default=1.0, validator=rules.part)
    interval: float = attrs.field(default=60.0, validator=rules.at_least(1))
    queue: int = attrs.field(default=2048, validator=rules.at_least(1))
    service: str = attrs.field(default="onemcp", validator=rules.not_blank)
    resource: Mapping[str, str] = attrs.field(factory=dict, converter=rules.read_only, hash=False)

    def url_of(self, signal: Signal) -> str:
        """Return where a signal is sent to."""
        own = self.traces_endpoint if signal == "traces" else self.metrics_endpoint
        return own or f"{self.endpoint.rstrip('/')}/v1/{signal}"


def is_installed() -> bool:
    """Tell whether there is what OTLP takes. Nothing of it is imported."""
    try:
        return find_spec("opentelemetry.proto") is not None
    except ModuleNotFoundError:
        return False


@attrs.frozen(kw_only=True)
class Telemetry:
    """What is told of the running gateway.

    Attributes:
        metrics: Who may read `/metrics`: whoever has the scope admin, or whoever reaches it.
        otlp: Where metrics and traces are sent to; None for nowhere.
    """

    metrics: Readers = attrs.field(default="admin", validator=rules.one_of(get_args(Readers)))
    otlp: Otlp | None = None

    def __attrs_post_init__(self) -> None:
        if self.otlp is not None and not is_installed():
            raise InvalidOption(
                "otlp",
                "needs the package opentelemetry-proto, which is not installed",
                "Install it with onemcp's extra: pip install 'onemcp[otel]'",
            )
