"""The status page: how a gateway is, live, and what operators do with it, in a browser.

Theory of operation: :class:`StatusPage` decides who is asking and serves streams itself; all else
is made by Quart, which is imported when somebody asks for the first page. It holds nothing of its
own about the gateway: what is shown and done is :class:`.Control`'s, and what is judged
:mod:`.monitor`'s.
Only :class:`History` runs all the time: a ring of small values for each backend.

Who may see anything has the scope ``admin``, and comes in by a *visit*. A visit has an address of
its own, with an id that opens nothing without the cookie that goes with it. The cookie goes to that
address only: over plain HTTP browsers send cookies to every port of a machine, and so to whoever
listens on another one, if they know what to ask for.
"""

from __future__ import annotations

from .history import History
from .page import StatusPage
from .visits import CODE_SECONDS, Visits

__all__ = ["CODE_SECONDS", "History", "StatusPage", "Visits"]
