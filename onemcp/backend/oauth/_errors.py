"""Why there is no token."""

from __future__ import annotations


class OAuthError(Exception):
    """There is no token to be had, and trying again would not help; the message holds no secret."""


class LoginNeeded(OAuthError):
    """A person has to log in, or to log in again."""


class NotNow(OAuthError):
    """An authorization server or a backend could not be asked; it may be possible later."""
