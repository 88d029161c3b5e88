// The official npm client, unmodified, against the built server.

import assert from 'node:assert/strict';
import { after, test } from 'node:test';

import {
  Letta,
  all,
  client,
  deleteAgents,
  fresh,
  kinds,
  makeAgent,
  password,
  secureUrl,
  seenUpstream,
  textIn,
  url,
  user,
  waitFor,
  wellFormed,
  words,
} from './rig.mjs';

const ENDING = ['stop_reason', 'usage_statistics'];

after(deleteAgents);

const statusOf = (promise) => promise.then(() => 200, (error) => error.status);

test('health, models and tags', async () => {
  assert.equal((await client.health()).status, 'ok');
  const handles = (await client.models.list()).map((model) => model.handle);
  assert.ok(handles.includes('retold/rehearsal') && handles.includes('openai/echo'));
  assert.ok(Array.isArray(await client.models.embeddings.list()));
  const tag = fresh('tag-');
  await makeAgent('openai/echo', { tags: [tag] });
  assert.deepEqual(await client.tags.list({ name: tag }), [tag]);
});

test('an agent from creation to deletion', async () => {
  const agent = await makeAgent('openai/echo', { tags: ['one'] });
  assert.match(agent.id, /^agent-[0-9a-f-]{36}$/);
  assert.equal(agent.agent_type, 'letta_v1_agent');
  assert.deepEqual(agent.blocks.map((block) => block.label).sort(), ['human', 'persona']);
  const found = await client.agents.retrieve(agent.id, { include: ['agent.tools'] });
  assert.equal(found.name, agent.name);
  assert.ok(found.tools.some((tool) => tool.name === 'memory_insert'));
  const changed = await client.agents.update(agent.id, { name: 'renamed', tags: ['two'] });
  assert.deepEqual([changed.name, changed.tags], ['renamed', ['two']]);
  await client.agents.delete(agent.id);
  await assert.rejects(client.agents.retrieve(agent.id), Letta.NotFoundError);
});

test('iteration over agents gives each once and ends', async () => {
  const tag = fresh('tag-');
  const made = [];
  for (let n = 0; n < 7; n += 1) made.push((await makeAgent('openai/echo', { tags: [tag] })).id);
  const listed = await all(client.agents.list({ tags: [tag], limit: 2 }));
  assert.deepEqual(listed.map((agent) => agent.id), made.toReversed?.() ?? [...made].reverse());
  const oldest = await all(client.agents.list({ tags: [tag], limit: 3, order: 'asc' }));
  assert.deepEqual(oldest.map((agent) => agent.id), made);
});

test('a blocking answer, and the history page by page', async () => {
  const agent = await makeAgent();
  const text = fresh('hello ');
  const answer = await client.agents.messages.create(agent.id, { messages: user(text) });
  assert.deepEqual(kinds(answer.messages), ['assistant_message']);
  assert.equal(answer.messages[0].content, `You said: ${text}`);
  assert.equal(answer.stop_reason.stop_reason, 'end_turn');
  assert.equal(answer.usage.total_tokens, 18);
  const short = await client.agents.messages.create(agent.id, { input: 'hi' });
  assert.equal(short.messages[0].content, 'You said: hi');
  const history = await all(client.agents.messages.list(agent.id, { limit: 2, order: 'asc' }));
  assert.deepEqual(history.map((message) => message.message_type), [
    'system_message',
    'user_message',
    'assistant_message',
    'user_message',
    'assistant_message',
  ]);
  assert.equal(new Set(history.map((message) => message.id)).size, 5);
});

test('a token stream', async () => {
  const agent = await makeAgent('openai/think');
  const stream = await client.agents.messages.stream(agent.id, {
    messages: user('hello there'),
    stream_tokens: true,
  });
  const events = await all(stream, 200);
  assert.equal(events[0].message_type, 'ping');
  assert.deepEqual(kinds(events), ['reasoning_message', 'assistant_message', ...ENDING]);
  const deltas = events.filter((event) => event.message_type === 'assistant_message');
  assert.ok(deltas.length > 1);
  assert.equal(new Set(deltas.map((event) => `${event.id} ${event.otid}`)).size, 1);
  assert.equal(textIn(events), 'You said: hello there');
  assert.equal(events.at(-2).stop_reason, 'end_turn');
});

