"""Room of onemcp: small requests to addresses that strangers have named.

Theory of operation: a name is resolved once, its addresses are checked, and one of those that were
checked is connected to; so a name that leads elsewhere a moment later (DNS rebinding) leads
nowhere. Certificates are verified against the name all the same. Redirects are not followed,
answers are bounded, and nothing but what the caller puts into a request is sent.
"""

from onemcp.outbound._addresses import Address, is_public, resolve
from onemcp.outbound._errors import AnswerTooLarge, FetchFailed, NotPublic, Unreachable
from onemcp.outbound._fetch import CLOSE_PATIENCE, Answer, fetch
from onemcp.outbound._public import PublicInternet

__all__ = [
    "CLOSE_PATIENCE",
    "Address",
    "Answer",
    "AnswerTooLarge",
    "FetchFailed",
    "NotPublic",
    "PublicInternet",
    "Unreachable",
    "fetch",
    "is_public",
    "resolve",
]
