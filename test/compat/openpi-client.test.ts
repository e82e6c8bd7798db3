import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { policyNumber } from '../../workers/serve/testing/fake-runtime.ts';
import { startWorker, type TestWorker } from '../../workers/serve/testing/worker.ts';
import { openpiClientIfHad } from './openpi-session.ts';

const SLOW = 900_000;

const client = await openpiClientIfHad();

describe.skipIf(client === undefined)('the published openpi-client', () => {
  let worker: TestWorker;
  beforeAll(async () => {
    worker = await startWorker();
  });
  afterAll(() => worker.stop());

  it('drives a session unmodified', { timeout: SLOW }, async () => {
    const claims = worker.claims({ sub: 'ses_openpi', reasoning: { when: 'off' } });
    const token = await worker.issuer.sign(claims);
    const endpoint = { host: '127.0.0.1', port: worker.port };
    const seen = await client?.(endpoint, token, SLOW);
    if (seen === undefined) throw new Error('the client is not there');
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
