// An operator with a real browser: goes over the status page as one line on stdin says, and prints
// what was found there as one line of JSON.
//
//     node operator.mjs NODE_MODULES

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';

const [modules] = process.argv.slice(2);
// Makes the package use the libraries that it brings along: a machine may have none of them.
process.env.AWS_LAMBDA_JS_RUNTIME ??= 'nodejs22.x';
const load = (...parts) => import(pathToFileURL(join(modules, ...parts)).href);
const { chromium } = await load('playwright-core', 'index.mjs');
const { default: shipped } = await load('@sparticuz', 'chromium', 'build', 'esm', 'index.js');
const axe = readFileSync(join(modules, 'axe-core', 'axe.min.js'), 'utf8');

const SIZES = { desktop: { width: 1280, height: 900 }, phone: { width: 360, height: 740 } };

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const { link, login, pictures } = JSON.parse((await lines.next()).value);
const found = { complaints: [], inaccessible: [], tooWide: [] };

// What would switch off just what is to be seen at work: origins, and policies about content.
const unsafe = /^--(disable-web-security|allow-running-insecure-content|disable-site-isolation.*)$/;
const browser = await chromium.launch({
    executablePath: await shipped.executablePath(),
    args: shipped.args.filter((each) => !unsafe.test(each)),
    headless: true
});

async function open(options) {
    const page = await (await browser.newContext({ viewport: SIZES.desktop, ...options })).newPage();
    page.setDefaultTimeout(60_000);
    page.on('console', (message) => found.complaints.push(message.text()));
    page.on('pageerror', (error) => found.complaints.push(String(error)));
    page.on('dialog', (dialog) => found.complaints.push(`dialog ${dialog.message()}`));
    return page;
}

// Looks at a page in two of its dresses: keeps pictures, and what assistive technology would stumble over.
async function look(page, name) {
    for (const [size, colorScheme] of [['desktop', 'light'], ['phone', 'dark']]) {
        await page.setViewportSize(SIZES[size]);
        await page.emulateMedia({ colorScheme });
        const width = await page.evaluate(() => document.documentElement.scrollWidth);
        if (width > SIZES[size].width) found.tooWide.push(`${name} on a ${size}: ${width}`);
        const path = join(pictures, `${name}-${size}-${colorScheme}.png`);
        await page.screenshot({ path, fullPage: true });
        await judge(page, `${name} ${size} ${colorScheme}`);
    }
    await page.emulateMedia({ colorScheme: 'light' });
    await page.setViewportSize(SIZES.desktop);
}

async function judge(page, where) {
    await page.evaluate(axe);
    const { violations } = await page.evaluate(() => axe.run({ resultTypes: ['violations'] }));
    for (const { id, nodes } of violations) {
        found.inaccessible.push(`${where}: ${id} ${nodes.map((node) => node.target).join(' ')}`);
    }
}

// What has the focus, as a person who hears the page would be told.
const focus = (page) =>
    page.evaluate(() => {
        const { activeElement: it } = document;
        return it.getAttribute('aria-label') ?? it.textContent.trim().replace(/\s+/g, ' ');
    });

async function tabTo(page, name, most = 40) {
    for (let steps = 0; steps < most; steps += 1) {
        if ((await focus(page)) === name) return;
        await page.keyboard.press('Tab');
    }
    throw new Error(`the keyboard does not reach ${name}`);
}

async function goOver() {
    const page = await open({});
    await page.goto(link);
    found.address = page.url();
    await page.getByText('Live', { exact: true }).waitFor();
    await page.evaluate(() => (window.loadedOnce = true));
    found.landmarks = await page.evaluate(() =>
        Array.from(document.querySelectorAll('header.top, nav, main, h1, h2'), (each) => each.tagName)
    );
    await page.locator('#card-flaky .badge', { hasText: 'paused' }).waitFor();
    await look(page, 'overview');

    // With the keyboard alone: past the navigation, to a button, and the focus stays on it.
    await page.keyboard.press('Tab');
    found.first = await focus(page);
    await page.keyboard.press('Enter');
    await tabTo(page, 'Stop demo');
    await page.keyboard.press('Enter');
    await page.locator('#said', { hasText: 'demo has been stopped' }).waitFor();
    await page.locator('#card-demo .badge', { hasText: 'stopped' }).waitFor();
    await page.locator('#tree-part .badge', { hasText: 'stopped' }).first().waitFor();
    await tabTo(page, 'Start demo');
    await page.keyboard.press('Enter');
    await page.locator('#card-demo .badge', { hasText: 'up' }).waitFor();
    await tabTo(page, 'Restart demo');
    await page.keyboard.press('Enter');
    await page.locator('#said', { hasText: 'demo has been restarted' }).waitFor();
    await page.locator('#incidents-part', { hasText: 'restart, asked for by' }).waitFor();
    found.focusAfter = await focus(page);
    found.loadedOnce = await page.evaluate(() => window.loadedOnce === true);

    await page.getByRole('link', { name: 'flaky' }).press('Enter');
    await page.getByText('Live', { exact: true }).waitFor();
    found.log = await page.locator('#log ~ div').innerText();
    await look(page, 'backend');

    await page.getByRole('navigation').getByRole('link', { name: 'Tools' }).press('Enter');
    await page.getByLabel('Search').fill('numbers');
    await page.keyboard.press('Enter');
    await page.waitForURL('**/tools?q=numbers');
    found.tools = await page.locator('.tools a').allInnerTexts();
    await look(page, 'tools');
    await page.getByRole('link', { name: 'demo__add' }).press('Enter');
    await page.getByLabel('a', { exact: true }).focus();
    await page.keyboard.type('1');
    await page.keyboard.press('Tab');
    await page.keyboard.type('2.5');
    await page.keyboard.press('Enter');
    found.answer = await page.locator('#result pre').first().innerText();
    await page.getByText('Schema of its arguments').press('Enter');
    await look(page, 'tool');

    await page.getByRole('button', { name: 'Leave' }).press('Enter');
    await page.getByRole('heading', { name: 'Log in' }).waitFor();
    await look(page, 'enter');
    await page.goto(found.address);
    found.afterwards = page.url();

    // Without the script, by a password.
    const plain = await open({ javaScriptEnabled: false });
    await plain.goto(new URL('/status', link).href);
    await plain.locator('#username:focus').waitFor();
    await plain.keyboard.type(login.name);
    await plain.keyboard.press('Tab');
    await plain.keyboard.type(login.password);
    await plain.keyboard.press('Enter');
    await plain.getByRole('button', { name: 'Restart demo' }).press('Enter');
    await plain.waitForURL('**/status/*/');
    found.plain = await plain.locator('#incidents-part li').first().innerText();
}

try {
    await goOver();
} catch (error) {
    found.error = String(error.stack ?? error);
}
process.stdout.write(`${JSON.stringify(found)}\n`);
await browser.close();
