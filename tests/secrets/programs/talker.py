"""An MCP server on stdio that cannot keep a secret: it tells stderr all that it knows.

    python -S -E talker.py

Its tool `echo` says `message` back; `die` says everything once more and ends without an answer.
"""

import json
import os
import sys

TOOLS = ("echo", "die")


def tell_all():
    print(json.dumps(dict(os.environ)), file=sys.stderr)
    print(repr(dict(os.environ)), file=sys.stderr)
    for name, value in os.environ.items():
        print(f"{name} is set to {value}", file=sys.stderr)
    print("x" * 4080 + os.environ.get("SERVICE", ""), file=sys.stderr)  # cut in the middle of it


def answer(request_id, **outcome):
    print(json.dumps({"jsonrpc": "2.0", "id": request_id, **outcome}), flush=True)


def call(request_id, name, arguments):
    if name == "die":
        tell_all()
        os._exit(3)
    text = {"type": "text", "text": str(arguments)}
    answer(request_id, result={"content": [text]})


def main():
    tell_all()
    print("This is no JSON, but", *os.environ.values(), flush=True)
    for line in sys.stdin:
        message = json.loads(line)
        request_id, params = message.get("id"), message.get("params", {})
        if request_id is None:
            continue
        match message["method"]:
            case "initialize":
                about = {
                    "protocolVersion": params["protocolVersion"],
                    "capabilities": {"tools": {}},
                }
                answer(request_id, result={**about, "serverInfo": {"name": "t", "version": "1"}})
            case "tools/list":
                schema = {"type": "object"}
                tools = [{"name": name, "inputSchema": schema} for name in TOOLS]
                answer(request_id, result={"tools": tools})
            case "tools/call":
                call(request_id, params["name"], params.get("arguments", {}))
            case _:
                answer(request_id, error={"code": -32601, "message": "Method not found"})


if __name__ == "__main__":
    main()
