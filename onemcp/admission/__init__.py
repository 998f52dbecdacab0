"""How much there may be of everything, who waits for a place, and who is refused.

:class:`Admission` gives calls their places, :class:`Places` what lasts; :class:`Rate` bounds how
often something happens, and :class:`Shedding` says what is turned away while the machine itself is
short of something. They know names alone, whose something is and where it goes, and nothing of
MCP. See docs/explanation/admission.md.
"""

from __future__ import annotations

from ._admission import Admission, Statistics
from ._limits import BackendLimits, Limits
from ._places import PlaceLimits, Places
from ._rates import Rate
from ._refusals import refusal
from ._shedding import Level, Shedding

__all__ = [
    "Admission",
    "BackendLimits",
    "Level",
    "Limits",
    "PlaceLimits",
    "Places",
    "Rate",
    "Shedding",
    "Statistics",
    "refusal",
]
