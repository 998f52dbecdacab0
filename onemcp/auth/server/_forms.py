"""Parameters of requests: each at most once, of bounded size (RFC 6749, sections 3.1 and 3.2)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final
from urllib.parse import parse_qsl

from onemcp.auth.server._errors import INVALID_REQUEST, OAuthError

MAX_FORM_BYTES: Final = 16 * 1024
MAX_FIELDS: Final = 64
MAX_VALUE: Final = 4096
MAX_QUOTED: Final = 256


class Form:
    """The parameters of one request. Those without a value count as left out."""

    def __init__(self, fields: Mapping[str, str]) -> None:
        """Hold parameters."""
        self._fields = MappingProxyType(dict(fields))

    def __repr__(self) -> str:
        return f"<Form with {', '.join(self._fields) or 'nothing'}>"

    @classmethod
    def parse(cls, data: bytes) -> Form:
        """Read what is `application/x-www-form-urlencoded`.

        Raises:
            OAuthError: It is too large, not UTF-8, or says something twice.
        """
        if len(data) > MAX_FORM_BYTES:
            raise OAuthError(INVALID_REQUEST, "the request is too large", status=413)
        try:
            text = data.decode("ascii")
            pairs = parse_qsl(
                text, keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS
            )
        except ValueError:
            raise OAuthError(INVALID_REQUEST, "the parameters are malformed") from None
        fields: dict[str, str] = {}
        for name, value in pairs:
            # RFC 8707 lets `resource` be given again; a token for several is never issued here.
            if name in fields:
                raise OAuthError(INVALID_REQUEST, "a parameter is given more than once")
            fields[name] = value
        return cls({name: value for name, value in fields.items() if value})

    def get(self, name: str) -> str | None:
        """Return a parameter, or None.

        Raises:
            OAuthError: It is too long, or has control characters.
        """
        value = self._fields.get(name)
        if value is not None and (len(value) > MAX_VALUE or not value.isprintable()):
            raise OAuthError(INVALID_REQUEST, f"the parameter {name} is malformed")
        return value

    def quote(self, name: str) -> str:
        """Return a parameter for the audit log, shortened, whatever it holds; "" if there is none.

        Never one that may be a secret.
        """
        return self._fields.get(name, "")[:MAX_QUOTED]

    def need(self, name: str) -> str:
        """Return a parameter that must be there.

        Raises:
            OAuthError: It isn't, or it is malformed.
        """
        value = self.get(name)
        if value is None:
            raise OAuthError(INVALID_REQUEST, f"the parameter {name} is missing")
        return value
