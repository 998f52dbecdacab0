"""What the suite runs as the client under test: it hands the server's URL to the tests, and waits.

    python client_relay.py PORT URL

The clients themselves are already running, for starting them takes longer than a scenario.
"""

from __future__ import annotations

import json
import os
import socket
import sys

port, url = sys.argv[1:]
with socket.create_connection(("127.0.0.1", int(port))) as door, door.makefile("rw") as lines:
    context = json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT", "{}"))
    scenario = os.environ["MCP_CONFORMANCE_SCENARIO"]
    told = {"scenario": scenario, "url": url, "context": context}
    print(json.dumps(told), file=lines, flush=True)
    complaint = json.loads(lines.readline() or '"the tests have gone"')
    sys.exit(complaint)
