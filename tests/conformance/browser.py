"""A browser that follows redirects and sees nothing: `BROWSER` of the tests."""

from __future__ import annotations

import sys
import urllib.request

with urllib.request.urlopen(sys.argv[1], timeout=20) as page:  # noqa: S310  (as it was told)
    page.read()
