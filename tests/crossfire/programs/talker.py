"""An MCP server on stdio that says everything with the words it was given; standard library only.

    python -S -E talker.py era=legacy|modern label=TEXT

All of its tools take `words`, and serve several calls at once:

* `ask` asks the user, with these words, and answers with them and with what the user said;
* `chat` reports progress and logs, with these words in each message, and answers with them;
* `slow` answers with them after a while.
"""

import json
import os
import random
import sys
import threading
import time

META = "io.modelcontextprotocol/"
WORDS = {"type": "object", "properties": {"words": {"type": "string"}}, "required": ["words"]}
FORM = {"type": "object", "properties": {"said": {"type": "string"}}, "required": ["said"]}
TOOLS = ("ask", "chat", "slow")


class Server:
    def __init__(self, era):
        self.modern = era == "modern"
        self.lock = threading.Lock()
        self.questions = {}
        self.asked = 0

    def send(self, **message):
        with self.lock:
            os.write(1, json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")

    def answer(self, request_id, **result):
        if self.modern:
            result = {"resultType": "complete", **result}
        self.send(id=request_id, result=result)

    def say(self, request_id, text):
        self.answer(request_id, content=[{"type": "text", "text": text}])

    def run(self):
        for line in sys.stdin:
            message = json.loads(line)
            if "method" not in message:
                self.questions.pop(message["id"]).put(message)
            elif "id" in message:
                call = (message["id"], message["method"], message.get("params", {}))
                if message["method"] == "tools/call":
                    threading.Thread(target=self.call, args=call, daemon=True).start()
                else:
                    self.handle(*call)

    def handle(self, request_id, method, params):
        capabilities = {"tools": {}, "logging": {}}
        if method == "server/discover" and self.modern:
            self.answer(request_id, supportedVersions=["2026-07-28"], capabilities=capabilities)
        elif method == "initialize" and not self.modern:
            about = {"name": "talker", "version": "1"}
            version = params["protocolVersion"]
            self.answer(
                request_id, protocolVersion=version, capabilities=capabilities, serverInfo=about
            )
        elif method == "tools/list":
            tools = [{"name": name, "inputSchema": WORDS} for name in TOOLS]
            self.answer(request_id, tools=tools, ttlMs=0, cacheScope="public")
        elif method in {"ping", "logging/setLevel"}:
            self.answer(request_id)
        else:
            self.send(id=request_id, error={"code": -32601, "message": "Method not found"})

    def call(self, request_id, _, params):
        getattr(self, params["name"])(request_id, params["arguments"]["words"], params)

    def ask(self, request_id, words, params):
        question = {"mode": "form", "message": words, "requestedSchema": FORM}
        if not self.modern:
            del question["mode"]
            answer = self.put(question)
        elif "inputResponses" not in params:
            asked = {"q": {"method": "elicitation/create", "params": question}}
            self.answer(
                request_id, resultType="input_required", inputRequests=asked, requestState=words
            )
            return
        else:
            assert params["requestState"] == words, params
            answer = params["inputResponses"]["q"]
        said = "nothing" if answer is None else answer.get("content", {}).get("said")
        self.say(request_id, f"{words} heard {said}")

    def put(self, question):
        with self.lock:
            self.asked += 1
            key = f"q{self.asked}"
            mailbox = self.questions[key] = Mailbox()
        self.send(id=key, method="elicitation/create", params=question)
        return mailbox.get().get("result")

    def chat(self, request_id, words, params):
        meta = params.get("_meta", {})
        for step in range(1, 4):
            if "progressToken" in meta:
                progress = {"progressToken": meta["progressToken"], "progress": step}
                self.send(method="notifications/progress", params={**progress, "message": words})
            if not self.modern or META + "logLevel" in meta:
                self.send(method="notifications/message", params={"level": "info", "data": words})
            time.sleep(random.uniform(0, 0.01))  # noqa: S311 - no secret
        self.say(request_id, words)

    def slow(self, request_id, words, _):
        time.sleep(random.uniform(0.05, 0.3))  # noqa: S311 - no secret
        self.say(request_id, words)


class Mailbox:
    def __init__(self):
        self.event = threading.Event()

    def put(self, message):
        self.message = message
        self.event.set()

    def get(self):
        self.event.wait()
        return self.message


if __name__ == "__main__":
    Server(dict(argument.split("=", 1) for argument in sys.argv[1:])["era"]).run()
