// What every TypeScript client of these tests does: read jobs as JSON lines, carry out their
// steps on one connection each, and print the outcomes as JSON lines. See jobs.py for the format.

import { createInterface } from 'node:readline';

const CHANGED = {
    tools: 'notifications/tools/list_changed',
    prompts: 'notifications/prompts/list_changed',
    resources: 'notifications/resources/list_changed'
};
const UPDATED = 'notifications/resources/updated';
const LOG_LEVEL = 'io.modelcontextprotocol/logLevel';
const LISTS = {
    tools: ['listTools', 'tools'],
    prompts: ['listPrompts', 'prompts'],
    resources: ['listResources', 'resources'],
    templates: ['listResourceTemplates', 'resourceTemplates']
};

/** Send a form as it is, with its defaults, or with a name where it has none. */
function elicit({ requestedSchema }) {
    const fields = Object.entries(requestedSchema?.properties ?? {});
    const defaults = fields.filter(([, field]) => field.default !== undefined);
    const content = Object.fromEntries(defaults.map(([name, field]) => [name, field.default]));
    return { action: 'accept', content: defaults.length ? content : { name: 'Ada' } };
}

export const ANSWERS = {
    elicit,
    sample: () => ({
        role: 'assistant',
        content: { type: 'text', text: 'sampled' },
        model: 'made-up'
    })
};

// Outcomes alone go to stdout; what the SDKs have to say does not.
console.log = console.info = console.debug = console.error;

function print(message) {
    process.stdout.write(`${JSON.stringify(message)}\n`);
}

function describe(error) {
    return { code: error.code ?? null, message: String(error.message), data: error.data ?? null };
}

/** One connection: the SDK's client, with everything that it hears along the way. */
export class Connection {
    constructor(client, { era, listen } = {}) {
        this.client = client;
        this.era = era ?? (() => 'legacy');
        this.listen = listen;
        this.logs = [];
        this.asked = [];
        this.heard = [];
        this.waiting = [];
    }

    note(method, params) {
        if (method === 'notifications/message') {
            this.logs.push(params);
            return;
        }
        this.heard.push({ method, uri: params?.uri });
        this.waiting = this.waiting.filter((wake) => !wake());
    }

    ask(method, params) {
        this.asked.push({ method, message: params?.message ?? params?.messages?.[0]?.content?.text });
    }

    /** Wait until a notification has come that was not there at the mark. */
    hears(method, uri, mark) {
        const here = () =>
            this.heard.slice(mark).some((note) => note.method === method && note.uri === uri);
        return new Promise((resolve) => {
            const wake = () => here() && (resolve(), true);
            if (!wake()) this.waiting.push(wake);
        });
    }

    async about() {
        return {
            revision: this.revision(),
            server: this.client.getServerVersion(),
            capabilities: this.client.getServerCapabilities(),
            instructions: this.client.getInstructions() ?? null
        };
    }

    async list({ kind }) {
        const [method, key] = LISTS[kind];
        const items = [];
        let cursor;
        do {
            const page = await this.client[method](cursor === undefined ? undefined : { cursor });
            items.push(...page[key]);
            cursor = page.nextCursor;
        } while (cursor !== undefined);
        return items;
    }

    async call({ name, arguments: given, level }) {
        const progress = [];
        const asked = this.asked.length;
        const logs = this.logs.length;
        const params = { name, arguments: given ?? {} };
        if (level !== undefined) params._meta = { [LOG_LEVEL]: level };
        const result = await this.callTool(params, { onprogress: (note) => progress.push(note) });
        return { result, progress, logs: this.logs.slice(logs), asked: this.asked.slice(asked) };
    }

    callTool(params, options) {
        return this.client.callTool(params, options);
    }

    read({ uri }) {
        return this.client.readResource({ uri });
    }

    async prompt({ name, arguments: given }) {
        const asked = this.asked.length;
        const result = await this.client.getPrompt({ name, arguments: given ?? {} });
        return { result, asked: this.asked.slice(asked) };
    }

    complete({ ref, argument, context }) {
        return this.client.complete({ ref, argument, ...(context && { context }) });
    }

    async level({ level }) {
        await this.client.setLoggingLevel(level);
        return {};
    }

    /** Call a tool and cancel the call at its first sign of life. */
    async cancel({ name, arguments: given }) {
        const controller = new AbortController();
        const onprogress = () => controller.abort('no longer wanted');
        try {
            await this.callTool(
                { name, arguments: given ?? {} },
                { signal: controller.signal, onprogress }
            );
        } catch (error) {
            if (!controller.signal.aborted) throw error;
            return { cancelled: true };
        }
        return { cancelled: false };
    }

    /** Wait for a list to change, or a resource; make a call that has this effect, if given. */
    async change(step, job) {
        const { kind, uri, call } = step;
        const method = uri === undefined ? CHANGED[kind] : UPDATED;
        const mark = this.heard.length;
        let stop = async () => {};
        if (this.era() === 'modern') {
            const filter =
                uri === undefined
                    ? { [`${kind}ListChanged`]: true }
                    : { resourceSubscriptions: [uri] };
            const subscription = await this.listen(filter);
            stop = () => subscription.close();
        } else if (uri !== undefined) {
            await this.client.subscribeResource({ uri });
            stop = () => this.client.unsubscribeResource({ uri });
        }
        print({ id: job.id, ready: true });
        if (call) await this.call(call);
        await this.hears(method, uri, mark);
        // Several backends may change, one after the other: wait for the one that is meant.
        for (let seen = this.heard.length; !(await this.isAsWanted(step)); ) {
            await this.hears(method, uri, seen);
            seen = this.heard.length;
        }
        await stop();
        return { method, uri: uri ?? null };
    }

    async isAsWanted({ kind, contains, lacks }) {
        if (contains === undefined && lacks === undefined) return true;
        const names = (await this.list({ kind })).map((item) => item.name);
        return contains === undefined ? !names.includes(lacks) : names.includes(contains);
    }
}

/** A step that never ends must not hold up the jobs after it. */
function inTime(promise, seconds) {
    let timer;
    const tooLate = new Promise((_, reject) => {
        timer = setTimeout(() => reject(new Error(`nothing for ${seconds} s`)), seconds * 1000);
    });
    return Promise.race([promise, tooLate]).finally(() => clearTimeout(timer));
}

async function run(job, connect) {
    const connection = await inTime(connect(job), job.patience);
    const outcomes = [];
    try {
        for (const step of job.steps) {
            try {
                const ok = await inTime(connection[step.op](step, job), job.patience);
                outcomes.push({ ok });
            } catch (error) {
                outcomes.push({ error: describe(error) });
            }
        }
    } finally {
        await inTime(connection.close(), job.patience);
    }
    return outcomes;
}

export async function serve(connect) {
    for await (const line of createInterface({ input: process.stdin })) {
        const job = JSON.parse(line);
        try {
            print({ id: job.id, outcomes: await run(job, connect) });
        } catch (error) {
            print({ id: job.id, failure: `${error.stack ?? error}` });
        }
    }
    process.exit(0);
}
