"""Run the demo backend on stdin and stdout."""

from __future__ import annotations

import sys

from onemcp.demo._stdio import serve

if __name__ == "__main__":
    sys.exit(serve(sys.stdin.fileno(), sys.stdout.fileno()))
