// A person with a real browser, without JavaScript on its pages: reads {url, name, password, without}
// as JSON lines, logs in if asked to, agrees to all but some scopes, and prints where the browser was sent. Its first line tells the
// redirect URI that it answers at, as a client on the same machine would.
//
//     node person.mjs NODE_MODULES

import { createServer } from 'node:http';
import { createInterface } from 'node:readline';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const [modules] = process.argv.slice(2);
// Makes the package use the libraries that it brings along: a machine may have none of them.
process.env.AWS_LAMBDA_JS_RUNTIME ??= 'nodejs22.x';
const load = (...parts) => import(pathToFileURL(join(modules, ...parts)).href);
const { chromium } = await load('playwright-core', 'index.mjs');
const { default: shipped } = await load('@sparticuz', 'chromium', 'build', 'esm', 'index.js');

const server = createServer((_, response) => response.end('Thank you.'));
await new Promise((done) => server.listen(0, '127.0.0.1', done));
const callback = `http://127.0.0.1:${server.address().port}/callback`;

// What would switch off just what is to be seen at work: origins, and policies about content.
const unsafe = /^--(disable-web-security|allow-running-insecure-content|disable-site-isolation.*)$/;
const browser = await chromium.launch({
    executablePath: await shipped.executablePath(),
    args: shipped.args.filter((each) => !unsafe.test(each)),
    headless: true
});
const context = await browser.newContext({ javaScriptEnabled: false });
context.setDefaultTimeout(110_000);

async function letIn({ url, name, password, without, callback }) {
    const page = await context.newPage();
    const refused = [];
    page.on('console', (message) => refused.push(message.text()));
    await page.goto(url);
    if (await page.locator('#password').count()) {
        // The name has the focus: nothing but the keyboard is needed.
        await page.keyboard.type(name);
        await page.keyboard.press('Tab');
        await page.keyboard.type(password);
        await page.keyboard.press('Enter');
    }
    const allow = page.getByRole('button', { name: 'Allow' });
    await allow.waitFor();
    const asked = await page.locator('fieldset').innerText();
    for (const scope of without) await page.locator(`input[value="${scope}"]`).press('Space');
    await allow.press('Enter');
    await page.waitForURL((to) => to.href.startsWith(`${callback}?`));
    const location = page.url();
    await page.close();
    return { location, asked, refused };
}

process.stdout.write(`${JSON.stringify({ callback })}\n`);
for await (const line of createInterface({ input: process.stdin })) {
    let outcome;
    try {
        outcome = await letIn(JSON.parse(line));
    } catch (error) {
        outcome = { error: String(error) };
    }
    process.stdout.write(`${JSON.stringify(outcome)}\n`);
}
await browser.close();
server.close();
