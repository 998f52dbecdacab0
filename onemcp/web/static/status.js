// What the status page does beyond what a browser does with HTML: it follows the gateway, tells how
// long things have lasted, and lets one act without leaving. Without it the page works, too.
'use strict';

const live = document.getElementById('live');
const said = document.getElementById('said');
const form = document.getElementById('act');
const cards = document.getElementById('cards');

// --- times -----------------------------------------------------------------------------------

function lasting(seconds) {
    const whole = Math.max(0, Math.round(seconds));
    if (whole < 60) return `${whole} s`;
    const minutes = Math.floor(whole / 60);
    if (minutes < 60) return `${minutes} min`;
    const hours = Math.floor(minutes / 60);
    return hours < 24 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

function write(element, text) {
    if (element.textContent !== text) element.textContent = text;
}

function tellTimes(root = document) {
    const now = Date.now() / 1000;
    for (const each of root.querySelectorAll('time[data-since]')) {
        const inNumbers = each.parentElement.tagName === 'DD' || each.parentElement.tagName === 'TD';
        const lasted = lasting(now - Number(each.dataset.since));
        write(each, inNumbers ? lasted : `for ${lasted}`);
    }
    for (const each of root.querySelectorAll('time[data-until]')) {
        const left = Number(each.dataset.until) - now;
        write(each, left > 0.5 ? `in ${lasting(left)}` : 'now');
    }
    for (const each of root.querySelectorAll('time[data-at]')) {
        const at = new Date(Number(each.dataset.at) * 1000);
        const isToday = at.toDateString() === new Date().toDateString();
        write(each, isToday ? at.toLocaleTimeString() : at.toLocaleString());
    }
}

// --- what is told live -----------------------------------------------------------------------

function replace(id, html) {
    const part = document.getElementById(id);
    if (part === null) return;
    const focused = part.contains(document.activeElement) ? document.activeElement : null;
    const busy = new Set(Array.from(part.querySelectorAll('[aria-disabled]'), (each) => each.id));
    part.innerHTML = html;
    for (const name of busy) document.getElementById(name)?.setAttribute('aria-disabled', 'true');
    tellTimes(part);
    if (focused === null || part === focused) return;
    const link = focused.getAttribute('href');
    const again = focused.id
        ? document.getElementById(focused.id)
        : link && part.querySelector(`a[href="${CSS.escape(link)}"]`);
    (again || part.querySelector('button, a'))?.focus({ preventScroll: true });
}

function follow() {
    const events = new EventSource(form.dataset.events);
    events.onmessage = ({ data }) => {
        const { names, ...parts } = JSON.parse(data);
        if (cards && names !== undefined && names !== cards.dataset.names) {
            location.reload();
            return;
        }
        for (const [id, html] of Object.entries(parts)) replace(id, html);
    };
    events.onopen = () => {
        live.dataset.live = 'on';
        write(live, 'Live');
    };
    events.onerror = () => {
        live.dataset.live = 'lost';
        const over = events.readyState === EventSource.CLOSED;
        write(live, over ? 'Not live any more: load the page anew.' : 'The connection is lost; trying again …');
    };
    events.addEventListener('over', () => {
        live.dataset.live = 'lost';
        write(live, 'Not live any more: load the page anew.');
        events.close();
    });
}

// --- what is done ----------------------------------------------------------------------------

async function act(event) {
    event.preventDefault();
    const button = event.submitter;
    if (button === null || button.getAttribute('aria-disabled') === 'true') return;
    button.setAttribute('aria-disabled', 'true');
    said.textContent = `${button.value} …`;
    const body = new URLSearchParams(new FormData(form, button));
    try {
        const answer = await fetch(form.action, {
            method: 'POST',
            body,
            headers: { Accept: 'application/json' }
        });
        said.textContent = (await answer.json()).said;
    } catch {
        said.textContent = 'There is no answer. Load the page anew.';
    } finally {
        document.getElementById(button.id)?.removeAttribute('aria-disabled');
    }
}

if (form !== null) {
    form.addEventListener('submit', act);
    follow();
}
document.querySelector('form.calling')?.addEventListener('submit', ({ currentTarget, submitter }) => {
    if (submitter === null) return;
    submitter.textContent = currentTarget.dataset.busy;
    submitter.setAttribute('aria-disabled', 'true');
});
document.getElementById('result')?.scrollIntoView();
tellTimes();
setInterval(tellTimes, 1000, document);
