// The TypeScript SDK 1.x, which speaks the legacy era.
//
//     node sdk1.mjs NODE_MODULES

import { createRequire } from 'node:module';
import { join } from 'node:path';
import { ANSWERS, Connection, serve } from './steps.mjs';

const require = createRequire(join(process.argv[2], 'index.js'));
const { Client } = require('@modelcontextprotocol/sdk/client/index.js');
const { StdioClientTransport } = require('@modelcontextprotocol/sdk/client/stdio.js');
const {
    StreamableHTTPClientTransport
} = require('@modelcontextprotocol/sdk/client/streamableHttp.js');
const types = require('@modelcontextprotocol/sdk/types.js');

const NOTIFICATIONS = [
    types.LoggingMessageNotificationSchema,
    types.ToolListChangedNotificationSchema,
    types.PromptListChangedNotificationSchema,
    types.ResourceListChangedNotificationSchema,
    types.ResourceUpdatedNotificationSchema
];

class Sdk1 extends Connection {
    revision() {
        return this.client.transport.protocolVersion ?? null;
    }

    callTool(params, options) {
        return this.client.callTool(params, undefined, options);
    }

    async close() {
        const { transport } = this.client;
        if (transport instanceof StreamableHTTPClientTransport) await transport.terminateSession();
        await this.client.close();
    }
}

function transportTo({ target }) {
    if (target.url === undefined) {
        const [command, ...args] = target.command;
        return new StdioClientTransport({ command, args, env: target.env, stderr: 'ignore' });
    }
    const requestInit = { headers: target.headers ?? {} };
    return new StreamableHTTPClientTransport(new URL(target.url), { requestInit });
}

await serve(async (job) => {
    const capabilities = {
        elicitation: { form: {}, url: {} },
        roots: { listChanged: true },
        sampling: {}
    };
    const client = new Client({ name: 'sdk1', version: '1.0.0' }, { capabilities });
    const connection = new Sdk1(client);
    const answer = (schema, respond) =>
        client.setRequestHandler(schema, ({ method, params }) => {
            connection.ask(method, params);
            return respond(params);
        });
    answer(types.ElicitRequestSchema, ANSWERS.elicit);
    answer(types.CreateMessageRequestSchema, ANSWERS.sample);
    answer(types.ListRootsRequestSchema, () => ({ roots: job.roots }));
    for (const schema of NOTIFICATIONS) {
        client.setNotificationHandler(schema, ({ method, params }) =>
            connection.note(method, params)
        );
    }
    await client.connect(transportTo(job));
    return connection;
});
