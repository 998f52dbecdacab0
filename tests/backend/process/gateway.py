"""A program that is like the gateway: a guardian, and backends of the worst kinds.

Says who is alive, and waits to be killed.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import AsyncExitStack

import trio

from onemcp.backend.process import Guardian, ProcessInstance, ProcessSpec, StopPolicy, open_process

ESCAPED = """
import os, signal, sys
if os.fork() == 0:
    os.setsid()
    if os.fork(): os._exit(0)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    print(os.getpid(), flush=True)
    while True: signal.pause()
os.wait()
signal.signal(signal.SIGTERM, signal.SIG_IGN)
while True: signal.pause()
"""
COMMANDS = (
    ("cat", ()),
    ("sh", ("-c", "sh -c 'sh -c \"echo $$; cat; sleep 1000\"; :'; :")),  # as npx does
    ("sh", ("-c", "setsid sleep 1000 & echo $!; wait")),
    (sys.executable, ("-I", "-S", "-c", ESCAPED)),
)


async def main() -> None:
    instance = ProcessInstance()
    stop = StopPolicy(eof=0.05, terminate=0.05, kill=20)
    async with trio.open_nursery() as nursery, AsyncExitStack() as stack:
        guardian = await nursery.start(Guardian(instance).run)
        backends = []
        for command, args in COMMANDS:
            spec = ProcessSpec(command, args)
            process = await stack.enter_async_context(
                open_process(spec, instance=instance, stop=stop)
            )
            backends.append(process.pid)
            if args:
                backends.append(int(await process.stdout.receive_some(100)))
        said = {"id": instance.id, "guardian": guardian, "backends": backends}
        print(json.dumps(said), flush=True)
        await trio.to_thread.run_sync(sys.stdin.read)
        if "--abruptly" in sys.argv:
            os._exit(3)
        await stack.aclose()
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main)
