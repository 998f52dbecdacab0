"""The configuration as values: frozen, valid once constructed, safe to print.

Every rule that needs more than one look at a value (an address, two options that exclude each
other) is checked here, so that a configuration built by an embedding program is held to the same
rules as one read from a file. A rule that is broken raises `InvalidOption`.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import attrs

from onemcp.config import _rules as rules
from onemcp.config._auth import Auth
from onemcp.config._backend import Backend
from onemcp.config._flaws import find_flaws
from onemcp.config._limits import Limits
from onemcp.config._log import Log
from onemcp.config._problems import render_path
from onemcp.config._rules import InvalidOption
from onemcp.config._server import Server
from onemcp.config._telemetry import Telemetry
from onemcp.config._views import View


@attrs.frozen(kw_only=True)
class Naming:
    """How names of backends and of what they offer are joined: `prefix + separator + name`."""

    separator: str = attrs.field(default="__", validator=rules.matches(rules.SEPARATOR))


@attrs.frozen(kw_only=True)
class Control:
    """How operators reach onemcp.

    Attributes:
        enabled: Whether there is a control socket at all.
        socket: Where it is; None for a place of its own in the runtime directory.
        page: Whether there is a status page.
    """

    enabled: bool = True
    socket: Path | None = attrs.field(default=None, validator=rules.without_nul)
    page: bool = True


def _in_order(backends: Iterable[Backend]) -> tuple[Backend, ...]:
    return tuple(backends)


def _views_in_order(views: Iterable[View]) -> tuple[View, ...]:
    return tuple(views)


def _check_names(
    _instance: object, attribute: Any, named: tuple[Backend, ...] | tuple[View, ...]
) -> None:
    names = [each.name for each in named]
    if len(names) != len(set(names)):
        raise InvalidOption(attribute.name, f"two {attribute.name} have the same name")


@attrs.frozen(kw_only=True)
class Configuration:
    """Everything the one file says.

    Attributes:
        backends: The MCP servers, in the order of the file.
        server: What clients meet.
        auth: Who may call.
        naming: How names are joined.
        limits: What all clients together may use.
        log: What is logged.
        telemetry: What is told of the running gateway.
        control: How operators reach it.
        views: The named views, in the order of the file.
    """

    backends: tuple[Backend, ...] = attrs.field(
        default=(), converter=_in_order, validator=_check_names
    )
    server: Server = attrs.field(factory=Server)
    auth: Auth = attrs.field(factory=Auth)
    naming: Naming = attrs.field(factory=Naming)
    limits: Limits = attrs.field(factory=Limits)
    log: Log = attrs.field(factory=Log)
    telemetry: Telemetry = attrs.field(factory=Telemetry)
    control: Control = attrs.field(factory=Control)
    views: tuple[View, ...] = attrs.field(
        default=(), converter=_views_in_order, validator=_check_names
    )

    def __attrs_post_init__(self) -> None:
        for flaw in find_flaws(self.backends, self.views, self.auth):
            raise InvalidOption("views", f"{render_path(flaw.path)} {flaw.message}", flaw.remedy)

    def backend(self, name: str) -> Backend | None:
        """Return the backend called `name`, or None."""
        return next((backend for backend in self.backends if backend.name == name), None)
