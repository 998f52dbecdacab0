"""Whose word to take for who a server is."""

from __future__ import annotations

import ssl

import httpx

from onemcp.backend.connection import HandshakeFailed
from onemcp.config import Tls


def trusting(tls: Tls) -> ssl.SSLContext:
    """Read the authorities to trust, and return a context that verifies certificates by them.

    Args:
        tls: What the configuration says. Without a file of its own, the usual authorities are
            those of certifi, or of the variables that OpenSSL reads.

    Raises:
        HandshakeFailed: They can't be read.
    """
    try:
        if tls.ca_file is not None:
            return ssl.create_default_context(cafile=tls.ca_file)
        return httpx.create_ssl_context()
    except OSError as error:
        source = "SSL_CERT_FILE" if tls.ca_file is None else f'"tls.caFile" {str(tls.ca_file)!r}'
        if isinstance(error, ssl.SSLError):
            raise HandshakeFailed(f"{source} holds no certificate in PEM") from error
        why = (error.strerror or type(error).__name__).lower()
        raise HandshakeFailed(f"{source} cannot be read: {why}") from error
