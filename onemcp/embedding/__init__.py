"""onemcp inside another Trio program.

Theory of operation: :func:`open_gateway` runs the same tree that ``onemcp run`` runs, in a nursery
of its own that ends with the block. Clients come in by a listener of the program's, if it has one;
the program itself calls through :class:`EmbeddedGateway` as one more client, without any transport
in between.
"""

from __future__ import annotations

from onemcp.control import ControlError
from onemcp.multiplexer import Answers, McpError, Question

from .events import EventStream
from .gateway import EmbeddedGateway, open_gateway

__all__ = [
    "Answers",
    "ControlError",
    "EmbeddedGateway",
    "EventStream",
    "McpError",
    "Question",
    "open_gateway",
]
