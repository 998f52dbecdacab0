// How the reference servers are started: on stdin and stdout, or on a port.
//
//     node server2026.mjs NODE_MODULES --stdio
//     node server2026.mjs NODE_MODULES --http PORT
//     node server2026.mjs NODE_MODULES --stdio --dual
//
// Over HTTP they print one line, `listening on http://127.0.0.1:PORT/mcp`; 0 takes a free port.

import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { join } from 'node:path';

const HOST = '127.0.0.1';
const [, , modules, transport, port] = process.argv;

/** Whether a server that can speak both eras is to do so. */
export const isDual = process.argv.includes('--dual');

/** Load an installed package. */
export const load = createRequire(join(modules, 'index.js'));

/** Serve on the transport of the command line. */
export function serve({ stdio, http }) {
    if (transport === '--stdio') {
        stdio();
        return;
    }
    const listener = createServer();
    listener.listen(Number(port), HOST, () => {
        const authority = `${HOST}:${listener.address().port}`;
        listener.on('request', http(authority));
        console.log(`listening on http://${authority}/mcp`);
    });
}
