// The official TypeScript SDK's client: sdk_client.cjs sse URL | stdio COMMAND ARGUMENT...
"use strict";

const { Client } = require("@modelcontextprotocol/sdk/client/index.js");
const { SSEClientTransport } = require("@modelcontextprotocol/sdk/client/sse.js");
const { StdioClientTransport } = require("@modelcontextprotocol/sdk/client/stdio.js");
const types = require("@modelcontextprotocol/sdk/types.js");

function transport(kind, ...rest) {
  if (kind === "sse") return new SSEClientTransport(new URL(rest[0]));
  const [command, ...args] = rest;
  return new StdioClientTransport({ command, args, env: process.env, stderr: "inherit" });
}

async function main() {
  const client = new Client({ name: "test", version: "1" }, { capabilities: { sampling: {} } });
  client.setRequestHandler(types.CreateMessageRequestSchema, async () => ({
    role: "assistant",
    model: "m",
    content: { type: "text", text: "sampled" },
  }));
  const link = transport(...process.argv.slice(2));
  await client.connect(link);
  const tools = (await client.listTools()).tools.map((tool) => tool.name);
  const prefix = tools.find((name) => name.endsWith("test_simple_text")).replace("test_simple_text", "");
  const call = async (name, args = {}, ...more) =>
    (await client.callTool({ name: prefix + name, arguments: args }, undefined, ...more)).content[0].text;
  const progress = [];
  const several = await Promise.all([1, 2, 3].map(() => call("test_simple_text")));
  const sampled = await call("test_sampling", { prompt: "hi" });
  const onprogress = (step) => progress.push(step.progress);
  await call("test_tool_with_progress", {}, { onprogress });
  let code = null;
  try {
    await client.request({ method: "no/such" }, types.EmptyResultSchema);
  } catch (error) {
    code = error.code;
  }
  await client.ping();
  await client.close();
  const server = client.getServerVersion().name;
  console.log(JSON.stringify({ server, tools: tools.length, several, sampled, progress, code }));
}

main();