test('streaming on the messages path', async () => {
  const agent = await makeAgent();
  const stream = await client.agents.messages.create(agent.id, {
    messages: user('hi'),
    streaming: true,
  });
  assert.deepEqual(kinds(await all(stream)), ['assistant_message', ...ENDING]);
});

test('a tool call changes the memory', async () => {
  const agent = await makeAgent('openai/tool');
  const text = fresh('likes tea ');
  const answer = await client.agents.messages.create(agent.id, { messages: user(text) });
  assert.deepEqual(kinds(answer.messages), [
    'tool_call_message',
    'tool_return_message',
    'assistant_message',
  ]);
  const block = await client.agents.blocks.retrieve('human', { agent_id: agent.id });
  assert.ok(block.value.endsWith(`Noted: ${text}`));
});

for (const background of [true, false]) {
  test(`a ${background ? 'background' : 'foreground'} stream is resumed`, async () => {
    const agent = await makeAgent('openai/slow');
    const stream = await client.agents.messages.stream(agent.id, {
      messages: user('count 20'),
      stream_tokens: true,
      background,
    });
    const seen = [];
    for await (const event of stream) {
      if (event.message_type !== 'ping') seen.push(event);
      if (seen.length === 5) break;
    }
    const { run_id: run, seq_id: cursor } = seen.at(-1);
    const rest = await all(await client.runs.messages.stream(run, { starting_after: cursor }), 99);
    assert.equal(textIn([...seen, ...rest]), words(20));
    assert.deepEqual(kinds(rest), ['assistant_message', ...ENDING]);
    const again = await all(await client.runs.messages.stream(run, { starting_after: 0 }), 99);
    const numbers = (events) =>
      events.filter((e) => e.seq_id != null && e.message_type !== 'ping').map((e) => e.seq_id);
    assert.deepEqual(numbers([...seen, ...rest]), numbers(again));
    assert.equal((await client.runs.retrieve(run)).status, 'completed');
  });
}

test('cancel in the middle of a stream', async () => {
  const agent = await makeAgent('openai/slow');
  const text = fresh('count 120 ');
  const stream = await client.agents.messages.stream(agent.id, {
    messages: user(text),
    stream_tokens: true,
  });
  const events = [];
  let asked;
  for await (const event of stream) {
    events.push(event);
    if (asked === undefined && textIn(events).startsWith('w1 w2 w3 ')) {
      asked = performance.now();
      const answer = await client.agents.messages.cancel(agent.id);
      assert.deepEqual(answer, { [events.find((e) => e.run_id).run_id]: 'cancelled' });
    }
  }
  assert.ok(performance.now() - asked < 1000);
  assert.deepEqual(kinds(events).slice(-2), ENDING);
  assert.equal(events.at(-2).stop_reason, 'cancelled');
  const next = await client.agents.messages.create(agent.id, { messages: user('count 2') });
  assert.equal(next.messages.at(-1).content, 'w1 w2 ');
  const [request] = await waitFor(async () => {
    const seen = await seenUpstream(text);
    return seen[0]?.outcome !== 'open' && seen;
  }, 'the end of the upstream socket');
  assert.equal(request.outcome, 'aborted');
  const history = await all(client.agents.messages.list(agent.id, { order: 'asc' }));
  assert.equal(history[1].content, text);
  assert.equal(history[2].content, textIn(events));
});

test('cancel with nothing to cancel is a conflict that is not asked again', async () => {
  const agent = await makeAgent();
  const started = performance.now();
  await assert.rejects(client.agents.messages.cancel(agent.id), Letta.ConflictError);
  assert.ok(performance.now() - started < 400);
});

test('an asynchronous message, its run and its steps', async () => {
  const agent = await makeAgent();
  const begun = await client.agents.messages.createAsync(agent.id, { messages: user('later') });
  const run = await waitFor(async () => {
    const found = await client.runs.retrieve(begun.id);
    return found.status === 'completed' && found;
  }, 'the end of the run');
  assert.equal(run.stop_reason, 'end_turn');
  assert.deepEqual(kinds(await all(client.runs.messages.list(run.id))), [
    'user_message',
    'assistant_message',
  ]);
  assert.equal((await client.runs.usage.retrieve(run.id)).total_tokens, 18);
  for (let n = 0; n < 4; n += 1) {
    await client.agents.messages.create(agent.id, { input: `${n}` });
  }
  const runs = await all(client.runs.list({ agent_id: agent.id, limit: 2 }));
  assert.equal(new Set(runs.map((r) => r.id)).size, 5);
  assert.equal(runs.length, 5);
  const [step] = await all(client.runs.steps.list(run.id));
  assert.equal((await client.steps.retrieve(step.id)).run_id, run.id);
  assert.equal((await client.steps.metrics.retrieve(step.id)).id, step.id);
  const judged = await client.steps.feedback.create(step.id, { feedback: 'positive' });
  assert.equal(judged.feedback, 'positive');
  assert.equal((await all(client.steps.list({ agent_id: agent.id, limit: 2 }))).length, 5);
});

