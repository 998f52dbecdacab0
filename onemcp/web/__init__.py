"""Room of onemcp: pages for people.

:class:`Pages` is an ASGI application. What it is made with is imported when somebody asks for the
first page, since most instances never show any.
"""

from onemcp.web._connections import Connections, LoginFailed, Offer
from onemcp.web._pages import Pages

__all__ = ["Connections", "LoginFailed", "Offer", "Pages"]
