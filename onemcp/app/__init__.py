"""The composition root: a :class:`Gateway` from a configuration, and how a process serves it."""

from __future__ import annotations

from .access import Access
from .address import Overrides
from .doctor import Diagnosis, examine
from .doctor import Note as DoctorNote
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
)
from .front import EventHook, Replace
from .gateway import Gateway
from .identity import NAME, VERSION
from .issuers import KeysFetched, KeysNotFetched
from .login import LoginOptions, log_in
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
from .upstream import LoginImpossible, UnknownServer

__all__ = [
    "NAME",
    "VERSION",
    "Access",
    "AddressChanged",
    "AddressRefused",
    "AnybodyMayCall",
    "Diagnosis",
    "DoctorNote",
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
    "LoginImpossible",
    "LoginOptions",
    "NoControlSocket",
    "Overrides",
    "ReloadApplied",
    "Replace",
    "RunOptions",
    "Started",
    "StateUnavailable",
    "StdioOptions",
    "UnknownServer",
    "UnknownView",
    "bridge_configuration",
    "check_policy",
    "demo_configuration",
    "examine",
    "find_configuration",
    "log_in",
    "open_durable",
    "serve",
    "serve_stdio",
]
