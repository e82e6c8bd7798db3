import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { fileURLToPath } from 'node:url';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import {
  Graph,
  add,
  gradients,
  linear,
  matmul,
  mse,
  mul,
  reduceSum,
  sub,
  toOnnx,
} from '../tensor/index.ts';
import { Engine, EngineError } from './index.ts';
import type { Value } from './index.ts';

const f32 = (shape: number[], data: ArrayLike<number>): Value => ({
  dtype: 'float32',
  shape,
  data: Float32Array.from(data),
});

let engine: Engine;
beforeAll(async () => {
  engine = await Engine.start({ threads: 2, name: 'test' });
});
afterEach(async () => {
  const { sessions } = await engine.stats();
  for (const { id } of sessions) await engine.unload(id);
});
afterAll(() => engine.close());

/** y = a + b and z = a·b over two elements. */
function pairModel(): Uint8Array {
  const g = new Graph();
  const [a, b] = [g.input('a', 'float32', [2]), g.input('b', 'float32', [2])];
  g.output('y', add(a, b));
  g.output('z', mul(a, b));
  return toOnnx(g);
}

/** One step of gradient descent on w for y = x wᵀ. */
function trainingModel(): Uint8Array {
  const g = new Graph();
  const [x, t, w] = [
    g.input('x', 'float32', [4, 3]),
    g.input('t', 'float32', [4, 2]),
    g.input('w', 'float32', [2, 3]),
  ];
  const loss = mse(linear(x, w), t);
  const [dw] = gradients(loss, [w]);
  if (dw === undefined) throw new Error('one gradient');
  g.output('loss', loss);
  g.output('w_next', sub(w, mul(dw, 0.1)));
  return toOnnx(g);
}

async function refusal(work: Promise<unknown>): Promise<EngineError> {
  const error: unknown = await work.then(
    () => undefined,
    (e: unknown) => e,
  );
  expect(error).toBeInstanceOf(EngineError);
  return error as EngineError;
}

describe('run', () => {
  it('gives all outputs, or those named, and leaves the caller its arrays', async () => {
    await engine.load('pair', pairModel());
    const [a, b] = [f32([2], [1, 2]), f32([2], [3, 4])];
    const both = await engine.run('pair', { a, b });
    expect(both['y']).toEqual(f32([2], [4, 6]));
    expect(both['z']).toEqual(f32([2], [3, 8]));
    expect(Object.keys(await engine.run('pair', { a, b }, ['z']))).toEqual(['z']);
    expect([...a.data]).toEqual([1, 2]);
  });

  it('takes views and shared memory by copy, and moves arrays when asked', async () => {
    await engine.load('pair', pairModel());
    const view = new Float32Array(Float32Array.of(9, 1, 2, 9).buffer, 4, 2);
    const shared = new Float32Array(new SharedArrayBuffer(8));
    shared.set([3, 4]);
    const moved = Float32Array.of(5, 6);
    const of = (data: Float32Array): Value => ({ dtype: 'float32', shape: [2], data });
    expect((await engine.run('pair', { a: of(view), b: of(shared) }))['y']).toEqual(
      f32([2], [4, 6]),
    );
    await engine.run('pair', { a: of(moved), b: of(view) }, { move: true });
    expect(moved.length).toBe(0);
    expect([...view]).toEqual([1, 2]);
  });

  it('answers calls in their order, however many wait', async () => {
    await engine.load('pair', pairModel());
    const done: number[] = [];
    const calls = Array.from({ length: 40 }, async (_, i) => {
      const { y } = await engine.run('pair', { a: f32([2], [i, 0]), b: f32([2], [0, i]) });
      done.push(i);
      return y?.data[0];
    });
    expect(await Promise.all(calls)).toEqual(Array.from({ length: 40 }, (_, i) => i));
    expect(done).toEqual([...done].sort((a, b) => a - b));
  });

  it('does not hold up the event loop of the caller', async () => {
    const g = new Graph();
    let x = g.input('x', 'float32', [768, 768]);
    for (let i = 0; i < 12; i += 1) x = matmul(x, x);
    g.output('y', reduceSum(x));
    await engine.load('heavy', toOnnx(g));
    const feeds = { x: f32([768, 768], new Float32Array(768 * 768)) };
    await engine.run('heavy', feeds);
    const delay = monitorEventLoopDelay({ resolution: 1 });
    delay.enable();
    await engine.run('heavy', feeds);
    delay.disable();
    const { lastMs } = (await engine.stats()).sessions[0] ?? { lastMs: 0 };
    expect(lastMs).toBeGreaterThan(20);
    expect(delay.percentile(50) / 1e6).toBeLessThan(lastMs / 2);
  });
});

