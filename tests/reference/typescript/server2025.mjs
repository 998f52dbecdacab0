// A server of 2025 alone: the TypeScript SDK 1.x, low level, with sessions and requests of its own.

import { randomUUID } from 'node:crypto';
import { ASKING_TOOLS } from './asking.mjs';
import { PROMPTS, RESOURCES, TEMPLATES, WATCHED, complete, read } from './data.mjs';
import { load, serve } from './serving.mjs';
import { CONTENT_TOOLS, resultOf, tool } from './tools.mjs';

const { Server } = load('@modelcontextprotocol/sdk/server/index.js');
const { StdioServerTransport } = load('@modelcontextprotocol/sdk/server/stdio.js');
const { StreamableHTTPServerTransport } = load('@modelcontextprotocol/sdk/server/streamableHttp.js');
const types = load('@modelcontextprotocol/sdk/types.js');

const RESOURCE_NOT_FOUND = -32002;
const LEVELS = types.LoggingLevelSchema.options;
// Milliseconds after which clients may come back to a stream that was closed on them.
const RETRY_INTERVAL = 100;
const ANSWERS = {
    'elicitation/create': types.ElicitResultSchema,
    'sampling/createMessage': types.CreateMessageResultSchema,
    'roots/list': types.ListRootsResultSchema
};

// What all sessions share: the lists, which tools change, and who is connected.
const changed = { tools: false, prompts: false };
const connected = new Set();

const TRIGGERS = [
    tool('test_trigger_tool_change', 'Adds or removes a tool', async () => {
        changed.tools = !changed.tools;
        await Promise.all([...connected].map(({ server }) => server.sendToolListChanged()));
        return 'tool list changed';
    }),
    tool('test_trigger_prompt_change', 'Adds or removes a prompt', async () => {
        changed.prompts = !changed.prompts;
        await Promise.all([...connected].map(({ server }) => server.sendPromptListChanged()));
        return 'prompt list changed';
    }),
    tool('test_trigger_resource_update', 'Updates a resource', async () => {
        const subscribers = [...connected].filter(({ watched }) => watched.has(WATCHED));
        const uri = WATCHED;
        await Promise.all(subscribers.map(({ server }) => server.sendResourceUpdated({ uri })));
        return 'resource updated';
    })
];
const TOOLS = new Map(
    [...CONTENT_TOOLS, ...ASKING_TOOLS, ...TRIGGERS].map((each) => [each.listed.name, each])
);
const DYNAMIC_TOOL = tool('test_dynamic_tool', 'Comes and goes', () => 'I am here');
const DYNAMIC_PROMPT = { name: 'test_dynamic_prompt', description: 'Comes and goes' };

const invalid = (message) => new types.McpError(types.ErrorCode.InvalidParams, message);

/** Ask everything at once; what is refused has no answer, unless everything is. */
async function ask(extra, questions) {
    const asked = Object.entries(questions).map(async ([key, question]) => [
        key,
        await extra.sendRequest(question, ANSWERS[question.method])
    ]);
    const settled = await Promise.allSettled(asked);
    const answers = settled.filter(({ status }) => status === 'fulfilled');
    if (answers.length === 0 && settled.length > 0) throw settled[0].reason;
    return Object.fromEntries(answers.map(({ value }) => value));
}

function callOf(session, params, extra) {
    const token = params._meta?.progressToken;
    const notify = (method, noted) => extra.sendNotification({ method, params: noted });
    return {
        args: params.arguments ?? {},
        state: undefined,
        ask: (questions) => ask(extra, questions),
        can: (capability) => session.server.getClientCapabilities()?.[capability] !== undefined,
        hangUp: () => extra.closeSSEStream?.(),
        log: async (data) => {
            if (LEVELS.indexOf('info') < LEVELS.indexOf(session.level)) return;
            await notify('notifications/message', { level: 'info', logger: 'everything', data });
        },
        progress: async (progress, total, message) => {
            if (token === undefined) return;
            const noted = { progressToken: token, progress, total, message };
            await notify('notifications/progress', noted);
        }
    };
}

