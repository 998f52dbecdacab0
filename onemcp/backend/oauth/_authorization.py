"""One authorization: what the browser is sent with, and what it comes back with. Pure.

Implements 2026-07-28, Authorization, Scope Selection Strategy, Authorization Response Validation
and Resource Parameter Implementation; RFC 7636; RFC 9207.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from typing import Final
from urllib.parse import urlencode

import attrs
import httpx

from ._challenge import Challenge
from ._errors import OAuthError
from ._metadata import S256, ServerMetadata
from ._records import Registration

OFFLINE_ACCESS: Final = "offline_access"
_CODE: Final = re.compile(r"[\x20-\x7e]{1,4096}")
_ERROR: Final = re.compile(r"[a-z_]{1,64}")


def select_scopes(
    challenge: Challenge,
    supported: Sequence[str] | None,
    *,
    configured: Sequence[str] | None = None,
    before: Iterable[str] = (),
    server_knows: Sequence[str] | None = None,
) -> tuple[str, ...]:
    """Choose what to ask for (Scope Selection Strategy, Step-Up Authorization Flow).

    Args:
        challenge: What the backend wants now.
        supported: What its metadata names, or None.
        configured: What the operator wants asked for, and nothing else; None for no such wish.
        before: What was asked for before, which is not to be lost.
        server_knows: The scopes that the authorization server knows, or None.
    """
    if configured is not None:
        chosen = [*configured]
    else:
        named = challenge.scopes if challenge.scopes is not None else supported
        chosen = [*before, *(named or ())]
        if chosen and OFFLINE_ACCESS in (server_knows or ()):
            chosen.append(OFFLINE_ACCESS)
    return tuple(dict.fromkeys(chosen))


@attrs.frozen
class Authorization:
    """An authorization that has been asked for, and not answered yet. It is good once.

    Attributes:
        issuer: The authorization server, as its validated metadata says it.
        names_issuer: Whether that announces that its answers name it.
        redirect_uri: Where the browser comes back to.
        state: What the answer must carry.
        verifier: The secret of PKCE.
        scopes: What was asked for.
    """

    issuer: str
    names_issuer: bool
    redirect_uri: str
    scopes: tuple[str, ...]
    state: str = attrs.field(factory=lambda: secrets.token_urlsafe(32), repr=False)
    verifier: str = attrs.field(factory=lambda: secrets.token_urlsafe(64), repr=False)

    def url(self, server: ServerMetadata, registration: Registration, resource: str) -> str:
        """Return where to send the browser.

        Raises:
            OAuthError: The authorization server has no place for browsers.
        """
        if server.authorization_endpoint is None:
            raise OAuthError("its authorization server has no authorization endpoint")
        digest = hashlib.sha256(self.verifier.encode()).digest()
        asked = {
            "response_type": "code",
            "client_id": registration.client_id,
            "redirect_uri": self.redirect_uri,
            "state": self.state,
            "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
            "code_challenge_method": S256,
            "resource": resource,
        }
        if self.scopes:
            asked["scope"] = " ".join(self.scopes)
        if OFFLINE_ACCESS in self.scopes:
            asked["prompt"] = "consent"  # without it, OpenID Connect has it ignored
        endpoint = httpx.URL(server.authorization_endpoint)
        kept = [pair for pair in endpoint.params.multi_items() if pair[0] not in asked]
        return str(endpoint.copy_with(query=urlencode([*kept, *asked.items()]).encode()))

    def code(self, answer: Mapping[str, Sequence[str]]) -> str:
        """Return the code in an answer.

        Args:
            answer: The parameters that the browser came back with.

        Raises:
            OAuthError: It is not the answer to this, or no code.
        """
        if any(len(values) != 1 for values in answer.values()):
            raise OAuthError("the answer says something twice")
        said = {name: values[0] for name, values in answer.items()}
        if not self.expects(said.get("state", "")):
            raise OAuthError("the answer is not to this login (its state differs)")
        self._check_issuer(said.get("iss"))
        if "error" in said:
            error = said["error"] if _ERROR.fullmatch(said["error"]) else "an error"
            raise OAuthError(f"the authorization server said no ({error})")
        if not _CODE.fullmatch(said.get("code", "")):
            raise OAuthError("the answer has no code")
        return said["code"]

    def expects(self, state: str) -> bool:
        """Tell whether an answer with this state is the answer to this."""
        return hmac.compare_digest(state.encode(), self.state.encode())

    def _check_issuer(self, issuer: str | None) -> None:
        """Compare as strings, whatever the answer is: RFC 9207, section 2.4."""
        if issuer is None and self.names_issuer:
            raise OAuthError("the answer does not say which authorization server it is of")
        if issuer is not None and issuer != self.issuer:
            raise OAuthError("the answer is of another authorization server")