describe('resident tensors', () => {
  it('bind to inputs, are overwritten in part, kept from outputs, read and dropped', async () => {
    await engine.load('pair', pairModel());
    await engine.put('bank', { rows: f32([2], [10, 20]) });
    const resident = { b: 'bank/rows' };
    const a = f32([2], [1, 2]);
    expect((await engine.run('pair', { a }, { resident }))['y']).toEqual(f32([2], [11, 22]));
    await engine.patch('bank', 'rows', 1, Float32Array.of(50));
    expect((await engine.run('pair', { a }, { resident, outputs: ['y'] }))['y']).toEqual(
      f32([2], [11, 52]),
    );
    const rest = await engine.run('pair', { a }, { resident, store: { z: 'bank/product' } });
    expect(Object.keys(rest)).toEqual(['y']);
    expect((await engine.read('bank'))['product']).toEqual(f32([2], [10, 100]));
    expect(Object.keys(await engine.read('bank', ['rows']))).toEqual(['rows']);
    expect((await engine.stats()).residentBytes).toBe(16);
    await engine.drop('bank');
    expect((await engine.stats()).residentBytes).toBe(0);
    expect((await refusal(engine.read('bank'))).code).toBe('unknown_resident');
    expect((await refusal(engine.run('pair', { a }, { resident }))).code).toBe('unknown_resident');
  });

  it('refuse a patch that does not fit', async () => {
    await engine.put('bank', { rows: f32([2], [1, 2]) });
    expect((await refusal(engine.patch('bank', 'rows', 1, Float32Array.of(1, 2)))).code).toBe(
      'bad_value',
    );
    expect((await refusal(engine.patch('bank', 'rows', 0, Int32Array.of(1)))).code).toBe(
      'bad_value',
    );
    await engine.drop('bank');
  });
});

describe('step', () => {
  it('trains as the same arithmetic outside does, state staying in two buffers', async () => {
    await engine.load('train', trainingModel());
    const x = Float64Array.from({ length: 12 }, (_, i) => Math.sin(i));
    const t = Float64Array.from({ length: 8 }, (_, i) => Math.cos(i));
    const w = Float64Array.from({ length: 6 }, (_, i) => i / 6);
    await engine.put('state', { w: f32([2, 3], w) });
    const feeds = { x: f32([4, 3], x), t: f32([4, 2], t) };
    for (let step = 0; step < 7; step += 1) {
      const { loss, ...rest } = await engine.step('train', feeds, {
        carry: { w_next: 'w' },
        keep: 'state',
      });
      expect(loss?.data[0]).toBeCloseTo(descend(x, t, w), 5);
      expect(rest).toEqual({});
    }
    const state = await engine.read('state');
    [...w].forEach((v, i) => expect(state['w']?.data[i]).toBeCloseTo(v, 5));
    expect((await engine.stats()).residentBytes).toBe(2 * 24);
    await engine.drop('state');
  });

  it('leaves the state as it was when it fails', async () => {
    await engine.load('train', trainingModel());
    await engine.put('state', { w: f32([2, 3], [1, 2, 3, 4, 5, 6]) });
    const feeds = { x: f32([4, 3], new Float32Array(12)), t: f32([3, 2], new Float32Array(6)) };
    const error = await refusal(
      engine.step('train', feeds, { carry: { w_next: 'w' }, keep: 'state' }),
    );
    expect(error).toMatchObject({ code: 'run_failed', session: 'train' });
    expect(error.message).toMatch(/Got invalid dimensions for input: t/);
    expect((await engine.read('state'))['w']).toEqual(f32([2, 3], [1, 2, 3, 4, 5, 6]));
    await engine.drop('state');
  });
});

/** One step on w in place, in float64; returns the loss before it. */
function descend(x: Float64Array, t: Float64Array, w: Float64Array): number {
  const gradient = new Float64Array(6);
  let loss = 0;
  for (let n = 0; n < 4; n += 1) {
    for (let o = 0; o < 2; o += 1) {
      let error = -(t[n * 2 + o] ?? 0);
      for (let i = 0; i < 3; i += 1) error += (x[n * 3 + i] ?? 0) * (w[o * 3 + i] ?? 0);
      loss += (error * error) / 8;
      for (let i = 0; i < 3; i += 1)
        gradient[o * 3 + i] = (gradient[o * 3 + i] ?? 0) + (2 * error * (x[n * 3 + i] ?? 0)) / 8;
    }
  }
  gradient.forEach((d, i) => (w[i] = (w[i] ?? 0) - 0.1 * d));
  return loss;
}

