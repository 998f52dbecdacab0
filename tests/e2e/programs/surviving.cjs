// The official TypeScript SDK's legacy client, told what to do line by line: surviving.cjs URL
//
// Each line of stdin is {"do": NAME, ...}; each line of stdout is what came of it, or
// {"notification": METHOD}.
"use strict";

const { createInterface } = require("node:readline");
const { Client } = require("@modelcontextprotocol/sdk/client/index.js");
const {
  StreamableHTTPClientTransport,
} = require("@modelcontextprotocol/sdk/client/streamableHttp.js");

const PATIENT = {
  initialReconnectionDelay: 100,
  maxReconnectionDelay: 500,
  reconnectionDelayGrowFactor: 1.5,
  maxRetries: 1000,
};
// Says when it comes back to a stream.
const watched = (url, init) => {
  if (new Headers(init?.headers).has("last-event-id")) say({ poll: true });
  return fetch(url, init);
};
const say = (what) => console.log(JSON.stringify(what));

async function main() {
  const url = new URL(process.argv[2]);
  const link = new StreamableHTTPClientTransport(url, { reconnectionOptions: PATIENT, fetch: watched });
  const client = new Client({ name: "surviving", version: "1" }, { capabilities: { roots: {} } });
  client.fallbackNotificationHandler = async (note) => say({ notification: note.method });
  await client.connect(link);
  say({ session: link.sessionId });
  const text = async (name, args) =>
    (await client.callTool({ name, arguments: args }, undefined)).content[0].text;
  for await (const line of createInterface({ input: process.stdin })) {
    const job = JSON.parse(line);
    const done = (answer) => say({ id: job.id, ...answer });
    const failed = (error) => done({ code: error.code ?? null, message: error.message });
    if (job.do === "call") text(job.name, job.arguments).then((said) => done({ said }), failed);
    else if (job.do === "end") link.terminateSession().then(() => done({}), failed);
  }
  process.exit(0);
}

main();
