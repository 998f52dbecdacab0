// A call that asks its client for a task of 2025-11-25, with the TypeScript SDK 1.x.
//
//     node asked1.mjs NODE_MODULES URL TOKEN TOOL has-tasks|no-tasks

import { createRequire } from 'node:module';
import { join } from 'node:path';

const [modules, url, token, tool, tasks] = process.argv.slice(2);
const require = createRequire(join(modules, 'index.js'));
const { Client } = require('@modelcontextprotocol/sdk/client/index.js');
const {
    StreamableHTTPClientTransport
} = require('@modelcontextprotocol/sdk/client/streamableHttp.js');
const { InMemoryTaskStore } = require('@modelcontextprotocol/sdk/experimental/tasks');
const types = require('@modelcontextprotocol/sdk/types.js');

const hasTasks = tasks === 'has-tasks';
const answer = { action: 'accept', content: { name: 'Ada' } };
const seen = { wanted: [], own: [] };
const able = { elicitation: { form: {} } };
if (hasTasks) {
    able.tasks = { list: {}, cancel: {}, requests: { elicitation: { create: {} } } };
}
const client = new Client(
    { name: 'asked1', version: '1.0.0' },
    { capabilities: able, ...(hasTasks && { taskStore: new InMemoryTaskStore() }) }
);
client.setRequestHandler(types.ElicitRequestSchema, async (request, extra) => {
    seen.wanted.push(request.params.task !== undefined);
    if (!hasTasks) {
        return answer;
    }
    const task = await extra.taskStore.createTask({ ttl: extra.taskRequestedTtl });
    seen.own.push(task.taskId);
    setTimeout(() => extra.taskStore.storeTaskResult(task.taskId, 'completed', answer), 0);
    return { task };
});
const headers = { Authorization: `Bearer ${token}` };
await client.connect(
    new StreamableHTTPClientTransport(new URL(url), { requestInit: { headers } })
);
seen.result = await client.callTool({ name: tool, arguments: {} });
console.log(JSON.stringify(seen));
await client.close();
process.exit(0); // the store would keep the task for its time to live
