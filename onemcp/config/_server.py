"""What clients of onemcp meet, as the configuration says it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypeAlias, get_args

import attrs

from onemcp.config import _rules as rules

ForwardedHeader: TypeAlias = Literal["X-Forwarded-For", "Forwarded"]


@attrs.frozen(kw_only=True)
class Server:
    """What clients of onemcp meet.

    Attributes:
        host: The address to listen on.
        port: The port to listen on; 0 takes a free one.
        public_url: The origin that clients use; None where it is what their Host header says.
        allowed_hosts: Values of the Host header accepted besides those of the address itself.
        allowed_origins: Web origins whose pages may call onemcp.
        trusted_proxies: The networks of proxies that are believed where requests come from.
        forwarded_header: What those say it in.
        poll_after: Seconds of silence after which a client of revision 2025-11-25 polls the
            stream of its request; 0 keeps it open.
        shutdown_grace: Seconds that calls under way get when onemcp stops.
        sealing_key_file: The keys that sealed session ids are shared with, if not onemcp's own.
        name: The name onemcp tells its clients.
        instructions: What onemcp tells models about itself, if anything.
    """

    host: str = attrs.field(default="127.0.0.1", validator=rules.not_blank)
    port: int = attrs.field(default=8722, validator=rules.port)
    public_url: str | None = attrs.field(
        default=None, validator=attrs.validators.optional(rules.origin)
    )
    allowed_hosts: tuple[str, ...] = attrs.field(default=(), converter=rules.strings)
    allowed_origins: tuple[str, ...] = attrs.field(default=(), converter=rules.strings)
    trusted_proxies: tuple[str, ...] = attrs.field(
        default=(), converter=rules.strings, validator=rules.networks
    )
    forwarded_header: ForwardedHeader = attrs.field(
        default="X-Forwarded-For", validator=rules.one_of(get_args(ForwardedHeader))
    )
    poll_after: float = attrs.field(default=0.0, validator=rules.at_least(0))
    shutdown_grace: float = attrs.field(default=10.0, validator=rules.at_least(0))
    sealing_key_file: Path | None = attrs.field(default=None, validator=rules.without_nul)
    name: str = attrs.field(default="onemcp", validator=rules.not_blank)
    instructions: str | None = None
