import { encodeFrame } from '@armature/sdk/contract';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { jpegOf, observation, TestRobot } from '../testing/robots.ts';
import { startWorker, type TestWorker } from '../testing/worker.ts';
import { exchange } from './testing/raw.ts';

let worker: TestWorker;
let good: TestRobot;
let jpeg: Uint8Array<ArrayBuffer>;
let seq = 0;
let sessions = 0;

beforeAll(async () => {
  worker = await startWorker();
  jpeg = await jpegOf();
  good = await TestRobot.ready(worker.port, await token());
});
afterAll(() => worker.stop());

const token = async () =>
  worker.issuer.sign(worker.claims({ sub: `ses_f${++sessions}`, reasoning: { when: 'off' } }));
/** The robot beside is served as ever. */
async function othersAreUntouched(): Promise<void> {
  good.send(observation(seq, jpeg));
  expect(await good.answer(seq, 60_000)).toMatchObject({ type: 'chunk' });
  seq += 1;
}

const whole = encodeFrame(observation(0, Uint8Array.of(0xff, 0xd8, 1, 2, 3)));
/** A valid observation with some of its bytes changed. */
const mutated = fc
  .array(
    fc.record({
      at: fc.integer({ min: 0, max: whole.length - 1 }),
      byte: fc.integer({ min: 0, max: 255 }),
    }),
    { minLength: 1, maxLength: 4 },
  )
  .map((changes) => {
    const bytes = Uint8Array.from(whole);
    for (const { at, byte } of changes) bytes[at] = byte;
    return bytes;
  });
const truncated = fc.integer({ min: 0, max: whole.length - 1 }).map((end) => whole.slice(0, end));
const extended = fc
  .uint8Array({ minLength: 1, maxLength: 40 })
  .map((more) => Uint8Array.from([...whole, ...more]));
const wrongTypes = fc
  .record({
    type: fc.constantFrom('observation', 'refresh', 'welcome', 'chunk', '', 7, null),
    seq: fc.oneof(fc.integer(), fc.double(), fc.string(), fc.constant(null)),
    captured_at: fc.oneof(fc.double(), fc.string()),
    images: fc.oneof(fc.constant([]), fc.dictionary(fc.string(), fc.string()), fc.integer()),
    state: fc.oneof(fc.array(fc.integer(), { maxLength: 4 }), fc.string(), fc.constant(null)),
    token: fc.string(),
  })
  .map((frame) =>
    // Names that the codec itself refuses to write are not what is tried here.
    encodeFrame(
      JSON.parse(JSON.stringify(frame, (key, v: unknown) => (key === '__proto__' ? 0 : v))),
    ),
  );
const deep = fc
  .record({ depth: fc.integer({ min: 30, max: 5000 }), map: fc.boolean() })
  .map(({ depth, map }) =>
    Uint8Array.from(
      Array.from({ length: depth }, () => (map ? [0x81, 0xa1, 0x61] : [0x91]))
        .flat()
        .concat(0xc0),
    ),
  );
/** Lengths far beyond what follows. */
const declared = fc
  .record({
    tag: fc.constantFrom(0xc6, 0xdb, 0xdd, 0xdf, 0xc9),
    length: fc.integer({ min: 2 ** 16, max: 2 ** 32 - 1 }),
  })
  .map(({ tag, length }) => {
    const bytes = Buffer.alloc(9);
    bytes[0] = tag;
    bytes.writeUInt32BE(length, 1);
    return new Uint8Array(bytes);
  });
const frames = fc.array(
  fc.oneof(
    fc.uint8Array({ maxLength: 200 }),
    mutated,
    truncated,
    extended,
    wrongTypes,
    deep,
    declared,
  ),
  { minLength: 1, maxLength: 12 },
);