test('blocks of their own, and attached', async () => {
  const agent = await makeAgent();
  const label = fresh('label_');
  const made = [];
  for (let n = 0; n < 5; n += 1) {
    made.push((await client.blocks.create({ label, value: `${n}` })).id);
  }
  const listed = await all(client.blocks.list({ label, limit: 2 }));
  assert.deepEqual(listed.map((block) => block.id), made);
  assert.equal((await client.blocks.update(made[0], { value: 'new' })).value, 'new');
  const state = await client.agents.blocks.attach(made[0], { agent_id: agent.id });
  assert.ok(state.blocks.some((block) => block.id === made[0]));
  const edited = await client.agents.blocks.update(label, { agent_id: agent.id, value: 'newer' });
  assert.equal(edited.value, 'newer');
  assert.equal((await client.blocks.retrieve(made[0])).value, 'newer');
  assert.equal((await all(client.agents.blocks.list(agent.id, { limit: 1 }))).length, 3);
  await client.agents.blocks.detach(made[0], { agent_id: agent.id });
  for (const id of made) await client.blocks.delete(id);
  await assert.rejects(client.blocks.retrieve(made[0]), Letta.NotFoundError);
});

test('tools of the server and of an agent', async () => {
  const agent = await makeAgent();
  const tools = await all(client.tools.list({ limit: 2 }), 200);
  assert.equal(new Set(tools.map((tool) => tool.id)).size, tools.length);
  const rethink = tools.find((tool) => tool.name === 'memory_rethink');
  await client.agents.tools.attach(rethink.id, { agent_id: agent.id });
  const names = async () => (await all(client.agents.tools.list(agent.id))).map((t) => t.name);
  assert.ok((await names()).includes('memory_rethink'));
  await client.agents.tools.detach(rethink.id, { agent_id: agent.id });
  assert.ok(!(await names()).includes('memory_rethink'));
});

test('errors keep their class', async () => {
  assert.equal(await statusOf(client.agents.retrieve(wellFormed('agent'))), 404);
  assert.equal(await statusOf(client.agents.retrieve('agent-1')), 422);
  assert.equal(await statusOf(client.agents.create({ model: 'nonsense' })), 400);
  const agent = await makeAgent();
  assert.equal(await statusOf(client.agents.messages.create(agent.id, { messages: [] })), 422);
  const wrong = new Letta({ baseURL: secureUrl, apiKey: 'wrong' });
  assert.equal(await statusOf(wrong.agents.list()), 401);
  const right = new Letta({ baseURL: secureUrl, apiKey: password });
  assert.deepEqual(await all(right.agents.list()), []);
});

for (const [model, status, type] of [
  ['fail-401', 401, 'llm_authentication'],
  ['fail-429', 429, 'llm_rate_limit'],
  ['fail-500', 500, 'llm_error'],
]) {
  test(`the model refuses: ${model}`, async () => {
    const agent = await makeAgent(`openai/${model}`);
    const sent = client.agents.messages.create(
      agent.id,
      { messages: user('hello') },
      { maxRetries: 0 },
    );
    const error = await sent.then(() => assert.fail('it answered'), (refused) => refused);
    assert.equal(error.status, status);
    assert.equal(error.error.error.type, type);
    const stream = await client.agents.messages.stream(agent.id, { messages: user('hello') });
    await assert.rejects(all(stream), (raised) => {
      assert.ok(raised instanceof Letta.APIError);
      assert.equal(raised.error.error_type, type);
      return true;
    });
  });
}

test('the address may end with a slash', async () => {
  const slashed = new Letta({ baseURL: `${url}/`, apiKey: 'any' });
  assert.equal((await slashed.health()).status, 'ok');
});
