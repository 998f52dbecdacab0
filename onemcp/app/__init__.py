"""The composition root: a :class:`Gateway` from a configuration, and how a process serves it."""

from __future__ import annotations

from .access import Access
from .address import Overrides
from .events import AddressChanged, AddressRefused, ReloadApplied
from .gateway import Gateway
from .identity import NAME, VERSION
from .issuers import KeysFetched, KeysNotFetched
from .serving import (
    RunOptions,
    Started,
    StdioOptions,
    bridge_configuration,
    demo_configuration,
    serve,
    serve_stdio,
)

__all__ = [
    "NAME",
    "VERSION",
    "Access",
    "AddressChanged",
    "AddressRefused",
    "Gateway",
    "KeysFetched",
    "KeysNotFetched",
    "Overrides",
    "ReloadApplied",
    "RunOptions",
    "Started",
    "StdioOptions",
    "bridge_configuration",
    "demo_configuration",
    "serve",
    "serve_stdio",
]
