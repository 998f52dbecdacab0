"""The composition root: a :class:`Gateway` from a configuration, and how a process serves it."""

from __future__ import annotations

from .accepting import AcceptPaused, AcceptResumed
from .access import Access
from .address import Overrides
from .door import NoControlSocket
from .durable import Durable, open_durable
from .events import (
    AddressChanged,
    AddressRefused,
    AnybodyMayCall,
    GrantsUnreadable,
    KeysNotRotated,
    KeysRotated,
    KeysUnreadable,
    LedgerReplaced,
    ReloadApplied,
    StateUnavailable,
    Stopping,
)
from .front import EventHook, Replace
from .gateway import Gateway
from .identity import NAME, VERSION
from .issuers import KeysFetched, KeysNotFetched
from .policy import check_policy
from .serving import (
    RunOptions,
    Started,
    StdioOptions,
    UnknownView,
    bridge_configuration,
    demo_configuration,
    find_configuration,
    serve,
    serve_stdio,
)
from .shedding import SheddingChanged
from .transcript import BodiesLogged, MessageSeen

__all__ = [
    "NAME",
    "VERSION",
    "AcceptPaused",
    "AcceptResumed",
    "Access",
    "AddressChanged",
    "AddressRefused",
    "AnybodyMayCall",
    "BodiesLogged",
    "Durable",
    "EventHook",
    "Gateway",
    "GrantsUnreadable",
    "KeysFetched",
    "KeysNotFetched",
    "KeysNotRotated",
    "KeysRotated",
    "KeysUnreadable",
    "LedgerReplaced",
    "MessageSeen",
    "NoControlSocket",
    "Overrides",
    "ReloadApplied",
    "Replace",
    "RunOptions",
    "SheddingChanged",
    "Started",
    "StateUnavailable",
    "StdioOptions",
    "Stopping",
    "UnknownView",
    "bridge_configuration",
    "check_policy",
    "demo_configuration",
    "find_configuration",
    "open_durable",
    "serve",
    "serve_stdio",
]