function newSession() {
    const server = new Server(
        { name: 'reference-2025', version: '1.0.0', title: 'Reference server of 2025' },
        {
            capabilities: {
                tools: { listChanged: true },
                prompts: { listChanged: true },
                resources: { listChanged: true, subscribe: true },
                logging: {},
                completions: {}
            },
            instructions: 'Made for tests.'
        }
    );
    const session = { server, level: 'debug', watched: new Set() };
    handleTools(session);
    handlePrompts(session);
    handleResources(session);
    server.setRequestHandler(types.CompleteRequestSchema, ({ params }) => complete(params));
    server.setRequestHandler(types.SetLevelRequestSchema, ({ params }) => {
        session.level = params.level;
        return {};
    });
    connected.add(session);
    server.onclose = () => connected.delete(session);
    return session;
}

function handleTools(session) {
    const { server } = session;
    server.setRequestHandler(types.ListToolsRequestSchema, () => {
        const tools = [...TOOLS.values(), ...(changed.tools ? [DYNAMIC_TOOL] : [])];
        return { tools: tools.map(({ listed }) => listed) };
    });
    server.setRequestHandler(types.CallToolRequestSchema, async ({ params }, extra) => {
        const dynamic = changed.tools && params.name === DYNAMIC_TOOL.listed.name;
        const found = dynamic ? DYNAMIC_TOOL : TOOLS.get(params.name);
        if (found === undefined) throw invalid(`Unknown tool: ${params.name}`);
        return resultOf(await found.run(callOf(session, params, extra)));
    });
}

function handlePrompts(session) {
    const { server } = session;
    server.setRequestHandler(types.ListPromptsRequestSchema, () => {
        const prompts = PROMPTS.map(({ listed }) => listed);
        return { prompts: changed.prompts ? [...prompts, DYNAMIC_PROMPT] : prompts };
    });
    server.setRequestHandler(types.GetPromptRequestSchema, async ({ params }, extra) => {
        const found = PROMPTS.find(({ listed }) => listed.name === params.name);
        if (found === undefined) throw invalid(`Unknown prompt: ${params.name}`);
        return found.run(callOf(session, params, extra));
    });
}

function handleResources(session) {
    const { server, watched } = session;
    server.setRequestHandler(types.ListResourcesRequestSchema, () => ({ resources: RESOURCES }));
    server.setRequestHandler(types.ListResourceTemplatesRequestSchema, () => ({
        resourceTemplates: TEMPLATES
    }));
    server.setRequestHandler(types.ReadResourceRequestSchema, ({ params: { uri } }) => {
        const contents = read(uri);
        if (contents !== undefined) return { contents: [contents] };
        throw new types.McpError(RESOURCE_NOT_FOUND, 'Resource not found', { uri });
    });
    server.setRequestHandler(types.SubscribeRequestSchema, ({ params }) => {
        watched.add(params.uri);
        return {};
    });
    server.setRequestHandler(types.UnsubscribeRequestSchema, ({ params }) => {
        watched.delete(params.uri);
        return {};
    });
}

/** Keep the events of one session, so that its streams can be resumed. */
function newEventStore() {
    const events = [];
    return {
        async storeEvent(streamId, message) {
            events.push({ streamId, message });
            return String(events.length);
        },
        async replayEventsAfter(lastEventId, { send }) {
            const { streamId } = events[Number(lastEventId) - 1];
            for (const [index, event] of [...events.entries()].slice(Number(lastEventId))) {
                const isMessage = Object.keys(event.message).length > 0;
                if (event.streamId === streamId && isMessage) {
                    await send(String(index + 1), event.message);
                }
            }
            return streamId;
        }
    };
}

function listener(authority) {
    const transports = new Map();
    const open = async () => {
        const transport = new StreamableHTTPServerTransport({
            sessionIdGenerator: randomUUID,
            onsessioninitialized: (id) => transports.set(id, transport),
            onsessionclosed: (id) => transports.delete(id),
            eventStore: newEventStore(),
            retryInterval: RETRY_INTERVAL,
            enableDnsRebindingProtection: true,
            allowedHosts: [authority],
            allowedOrigins: [`http://${authority}`]
        });
        await newSession().server.connect(transport);
        return transport;
    };
    return async (request, response) => {
        const id = request.headers['mcp-session-id'];
        const transport = id === undefined ? await open() : transports.get(id);
        if (transport === undefined) {
            response.writeHead(404).end('Session not found');
            return;
        }
        await transport.handleRequest(request, response);
        // What opened none has ended with its answer.
        if (transport.sessionId === undefined) await transport.close();
    };
}

serve({
    stdio: () => newSession().server.connect(new StdioServerTransport()),
    http: listener
});
