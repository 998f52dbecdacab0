// A server of 2026 alone: the TypeScript SDK 2.x, which refuses every handshake here.
//
// Over stdio it may be told to speak both eras. The SDK then bridges them itself.

import { ASKING_TOOLS } from './asking.mjs';
import { PROMPTS, RESOURCES, TEMPLATES, WATCHED, complete, read } from './data.mjs';
import { isDual, load, serve } from './serving.mjs';
import { CONTENT_TOOLS, resultOf, tool } from './tools.mjs';

const sdk = load('@modelcontextprotocol/server');
const { serveStdio } = load('@modelcontextprotocol/server/stdio');
const { toNodeHandler } = load('@modelcontextprotocol/node');

const LISTS = { ttlMs: 1000, cacheScope: 'public' };
const KINDS = {
    'elicitation/create': 'elicit',
    'sampling/createMessage': 'sampling',
    'roots/list': 'roots'
};
const states = sdk.createRequestStateCodec({ key: 'a made-up key of at least thirty-two bytes' });

// What all requests share: the lists, which tools change.
const changed = { tools: false, prompts: false };

/** Ends a call with questions. */
class InputRequired extends Error {
    constructor(result) {
        super('Input is required');
        this.result = result;
    }
}

/** Return the answers of this round, or throw what carries the questions. */
async function ask({ mcpReq }, questions, state) {
    const given = mcpReq.inputResponses;
    const complete = Object.entries(questions).every(
        ([key, { method }]) => sdk.inputResponse(given, key).kind === KINDS[method]
    );
    if (complete && (state === undefined || mcpReq.requestState() === state)) return given ?? {};
    const requestState = state === undefined ? undefined : await states.mint(state);
    throw new InputRequired(sdk.inputRequired({ inputRequests: questions, requestState }));
}

function callOf(server, args, ctx) {
    const { mcpReq } = ctx;
    const token = mcpReq._meta?.progressToken;
    return {
        args: args ?? {},
        state: mcpReq.requestState(),
        ask: (questions, state) => ask(ctx, questions, state),
        can: (capability) => capabilitiesOf(server, mcpReq)?.[capability] !== undefined,
        hangUp: () => {},
        log: (data) => mcpReq.log('info', data, 'everything'),
        progress: async (progress, total, message) => {
            if (token === undefined) return;
            const params = { progressToken: token, progress, total, message };
            await mcpReq.notify({ method: 'notifications/progress', params });
        }
    };
}

function capabilitiesOf(server, { envelope }) {
    if (envelope === undefined) return server.getClientCapabilities();
    return envelope[sdk.CLIENT_CAPABILITIES_META_KEY];
}

async function orQuestions(run) {
    try {
        return await run();
    } catch (error) {
        if (error instanceof InputRequired) return error.result;
        throw error;
    }
}

/** Make a server; `notify` tells those who listen what has changed. */
function newServer(notify) {
    const server = new sdk.McpServer(
        { name: 'reference-2026', version: '1.0.0', title: 'Reference server of 2026' },
        {
            capabilities: {
                tools: { listChanged: true },
                prompts: { listChanged: true },
                resources: { listChanged: true, subscribe: true },
                logging: {},
                completions: {}
            },
            instructions: 'Made for tests.',
            requestState: { verify: states.verify },
            cacheHints: {
                'tools/list': LISTS,
                'prompts/list': LISTS,
                'resources/list': LISTS,
                'resources/templates/list': LISTS,
                'resources/read': { ttlMs: 0, cacheScope: 'private' }
            }
        }
    );
    handleTools(server, notify);
    handlePrompts(server);
    handleResources(server);
    server.server.setRequestHandler('completion/complete', ({ params }) => complete(params));
    return server;
}

function handleTools(server, notify) {
    const register = ({ listed, run }) => {
        const { name, inputSchema, outputSchema, ...more } = listed;
        const schemas = { inputSchema: sdk.fromJsonSchema(inputSchema) };
        if (outputSchema) schemas.outputSchema = sdk.fromJsonSchema(outputSchema);
        return server.registerTool(name, { ...more, ...schemas }, (args, ctx) =>
            orQuestions(async () => resultOf(await run(callOf(server.server, args, ctx))))
        );
    };
    for (const each of [...CONTENT_TOOLS, ...ASKING_TOOLS]) register(each);
    register(
        tool('test_trigger_tool_change', 'Adds or removes a tool', () => {
            changed.tools = !changed.tools;
            dynamic.enabled = changed.tools;
            notify.toolsChanged(server);
            return 'tool list changed';
        })
    );
    register(
        tool('test_trigger_prompt_change', 'Adds or removes a prompt', () => {
            changed.prompts = !changed.prompts;
            notify.promptsChanged(server);
            return 'prompt list changed';
        })
    );
    register(
        tool('test_trigger_resource_update', 'Updates a resource', () => {
            notify.resourceUpdated(server, WATCHED);
            return 'resource updated';
        })
    );
    const dynamic = register(tool('test_dynamic_tool', 'Comes and goes', () => 'I am here'));
    dynamic.enabled = changed.tools;
}

function handlePrompts({ server }) {
    const dynamic = { name: 'test_dynamic_prompt', description: 'Comes and goes' };
    server.setRequestHandler('prompts/list', () => {
        const prompts = PROMPTS.map(({ listed }) => listed);
        return { prompts: changed.prompts ? [...prompts, dynamic] : prompts };
    });
    server.setRequestHandler('prompts/get', ({ params }, ctx) => {
        const found = PROMPTS.find(({ listed }) => listed.name === params.name);
        if (found === undefined) {
            const message = `Unknown prompt: ${params.name}`;
            throw new sdk.ProtocolError(sdk.ProtocolErrorCode.InvalidParams, message);
        }
        return orQuestions(() => found.run(callOf(server, params.arguments, ctx)));
    });
}

function handleResources({ server }) {
    server.setRequestHandler('resources/list', () => ({ resources: RESOURCES }));
    server.setRequestHandler('resources/templates/list', () => ({ resourceTemplates: TEMPLATES }));
    server.setRequestHandler('resources/read', ({ params: { uri } }) => {
        const contents = read(uri);
        if (contents === undefined) throw new sdk.ResourceNotFoundError(uri);
        return { contents: [contents] };
    });
}

const onItsConnection = {
    toolsChanged: ({ server }) => server.sendToolListChanged(),
    promptsChanged: ({ server }) => server.sendPromptListChanged(),
    resourceUpdated: ({ server }, uri) => server.sendResourceUpdated({ uri })
};

function listener() {
    const handler = sdk.createMcpHandler(() => newServer(onAllStreams), { legacy: 'reject' });
    const onAllStreams = {
        toolsChanged: () => handler.notify.toolsChanged(),
        promptsChanged: () => handler.notify.promptsChanged(),
        resourceUpdated: (server, uri) => handler.notify.resourceUpdated(uri)
    };
    const guarded = async (request, options) =>
        sdk.hostHeaderValidationResponse(request, sdk.localhostAllowedHostnames()) ??
        sdk.originValidationResponse(request, sdk.localhostAllowedOrigins()) ??
        handler.fetch(request, options);
    return toNodeHandler({ fetch: guarded });
}

serve({
    stdio: () =>
        serveStdio(() => newServer(onItsConnection), { legacy: isDual ? 'serve' : 'reject' }),
    http: listener
});
