// One task of 2025-11-25 with the TypeScript SDK 1.x, which prints what it has seen of it.
//
//     node tasks1.mjs NODE_MODULES URL TOKEN TOOL ARGUMENTS

import { createRequire } from 'node:module';
import { join } from 'node:path';

const [modules, url, token, tool, args] = process.argv.slice(2);
const require = createRequire(join(modules, 'index.js'));
const { Client } = require('@modelcontextprotocol/sdk/client/index.js');
const {
    StreamableHTTPClientTransport
} = require('@modelcontextprotocol/sdk/client/streamableHttp.js');
const types = require('@modelcontextprotocol/sdk/types.js');

const RELATED = 'io.modelcontextprotocol/related-task';
const seen = { ids: [], statuses: [], asked: [] };
const client = new Client(
    { name: 'tasks1', version: '1.0.0' },
    { capabilities: { elicitation: { form: {} } } }
);
client.setRequestHandler(types.ElicitRequestSchema, request => {
    seen.asked.push(request.params._meta?.[RELATED]?.taskId);
    return { action: 'accept', content: { interpretation: 'snake' } };
});
const headers = { Authorization: `Bearer ${token}` };
await client.connect(
    new StreamableHTTPClientTransport(new URL(url), { requestInit: { headers } })
);
seen.capability = client.getServerCapabilities().tasks;
await client.listTools();
const params = { name: tool, arguments: JSON.parse(args) };
for await (const message of client.experimental.tasks.callToolStream(params)) {
    if (message.task) {
        seen.ids.push(message.task.taskId);
        seen.statuses.push(message.task.status);
    } else if (message.type === 'result') {
        seen.result = message.result;
    } else {
        seen.error = message.error.message;
    }
}
console.log(JSON.stringify(seen));
await client.close();
