"""Which tests are for the same process, and in which order, where several processes run them.

    pytest -n 2

Tests of a file share what is costly to start, so they stay together. What takes longest begins
first, so that nothing has to wait for it in the end.
"""

from __future__ import annotations

import re

from xdist.scheduler import LoadScopeScheduling

LONGEST = (
    "tests/conformance/test_logins.py",
    "tests/interop/",
    "tests/conformance/test_as_client.py",
    "tests/soak/",
    "tests/crossfire/",
    # Not long, but everything else of the last folders is much shorter.
    "tests/web/test_status_in_browser.py",
)
"""How the names of those begin that take longest, the longest first."""
TOGETHER = re.compile("tests/interop/")
"""Folders of which all files share one gateway."""
APART = re.compile(r"(tests/conformance/test_through_onemcp\.py)::\w+\[([\w-]+?-(?:stdio|http))\b")
"""Files of which each transport of each server has a gateway of its own."""


class Scheduling(LoadScopeScheduling):
    """Gives groups of tests to the processes, in the order in which they were collected."""

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid)


def group_of(nodeid: str) -> str:
    """Name the group that a test belongs to."""
    if TOGETHER.match(nodeid):
        return TOGETHER.pattern
    apart = APART.match(nodeid)
    return nodeid.partition("::")[0] if apart is None else " ".join(apart.groups())


def turn_of(nodeid: str) -> int:
    """Tell when a test begins: those with the least number begin first."""
    turns = (turn for turn, name in enumerate(LONGEST) if nodeid.startswith(name))
    return next(turns, len(LONGEST))
