import type { EmbodimentSpec, WireObservation } from '@armature/sdk/contract';
import { Ndarray } from '@armature/sdk/contract';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { armSpec, jpegOf, observation, TestRobot } from '../testing/robots.ts';
import { startWorker, type TestWorker } from '../testing/worker.ts';

let worker: TestWorker;
let jpeg: Uint8Array<ArrayBuffer>;
/** What the worker's calendar was set by, ms. */
let set = 0;
let sessions = 0;
beforeAll(async () => {
  jpeg = await jpegOf();
  worker = await startWorker({
    clock: { now: () => performance.now(), wall: () => Date.now() + set },
  });
});
afterAll(() => worker.stop());

async function connect(
  spec: EmbodimentSpec = armSpec(),
  over: Parameters<TestWorker['claims']>[0] = {},
) {
  const claims = worker.claims({
    sub: `ses_${++sessions}`,
    embodiment: { id: 'emb_1', spec },
    ...over,
  });
  const robot = await TestRobot.ready(worker.port, await worker.issuer.sign(claims));
  let seq = 0;
  return {
    robot,
    ask: (more: Partial<WireObservation> = {}) => {
      robot.send(observation(seq, jpeg, more));
      return robot.answer(seq++);
    },
  };
}

describe('a chunk of a robot that has moved', () => {
  it('sets out from its last command, not from where it was measured', async () => {
    const step = 0.1;
    const spec = armSpec();
    const limited = spec.action.map((joint) => ({
      ...joint,
      max_velocity: step * spec.control_hz,
    }));
    const usual = worker.runtime.actions;
    worker.runtime.actions = () => new Float32Array(16).fill(3);
    const { robot, ask } = await connect({ ...spec, action: limited });
    const first = await ask();
    if (first.type !== 'chunk') throw new Error(first.message);
    const commands = first.actions.toFloat32();
    // The servo has not followed at all.
    const state = Ndarray.float32(Float32Array.of(0.5, -0.5));
    const second = await ask({ state, executed: { chunk_id: first.chunk_id, steps: 4 } });
    if (second.type !== 'chunk') throw new Error(second.message);
    const [shoulder, elbow] = second.actions.toFloat32();
    expect(commands[6]).toBeCloseTo(0.9, 5);
    expect(shoulder).toBeCloseTo((commands[6] ?? NaN) + step, 5);
    expect(elbow).toBeCloseTo((commands[7] ?? NaN) + step, 5);
    worker.runtime.actions = usual;
    robot.close();
  });
});

describe('clocks that are set', () => {
  const deadline_ms = 1_000;

  it.each([-2_000, 2_000, -3_600_000, 3_600_000])(
    'neither a robot’s nor the worker’s, by %d ms, makes an observation late',
    async (by) => {
      const { robot, ask } = await connect();
      const asked = (ahead: number) => ask({ captured_at: Date.now() + ahead, deadline_ms });
      for (let n = 0; n < 5; n++) expect((await asked(0)).type).toBe('chunk');
      for (let n = 0; n < 5; n++) expect((await asked(by)).type).toBe('chunk');
      set = by;
      // Its token counts by the worker's calendar, and ends with the hour.
      const last = by > 600_000 ? 'expired_token' : 'chunk';
      for (let n = 0; n < 5; n++) {
        const answer = await asked(by);
        expect(answer.type === 'error' ? answer.code : answer.type).toBe(last);
      }
      set = 0;
      robot.close();
    },
  );

  it('an observation that was late is refused', async () => {
    const { robot, ask } = await connect();
    for (let n = 0; n < 3; n++) await ask({ captured_at: 10_000 + Date.now(), deadline_ms });
    // Time passes at the worker and in the network, not before the robot's capture.
    const captured_at = 10_000 + Date.now();
    await new Promise((resolve) => setTimeout(resolve, 1_200));
    expect(await ask({ captured_at, deadline_ms })).toMatchObject({
      type: 'error',
      code: 'timeout',
    });
    robot.close();
  });
});

describe('records that cannot be kept', () => {
  it('a reasoning that was not recorded is recorded with the next chunk that it drives', async () => {
    const { robot, ask } = await connect(armSpec(), { reasoning: { when: 'instruction_change' } });
    const { ledger } = worker;
    const append = ledger.append.bind(ledger);
    ledger.append = () => Promise.reject(new Error('no space left on device'));
    expect((await ask()).type).toBe('error');
    ledger.append = append;
    const chunk = await ask();
    await ask();
    if (chunk.type !== 'chunk') throw new Error(chunk.message);
    await ledger.flush(5_000);
    const session = `ses_${sessions}`;
    const entries = [...worker.sink.entries.values()].filter((e) => e.session_id === session);
    const reasonings = entries.filter((entry) => entry.kind === 'reasoning');
    expect(reasonings.map(({ id }) => id)).toEqual([chunk.reasoning?.id]);
    const tokens = entries.map((entry) => (entry.kind === 'usage' ? entry.reasoning_tokens : 0));
    expect(tokens.filter((count) => count > 0)).toEqual([4]);
    robot.close();
  });

  it('no session begins while too much waits for the database, and those that run go on', async () => {
    const { robot, ask } = await connect();
    const refusal = worker.ledger.refusal.bind(worker.ledger);
    worker.ledger.refusal = () => 'records of 9 bytes wait';
    expect((await ask()).type).toBe('chunk');
    const claims = worker.claims({ sub: 'ses_late' });
    const late = await TestRobot.open(worker.port, await worker.issuer.sign(claims));
    expect(await late.next('error')).toMatchObject({
      code: 'unavailable',
      field: 'worker',
      message: expect.stringContaining('records of 9 bytes wait') as string,
    });
    worker.ledger.refusal = refusal;
    expect(await worker.metrics.registry.metrics()).toMatch(/^spool_bytes \d+$/m);
    robot.close();
  });
});
