"""Why there is no answer."""

from __future__ import annotations


class FetchFailed(Exception):
    """There is no answer.

    The message goes on from the name of a host, and repeats nothing of what was sent.
    """


class Unreachable(FetchFailed):
    """Nobody answers at an address; it may be possible later."""


class NotPublic(FetchFailed):
    """An address is none of everybody's Internet, or none to be asked securely."""


class AnswerTooLarge(FetchFailed):
    """An answer has more bytes than the caller takes."""
