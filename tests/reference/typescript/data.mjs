// Prompts, resources and completions of the reference servers.

import { ASKING_PROMPT } from './asking.mjs';
import { PIXEL, text } from './tools.mjs';

export const WATCHED = 'test://watched-resource';
const TEMPLATE = /^test:\/\/template\/([^/]+)\/data$/;

export const RESOURCES = [
    {
        uri: 'test://static-text',
        name: 'static-text',
        description: 'A static text resource',
        mimeType: 'text/plain'
    },
    {
        uri: 'test://static-binary',
        name: 'static-binary',
        description: 'A static image',
        mimeType: 'image/png'
    },
    {
        uri: WATCHED,
        name: 'watched-resource',
        description: 'A resource to subscribe to',
        mimeType: 'text/plain'
    }
];
export const TEMPLATES = [
    {
        uriTemplate: 'test://template/{id}/data',
        name: 'template',
        description: 'A resource with a parameter',
        mimeType: 'application/json'
    }
];
const TEXTS = {
    'test://static-text': 'This is the content of the static text resource.',
    [WATCHED]: 'Watched resource content'
};

/** Return the contents of a resource, undefined if there is none. */
export function read(uri) {
    if (uri === 'test://static-binary') return { uri, mimeType: 'image/png', blob: PIXEL };
    if (uri in TEXTS) return { uri, mimeType: 'text/plain', text: TEXTS[uri] };
    const id = TEMPLATE.exec(uri)?.[1];
    if (id === undefined) return undefined;
    const body = { id, templateTest: true, data: `Data for ID: ${id}` };
    return { uri, mimeType: 'application/json', text: JSON.stringify(body) };
}

const messages = (...contents) => ({
    messages: contents.map((content) => ({ role: 'user', content }))
});

function prompt(name, description, run, ...names) {
    const args = names.map((each) => ({ name: each, description: `The ${each}`, required: true }));
    return { listed: { name, description, arguments: args }, run };
}

export const PROMPTS = [
    prompt('test_simple_prompt', 'A prompt without arguments', () =>
        messages(text('This is a simple prompt for testing.'))
    ),
    prompt(
        'test_prompt_with_arguments',
        'A prompt with arguments',
        ({ args }) =>
            messages(text(`Prompt with arguments: arg1='${args.arg1}', arg2='${args.arg2}'`)),
        'arg1',
        'arg2'
    ),
    prompt(
        'test_prompt_with_embedded_resource',
        'A prompt with a resource',
        ({ args }) => {
            const body = 'Embedded resource content for testing.';
            const resource = { uri: args.resourceUri, mimeType: 'text/plain', text: body };
            const question = text('Please process the embedded resource above.');
            return messages({ type: 'resource', resource }, question);
        },
        'resourceUri'
    ),
    prompt('test_prompt_with_image', 'A prompt with an image', () =>
        messages(
            { type: 'image', data: PIXEL, mimeType: 'image/png' },
            text('Please analyze the image above.')
        )
    ),
    ASKING_PROMPT
];

/** Return the made-up values that begin with what was typed. */
export function complete({ argument }) {
    const known = ['paris', 'park', 'party', 'testValue1', 'testValue2'];
    const values = known.filter((value) => value.startsWith(argument.value));
    return { completion: { values, total: values.length, hasMore: false } };
}