/** Request lines and headers: sound ones, ones that nearly are, and rubbish. */
const word = fc.oneof(
  fc.constantFrom(
    '/',
    '//',
    '/healthz',
    '/v1/robot',
    '/v1/allocations',
    'http://',
    '//:99999',
    '*',
  ),
  fc.constantFrom('http://[/', '/%', '/openpi/emb_1', '?', '\\\\', '/v1/robot?x=%ff#'),
  fc.string({ unit: 'binary-ascii', maxLength: 20 }),
);
const method = fc.oneof(
  fc.constantFrom('GET', 'POST', 'CONNECT', 'OPTIONS', 'PRI'),
  fc.string({ maxLength: 8 }),
);
const header = fc.oneof(
  fc.constantFrom(
    'Host: worker',
    'Connection: Upgrade',
    'Upgrade: websocket',
    'Upgrade: h2c',
    'Sec-WebSocket-Version: 13',
    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
    'Sec-WebSocket-Key: short',
    'Sec-WebSocket-Protocol: armature.v1',
    'Sec-WebSocket-Protocol: armature.v1,,',
    'Sec-WebSocket-Extensions: permessage-deflate; x=',
    'Authorization: Bearer a.b.c',
    'Authorization: Api-Key nonsense',
    'Content-Length: 5',
    'Content-Length: -1',
    'Transfer-Encoding: chunked',
    'Expect: 100-continue',
    'Expect: the moon',
  ),
  fc.tuple(word, word).map(([name, value]) => `${name}: ${value}`),
);
const upgrade = ['Host: worker', 'Connection: Upgrade', 'Upgrade: websocket'];
const request = fc
  .record({
    method,
    target: word,
    version: fc.constantFrom('HTTP/1.1', 'HTTP/1.0', 'HTTP/9.9', ''),
    begin: fc.constantFrom([], upgrade, [...upgrade, 'Sec-WebSocket-Version: 13']),
    headers: fc.array(header, { maxLength: 8 }),
    end: fc.constantFrom('\r\n\r\n', '\r\n', ''),
    body: fc.string({ maxLength: 20 }),
  })
  .map(
    (r) =>
      [`${r.method} ${r.target} ${r.version}`, ...r.begin, ...r.headers].join('\r\n') +
      r.end +
      r.body,
  );

describe('whatever a client sends', () => {
  it('as a request: an answer or the end of its socket, no place kept, the others untouched', async () => {
    const uncaught: unknown[] = [];
    const note = (error: unknown) => uncaught.push(error);
    process.on('unhandledRejection', note);
    await fc.assert(
      fc.asyncProperty(fc.array(request, { minLength: 1, maxLength: 5 }), async (requests) => {
        const answers = await Promise.all(requests.map((sent) => exchange(worker.port, sent)));
        for (const answer of answers) expect(answer).toMatch(/^(HTTP\/1\.1 \d{3} |$)/);
        expect(answers.join()).not.toMatch(/^HTTP\/1\.1 500|\.ts:|node:/);
        await othersAreUntouched();
        expect(worker.gateway.places.allocated).toBe(worker.gateway.sessions);
        expect(uncaught).toEqual([]);
      }),
      { numRuns: 100 },
    );
    process.off('unhandledRejection', note);
  });

  it('armature.v1: every frame gets its answer, the socket stays, the others are untouched', async () => {
    await fc.assert(
      fc.asyncProperty(frames, async (sent) => {
        const robot = await TestRobot.ready(worker.port, await token());
        for (const bytes of sent) robot.socket.send(bytes);
        const answers = () =>
          robot.frames.filter(({ type }) => type === 'error' || type === 'chunk').length;
        await expect.poll(answers, { timeout: 60_000, interval: 2 }).toBe(sent.length);
        await othersAreUntouched();
        expect(robot.socket.readyState).toBe(WebSocket.OPEN);
        const codes = robot.frames.flatMap((f) => (f.type === 'error' ? [f.code] : []));
        expect(codes).not.toContain('internal');
        robot.close();
        await robot.closed;
      }),
      { numRuns: 40 },
    );
  });

  it('openpi: an answer in text without a trace and the end of that socket, no other', async () => {
    await fc.assert(
      fc.asyncProperty(frames, async (sent) => {
        const socket = new WebSocket(`ws://127.0.0.1:${worker.port}/`, {
          headers: { authorization: `Api-Key ${await token()}` },
        });
        const said: string[] = [];
        socket.on('message', (data: Buffer, isBinary) => {
          if (!isBinary) said.push(data.toString());
        });
        const closed = new Promise<number>((resolve) => socket.on('close', resolve));
        await new Promise((resolve) => socket.on('open', resolve));
        for (const bytes of sent) socket.send(bytes);
        expect(await closed).toBe(1011);
        expect(said).toHaveLength(1);
        expect(said[0]).toMatch(
          /^(invalid_frame|invalid_observation|missing_camera|invalid_state|rate_limited): /,
        );
        expect(said[0]).not.toMatch(/\.ts|node:/);
        await othersAreUntouched();
      }),
      { numRuns: 25 },
    );
  });

  it('a frame beyond the largest ends its own socket only', async () => {
    const robot = await TestRobot.ready(worker.port, await token());
    robot.socket.send(Buffer.alloc(9 * 1024 * 1024));
    expect((await robot.closed).code).toBe(1009);
    await othersAreUntouched();
  });
});
