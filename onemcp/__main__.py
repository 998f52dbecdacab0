"""Let ``python -m onemcp`` do what ``onemcp`` does."""

from __future__ import annotations

import sys

from onemcp.cli import main

if __name__ == "__main__":
    sys.exit(main())
