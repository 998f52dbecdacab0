"""Room of onemcp: what tools and prompts looked like when they were approved.

A server may change what it says of a tool long after somebody has looked at it, and what it says
there a model reads. So onemcp remembers what each tool and each prompt looked like: `Pins` of one
backend, kept in the state directory by a `PinStore`. What looks different later is a `Change`.
"""

from onemcp.pinning._definition import PINNED, Definition, define
from onemcp.pinning._events import DefinitionChanged, DefinitionsPinned, PinsUnusable
from onemcp.pinning._pins import Change, Changed, Pins, Review, StaleApproval
from onemcp.pinning._store import Key, PinStore

__all__ = [
    "PINNED",
    "Change",
    "Changed",
    "Definition",
    "DefinitionChanged",
    "DefinitionsPinned",
    "Key",
    "PinStore",
    "Pins",
    "PinsUnusable",
    "Review",
    "StaleApproval",
    "define",
]
