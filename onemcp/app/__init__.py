"""The composition root: a :class:`Gateway` from a configuration, and how a process serves it."""

from __future__ import annotations

from .gateway import Gateway, ReloadApplied, RestartNeeded
from .identity import AUDIENCE, ISSUER, NAME, VERSION
from .serving import RunOptions, Started, demo_configuration, new_token, serve

__all__ = [
    "AUDIENCE",
    "ISSUER",
    "NAME",
    "VERSION",
    "Gateway",
    "ReloadApplied",
    "RestartNeeded",
    "RunOptions",
    "Started",
    "demo_configuration",
    "new_token",
    "serve",
]
