// The TypeScript client 2.x, which speaks both eras.
//
//     node client2.mjs NODE_MODULES

import { createRequire } from 'node:module';
import { join } from 'node:path';
import { ANSWERS, Connection, serve } from './steps.mjs';

const require = createRequire(join(process.argv[2], 'index.js'));
const { Client, StreamableHTTPClientTransport } = require('@modelcontextprotocol/client');
const { StdioClientTransport } = require('@modelcontextprotocol/client/stdio');

const NOTIFICATIONS = [
    'notifications/message',
    'notifications/tools/list_changed',
    'notifications/prompts/list_changed',
    'notifications/resources/list_changed',
    'notifications/resources/updated'
];

class Client2 extends Connection {
    constructor(client) {
        super(client, {
            era: () => client.getProtocolEra(),
            listen: (filter) => client.listen(filter)
        });
    }

    revision() {
        return this.client.getNegotiatedProtocolVersion() ?? null;
    }

    async close() {
        const { transport } = this.client;
        if (transport?.sessionId !== undefined) await transport.terminateSession();
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
    const client = new Client(
        { name: 'client2', version: '1.0.0' },
        { capabilities, versionNegotiation: { mode: job.mode } }
    );
    const connection = new Client2(client);
    const answer = (method, respond) =>
        client.setRequestHandler(method, ({ params }) => {
            connection.ask(method, params);
            return respond(params);
        });
    answer('elicitation/create', ANSWERS.elicit);
    answer('sampling/createMessage', ANSWERS.sample);
    answer('roots/list', () => ({ roots: job.roots }));
    for (const method of NOTIFICATIONS) {
        client.setNotificationHandler(method, ({ params }) => connection.note(method, params));
    }
    await client.connect(transportTo(job));
    return connection;
});
