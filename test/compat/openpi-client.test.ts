import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { policyNumber } from '../../workers/serve/testing/fake-runtime.ts';
import { startWorker, type TestWorker } from '../../workers/serve/testing/worker.ts';
import { pythonIfHad } from './python-environment.ts';

/** The client as it is on PyPI, and a package that it imports and its metadata leaves out. */
const REQUIREMENTS = ['openpi-client==0.1.2', 'typing_extensions==4.15.0'];
const SLOW = 900_000;

const environment = await pythonIfHad('openpi-client-0.1.2', REQUIREMENTS);
const script = fileURLToPath(new URL('./openpi_client_session.py', import.meta.url));

interface Outcome {
  readonly metadata: Record<string, unknown>;
  readonly keys: string[][];
  readonly timings: string[][];
  readonly dtype: string;
  readonly shapes: number[][];
  readonly first: number[];
  readonly steps: number[][];
  readonly refused: string;
}

describe.skipIf(environment === undefined)('the published openpi-client', () => {
  let worker: TestWorker;
  beforeAll(async () => {
    worker = await startWorker();
  });
  afterAll(() => worker.stop());

  it('drives a session unmodified', { timeout: SLOW }, async () => {
    const claims = worker.claims({ sub: 'ses_openpi', reasoning: { when: 'off' } });
    const token = await worker.issuer.sign(claims);
    const { stdout } = await promisify(execFile)(
      environment ?? '',
      [script, '127.0.0.1', String(worker.port), token],
      { timeout: SLOW },
    );
    const seen = JSON.parse(stdout) as Outcome;
    expect(seen.metadata).toMatchObject({ embodiment: 'arm', action_horizon: 8, control_hz: 20 });
    expect(new Set(seen.keys.map(String))).toEqual(
      new Set(['actions,policy_timing,server_timing']),
    );
    expect(seen.timings.map(String)).toEqual([
      'infer_ms',
      ...new Array<string>(4).fill('infer_ms,prev_total_ms'),
    ]);
    expect(seen.dtype).toBe('float64');
    expect(seen.shapes).toEqual(new Array(5).fill([8, 2]));
    seen.first.forEach((value, n) =>
      expect(value).toBeCloseTo(n / 10 + policyNumber(claims.policy.digest), 5),
    );
    expect(seen.steps).toEqual(new Array(6).fill([2]));
    expect(seen.refused).toMatch(/missing_camera: the observation has no observation\/front/);
    await worker.ledger.flush(5000);
    const usage = [...worker.sink.entries.values()].filter((entry) => entry.kind === 'usage');
    // Five replies, and two chunks that the broker took six steps from.
    expect(usage).toHaveLength(7);
  });
});
