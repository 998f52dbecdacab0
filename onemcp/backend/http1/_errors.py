"""Why a request came to nothing."""

from __future__ import annotations


class HttpError(Exception):
    """A request that came to nothing."""


class ConnectError(HttpError):
    """No connection could be made, for the reason that this is raised from."""


class ConnectTimeout(ConnectError):
    """Making a connection took too long."""


class LocalProtocolError(HttpError):
    """The request can't be written as HTTP/1.1."""


class RemoteProtocolError(HttpError):
    """The server broke off, or sent something other than HTTP/1.1."""


class ConnectionBroke(HttpError):
    """The connection broke."""
