"""How many calls may be under way, who waits for a place, and who is refused.

:class:`Admission` knows calls by two names alone, whose they are and where they go, and nothing of
MCP. See docs/explanation/admission.md.
"""

from __future__ import annotations

from ._admission import Admission, Statistics
from ._limits import BackendLimits, Limits

__all__ = ["Admission", "BackendLimits", "Limits", "Statistics"]
