"""Room of onemcp: small requests to addresses that strangers have named.

Theory of operation: a name is resolved once, its addresses are checked, and one of those that were
checked is connected to; so a name that leads elsewhere a moment later (DNS rebinding) leads
nowhere. Certificates are verified against the name all the same. Redirects are not followed,
answers are bounded, and nothing but what the caller puts into a request is sent. What sends
it (:mod:`.fetching`, :mod:`.public`) is imported by those who have something to send.
"""

from onemcp.outbound._addresses import Address, is_public, resolve
from onemcp.outbound._answer import Answer
from onemcp.outbound._errors import AnswerTooLarge, FetchFailed, NotPublic, Unreachable

__all__ = [
    "Address",
    "Answer",
    "AnswerTooLarge",
    "FetchFailed",
    "NotPublic",
    "Unreachable",
    "is_public",
    "resolve",
]
