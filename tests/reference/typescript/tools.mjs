// Tools that answer without asking anything: content, progress, logs, schemas, headers.
//
// A tool's `run` takes a call, which either era makes in its own way: `args`, `log(text)`,
// `progress(done, total, message)`, `hangUp()`, `can(capability)`, `state`, and
// `ask(questions, state)`. It returns a text, content, or a whole result.

import { setTimeout as sleep } from 'node:timers/promises';

export const PIXEL =
    'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg==';
const AUDIO = 'UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAAB9AAACABAAZGF0YQIAAAA=';
// Milliseconds between the notifications of a tool, so that a client sees them one by one.
const STEP = 50;
// Milliseconds that test_reconnection works on after it has hung up on the client.
const RECONNECTION = 500;

const NO_ARGUMENTS = { type: 'object', properties: {} };
const JSON_SCHEMA_2020_12 = {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    type: 'object',
    $defs: {
        address: {
            $anchor: 'addressDef',
            type: 'object',
            properties: { street: { type: 'string' }, city: { type: 'string' } }
        }
    },
    properties: {
        name: { type: 'string' },
        address: { $ref: '#/$defs/address' },
        contactMethod: { type: 'string', enum: ['phone', 'email'] },
        phone: { type: 'string' },
        email: { type: 'string' }
    },
    allOf: [{ anyOf: [{ required: ['phone'] }, { required: ['email'] }] }],
    if: { properties: { contactMethod: { const: 'phone' } }, required: ['contactMethod'] },
    then: { required: ['phone'] },
    else: { required: ['email'] },
    additionalProperties: false
};
const HEADER = {
    type: 'object',
    properties: {
        region: {
            type: 'string',
            description: 'Mirrored into the Mcp-Param-Region header',
            'x-mcp-header': 'Region'
        }
    }
};
const WEATHER = {
    type: 'object',
    properties: { temperature: { type: 'number' }, conditions: { type: 'string' } },
    required: ['temperature', 'conditions']
};

export const text = (value) => ({ type: 'text', text: value });
const image = () => ({ type: 'image', data: PIXEL, mimeType: 'image/png' });
const embedded = (uri, mimeType, body) => ({
    type: 'resource',
    resource: { uri, mimeType, text: body }
});

/** Make a tool; `more` may have an `inputSchema` and an `outputSchema`. */
export function tool(name, description, run, more = {}) {
    return { listed: { name, description, inputSchema: NO_ARGUMENTS, ...more }, run };
}

/** Return the schema of an object whose properties are all required strings. */
export function strings(...names) {
    const properties = Object.fromEntries(names.map((name) => [name, { type: 'string' }]));
    return { type: 'object', properties, required: names };
}

/** Make a result of what a tool has returned. */
export function resultOf(outcome) {
    if (typeof outcome === 'string') return { content: [text(outcome)] };
    return Array.isArray(outcome) ? { content: outcome } : outcome;
}

export const CONTENT_TOOLS = [
    tool(
        'test_simple_text',
        'Returns simple text',
        () => 'This is a simple text response for testing.'
    ),
    tool('test_image_content', 'Returns an image', () => [image()]),
    tool('test_audio_content', 'Returns audio', () => [
        { type: 'audio', data: AUDIO, mimeType: 'audio/wav' }
    ]),
    tool('test_embedded_resource', 'Returns an embedded resource', () => [
        embedded('test://embedded-resource', 'text/plain', 'This is an embedded resource content.')
    ]),
    tool('test_multiple_content_types', 'Returns text, image and more', () => [
        text('Multiple content types test:'),
        image(),
        embedded(
            'test://mixed-content-resource',
            'application/json',
            '{"test":"data","value":123}'
        )
    ]),
    tool(
        'test_structured_content',
        'Returns structured content',
        () => {
            const weather = { temperature: 22.5, conditions: 'clear' };
            return { content: [text(JSON.stringify(weather))], structuredContent: weather };
        },
        { outputSchema: WEATHER }
    ),
    tool('test_error_handling', 'Always fails', () => ({
        content: [text('This tool intentionally returns an error for testing')],
        isError: true
    })),
    tool('test_tool_with_logging', 'Logs while it runs', async (call) => {
        await call.log('Tool execution started');
        await sleep(STEP);
        await call.log('Tool processing data');
        await sleep(STEP);
        await call.log('Tool execution completed');
        return 'Tool with logging executed successfully';
    }),
    tool('test_tool_with_progress', 'Reports progress while it runs', async (call) => {
        for (const done of [0, 50, 100]) {
            await call.progress(done, 100, `Completed step ${done} of 100`);
            // Clients forget a call, and its progress, as soon as they have its result.
            await sleep(STEP);
        }
        return 'Tool with progress executed successfully';
    }),
    tool('test_logging_tool', 'Logs only if that is asked for', async (call) => {
        await call.log('Diagnostic trace logging activated');
        return 'Logging evaluated';
    }),
    tool(
        'test_x_mcp_header',
        'Has an argument that is mirrored into a header',
        (call) => `region=${call.args.region ?? '<none>'}`,
        { inputSchema: HEADER }
    ),
    tool(
        'json_schema_2020_12_tool',
        'Has the keywords of JSON Schema 2020-12',
        (call) => `arguments=${Object.keys(call.args).sort()}`,
        { inputSchema: JSON_SCHEMA_2020_12 }
    ),
    tool('test_reconnection', 'Hangs up on the client before it answers', async (call) => {
        await call.log('Before disconnect');
        call.hangUp();
        await sleep(RECONNECTION);
        await call.log('After reconnect');
        return 'Reconnection test completed';
    })
];
