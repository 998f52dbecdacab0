"""A small MCP server on stdio whose manners can be chosen; nothing but the standard library.

    python -S -E backend.py [era=legacy|modern] [mode=MODE] [label=TEXT] [tools=NAME,NAME]
        [reading=NAME,NAME]

Those that are reading say that they only read.

Its tools:

* `echo` says `message` back, `label` the label and `pid` the id of the process;
* `hold` connects to the port `gate` of the test, tells it who it is, and answers with `message`
  once the test has sent something;
* `die` and `deafen` end the process, or its output, without an answer;
* `huge` answers with so many `bytes`, `misanswer` under another id, `ignore` never;
* `grow` adds a tool and announces it.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

META = "io.modelcontextprotocol/"
TEXT = {"type": "object", "properties": {"message": {"type": "string"}}}
ALL_TOOLS = "echo,label,pid,hold,die,deafen,huge,misanswer,ignore,grow"
PROBLEM = "cannot read the credentials of the weather service"


class Server:
    def __init__(self, options):
        self.modern = options.get("era", "legacy") == "modern"
        self.name = options.get("label", "")
        self.mode = options.get("mode", "good")
        self.tools = options.get("tools", ALL_TOOLS).split(",")
        self.reading = options.get("reading", "").split(",")
        self.lock = threading.Lock()
        self.subscription = None

    def send(self, **message):
        with self.lock:
            os.write(1, json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")

    def answer(self, request_id, result):
        if self.modern:
            result = {"resultType": "complete", **result}
        if self.mode == "wrong-ids":
            request_id = f"not {request_id}"
        self.send(id=request_id, result=result)

    def run(self):
        for line in sys.stdin:
            message = json.loads(line)
            if self.mode != "mute" and "id" in message and "method" in message:
                self.handle(message["id"], message["method"], message.get("params", {}))

    def handle(self, request_id, method, params):
        if method == "server/discover" and self.modern:
            capabilities = {"tools": {"listChanged": True}}
            self.answer(
                request_id, {"supportedVersions": ["2026-07-28"], "capabilities": capabilities}
            )
        elif method == "initialize" and not self.modern:
            self.answer(
                request_id,
                {
                    "protocolVersion": params["protocolVersion"],
                    "capabilities": {"tools": {"listChanged": True}},
                    "serverInfo": {"name": "backend", "version": "1"},
                },
            )
        elif method == "subscriptions/listen" and self.modern:
            self.subscription = {META + "subscriptionId": request_id}
            self.send(
                method="notifications/subscriptions/acknowledged",
                params={"_meta": self.subscription, "notifications": {"toolsListChanged": True}},
            )
        elif method == "tools/list":
            tools = [{"name": name, "inputSchema": TEXT} for name in self.tools]
            for tool in tools:
                if tool["name"] in self.reading:
                    tool["annotations"] = {"readOnlyHint": True}
            self.answer(request_id, {"tools": tools, "ttlMs": 0, "cacheScope": "public"})
        elif method == "tools/call":
            arguments = params.get("arguments", {})
            getattr(self, params["name"], self.echo)(request_id, arguments)
        elif method == "ping":
            self.answer(request_id, {})
        else:
            self.send(id=request_id, error={"code": -32601, "message": "Method not found"})

    def say(self, request_id, text):
        self.answer(request_id, {"content": [{"type": "text", "text": str(text)}]})

    def echo(self, request_id, arguments):
        self.say(request_id, arguments.get("message"))

    def label(self, request_id, _):
        self.say(request_id, self.name)

    def pid(self, request_id, _):
        self.say(request_id, os.getpid())

    def hold(self, request_id, arguments):
        threading.Thread(target=self.wait, args=(request_id, arguments), daemon=True).start()

    def wait(self, request_id, arguments):
        with socket.create_connection(("127.0.0.1", arguments["gate"])) as gate:
            about = {"pid": os.getpid(), "label": self.name}
            gate.sendall(json.dumps(about).encode() + b"\n")
            if gate.recv(1):
                self.echo(request_id, arguments)

    def die(self, *_):
        os._exit(9)

    def deafen(self, *_):
        os.close(1)

    def huge(self, request_id, arguments):
        head = b'{"jsonrpc":"2.0","id":%d,"result":{"content":[{"type":"text","text":"' % request_id
        with self.lock, open(1, "wb", buffering=0, closefd=False) as output:
            output.write(head)
            write_all(output, arguments["bytes"])
            output.write(b'"}]}}\n')

    def misanswer(self, request_id, arguments):
        self.echo(request_id + 100_000, arguments)

    def ignore(self, *_):
        pass

    def grow(self, request_id, _):
        self.tools.append(f"grown_{len(self.tools)}")
        self.say(request_id, self.tools[-1])
        meta = {} if self.subscription is None else {"_meta": self.subscription}
        self.send(method="notifications/tools/list_changed", params=meta)


def write_all(output, size):
    chunk = b"x" * 65536
    while size > 0:
        size -= output.write(chunk[:size])


def write_forever(descriptor):
    while True:
        os.write(descriptor, b"This is not what you are looking for.\n" * 100)


def start(options):
    mode = options.get("mode")
    if mode == "exit":
        print(PROBLEM, file=sys.stderr)
        sys.exit(3)
    if mode == "garbage":
        write_forever(1)
    if mode == "flood":
        threading.Thread(target=write_forever, args=(2,), daemon=True).start()
    if mode == "banner":
        os.write(1, b"Welcome to the server!\n\n   Starting up...\n")
    if mode == "line":
        with open(1, "wb", buffering=0, closefd=False) as output:
            write_all(output, 100_000_000)
            output.write(b"\n")
    if mode == "closed":
        os.close(1)
        time.sleep(3600)
    if mode == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if mode in {"family", "runaways"}:
        # The output is inherited: as long as a grandchild has it, there is no end of file.
        program = [sys.executable, "-S", "-E", "-c", "import time; time.sleep(3600)"]
        subprocess.Popen(program, start_new_session=mode == "runaways")


def main():
    options = dict(argument.split("=", 1) for argument in sys.argv[1:])
    start(options)
    server = Server(options)
    server.run()
    if server.mode == "stubborn":
        time.sleep(3600)


if __name__ == "__main__":
    main()
