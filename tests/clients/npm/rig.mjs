// What the npm suites share: the official client as installed, agents that are deleted again,
// and what the scripted upstream saw.

import { createRequire } from 'node:module';
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';

const require = createRequire(`${process.env.CLIENTS_NODE}/package.json`);
const sdk = require('@letta-ai/letta-client');

export const Letta = sdk.Letta ?? sdk.default;
export const url = process.env.RETOLD_URL;
export const secureUrl = process.env.RETOLD_SECURE_URL;
export const password = process.env.RETOLD_PASSWORD;
export const client = new Letta({ baseURL: url, apiKey: 'any' });

const made = [];

export async function makeAgent(model = 'openai/echo', fields = {}) {
  const agent = await client.agents.create({
    name: fresh('agent-'),
    model,
    memory_blocks: [
      { label: 'human', value: 'The human is called Ada.' },
      { label: 'persona', value: 'I am a test.' },
    ],
    ...fields,
  });
  made.push(agent.id);
  return agent;
}

export async function deleteAgents() {
  for (const id of made.splice(0)) {
    await client.agents.delete(id).catch((error) => {
      if (error.status !== 404) throw error;
    });
  }
}

export const fresh = (prefix = 'x') => prefix + randomUUID().slice(0, 8);
export const wellFormed = (prefix) => `${prefix}-${randomUUID()}`;
export const user = (text) => [{ role: 'user', content: text }];

/** At most `limit` items, so that iteration that never ends shows as a wrong count. */
export async function all(items, limit = 50) {
  const taken = [];
  for await (const item of items) {
    taken.push(item);
    if (taken.length > limit) break;
  }
  return taken;
}

/** The message types in order, neighbours of one kind told once, pings left out. */
export function kinds(events) {
  const told = [];
  for (const { message_type: kind } of events) {
    if (kind !== 'ping' && told.at(-1) !== kind) told.push(kind);
  }
  return told;
}

export const textIn = (events) =>
  events.filter((e) => e.message_type === 'assistant_message').map((e) => e.content).join('');

export async function seenUpstream(text) {
  const answer = await fetch(`${process.env.UPSTREAM_URL}/stats?text=${encodeURIComponent(text)}`);
  return answer.json();
}

export async function waitFor(check, what, seconds = 5) {
  const until = performance.now() + seconds * 1000;
  for (;;) {
    const found = await check();
    if (found) return found;
    if (performance.now() > until) throw new Error(`${what} did not come true in ${seconds} s`);
    await sleep(10);
  }
}

export const words = (count) => Array.from({ length: count }, (_, n) => `w${n + 1} `).join('');
