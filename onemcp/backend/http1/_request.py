"""Requests into bytes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from ._errors import LocalProtocolError

Headers = Sequence[tuple[bytes, bytes]]

_FIRST_LINE: Final = re.compile(rb"[A-Z]+ /[!-~]* HTTP/1\.1\r\n")
_FIELDS: Final = re.compile(rb"(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+: [^\r\n\0]*\r\n)*")


def write_request(
    method: bytes, target: bytes, host: bytes, headers: Headers, content: bytes | None
) -> bytes:
    """Write a request (RFC 9112, section 3).

    Args:
        method: Its method.
        target: The path and the query.
        host: The server's name, and its port where that isn't the usual one.
        headers: Its headers but for ``host``, ``content-length`` and those about the connection.
        content: Its body, if it has one.

    Raises:
        LocalProtocolError: It would be read as something else.
    """
    first = b"%b %b HTTP/1.1\r\n" % (method, target)
    fields = b"".join([b"host: %b\r\n" % host, *(b"%b: %b\r\n" % field for field in headers)])
    # A name or value that holds the end of a line would make more lines than there are headers.
    is_sound = fields.count(b"\n") == len(headers) + 1 and _FIELDS.fullmatch(fields)
    if not (is_sound and _FIRST_LINE.fullmatch(first)):
        raise LocalProtocolError("the request has characters that HTTP doesn't allow there")
    if content is None:
        return b"%b%b\r\n" % (first, fields)
    return b"%b%bcontent-length: %d\r\n\r\n%b" % (first, fields, len(content), content)