describe('errors', () => {
  it('name the session and what is wrong', async () => {
    expect(await refusal(engine.run('nobody', {}))).toMatchObject({
      code: 'unknown_session',
      session: 'nobody',
    });
    expect(await refusal(engine.load('broken', Uint8Array.of(1, 2, 3)))).toMatchObject({
      code: 'load_failed',
      session: 'broken',
    });
    await engine.load('pair', pairModel());
    expect((await refusal(engine.load('pair', pairModel()))).message).toBe(
      'session pair: is loaded already',
    );
    expect((await refusal(engine.run('pair', { a: f32([2], [1, 2]) }))).message).toMatch(
      /session pair: .*'b'/,
    );
    const wrong = { a: f32([3], [1, 2]), b: f32([2], [1, 2]) };
    expect(await refusal(engine.run('pair', wrong))).toMatchObject({
      code: 'bad_value',
      message: expect.stringMatching(/^a: float32 \[3\]/) as string,
    });
    expect(
      (await refusal(engine.run('pair', { a: f32([2], [1, 2]), b: f32([2], [1, 2]) }, ['nothing'])))
        .code,
    ).toBe('run_failed');
  });

  it('name an execution provider that the machine lacks', async () => {
    const started = await Engine.start({ threads: 1, executionProvider: 'cuda' }).catch(
      (e: unknown) => e,
    );
    if (started instanceof Engine) await started.close();
    else
      expect(started).toMatchObject({
        code: 'no_provider',
        message: expect.stringMatching(/cuda/) as string,
      });
  });

  it('reject every call after close', async () => {
    const other = await Engine.start({ threads: 1, name: 'short' });
    await other.load('pair', pairModel());
    const pending = other.run('pair', { a: f32([2], [1, 2]), b: f32([2], [3, 4]) });
    await other.close();
    expect((await pending)['y']).toEqual(f32([2], [4, 6]));
    expect((await refusal(other.stats())).code).toBe('closed');
    await other.close();
  });

  it('reject every pending and later call when the worker ends', async () => {
    const other = await Engine.start({ threads: 1, name: 'doomed' });
    await other.load('pair', pairModel());
    const pending = Array.from({ length: 3 }, () =>
      refusal(other.run('pair', { a: f32([2], [1, 2]), b: f32([2], [3, 4]) })),
    );
    await other.terminate();
    expect((await Promise.all(pending)).map((e) => e.code)).toEqual([
      'crashed',
      'crashed',
      'crashed',
    ]);
    expect((await refusal(other.stats())).code).toBe('crashed');
  });
});

describe('several engines', () => {
  it('work side by side', async () => {
    const others = await Promise.all(
      [1, 2, 3].map((n) => Engine.start({ threads: 1, name: `side ${n}` })),
    );
    const results = await Promise.all(
      others.map(async (other, i) => {
        await other.load('pair', pairModel());
        const feeds = { a: f32([2], [i, i]), b: f32([2], [1, 1]) };
        const runs = Array.from({ length: 50 }, () => other.run('pair', feeds));
        return (await Promise.all(runs)).every((r) => r['y']?.data[0] === i + 1);
      }),
    );
    expect(results).toEqual([true, true, true]);
    await Promise.all(others.map((other) => other.close()));
  });
});

describe('outside the test runner', () => {
  it('starts under tsx, and the process ends after close', async () => {
    const stdout = await runScript(`
      const engine = await Engine.start({ threads: 1 });
      process.stdout.write(JSON.stringify(await engine.stats()));
      await engine.close();`);
    expect(JSON.parse(stdout)).toEqual({ sessions: [], residentBytes: 0 });
  });

  // Tearing down a thread that is inside the runtime aborts the process, unless the engine waits for it.
  const busy = `
    const engine = await Engine.start({ threads: 1 });
    const g = new Graph();
    let x = g.input('x', 'float32', [512, 512]);
    for (let i = 0; i < 40; i += 1) x = matmul(x, x);
    g.output('y', x);
    await engine.load('long', toOnnx(g));
    const feed = () => ({ x: { dtype: 'float32', shape: [512, 512], data: new Float32Array(512 * 512) } });
    const runs = [1, 2, 3].map(() => engine.run('long', feed()).then(() => 'done', (e) => e.code));
    await new Promise((resolve) => setTimeout(resolve, 60));`;

  it('survives ending an engine in the middle of a run', async () => {
    const stdout = await runScript(`${busy}
      await engine.terminate();
      process.stdout.write((await Promise.all(runs)).join());`);
    expect(stdout.split(',').at(-1)).toBe('crashed');
  });

  it('ends in order when the process exits in the middle of a run', async () => {
    expect(await runScript(`${busy} process.stdout.write('leaving'); process.exit(0);`)).toBe(
      'leaving',
    );
  });
});

/** What a script prints that runs in a process of its own; rejects unless the process ends with 0. */
async function runScript(body: string): Promise<string> {
  const folder = await mkdtemp(join(fileURLToPath(new URL('.', import.meta.url)), 'tmp-'));
  try {
    const script = join(folder, 'script.mts');
    const head = `import { Engine } from '../index.ts';\nimport { Graph, matmul, toOnnx } from '../../tensor/index.ts';`;
    await writeFile(script, `${head}\n${body}`);
    const cwd = fileURLToPath(new URL('../..', import.meta.url));
    const run = promisify(execFile)(process.execPath, ['--import', 'tsx', script], { cwd });
    return (await run).stdout;
  } finally {
    await rm(folder, { recursive: true });
  }
}
