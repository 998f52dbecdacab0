// Tools that ask the client: elicitation, sampling, roots, in one round or more.
//
// They are the same in both eras. What `call.ask` does is not: a server of 2025 sends requests
// while the call runs; one of 2026 ends the call with the questions, and is called again.

import { strings, text, tool } from './tools.mjs';

const NAME = strings('name');
const CONFIRM = { type: 'object', properties: { ok: { type: 'boolean' } }, required: ['ok'] };
const USER = {
    type: 'object',
    properties: {
        username: { type: 'string', description: "User's response" },
        email: { type: 'string', description: "User's email address" }
    },
    required: ['username', 'email']
};
const DEFAULTS = {
    type: 'object',
    properties: {
        name: { type: 'string', description: 'User name', default: 'John Doe' },
        age: { type: 'integer', description: 'User age', default: 30 },
        score: { type: 'number', description: 'User score', default: 95.5 },
        status: {
            type: 'string',
            description: 'User status',
            enum: ['active', 'inactive', 'pending'],
            default: 'active'
        },
        verified: { type: 'boolean', description: 'Verification status', default: true }
    },
    required: []
};
const OPTIONS = ['option1', 'option2', 'option3'];
const titled = (noun) =>
    ['First', 'Second', 'Third'].map((ordinal, index) => ({
        const: `value${index + 1}`,
        title: `${ordinal} ${noun}`
    }));
const ENUMS = {
    type: 'object',
    properties: {
        untitledSingle: { type: 'string', enum: OPTIONS },
        titledSingle: { type: 'string', oneOf: titled('Option') },
        legacyEnum: {
            type: 'string',
            enum: ['opt1', 'opt2', 'opt3'],
            enumNames: ['Option One', 'Option Two', 'Option Three']
        },
        untitledMulti: { type: 'array', items: { type: 'string', enum: OPTIONS } },
        titledMulti: { type: 'array', items: { anyOf: titled('Choice') } }
    },
    required: []
};

const form = (message, requestedSchema) => ({
    method: 'elicitation/create',
    params: { message, requestedSchema }
});
const sample = (prompt, maxTokens = 100) => ({
    method: 'sampling/createMessage',
    params: { messages: [{ role: 'user', content: text(prompt) }], maxTokens }
});
const roots = () => ({ method: 'roots/list' });

const spoken = (answer) => answer?.content?.text ?? 'No response';
const contentOf = (answer) => (answer?.action === 'accept' ? answer.content : undefined) ?? {};
const described = (answer) =>
    `action=${answer?.action ?? 'none'}, content=${JSON.stringify(contentOf(answer))}`;

/** Make a tool that asks one question and says something about the answer. */
function asking(name, description, question, say, more) {
    const run = async (call) => {
        const { answer } = await call.ask({ answer: question(call.args) });
        return say(answer);
    };
    return tool(name, description, run, more);
}

/** Likewise, with the key that a scenario expects. */
function keyed(name, description, key, question, say) {
    const run = async (call) => say((await call.ask({ [key]: question() }))[key]);
    return tool(`test_input_required_result_${name}`, description, run);
}

async function streamingElicitation(call) {
    await call.progress(50, 100, 'About to ask');
    const { user_name: name } = await call.ask({ user_name: form('What is your name?', NAME) });
    return `Streaming complete: ${described(name)}`;
}

async function requestState(call) {
    const asked = await call.ask({ confirm: form('Please confirm', CONFIRM) }, 'nonce');
    return `state-ok: ${described(asked.confirm)}`;
}

async function multipleInputs(call) {
    const asked = await call.ask(
        {
            user_name: form('What is your name?', NAME),
            greeting: sample('Generate a greeting', 50),
            client_roots: roots()
        },
        'multiple-inputs'
    );
    return `${spoken(asked.greeting)} to ${contentOf(asked.user_name).name ?? 'stranger'}`;
}

async function multiRound(call) {
    // The state says which round this is: none, then "step-1", then the name from step 1.
    let name = call.state?.startsWith('step-2:') ? call.state.slice('step-2:'.length) : undefined;
    if (name === undefined) {
        const asked = await call.ask({ step1: form('Step 1: What is your name?', NAME) }, 'step-1');
        name = contentOf(asked.step1).name ?? 'stranger';
    }
    const question = form('Step 2: What is your favorite color?', strings('color'));
    const asked = await call.ask({ step2: question }, `step-2:${name}`);
    return `${name} likes ${contentOf(asked.step2).color ?? 'nothing'}.`;
}

async function tamperedState(call) {
    await call.ask({ confirm: form('Please confirm', CONFIRM) }, 'sealed');
    return 'state-ok: sealed';
}

async function capabilities(call) {
    const questions = {};
    if (call.can('sampling')) questions.sample = sample('Say hello', 50);
    if (call.can('elicitation')) questions.ask = form('What is your name?', NAME);
    const asked = await call.ask(questions, 'capabilities');
    return `Answered: ${Object.keys(asked).sort().join(', ')}`;
}

async function contextual(call) {
    const question = form('What context should the prompt use?', strings('context'));
    const asked = await call.ask({ user_context: question });
    const body = text(`Use this context: ${contentOf(asked.user_context).context ?? 'none'}`);
    return { messages: [{ role: 'user', content: body }] };
}

const prefixed = (name, description, run) =>
    tool(`test_input_required_result_${name}`, description, run);

export const ASKING_PROMPT = {
    listed: { name: 'test_input_required_result_prompt', description: 'A prompt that asks' },
    run: contextual
};
export const ASKING_TOOLS = [
    asking(
        'test_sampling',
        "Asks the client's model",
        ({ prompt }) => sample(prompt),
        (answer) => `LLM response: ${spoken(answer)}`,
        { inputSchema: strings('prompt') }
    ),
    asking(
        'test_elicitation',
        'Asks the user',
        ({ message }) => form(message, USER),
        (answer) => `User response: ${described(answer)}`,
        { inputSchema: strings('message') }
    ),
    asking(
        'test_elicitation_sep1034_defaults',
        'Asks with default values',
        () => form('Please review your details', DEFAULTS),
        (answer) => `Elicitation completed: ${described(answer)}`
    ),
    asking(
        'test_elicitation_sep1330_enums',
        'Asks with every kind of enumeration',
        () => form('Please choose', ENUMS),
        (answer) => `Elicitation completed: ${described(answer)}`
    ),
    asking(
        'test_missing_capability',
        'Needs the client to offer sampling',
        () => sample('Reply with one word'),
        () => 'The client offers sampling'
    ),
    tool('test_streaming_elicitation', 'Reports progress, then asks', streamingElicitation),
    keyed(
        'elicitation',
        'Asks for a name',
        'user_name',
        () => form('What is your name?', NAME),
        (answer) => `Hello, ${contentOf(answer).name ?? 'stranger'}!`
    ),
    keyed(
        'sampling',
        "Asks the client's model for a capital",
        'capital_question',
        () => sample('What is the capital of France?'),
        (answer) => `Model said: ${spoken(answer)}`
    ),
    keyed('list_roots', "Asks for the client's roots", 'client_roots', roots, (answer) => {
        const uris = (answer?.roots ?? []).map(({ uri }) => uri);
        return `Client roots: ${uris.join(', ')}`;
    }),
    prefixed('request_state', 'Asks with a request state', requestState),
    prefixed('multiple_inputs', 'Asks for three things at once', multipleInputs),
    prefixed('multi_round', 'Asks twice in a row', multiRound),
    prefixed('tampered_state', 'Asks with a sealed request state', tamperedState),
    prefixed('capabilities', 'Asks only what the client can answer', capabilities)
];
