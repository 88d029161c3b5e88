// Runs one call of one TypeScript tool: reads the job from its channel, calls the function, writes the answer, and ends.
//
// The channel is descriptor 0; what the tool prints goes elsewhere, so that nothing printed can pass for an answer.
import fs from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

const MAGIC = Buffer.from('RTLD');
const ERROR_CHARS = 1000;
const leave = process.exit.bind(process);
const writeSync = fs.writeSync.bind(fs);

const TABLE = new Uint32Array(256).map((_, byte) => {
  for (let bit = 0; bit < 8; bit++) byte = byte & 1 ? (byte >>> 1) ^ 0xedb88320 : byte >>> 1;
  return byte >>> 0;
});

function crc32(bytes) {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = TABLE[(crc ^ byte) & 0xff] ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}

function send(tag, payload) {
  const header = Buffer.alloc(20);
  MAGIC.copy(header, 0);
  tag.copy(header, 4);
  header.writeUInt32LE(payload.length, 12);
  header.writeUInt32LE(crc32(Buffer.concat([tag, payload])), 16);
  let rest = Buffer.concat([header, payload]);
  while (rest.length > 0) rest = rest.subarray(writeSync(0, rest));
}

function readExactly(size) {
  const bytes = Buffer.alloc(size);
  let had = 0;
  while (had < size) {
    const count = fs.readSync(0, bytes, had, size - had, null);
    if (count === 0) leave(0);
    had += count;
  }
  return bytes;
}

function readJob() {
  const header = readExactly(20);
  const tag = Buffer.from(header.subarray(4, 12));
  const payload = readExactly(header.readUInt32LE(12));
  const whole = crc32(Buffer.concat([tag, payload])) === header.readUInt32LE(16);
  if (!header.subarray(0, 4).equals(MAGIC) || !whole) leave(70);
  return [tag, JSON.parse(payload.toString('utf8'))];
}

// The order of a function's parameters, from its own text once the types are gone.
function parametersOf(fn) {
  const text = Function.prototype.toString.call(fn).replace(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, '');
  const open = text.indexOf('(');
  const names = [];
  let depth = 0;
  let current = '';
  for (const letter of text.slice(open + 1)) {
    if ('([{'.includes(letter)) depth++;
    if (depth === 0 && (letter === ',' || letter === ')')) {
      names.push(current.split('=')[0].trim());
      current = '';
      if (letter === ')') break;
      continue;
    }
    if (')]}'.includes(letter)) depth--;
    current += letter;
  }
  return names.filter((name) => name !== '');
}

// Parameters by their names; a function of one object takes them all as that object.
function argumentsFor(fn, given) {
  const names = parametersOf(fn);
  if (names.length === 1 && !(names[0] in given)) return [given];
  return names.map((name) => given[name]);
}

async function call(job) {
  const folder = fs.mkdtempSync(path.join(process.env.TMPDIR ?? '.', 'tool-'));
  const file = path.join(folder, 'tool.mts');
  fs.writeFileSync(file, job.source);
  const module = await import(pathToFileURL(file).href);
  const fn = module[job.function] ?? module.default;
  if (typeof fn !== 'function') {
    throw new ReferenceError(`the source exports no function named ${job.function}`);
  }
  return await fn(...argumentsFor(fn, job.arguments));
}

function textOf(value) {
  if (typeof value === 'string') return value;
  if (value === undefined || value === null) return 'None';
  try {
    return JSON.stringify(value) ?? String(value);
  } catch {
    return String(value);
  }
}

async function run(job) {
  const kept = {};
  for (const name of ['HOME', 'LANG', 'PATH', 'TMPDIR']) kept[name] = process.env[name];
  for (const name of Object.keys(process.env)) delete process.env[name];
  Object.assign(process.env, kept, job.env);
  try {
    return ['returned', textOf(await call(job))];
  } catch (error) {
    const name = error?.constructor?.name ?? 'Error';
    const message = `Error executing function ${job.function}: ${name}: ${error?.message ?? error}`;
    try {
      writeSync(2, `${error?.stack ?? error}\n`);
    } catch {}
    return ['raised', message.slice(0, ERROR_CHARS)];
  }
}

send(Buffer.from('ready\0\0\0'), Buffer.alloc(0));
const [tag, job] = readJob();
const [status, text] = await run(job);
const letters = Array.from(text);
const kept = letters.slice(0, job.text_chars).join('').toWellFormed();
send(tag, Buffer.from(JSON.stringify({ status, text: kept, chars: letters.length })));
leave(0);
