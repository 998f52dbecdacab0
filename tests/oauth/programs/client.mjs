// The TypeScript client, which logs in, refreshes, steps up where it lacks a scope, and logs in again
// after its login was revoked.
//
//     node client.mjs NODE_MODULES URL CALLBACK
//
// Prints {authorize} where a person has to do something and reads where their browser was sent;
// prints {did} after each step.

import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';
import { join } from 'node:path';

const [modules, url, callback] = process.argv.slice(2);
const require = createRequire(join(modules, 'index.js'));
const { Client, StreamableHTTPClientTransport, UnauthorizedError } = require('@modelcontextprotocol/client');

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const say = (what) => process.stdout.write(`${JSON.stringify(what)}\n`);

class Provider {
    kept = {};
    get redirectUrl() { return callback; }
    get clientMetadata() {
        return {
            client_name: 'TypeScript',
            redirect_uris: [callback],
            grant_types: ['authorization_code', 'refresh_token'],
            response_types: ['code'],
            token_endpoint_auth_method: 'none'
        };
    }
    state() { return (this.kept.state ??= crypto.randomUUID()); }
    clientInformation() { return this.kept.client; }
    saveClientInformation(client) { this.kept.client = client; }
    tokens() { return this.kept.tokens; }
    saveTokens(tokens) { this.kept.tokens = tokens; }
    redirectToAuthorization(to) { this.kept.url = to.href; }
    saveCodeVerifier(verifier) { this.kept.verifier = verifier; }
    codeVerifier() { return this.kept.verifier; }
    invalidateCredentials() { delete this.kept.tokens; }
    saveDiscoveryState(found) { this.kept.discovery = found; }
    discoveryState() { return this.kept.discovery; }
}

const provider = new Provider();
let client, transport;

async function connect() {
    transport = new StreamableHTTPClientTransport(new URL(url), { authProvider: provider });
    client = new Client({ name: 'test', version: '1' });
    await client.connect(transport);
}

/** Do something; where a person has to agree first, ask them and do it again. */
async function withPerson(work) {
    for (let round = 0; round < 4; round++) {
        try {
            return await work();
        } catch (error) {
            if (!(error instanceof UnauthorizedError)) throw error;
            say({ authorize: provider.kept.url });
            const { value } = await lines.next();
            await transport.finishAuth(new URL(value).searchParams);
        }
    }
    throw new Error('asked too often');
}

const count = async () => (await client.listTools()).tools.length;

await withPerson(connect);
say({ did: 'log in', scope: provider.kept.tokens.scope, tools: await count() });
const before = provider.kept.tokens;
provider.kept.tokens = { ...before, access_token: 'expired' };
say({ did: 'refresh', tools: await count(), replaced: provider.kept.tokens.refresh_token !== before.refresh_token });

const add = () => client.callTool({ name: 'demo__add', arguments: { a: 1, b: 2 } });
const sum = await withPerson(add);
say({ did: 'step up', scope: provider.kept.tokens.scope, sum: sum.structuredContent.sum });

const revoked = await fetch(provider.kept.discovery.authorizationServerMetadata.revocation_endpoint, {
    method: 'POST',
    body: new URLSearchParams({
        token: provider.kept.tokens.refresh_token,
        client_id: provider.kept.client.client_id
    })
});
say({ did: 'revoke', status: revoked.status });
await client.close(); // its session has ended with the login
await withPerson(connect);
say({ did: 'log in again', tools: await count() });
await client.close();
process.exit(0);
