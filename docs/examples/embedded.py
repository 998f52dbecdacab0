"""Use backends from a Trio program, without any transport between it and onemcp."""

from __future__ import annotations

import sys

import trio

import onemcp

DEMO = {"command": sys.executable, "args": ["-m", "onemcp.demo"]}


async def main() -> None:
    """Call a tool; let one backend come and go."""
    async with onemcp.open_gateway({"mcpServers": {"demo": DEMO}}) as gateway:
        result = await gateway.call_tool("demo__echo", {"message": "hello"})
        print(result["content"][0]["text"])

        await gateway.add_backend("other", DEMO)
        result = await gateway.call_tool("other__echo", {"message": "from another one"})
        print(result["content"][0]["text"])

        await gateway.remove_backend("other")
        try:
            await gateway.call_tool("other__echo", {"message": "nobody hears this"})
        except onemcp.McpError as error:
            print(error.code)


if __name__ == "__main__":
    trio.run(main)
