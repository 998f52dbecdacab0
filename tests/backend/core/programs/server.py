"""A legacy MCP server on stdin and stdout, as small as can be, with a fault to choose.

It must start with `python -I -S`, in a moment: the standard library and nothing else.
"""

import json
import os
import signal
import sys


def send(**message):
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def call(fault, request_id):
    if fault == "crash":
        print("cannot go on", file=sys.stderr, flush=True)
        os._exit(3)
    elif fault == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    elif fault == "huge":
        sys.stdout.write(f'{{"jsonrpc":"2.0","id":{request_id},"result":{{"x":"')
        for _ in range(100):
            sys.stdout.write("x" * 1_000_000)
        sys.stdout.write('"}}\n')
        sys.stdout.flush()
    elif fault == "silent":
        return
    else:
        send(id=request_id, result={"pid": os.getpid()})


def serve():
    for line in sys.stdin:
        message = json.loads(line)
        method = message.get("method")
        if "id" not in message:
            continue
        if method == "initialize":
            info = {"name": "small", "version": "0"}
            capabilities = {"tools": {}}
            result = {"protocolVersion": "2025-11-25", "capabilities": capabilities}
            send(id=message["id"], result={**result, "serverInfo": info})
        elif method == "tools/list":
            tool = {"name": "t", "inputSchema": {"type": "object"}}
            send(id=message["id"], result={"tools": [tool]})
        elif method == "tools/call":
            call(message["params"].get("name"), message["id"])
        else:
            send(id=message["id"], error={"code": -32601, "message": "no"})


if "--banner" in sys.argv:
    print("Small server, listening on stdio\n" + "=" * 40, flush=True)
serve()
